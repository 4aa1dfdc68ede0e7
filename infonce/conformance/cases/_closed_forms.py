"""Data whose loss is known in closed form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import exp, log, log1p

import numpy as np

from infonce.conformance.cases._agreement import draw
from infonce.conformance.cases._judge import agrees, related, together
from infonce.conformance.cases._programs import IN_BATCH_MEAN, IN_BATCH_NONE, PLAIN, UNPAIRED_MEAN, UNPAIRED_SUM
from infonce.conformance.model import Array, Case, Data, Group, Outcome, Program, Subject, pairs

# The loss of one row, from the number of negatives, of rows, and the temperature.
FORMULAS: dict[str, Callable[[int, int, float], float]] = {
    "equal": lambda k, n, t: log(k + 1),
    "orthonormal": lambda k, n, t: log1p(k * exp(-1 / t)),
    "antipodal": lambda k, n, t: log1p(k * exp(-2 / t)),  # the least that k negatives allow
    "reversed": lambda k, n, t: 2 / t + log(k + exp(-2 / t)),  # the most
    "simplex": lambda k, n, t: log1p(k * exp(-n / ((n - 1) * t))),
    "normal": lambda k, n, t: log(k + 1),  # only as t goes to infinity
}
TEMPERATURES: dict[str, tuple[float, ...]] = {
    "equal": (0.01, 0.1, 1.0),
    "orthonormal": (0.02, 0.05, 0.1, 0.5, 1.0),
    "antipodal": (0.03, 0.1, 0.5, 1.0),
    "reversed": (0.01, 0.1, 1.0),
    "simplex": (0.02, 0.1, 0.5, 1.0),
    "normal": (1e15,),
}
LEAST = 0.012  # what counts as an ordinary loss


def cases() -> tuple[Case, ...]:
    return (*_tabled(), *_two_orthonormal_pairs(), *_one_negative(), *_softmax())


def _tabled() -> Iterator[Case]:
    for program in PLAIN:
        for kind, formula in FORMULAS.items():
            for t in TEMPERATURES[kind]:
                if _holds(kind, program):
                    yield _tabled_case(program, kind, t, formula(negatives(program), program.rows, t))


def _group(row_loss: float) -> Group:
    return "agreement" if row_loss > LEAST else "numerics"


def _holds(kind: str, program: Program) -> bool:
    """In-batch negatives cannot all be opposite; unpaired ones cannot be every query's other corners."""
    if kind in ("antipodal", "reversed"):
        return program not in (IN_BATCH_MEAN, IN_BATCH_NONE)
    return kind != "simplex" or program not in (UNPAIRED_MEAN, UNPAIRED_SUM)


def negatives(program: Program) -> int:
    return program.rows - 1 if program.negatives is None else program.negatives[-1]


def _tabled_case(program: Program, kind: str, t: float, row_loss: float) -> Case:
    group = _group(row_loss)
    name = f"{group}/closed-form/{program.name}/{kind}-t{t:g}"

    def judge(subject: Subject) -> Outcome:
        return _loss_is(subject, program, draw(name, program, kind, t), row_loss)

    return Case(name, group, (program,), judge)


def _loss_is(subject: Subject, program: Program, data: Data, row_loss: float | Array) -> Outcome:
    """The loss is the formula's, and loss and gradients are the oracle's."""
    reduction = program.keywords.get("reduction", "mean")
    rows = np.broadcast_to(row_loss, (program.rows,))
    want = {"none": rows, "mean": np.mean(rows), "sum": np.sum(rows)}[reduction]
    return together([related(subject, program, subject.round(data), want, share=1), agrees(subject, program, data)])


def _two_orthonormal_pairs() -> Iterator[Case]:
    program = Program("two-pairs", 2, 2)
    for t, row_loss in ((0.05, 2.061153620314381e-09), (0.5, log1p(exp(-2)))):
        group = _group(row_loss)

        def judge(subject: Subject, t: float = t, row_loss: float = row_loss) -> Outcome:
            return _loss_is(subject, program, pairs(np.eye(2), np.eye(2), None, np.asarray(t)), row_loss)

        yield Case(f"{group}/closed-form/two-orthonormal-pairs-t{t:g}", group, (program,), judge, compiled=False)


def _one_negative() -> Iterator[Case]:
    """With one negative the loss is softplus(-(s+ - s-) / t)."""
    shapes: dict[str, tuple[int, ...]] = {"unpaired": (1,), "paired": (5, 1)}
    for mode, shape in shapes.items():
        program = Program(f"one-negative-{mode}", 5, 8, shape, options=(("reduction", "none"), ("negative_mode", mode)))

        def judge(subject: Subject, program: Program = program) -> Outcome:
            data = subject.round(draw(f"one negative {program.name}", program, "normal", 0.5))
            assert data.negative_keys is not None
            gap = cosine(data.query, data.positive_key) - cosine(data.query, data.negative_keys.reshape(-1, 8))
            return _loss_is(subject, program, data, np.logaddexp(0, -gap / np.asarray(data.temperature)))

        yield Case(f"agreement/closed-form/one-negative-{mode}", "agreement", (program,), judge, compiled=False)


def _softmax() -> Iterator[Case]:
    """The loss is -log of the softmax probability of the positive."""
    for t in (0.2, 1.0):

        def judge(subject: Subject, t: float = t) -> Outcome:
            data = subject.round(draw(f"softmax {t}", IN_BATCH_NONE, "normal", t))
            scores = np.stack([cosine(data.query, key) for key in data.positive_key], axis=1)
            weights = np.exp(scores / np.asarray(data.temperature))
            return _loss_is(subject, IN_BATCH_NONE, data, -np.log(np.diagonal(weights) / np.sum(weights, axis=1)))

        yield Case(f"agreement/closed-form/softmax-t{t:g}", "agreement", (IN_BATCH_NONE,), judge)


def cosine(a: Array, b: Array) -> Array:
    """Row by row."""
    return np.asarray(np.sum(a * b, axis=-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1))
