"""Value and every gradient against the oracle, over programs and data sets: ordinary, extreme and half precision."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from infonce.conformance.cases._judge import HALVES, agrees, reference
from infonce.conformance.cases._programs import DOT_MEAN, OPTIONS, PLAIN, SYMMETRIC_DOT
from infonce.conformance.data import generator, make
from infonce.conformance.model import Case, Data, Group, Outcome, Program, Subject

ORDINARY = (
    *(("normal", t) for t in (0.1, 0.2, 0.5, 1.0, 5.0, 100.0)),
    *(("aligned", t) for t in (0.5, 1.0)),
    *(("opposed", t) for t in (0.01, 0.05, 0.1, 1.0)),
    *(("crowded", t) for t in (0.02, 0.1)),
    *(("equal", t) for t in (0.02, 0.1, 1.0)),
    *(("two-worlds", 0.1), ("two-worlds", 1.0), ("nearly-opposite", 0.02), ("reversed", 0.1), ("antipodal", 2.0)),
    *(("duplicated", 0.2), ("orthonormal", 0.5), ("uniform", 0.1), ("rectified", 0.2), ("integers", 0.5)),
    *(("heavy-tailed", 0.5), ("sparse", 0.5), ("plane", 0.5), ("offset", 0.05), ("scales", 0.5)),
)
EXTREME = (
    *(("nearly-equal", t) for t in (0.01, 0.02, 0.05, 0.1)),
    *(("aligned", t) for t in (0.02, 0.05)),
    *(("orthonormal", t) for t in (0.0125, 0.02, 0.05)),
    *(("antipodal", t) for t in (0.03, 0.05, 0.1)),
    *(("two-worlds", t) for t in (0.001, 0.01)),
    *(("normal", t) for t in (1e-4, 1e-3, 0.01, 1e6)),
    *(("reversed", t) for t in (1e-4, 0.01)),
    *(("zero-rows", 0.1), ("zero-rows", 0.01), ("wide-scales", 0.1)),
    *(("entries-of-1e-25", 0.1), ("entries-of-1e20", 0.1), ("entries-of-3e38", 0.1)),
)
HALF = (
    *(("normal", t) for t in (1e-4, 0.01, 0.07, 0.1, 0.5)),
    *(("aligned", t) for t in (0.05, 0.1)),
    *(("nearly-equal", t) for t in (0.05, 0.1)),
    *(("opposed", 0.1), ("crowded", 0.05), ("duplicated", 0.1), ("two-worlds", 0.01), ("zero-rows", 0.1)),
    *(("orthonormal", 0.05), ("equal", 0.1), ("reversed", 0.1), ("antipodal", 0.1), ("uniform", 0.1)),
    *(("scales", 0.1), ("entries-of-300", 0.1), ("entries-of-0.002", 0.1)),
)
WIDE_HALF = (("entries-of-1e-25", 0.1), ("entries-of-1e20", 0.1), ("entries-of-3e38", 0.1))  # beyond float16
ONLY_DOUBLE = (("entries-of-1e-290", 0.1), ("entries-of-1e300", 0.1))


def cases() -> tuple[Case, ...]:
    return (
        *(_case("agreement", "ordinary", program, kind, t, floor=0.012) for program in PLAIN for kind, t in ORDINARY),
        *(_case("numerics", "extreme", program, kind, t) for program in PLAIN for kind, t in EXTREME),
        *(
            _case("options", part, program, kind, t)
            for program in OPTIONS
            for part, sets in (("ordinary", ORDINARY), ("extreme", EXTREME))
            for kind, t in sets
            if _fits(program, kind)
        ),
        *_of_dtypes("half", HALVES, HALF),
        *_of_dtypes("wide-half", ("bfloat16",), WIDE_HALF),
        *_of_dtypes("double", ("float64",), ONLY_DOUBLE),
    )


def _of_dtypes(part: str, dtypes: tuple[str, ...], sets: tuple[tuple[str, float], ...]) -> list[Case]:
    return [
        _case("numerics" if program in PLAIN else "options", part, program, kind, t, dtypes)
        for program in (*PLAIN, *OPTIONS)
        for kind, t in sets
        if _fits(program, kind)
    ]


def _fits(program: Program, kind: str) -> bool:
    """Rows of extreme length have dot products beyond any dtype."""
    return program not in (DOT_MEAN, SYMMETRIC_DOT) or not ("scales" in kind or kind.startswith("entries"))


def _case(
    group: Group,
    part: str,
    program: Program,
    kind: str,
    t: float,
    dtypes: tuple[str, ...] = ("float64", "float32"),
    floor: float = 0.0,
) -> Case:
    name = f"{group}/{part}/{program.name}/{kind}-t{t:g}"

    def judge(subject: Subject) -> Outcome:
        return agrees(subject, program, draw(name, program, kind, t, floor))

    return Case(name, group, (program,), judge, dtypes)


@cache
def draw(name: str, program: Program, kind: str, t: float, floor: float = 0.0) -> Data:
    """The data set of a case: the first draw in which every row's loss is at least `floor`."""
    rng = generator(name)
    by_row = replace(program, options=tuple((program.keywords | {"reduction": "none"}).items()))
    for _ in range(10_000):
        data = make(kind, program, t, rng)
        if floor == 0 or np.min(reference(by_row, data).loss) >= floor:
            return data
    raise AssertionError(f"no data set {name} with losses above {floor}")
