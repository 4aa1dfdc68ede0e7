"""The Triton kernels of unit rows and the way back, run by Triton's interpreter, against the formulas in float64.

See `test_torch_kernel.py`: this module run as a program checks all cases.
"""

from __future__ import annotations

import json
import math
import sys
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from infonce.torch._kernel_rows import ENTRIES, NARROWEST, through_unit_rows, unit_rows

from ._interpreted import interpreted, needs_triton

pytestmark = pytest.mark.xdist_group("torch_kernel_rows")  # one worker takes them all: the cases run once
# Of the entries of a row and of its gradient, so that neither unit rows nor |g| / |x| leave float32's range.
SIZES = [(1.0, 1.0), (1e20, 1.0), (0.0, 1e20), (3e38, 1e9), (1e-25, 1.0), (1e-40, 1e-6), (1e12, 1.0), (1e-12, 1.0)]


class Case(NamedTuple):
    rows: int
    columns: int
    over: float = 0.1
    dtype: str = "float32"
    lost: float | None = None  # an entry of row 1, and of the gradient of the row before the last
    transposed: bool = False  # the gradient


CASES = {
    "one": Case(1, 1),
    "one-column": Case(ENTRIES // NARROWEST + 1, 1),
    "three": Case(9, 3),
    "less-than-narrowest": Case(8, NARROWEST - 1),
    "narrowest": Case(ENTRIES // NARROWEST, NARROWEST),
    "more-than-narrowest": Case(ENTRIES // NARROWEST + 1, NARROWEST + 1),
    "rows-short-of-a-tile": Case(7, 256),
    "a-tile": Case(8, 256),
    "tiles": Case(17, 256),
    "short-of-widest": Case(8, ENTRIES - 1),
    "widest": Case(8, ENTRIES),
    "one-more": Case(8, ENTRIES + 1),
    "wide": Case(8, 2 * ENTRIES + 777),
    "over-one": Case(8, 100, 1.0),
    "over-large": Case(8, 100, 1e6),
    "over-small": Case(8, 100, 1e-4),
    "bfloat16": Case(5, 100, dtype="bfloat16"),  # the interpreter holds no subnormal ones
    "bfloat16-wide": Case(5, ENTRIES + 100, dtype="bfloat16"),
    "float16": Case(1, 100, dtype="float16"),
    "transposed": Case(9, 40, transposed=True),
    "nan": Case(9, 100, lost=math.nan),
    "nan-wide": Case(8, ENTRIES + 100, lost=math.nan),
    "inf": Case(9, 100, lost=math.inf),
}


def inputs(case: Case) -> tuple[Any, Any]:
    random = np.random.default_rng(case[:2])
    sizes = np.resize(SIZES, (case.rows, 2))
    x, g = (random.uniform(0.5, 1, (case.rows, case.columns)) * s[:, None] for s in sizes.T)
    signs = random.choice([-1, 1], (2, *x.shape))
    x, g = (torch.from_numpy(y * s) for y, s in zip((x, g * min(case.over, 1)), signs, strict=True))
    return x.to(getattr(torch, case.dtype)), g.float()


def expected(case: Case) -> tuple[Any, Any, Any, Any]:
    """Unit rows, lengths and their scales, and the gradient, a row at a time."""
    unit, gradient = np.zeros((2, case.rows, case.columns))
    length, scale = np.full((case.rows, 1), math.inf), np.ones((case.rows, 1))
    for i, (x, g) in enumerate(zip(*(y.double().numpy() for y in inputs(case)), strict=True)):
        if max(abs(x)) > 1e15:
            scale[i] = 2.0**-100
        elif max(abs(x)) < 1e-15:
            scale[i] = 2.0**100
        if any(x):
            norm = math.sqrt(sum(x * x))
            length[i] = norm * scale[i]
            unit[i] = x / norm / case.over
            gradient[i] = (g - x / norm * sum(x / norm * g)) / case.over / norm
    return unit, length, scale, gradient


def differences(case: Case) -> list[str]:
    """What the kernels give and the formulas do not."""
    x, g = inputs(case)
    want, found = expected(case), []
    slope = np.linalg.norm(g.double(), axis=1, keepdims=True) * want[2] / want[1] / case.over  # |g| / |x| / over
    if case.transposed:
        g = g.T.contiguous().T
    lost = np.zeros((2, case.rows), bool)  # rows and gradients that NaN reaches
    if case.lost is not None:
        x[1, -1] = g[-2, 0] = case.lost
        lost[0, 1] = lost[1, [1, -2]] = True
    with np.errstate(invalid="ignore"):  # inf / inf
        unit, (length, scale), halves = unit_rows(x, case.over)
        got = unit, length, scale, through_unit_rows(g, unit, length, scale, case.over)
    allowed = 1e-6 * np.abs(want[0]), 1e-6 * want[1], 0 * want[2], 2e-6 * slope + 1e-45
    for name, y, exact, least in zip(("unit", "length", "scale", "gradient"), got, want, allowed, strict=True):
        values, away = y.double().numpy(), lost[int(name == "gradient")]
        off = np.abs(np.subtract(values, exact, where=values != exact, out=np.zeros_like(exact)))  # inf is inf
        wrong = ~(off <= least) & ~away[:, None]  # NaN is wrong
        if y.dtype != torch.float32 or wrong.any():
            i = tuple(np.argwhere(wrong)[0])
            found.append(f"{name}{list(map(int, i))} = {values[i]}, but should be {exact[i]}; {wrong.sum()} are wrong")
        if name in ("unit", "gradient") and not np.isnan(values[away]).any(axis=1).all():
            found.append(f"{name} = {values[away]}, but should have NaN in each row")
    if halves is None:
        return found if case.dtype != "bfloat16" else [*found, "there are no halves"]
    # The interpreter cuts bfloat16 off, where a GPU rounds to the nearest.
    wanted = x.double().numpy() * want[2], 1 / (want[1] * case.over), want[0]
    for name, y, exact, least in zip(halves._fields, halves, wanted, (0, 1e-6, 2**-7), strict=True):
        if y.dtype != (torch.float32 if name == "factor" else torch.bfloat16):
            found.append(f"{name} is of {y.dtype}")
        if not (np.abs(y.double().numpy() - exact) <= least * np.abs(exact)).all():
            found.append(f"{name} = {y}, but should be {exact}")
    return found


@pytest.fixture(scope="module")
def wrong() -> dict[str, list[str]]:
    return interpreted(__name__)


@needs_triton
@pytest.mark.parametrize("name", CASES)
def test_row_kernels_are_the_formulas(name: str, wrong: dict[str, list[str]]) -> None:
    assert wrong[name] == []


if __name__ == "__main__":
    json.dump({name: differences(case) for name, case in CASES.items()}, sys.stdout)
