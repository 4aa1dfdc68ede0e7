"""What each option must equal: another call, or a function of another call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from infonce.conformance.cases._agreement import draw
from infonce.conformance.cases._judge import related, together
from infonce.conformance.cases._programs import NT_XENT, SUP_CON
from infonce.conformance.model import Array, Case, Data, Outcome, Program, Subject

Judge = Callable[[Subject, Program, Data], Outcome]

NONE = ("reduction", "none")
SMOOTHED, HARD = (("label_smoothing", 0.1),), (("debias", 0.1), ("hardness", 1.0))
MASKED = (("mask", "columns"),)

IN_BATCH = Program("in-batch", 6, 5, options=(NONE,))
UNPAIRED = Program("unpaired", 6, 5, (7,), options=(NONE,))
PAIRED = Program("paired", 6, 5, (6, 4), options=(("negative_mode", "paired"),))
BOTH = Program("in-batch-unpaired", 6, 5, (4,), options=(("in_batch", True),))
VIEWS = Program("two-views", 5, 6, loss=NT_XENT, views=2)
MORE_VIEWS = Program("three-views", 4, 6, temperature="rows", loss=NT_XENT, views=3)
LABELS = Program("labels", 8, 6, loss=SUP_CON, optional=(("labels", "groups"),))
LABELS_OF_VIEWS = Program("labels-of-views", 4, 6, loss=SUP_CON, views=2, optional=(("labels", "groups"),))


def cases() -> tuple[Case, ...]:
    return tuple(property_case(title, program, judge) for title, program, judge in _properties())


def property_case(title: str, program: Program, judge: Judge) -> Case:
    judged = partial(_run, title, program, judge)
    return Case(f"options/property/{title}", "options", (program,), judged, compiled=False)


def _run(title: str, program: Program, judge: Judge, subject: Subject) -> Outcome:
    return judge(subject, program, subject.round(draw(title, program, "normal", 1.0)))


def _properties() -> Iterator[tuple[str, Program, Judge]]:
    masked = replace(UNPAIRED, optional=MASKED, options=())
    for title, options in {"": (), "-smoothed": SMOOTHED, "-hard-debiased": HARD, "-by-row": (NONE,)}.items():
        yield f"masked-is-removed{title}", replace(masked, options=options), _masked_is_removed
    yield "masked-is-removed-with-bias", replace(masked, optional=(*MASKED, ("bias", "matrix"))), _masked_is_removed
    yield "own-entry-of-the-mask", with_arrays(IN_BATCH, mask="matrix"), _own_entry
    for program in (
        IN_BATCH,
        with_options(IN_BATCH, symmetric=True, reduction="mean", label_smoothing=0.1),
        BOTH,
        VIEWS,
    ):
        distinct = with_arrays(program, ids="distinct")
        yield f"distinct-ids-{title_of(program)}", distinct, partial(_without, ("ids",))
    for program in (IN_BATCH, PAIRED, VIEWS, LABELS, LABELS_OF_VIEWS):
        yield f"weights-of-one-{title_of(program)}", with_arrays(program, weight="ones"), partial(_without, ("weight",))
        yield f"terms-of-zero-{title_of(program)}", program, _zero_terms
    for program in (IN_BATCH, BOTH, with_options(IN_BATCH, symmetric=True, reduction="sum", label_smoothing=0.1)):
        yield f"ids-as-a-mask-{title_of(program)}", with_arrays(program, ids="shared"), _ids_as_mask
    yield "weight-of-zero-leaves-the-row-out", with_arrays(PAIRED, weight="rows"), _row_left_out
    for program in (with_arrays(PAIRED, weight="rows"), with_arrays(MORE_VIEWS, weight="rows"), LABELS):
        yield f"reductions-{title_of(program)}", with_options(program, reduction="sum"), _reductions
    for program in (IN_BATCH, UNPAIRED):
        yield f"decoupled-{title_of(program)}", with_options(program, decoupled=True), _decoupled
        yield f"margin-{title_of(program)}", with_options(program, margin=0.25), _margin
        yield (
            f"smoothing-is-linear-{title_of(program)}",
            with_options(program, label_smoothing=0.2),
            _smoothing_is_linear,
        )
    yield "bias-of-the-negatives", with_arrays(UNPAIRED, bias="columns"), _bias_of_negatives
    yield "bias-of-all-candidates", with_arrays(IN_BATCH, bias="columns"), _bias_of_all
    averaged = with_options(IN_BATCH, symmetric=True, label_smoothing=0.1)
    yield "symmetric-is-the-average-ids-smoothing", with_arrays(averaged, ids="shared", weight="rows"), _average


def title_of(program: Program) -> str:
    return "-".join([program.name, *(name for name, _ in program.options if name in ("symmetric", "hardness"))])


def with_options(program: Program, **options: Any) -> Program:
    return replace(program, options=tuple((program.keywords | options).items()))


def with_arrays(program: Program, **kinds: str) -> Program:
    return replace(program, optional=(*program.optional, *kinds.items()))


def only(program: Program, *names: str) -> Program:
    """The program with no other optional arrays than these."""
    return replace(program, optional=tuple((name, kind) for name, kind in program.optional if name in names))


def _masked_is_removed(subject: Subject, program: Program, data: Data) -> Outcome:
    """A candidate that the mask takes out may as well not be there; its gradients are 0."""
    kept = np.flatnonzero(data.fixed["mask"])
    width = dict.fromkeys(("negative_keys", "bias"), program.columns)
    assert data.negative_keys is not None
    fewer = data.but(negative_keys=data.negative_keys[kept])
    if "bias" in data.arrays:
        fewer = fewer.but(bias=data.arrays["bias"][:, kept])
    first = subject(replace(only(program, "bias"), negatives=(len(kept),)), fewer)

    def spread(name: str, gradient: Array) -> Array:
        axis = 0 if name == "negative_keys" else 1
        shape = [*gradient.shape[:axis], width[name], *gradient.shape[axis + 1 :]]
        full = np.zeros(shape)
        full[(slice(None),) * axis + (kept,)] = gradient
        return full

    gradients = {name: spread(name, g) if name in width else g for name, g in first.gradients.items()}
    return related(subject, program, data, first.loss, gradients)


def _own_entry(subject: Subject, program: Program, data: Data) -> Outcome:
    mask = data.fixed["mask"].copy()
    np.fill_diagonal(mask, True)
    first = subject(program, data.but(mask=mask))
    np.fill_diagonal(mask, False)
    return related(subject, program, data.but(mask=mask), first.loss, first.gradients)


def _without(names: tuple[str, ...], subject: Subject, program: Program, data: Data) -> Outcome:
    """These arrays change nothing."""
    left = tuple(name for name, _ in program.optional if name not in names)
    first = subject(only(program, *left), data.but(**dict.fromkeys(names)))
    return related(subject, program, data, first.loss, first.gradients)


def _zero_terms(subject: Subject, program: Program, data: Data) -> Outcome:
    """Each term at 0 is the plain loss."""
    first = subject(program, data)
    terms = ("hardness", "debias", "margin", "label_smoothing")
    return together(
        related(subject, with_options(program, **{term: 0.0}), data, first.loss, first.gradients) for term in terms
    )


def _ids_as_mask(subject: Subject, program: Program, data: Data) -> Outcome:
    """Ids take out what a mask of equal ids does."""
    ids = data.fixed["ids"]
    mask = np.ones((program.rows, program.columns), bool)
    mask[:, : program.rows] = ids[:, None] != ids[None]
    masked = replace(program, optional=(("mask", "matrix"),))
    first = subject(masked, data.but(ids=None, mask=mask))
    return related(subject, program, data, first.loss, first.gradients)


def _row_left_out(subject: Subject, program: Program, data: Data) -> Outcome:
    """The weighted mean of paired rows is that of those whose weight is not 0."""
    rows = np.flatnonzero(data.arrays["weight"])
    arrays = {name: x[rows] for name, x in data.arrays.items()}
    assert program.negatives is not None
    fewer = replace(program, rows=len(rows), negatives=(len(rows), program.negatives[1]))
    first = subject(fewer, replace(data, arrays=arrays))

    def spread(gradient: Array) -> Array:
        full = np.zeros((program.rows, *gradient.shape[1:]))
        full[rows] = gradient
        return full

    found = {name: g for name, g in first.gradients.items() if name != "weight"}
    gradients = {name: spread(g) if name in program.embeddings else g for name, g in found.items()}
    return related(subject, program, data, first.loss, gradients)


def _reductions(subject: Subject, program: Program, data: Data) -> Outcome:
    """The sum is that of the losses by row; the mean is the sum over that of the weights of the rows that count."""
    ones = replace(data, cotangent=np.ones(program.anchors))
    by_row = subject(with_options(program, reduction="none"), ones)
    weight = np.ones(program.rows) if "weight" not in data.arrays else data.arrays["weight"]
    if program.loss == "sup_con":
        labels = data.fixed["labels"]
        weight = weight * (np.sum(labels[:, None] == labels[None], axis=1) > 1)
    total = float(np.sum(weight)) * np.size(by_row.loss) / program.rows
    kept = {name: g for name, g in by_row.gradients.items() if name != "weight"}
    means = {name: g / total for name, g in kept.items()}
    loss = float(np.sum(by_row.loss))
    mean = with_options(program, reduction="mean")
    return together(
        [
            related(subject, program, data, loss, by_row.gradients),
            related(subject, mean, data, loss / total, means),
        ]
    )


def _plain(subject: Subject, program: Program, data: Data, *options: str) -> Array:
    """The losses by row without these options."""
    kept = tuple((name, value) for name, value in program.options if name not in options)
    return subject(replace(program, options=kept), data).loss


def _decoupled(subject: Subject, program: Program, data: Data) -> Outcome:
    """log(exp(L) - 1), the positive being out of the denominator."""
    loss = _plain(subject, program, data, "decoupled")
    return related(subject, program, data, np.log(np.expm1(loss)))


def _margin(subject: Subject, program: Program, data: Data) -> Outcome:
    """The negatives weigh exp(margin / t) times as much."""
    loss = _plain(subject, program, data, "margin")
    factor = np.exp(program.keywords["margin"] / np.asarray(data.temperature))
    return related(subject, program, data, np.log1p(factor * np.expm1(loss)))


def _smoothing_is_linear(subject: Subject, program: Program, data: Data) -> Outcome:
    plain = _plain(subject, program, data, "label_smoothing")
    half = subject(with_options(program, label_smoothing=program.keywords["label_smoothing"] / 2), data).loss
    return related(subject, program, data, 2 * half - plain)


def _bias_of_negatives(subject: Subject, program: Program, data: Data) -> Outcome:
    """A bias of 1 for every explicit negative makes each weigh e times as much; the positive has none."""
    loss = subject(only(program), data.but(bias=None)).loss
    ones = data.but(bias=np.ones(program.columns))
    return related(subject, program, ones, np.log1p(np.exp(1) * np.expm1(loss)))


def _bias_of_all(subject: Subject, program: Program, data: Data) -> Outcome:
    """In-batch the positive is a column too, so that a bias that all columns share changes nothing."""
    first = subject(only(program), data.but(bias=None))
    return related(subject, program, data.but(bias=np.full(program.columns, 1.5)), first.loss, first.gradients)


def _average(subject: Subject, program: Program, data: Data) -> Outcome:
    forth_only = with_options(program, symmetric=False)
    exchanged = {"query": "positive_key", "positive_key": "query"}
    forth = subject(forth_only, data)
    back = subject(forth_only, data.but(query=data.positive_key, positive_key=data.query))
    gradients = {name: (g + back.gradients[exchanged.get(name, name)]) / 2 for name, g in forth.gradients.items()}
    return related(subject, program, data, (forth.loss + back.loss) / 2, gradients)
