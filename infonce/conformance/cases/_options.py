"""The package's own options: all combinations, and what each must equal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np

from infonce.conformance.cases._agreement import draw
from infonce.conformance.cases._judge import HALVES, agrees, failure, related
from infonce.conformance.model import Answer, Case, Data, Outcome, Program, Subject, pairs
from infonce.conformance.oracle import info_nce

BOTH, PAIRED, SYMMETRIC = ("in_batch", True), ("negative_mode", "paired"), ("symmetric", True)
Modes = dict[str, tuple[tuple[int, ...] | None, tuple[tuple[str, Any], ...]]]
MODES: Modes = {
    "in-batch": (None, ()),
    "unpaired": ((3,), ()),
    "paired": ((5, 2), (PAIRED,)),
    "in-batch-unpaired": ((3,), (BOTH,)),
    "in-batch-paired": ((5, 2), (BOTH, PAIRED)),
    "symmetric": (None, (SYMMETRIC,)),
    "symmetric-unpaired": ((3,), (BOTH, SYMMETRIC)),
    "symmetric-paired": ((5, 2), (BOTH, PAIRED, SYMMETRIC)),
}
FORMS: tuple[Literal["number", "scalar", "rows"], ...] = ("number", "scalar", "rows")
BLOCKS = (None, 1, 2, 3, 5, 100)
NONE = ("reduction", "none")


def cases() -> tuple[Case, ...]:
    return (*_combinations(), *_large(), *_bounded(), *_equalities(), *_dtypes())


def _dtypes() -> Iterator[Case]:
    """Embeddings promote among themselves; the temperature's dtype changes nothing."""
    query, key = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    calls: dict[str, tuple[Any, ...]] = {
        "float64-query": (query.astype(np.float64), key, None, 0.5),
        "float64-key": (query, key.astype(np.float64), None, 0.5),
        "float64-negatives": (query, key, key.astype(np.float64), 0.5),
        "float32-temperature": (query.astype(np.float64), key.astype(np.float64), None, np.asarray(0.5, np.float32)),
    }
    for title, arguments in calls.items():
        judge = partial(_promotes, title, arguments)
        program = Program(title, 5, 3)
        yield Case(f"options/dtype/{title}", "options", (program,), judge, ("float64",), compiled=False)


def _promotes(title: str, arguments: tuple[Any, ...], subject: Subject) -> Outcome:
    got, want = subject.raw(*arguments), info_nce(*arguments)
    size = abs(float(got) - float(want.loss)) / float(want.loss)
    if size <= 8e-15 * (1 + want.largest_logit) and "float64" in str(got.dtype):
        return Outcome()
    return failure("loss", repr(got), f"float64 {float(want.loss)!r}", f"info_nce with a {title} beside float32 arrays")


