"""Properties between calls of different shapes: what adding, repeating or rearranging negatives does to the loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from infonce.conformance.cases._agreement import draw
from infonce.conformance.cases._judge import call, failure, related, together
from infonce.conformance.model import Answer, Array, Case, Data, Outcome, Program, Subject, pairs

NONE = ("reduction", "none")
PAIRED = ("negative_mode", "paired")

IN_BATCH = Program("in-batch", 5, 8, options=(NONE,))
UNPAIRED = Program("unpaired", 5, 8, (6,), options=(NONE,))
PAIRS = Program("paired", 5, 8, (5, 4), options=(NONE, PAIRED))


def cases() -> tuple[Case, ...]:
    judges: dict[str, tuple[Program, Callable[[Subject, Data], Outcome]]] = {
        "paired-broadcast-is-unpaired": (UNPAIRED, _broadcast),
        "in-batch-is-paired-with-the-others": (IN_BATCH, _others),
        "negatives-three-times-unpaired": (UNPAIRED, lambda s, d: _repeated(s, UNPAIRED, d)),
        "negatives-three-times-paired": (PAIRS, lambda s, d: _repeated(s, PAIRS, d)),
        "batch-three-times": (IN_BATCH, _batch_repeated),
        "additive-over-negatives-unpaired": (UNPAIRED, lambda s, d: _additive(s, UNPAIRED, d)),
        "additive-over-negatives-paired": (PAIRS, lambda s, d: _additive(s, PAIRS, d)),
        "positive-again-as-a-negative": (PAIRS, _positive_again),
        "one-more-negative": (UNPAIRED, _one_more),
        "columns-of-zeros": (UNPAIRED, _padded),
        "sum-mean-none": (IN_BATCH, lambda s, d: _reductions(s, IN_BATCH, d)),
        "sum-mean-none-unpaired": (UNPAIRED, lambda s, d: _reductions(s, UNPAIRED, d)),
        "sum-mean-none-paired": (PAIRS, lambda s, d: _reductions(s, PAIRS, d)),
        "number-or-array-as-temperature": (IN_BATCH, _number),
    }
    return tuple(_case(title, program, judge, t) for title, (program, judge) in judges.items() for t in (0.3, 1.0))


def _case(title: str, program: Program, judge: Callable[[Subject, Data], Outcome], t: float) -> Case:
    name = f"agreement/property/{title}-t{t:g}"

    def run(subject: Subject) -> Outcome:
        return judge(subject, subject.round(draw(name, program, "normal", t, floor=0.012)))

    return Case(name, "agreement", (program,), run, compiled=False)


def _shaped(program: Program, data: Data, *changes: tuple[str, object]) -> Program:
    """The program for these arrays, with options replaced."""
    negatives = None if data.negative_keys is None else data.negative_keys.shape[:-1]
    options = tuple((dict(program.options) | dict(changes)).items())
    return replace(program, rows=len(data.query), features=data.query.shape[1], negatives=negatives, options=options)


def _negatives(data: Data) -> Array:
    assert data.negative_keys is not None
    return data.negative_keys


def _broadcast(subject: Subject, data: Data) -> Outcome:
    """The same negatives for every query, given once or once per query: the gradient of the shared is the sum."""
    each = data.but(negative_keys=np.repeat(_negatives(data)[None], UNPAIRED.rows, axis=0))
    first = subject(_shaped(UNPAIRED, each, PAIRED), each)
    gradients = {name: np.sum(g, axis=0) if name == "negative_keys" else g for name, g in first.gradients.items()}
    return related(subject, UNPAIRED, data, first.loss, gradients)


def _others(subject: Subject, data: Data) -> Outcome:
    n = IN_BATCH.rows
    others = np.array([[j for j in range(n) if j != i] for i in range(n)])
    spelt = data.but(negative_keys=data.positive_key[others])
    first = subject(_shaped(IN_BATCH, spelt, PAIRED), spelt)
    gradients = {name: g for name, g in first.gradients.items() if name != "negative_keys"}
    if first.gradients:
        total = gradients["positive_key"].copy()
        np.add.at(total, others, first.gradients["negative_keys"])
        gradients["positive_key"] = total
    return related(subject, IN_BATCH, data, first.loss, gradients)


def _repeated(subject: Subject, program: Program, data: Data) -> Outcome:
    """m copies of all negatives: L' = log(1 + m (exp(L) - 1))."""
    thrice = data.but(negative_keys=np.concatenate([_negatives(data)] * 3, axis=-2))
    first = subject(program, data)
    return related(subject, _shaped(program, thrice), thrice, np.log1p(3 * np.expm1(first.loss)))


