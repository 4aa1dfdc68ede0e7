"""Value and every gradient against the oracle: optional arrays and terms, `nt_xent` and `sup_con`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from infonce.conformance.cases._agreement import draw
from infonce.conformance.cases._judge import HALVES, agrees
from infonce.conformance.cases._options import BLOCKS, MODES
from infonce.conformance.cases._programs import FAMILY, NT_XENT, SUP_CON
from infonce.conformance.model import Case, Outcome, Program, Subject

Optional = tuple[tuple[str, str], ...]

PAIR_SETS = (("normal", 0.1), ("normal", 1.0), ("aligned", 0.5), ("crowded", 0.1), ("duplicated", 0.2), ("equal", 0.5))
PAIR_EXTREMES = (("aligned", 0.05), ("zero-rows", 0.1), ("normal", 0.01), ("entries-of-1e20", 0.1))
VIEW_SETS = (("normal", 0.1), ("normal", 1.0), ("aligned", 0.5), ("crowded", 0.1), ("duplicated", 0.2), ("equal", 0.5))
VIEW_EXTREMES = (("aligned", 0.05), ("zero-rows", 0.1), ("normal", 0.01), ("entries-of-1e20", 0.1))
HALF_SETS = (("normal", 0.1), ("aligned", 0.5), ("crowded", 0.1), ("zero-rows", 0.1))

# What each option of info_nce is tried with alone, in those of these modes where it has a meaning.
ALONE = ("in-batch", "paired", "in-batch-unpaired", "symmetric-paired")
TERMS: dict[str, tuple[tuple[tuple[str, Any], ...], Optional]] = {
    "weight": ((), (("weight", "rows"),)),
    "mask-columns": ((), (("mask", "columns"),)),
    "mask-row": ((), (("mask", "row"),)),
    "mask-matrix": ((), (("mask", "matrix"),)),
    "mask-empty-rows": ((("block_size", 3),), (("mask", "empty-rows"),)),
    "mask-nothing": ((), (("mask", "nothing"),)),
    "ids": ((), (("ids", "shared"),)),
    "ids-equal": ((), (("ids", "equal"),)),
    "ids-negative-ids": ((), (("ids", "shared"), ("negative_ids", "some"))),
    "bias-columns": ((), (("bias", "columns"),)),
    "bias-row": ((), (("bias", "row"),)),
    "bias-matrix": ((), (("bias", "matrix"),)),
    "label-smoothing": ((("label_smoothing", 0.1),), ()),
    "margin": ((("margin", 0.3),), ()),
    "negative-margin": ((("margin", -0.2),), ()),
    "decoupled": ((("decoupled", True),), ()),
    "debias": ((("debias", 0.1),), ()),
    "hardness": ((("hardness", 1.0),), ()),
}

# Several at once, by mode.
TOGETHER: dict[str, tuple[str, str, tuple[tuple[str, Any], ...], Optional]] = {
    "smoothing-mask-ids-bias": (
        *("in-batch-unpaired", "rows", (("label_smoothing", 0.2), ("reduction", "none"))),
        (("mask", "matrix"), ("ids", "shared"), ("negative_ids", "some"), ("bias", "matrix")),
    ),
    "everything-but-smoothing": (
        "symmetric-paired",
        "rows",
        (("decoupled", True), ("debias", 0.2), ("hardness", 2.0), ("margin", 0.1), ("block_size", 2)),
        (("mask", "matrix"), ("ids", "shared"), ("negative_ids", "some"), ("bias", "columns"), ("weight", "rows")),
    ),
    "decoupled-without-candidates": (
        *("in-batch", "scalar", (("decoupled", True), ("debias", 0.1), ("hardness", 1.0), ("block_size", 3))),
        (("mask", "empty-rows"), ("weight", "rows")),
    ),
    "debias-at-its-floor": ("paired", "scalar", (("debias", 0.9), ("reduction", "none")), (("weight", "rows"),)),
    "dot-products": (
        *("in-batch-unpaired", "scalar", (("normalize", False), ("label_smoothing", 0.1), ("margin", 0.5))),
        (("mask", "row"), ("bias", "row"), ("weight", "rows")),
    ),
    "symmetric-queue": (
        *("symmetric-unpaired", "number", (("label_smoothing", 0.1), ("reduction", "sum"), ("block_size", 2))),
        (("mask", "columns"), ("ids", "shared"), ("negative_ids", "some"), ("bias", "columns")),
    ),
    "weights-of-zero": ("in-batch", "scalar", (), (("weight", "zeros"),)),
}

# The losses of several positives: views, samples, temperature, options, optional arrays.
Views = tuple[int, int, str, tuple[tuple[str, Any], ...], Optional]
OF_VIEWS: dict[str, Views] = {
    "two-of-one-sample": (2, 1, "scalar", (), ()),
    "four": (4, 3, "number", (("block_size", 5),), ()),
    "dot-products": (3, 4, "scalar", (("normalize", False), ("reduction", "sum")), ()),
    "ids": (2, 6, "scalar", (), (("ids", "shared"),)),
    "ids-equal": (3, 4, "scalar", (("decoupled", True),), (("ids", "equal"),)),
    "weight": (3, 4, "scalar", (("block_size", 4),), (("weight", "rows"),)),
    "label-smoothing": (2, 5, "rows", (("label_smoothing", 0.1), ("reduction", "none")), (("weight", "rows"),)),
    "margin": (3, 4, "scalar", (("margin", 0.3), ("reduction", "sum")), ()),
    "decoupled": (2, 5, "rows", (("decoupled", True),), ()),
    "decoupled-three": (3, 4, "scalar", (("decoupled", True), ("margin", 0.1), ("reduction", "none")), ()),
    "debias": (2, 5, "scalar", (("debias", 0.1),), ()),
    "debias-at-its-floor": (3, 4, "rows", (("debias", 0.9), ("reduction", "none")), ()),
    "hardness": (3, 4, "scalar", (("hardness", 1.0),), ()),
    "exclude-positives": (3, 4, "scalar", (("exclude_positives", True), ("block_size", 5)), ()),
    "exclude-positives-and-all": (
        *(3, 5, "rows", (("exclude_positives", True), ("debias", 0.1), ("hardness", 1.0), ("reduction", "none"))),
        (("ids", "shared"), ("weight", "rows")),
    ),
    "exclude-positives-number": (4, 3, "number", (("exclude_positives", True), ("normalize", False)), ()),
}
GROUPS = ("labels", "groups")
OF_LABELS: dict[str, Views] = {
    "out": (0, 7, "scalar", (), (GROUPS,)),
    "out-number-none": (0, 7, "number", (("reduction", "none"), ("block_size", 3)), (GROUPS,)),
    "out-rows-sum": (0, 7, "rows", (("reduction", "sum"), ("rows_without_positives", "zero")), (GROUPS,)),
    "out-zero": (2, 4, "scalar", (("rows_without_positives", "zero"), ("block_size", 3)), (GROUPS, ("weight", "rows"))),
    "out-views": (3, 4, "rows", (("reduction", "none"),), (GROUPS, ("weight", "rows"))),
    "out-without-positives": (0, 5, "scalar", (), (("labels", "distinct"),)),
    "out-without-negatives": (0, 5, "scalar", (), (("labels", "equal"),)),
    "out-positives": (0, 6, "scalar", (("block_size", 4),), (("positives", "mask"), ("weight", "rows"))),
    "out-weighted-positives": (2, 4, "rows", (("reduction", "none"),), (("positives", "weights"), ("weight", "rows"))),
    "out-dot-products": (0, 7, "scalar", (("normalize", False),), (GROUPS,)),
    "in": (0, 7, "scalar", (("form", "in"),), (GROUPS, ("weight", "rows"))),
    "in-weighted-positives": (0, 6, "scalar", (("form", "in"), ("reduction", "sum")), (("positives", "weights"),)),
    "in-decoupled": (2, 4, "scalar", (("form", "in"), ("decoupled", True)), (GROUPS,)),
    "in-without-negatives": (0, 5, "scalar", (("form", "in"),), (("labels", "equal"),)),
    "in-hardness-debias-margin": (
        *(2, 4, "rows", (("form", "in"), ("hardness", 1.0), ("debias", 0.1), ("margin", 0.1))),
        (("positives", "mask"),),
    ),
    "in-smoothing": (0, 7, "scalar", (("form", "in"), ("label_smoothing", 0.2)), (GROUPS,)),
    "label-smoothing": (2, 4, "scalar", (("label_smoothing", 0.1), ("margin", 0.2)), (("positives", "weights"),)),
    "margin": (0, 7, "scalar", (("margin", 0.3),), (GROUPS,)),
    "decoupled": (0, 7, "rows", (("decoupled", True), ("reduction", "none")), (("positives", "weights"),)),
    "decoupled-without-negatives": (0, 5, "scalar", (("decoupled", True),), (("labels", "equal"),)),
    "debias": (0, 7, "scalar", (("debias", 0.1),), (GROUPS,)),
    "hardness": (0, 7, "scalar", (("hardness", 1.0), ("block_size", 3)), (("positives", "mask"),)),
    "exclude-positives": (0, 7, "scalar", (("exclude_positives", True),), (GROUPS, ("weight", "rows"))),
    "exclude-weighted-positives": (
        *(2, 4, "rows", (("exclude_positives", True), ("hardness", 0.5), ("reduction", "none"))),
        (("positives", "weights"),),
    ),
}


def cases() -> tuple[Case, ...]:
    return (*_compiled(), *_alone(), *_together(), *_several_positives(), *_tiny(), *_large(), *_bounded())


def _compiled() -> Iterator[Case]:
    """The programs of compiled variants, on ordinary, extreme and half-precision data."""
    for program in FAMILY:
        ordinary, extreme = (PAIR_SETS, PAIR_EXTREMES) if program.loss == "info_nce" else (VIEW_SETS, VIEW_EXTREMES)
        for kind, t in (*ordinary, *extreme):
            yield _case(f"family/{program.name}/{kind}-t{t:g}", program, kind, t, compiled=True)
        for kind, t in HALF_SETS:
            yield _case(f"family-half/{program.name}/{kind}-t{t:g}", program, kind, t, HALVES, compiled=True)


def _alone() -> Iterator[Case]:
    """Each option in each mode; reduction, block size and the form of the temperature in turns."""
    for i, (term, (options, optional)) in enumerate(TERMS.items()):
        for j, (mode, (negatives, mode_options)) in enumerate(MODES.items()):
            if mode not in ALONE or not _has_meaning(term, mode):
                continue
            turns = {"reduction": ("none", "mean", "sum")[(i + j) % 3], "block_size": BLOCKS[(i + 2 * j) % 6]}
            keywords = (*(turns | dict(options)).items(), *mode_options)
            form = ("scalar", "rows", "number")[(2 * i + j) % 3]
            program = _program(term, 5, negatives, form, keywords, optional)
            yield _case(f"alone/{term}/{mode}", program, "normal", 0.5)


def _has_meaning(term: str, mode: str) -> bool:
    if term == "ids-negative-ids":
        return "paired" in mode
    return term not in ("ids", "ids-equal") or mode != "paired"


def _together() -> Iterator[Case]:
    for title, (mode, form, options, optional) in TOGETHER.items():
        negatives, mode_options = MODES[mode]
        program = _program(title, 5, negatives, form, (*mode_options, *options), optional)
        for kind, t in (("normal", 0.5), ("aligned", 0.2)):
            yield _case(f"together/{title}/{kind}-t{t:g}", program, kind, t)


def _several_positives() -> Iterator[Case]:
    for loss, table in ((NT_XENT, OF_VIEWS), (SUP_CON, OF_LABELS)):
        for title, (views, rows, form, options, optional) in table.items():
            program = _program(title, rows, None, form, options, optional, loss=loss, views=views)
            for kind, t in (("normal", 0.5), ("aligned", 0.2)):
                yield _case(f"{loss}/{title}/{kind}-t{t:g}", program, kind, t)


def _tiny() -> Iterator[Case]:
    """Losses down to 1e-17, of rows that are near their only positive and not at it: its slope must not cancel."""
    views: dict[str, tuple[tuple[tuple[str, Any], ...], Optional]] = {
        "ids": ((), (("ids", "distinct"),)),
        "weight": ((("block_size", 3),), (("weight", "ones"),)),
        "debias": ((("debias", 0.1),), ()),
        "exclude-positives": ((("exclude_positives", True),), ()),
    }
    alone: Optional = (("labels", "distinct"),)
    labels = {"out": (), "in": (("form", "in"),), "hardness": (("hardness", 0.5),)}
    pairs = {"ids": (("ids", "distinct"),), "weight": (("weight", "ones"),), "bias": (("bias", "zeros"),)}
    programs = (
        *(_program(name, 4, None, "scalar", *x, loss=NT_XENT, views=2) for name, x in views.items()),
        *(_program(name, 4, None, "scalar", x, alone, loss=SUP_CON, views=2) for name, x in labels.items()),
        *(_program(name, 5, None, "scalar", (("symmetric", True),), x) for name, x in pairs.items()),
    )
    for program in programs:
        title, wide = f"tiny/{program.loss}-{program.name}", replace(program, features=64)
        for t in (0.05, 0.02):
            yield _case(f"{title}/aligned-t{t:g}", wide, "aligned", t)


def _large() -> Iterator[Case]:
    """More rows than a block has, which do not fill the last one."""
    pairs: Optional = (("mask", "matrix"), ("ids", "shared"), ("negative_ids", "some"), ("bias", "columns"))
    size: tuple[tuple[str, Any], ...] = (("block_size", 64),)
    symmetric, both = ("symmetric", True), ("in_batch", True)
    options = (symmetric, both, ("label_smoothing", 0.1), *size)
    programs = (
        _program("pairs", 150, (70,), "rows", options, (*pairs, ("weight", "rows"))),
        _program("views", 75, None, "rows", (("debias", 0.1), *size), (("ids", "shared"),), loss=NT_XENT, views=3),
        _program("labels", 150, None, "rows", (("hardness", 1.0), *size), (GROUPS,), loss=SUP_CON),
        _program("positives", 75, None, "scalar", size, (("positives", "weights"),), loss=SUP_CON, views=2),
    )
    for program in programs:
        yield _case(f"family-large/{program.name}", program, "normal", 0.2)


def _bounded() -> Iterator[Case]:
    """As the cases of that name among `_options`."""
    numbers: dict[str, Any] = {"rows": 264, "features": 64, "temperature": "number", "loss": NT_XENT}
    blocks = (("reduction", "none"), ("block_size", 104))
    programs = Program("views", **numbers, views=2), Program("three-views", **numbers, views=3, options=blocks)
    for program in programs:
        dtypes = ("float64", "float32", *HALVES)
        yield _case(f"bounded/{program.name}", program, "normal", 0.07, dtypes)


def _program(
    name: str,
    rows: int,
    negatives: tuple[int, ...] | None,
    form: Any,
    options: tuple[tuple[str, Any], ...],
    optional: Optional,
    **of_views: Any,
) -> Program:
    return Program(name, rows, 6, negatives, form, options, optional=optional, **of_views)


def _case(
    title: str,
    program: Program,
    kind: str,
    t: float,
    dtypes: tuple[str, ...] = ("float64", "float32"),
    *,
    compiled: bool = False,
) -> Case:
    judge = partial(_agrees, f"options/{title}", program, kind, t)
    return Case(f"options/{title}", "options", (program,), judge, dtypes, compiled)


def _agrees(name: str, program: Program, kind: str, t: float, subject: Subject) -> Outcome:
    return agrees(subject, program, draw(name, program, kind, t))