def _combinations() -> Iterator[Case]:
    """Every mode with every form of the temperature; reduction, normalisation and block size in turns."""
    for i, (mode, (negatives, options)) in enumerate(MODES.items()):
        for j, form in enumerate(FORMS):
            turns: dict[str, Any] = {
                "reduction": ("none", "mean", "sum")[(i + j) % 3],
                "normalize": (i // 3 + j) % 2 == 0,
                "block_size": BLOCKS[(i + 2 * j) % 6],
            }
            title = "-".join([mode, form, *map(str, turns.values())])
            program = Program(title, 5, 6, negatives, form, (*options, *turns.items()))
            yield _case(f"combination/{title}", program, partial(_agrees, program, 0.5))


def _large() -> Iterator[Case]:
    """More rows than a block has, and more columns than 16 bits count; rows that do not fill the last block."""
    several = Program("several-blocks", 300, 64, options=(SYMMETRIC, ("block_size", 128)))
    default = Program("many-rows", 1100, 8)
    wide = Program("many-columns", 3, 4, (70_000,), options=(NONE,))
    for program in (several, default, wide):
        yield _case(f"large/{program.name}", program, partial(_agrees, program, 0.1))


def _bounded() -> Iterator[Case]:
    """Of unit rows, and a number as the temperature, that bounds all logits: where a backend may do with fewer passes.

    In half precision, too, and of sizes that tensor cores take; the last block has fewer rows, and the last tile too.
    """
    numbers: dict[str, Any] = {"rows": 264, "features": 64, "temperature": "number"}
    blocks = ("block_size", 104)
    for program in (
        Program("in-batch", **numbers),
        Program("in-batch-blocks-none", **numbers, options=(NONE, blocks)),
        Program("symmetric", **numbers, options=(SYMMETRIC,)),
        Program("symmetric-blocks-none", **numbers, options=(SYMMETRIC, NONE, blocks)),
    ):
        judge, dtypes = partial(_agrees, program, 0.07), ("float64", "float32", *HALVES)
        yield Case(f"options/bounded/{program.name}", "options", (program,), judge, dtypes, compiled=False)


def _case(title: str, program: Program, judge: Callable[[Subject], Outcome]) -> Case:
    return Case(f"options/{title}", "options", (program,), judge, compiled=False)


def _agrees(program: Program, t: float, subject: Subject) -> Outcome:
    return agrees(subject, program, draw(program.name, program, "normal", t))


def _equalities() -> Iterator[Case]:
    judges: dict[str, tuple[Program, Callable[[Subject, Program, Data], Outcome]]] = {
        "symmetric-is-the-average": (Program("in-batch", 6, 5, options=(NONE,)), _average),
        "equal-temperatures-by-row": (Program("in-batch", 6, 5), _equal_rows),
        "temperatures-as-a-column": (Program("rows", 6, 5, temperature="rows", options=(NONE,)), _column),
        "in-batch-true-by-default": (Program("in-batch", 6, 5), partial(_default, True)),
        "in-batch-false-by-default": (Program("unpaired", 6, 5, (4,)), partial(_default, False)),
        "in-batch-and-explicit-add-up": (Program("unpaired", 6, 5, (4,), options=(NONE,)), _additive),
        "dot-product-of-unit-rows-is-cosine": (Program("unpaired", 6, 5, (4,)), _unit_rows),
    }
    for title, (program, judge) in judges.items():
        yield _case(f"property/{title}", program, partial(_run, title, program, judge))
    symmetric = Program("symmetric", 7, 5, (4,), options=(BOTH, SYMMETRIC))
    for size in (1, 2, 3, 4, 6, 7, 8, 15):
        judge = partial(_blocks, size)
        yield _case(f"property/block-size-{size}", symmetric, partial(_run, "blocks", symmetric, judge))


def _run(title: str, program: Program, judge: Callable[[Subject, Program, Data], Outcome], subject: Subject) -> Outcome:
    return judge(subject, program, subject.round(draw(title, program, "normal", 0.3)))


def _with(program: Program, **options: Any) -> Program:
    return replace(program, options=tuple((program.keywords | options).items()))


def _average(subject: Subject, program: Program, data: Data) -> Outcome:
    """Both directions are this same loss, with queries and keys exchanged."""
    forth = subject(program, data)
    back = subject(program, data.but(query=data.positive_key, positive_key=data.query))
    exchanged = {"query": "positive_key", "positive_key": "query", "temperature": "temperature"}
    gradients = {name: (g + back.gradients[exchanged[name]]) / 2 for name, g in forth.gradients.items()}
    return related(subject, _with(program, symmetric=True), data, (forth.loss + back.loss) / 2, gradients)


def _equal_rows(subject: Subject, program: Program, data: Data) -> Outcome:
    """One temperature, given once or for every row: its gradient is the sum of theirs."""
    by_row = replace(data, temperature=np.full(program.rows, data.temperature))
    first = subject(replace(program, temperature="rows"), by_row)
    gradients = {name: np.asarray(np.sum(g)) if name == "temperature" else g for name, g in first.gradients.items()}
    return related(subject, program, data, first.loss, gradients)


def _column(subject: Subject, program: Program, data: Data) -> Outcome:
    """(N, 1) means what (N,) means, and its gradient is (N, 1)."""
    column = replace(data, temperature=np.asarray(data.temperature).reshape(-1, 1))
    first = subject(program, data)
    gradients = {name: g.reshape(-1, 1) if name == "temperature" else g for name, g in first.gradients.items()}
    return related(subject, program, column, first.loss, gradients)


def _default(in_batch: bool, subject: Subject, program: Program, data: Data) -> Outcome:
    first = subject(program, data)
    return related(subject, _with(program, in_batch=in_batch), data, first.loss, first.gradients)


def _additive(subject: Subject, program: Program, data: Data) -> Outcome:
    """exp(L) - 1 is additive over the batch's own negatives and the explicit ones."""
    own = data.but(negative_keys=None)
    losses = [subject(program, data).loss, subject(replace(program, negatives=None), own).loss]
    return related(subject, _with(program, in_batch=True), data, np.log1p(sum(np.expm1(loss) for loss in losses)))


def _unit_rows(subject: Subject, program: Program, data: Data) -> Outcome:
    assert data.negative_keys is not None
    arrays = (data.query, data.positive_key, data.negative_keys)
    query, key, negatives = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in arrays)
    unit = subject.round(pairs(query, key, negatives, data.temperature))
    return related(subject, _with(program, normalize=False), unit, subject(program, data).loss)


def _blocks(size: int, subject: Subject, program: Program, data: Data) -> Outcome:
    """The number of rows visited at a time changes nothing but rounding."""
    first: Answer = subject(program, data)
    return related(subject, _with(program, block_size=size), data, first.loss, first.gradients)