def _batch_repeated(subject: Subject, data: Data) -> Outcome:
    """m copies of the whole batch: the copies of the positive are negatives, L' = L + log m."""
    query, key = (np.concatenate([x] * 3) for x in (data.query, data.positive_key))
    thrice = pairs(query, key, None, data.temperature, np.ones(len(query)))
    first = subject(IN_BATCH, data)
    return related(subject, _shaped(IN_BATCH, thrice), thrice, np.concatenate([first.loss] * 3) + np.log(3))


def _additive(subject: Subject, program: Program, data: Data) -> Outcome:
    """exp(L) - 1 is additive over disjoint sets of negatives."""
    parts = [data.but(negative_keys=x) for x in np.split(_negatives(data), [2], axis=-2)]
    total = sum(np.expm1(subject(_shaped(program, part), part).loss) for part in parts)
    return related(subject, program, data, np.log1p(total))


def _positive_again(subject: Subject, data: Data) -> Outcome:
    """The positive listed among its own negatives as well: log(exp(L) + 1)."""
    again = data.but(negative_keys=np.concatenate([_negatives(data), data.positive_key[:, None]], axis=1))
    first = subject(PAIRS, data)
    return related(subject, _shaped(PAIRS, again), again, np.logaddexp(first.loss, 0))


def _one_more(subject: Subject, data: Data) -> Outcome:
    """One more negative, even the most distant one, strictly increases every row's loss."""
    more = data.but(negative_keys=np.concatenate([_negatives(data), -data.positive_key[:1]]))
    first, second = subject(UNPAIRED, data), subject(_shaped(UNPAIRED, more), more)
    if not np.all(second.loss > first.loss):
        called = call(_shaped(UNPAIRED, more), more, subject.dtype)
        return failure("loss with one more negative", second.loss, f"more than {first.loss}", called)
    return Outcome(messages=second.remarks)


def _padded(subject: Subject, data: Data) -> Outcome:
    """Features that are 0 everywhere change nothing, and get the gradient 0."""

    def pad(x: Array) -> Array:
        return np.concatenate([x, np.zeros((*x.shape[:-1], 3))], axis=-1)

    wide = data.but(**{name: pad(x) for name, x in data.arrays.items()})
    first = subject(UNPAIRED, data)
    gradients = {name: g if name == "temperature" else pad(g) for name, g in first.gradients.items()}
    return related(subject, _shaped(UNPAIRED, wide), wide, first.loss, gradients)


def _reductions(subject: Subject, program: Program, data: Data) -> Outcome:
    """Sum and mean of the losses by row, and of their gradients."""
    ones = replace(data, cotangent=np.ones(program.rows))
    by_row: Answer = subject(program, ones)
    bare = replace(data, cotangent=None)
    mean = {name: g / program.rows for name, g in by_row.gradients.items()}
    return together(
        [
            related(
                subject,
                _shaped(program, bare, ("reduction", "sum")),
                bare,
                float(np.sum(by_row.loss)),
                by_row.gradients,
            ),
            related(subject, _shaped(program, bare, ("reduction", "mean")), bare, float(np.mean(by_row.loss)), mean),
        ]
    )


def _number(subject: Subject, data: Data) -> Outcome:
    """A Python number as the temperature gives what the array of that value gives."""
    number = replace(data, temperature=float(data.temperature))
    first = subject(IN_BATCH, data)
    gradients = {name: g for name, g in first.gradients.items() if name != "temperature"}
    return related(subject, replace(IN_BATCH, temperature="number"), number, first.loss, gradients)
