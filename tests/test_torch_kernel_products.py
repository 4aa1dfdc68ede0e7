"""The Triton kernel of products and exponentials, run by Triton's interpreter, against the formulas in float64.

See `test_torch_kernel.py`: this module run as a program checks all cases.
"""

from __future__ import annotations

import json
import sys
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from infonce.torch import _kernel_products
from infonce.torch._kernel_products import TILES, Tiles, exp_scores

from ._interpreted import interpreted, needs_triton

pytestmark = pytest.mark.xdist_group("torch_kernel_products")  # one worker takes them all: the cases run once
SMALL = Tiles(rows=16, columns=32, depth=16, group=2, warps=1, stages=2)
OUTSIDE = 1e4  # in the rows and columns around those at hand


class Case(NamedTuple):
    rows: int
    columns: int
    depth: int
    first_row: int
    tiles: Tiles = SMALL
    size: float = 2.0  # of the logits
    nan: tuple[str, int] | None = None  # of "rows", "keys"; which
    zero: int | None = None  # a row whose embedding and factor are 0
    sliced: bool = False  # rows and keys are parts of larger arrays


CASES = {
    "no-negatives": Case(1, 1, 1, 0),
    "few": Case(3, 5, 7, 1),
    "one-tile": Case(16, 32, 16, 0),
    "less-than-a-tile": Case(15, 31, 15, 9),
    "more-than-a-tile": Case(17, 33, 17, 3),
    "tiles": Case(48, 96, 48, 0),
    "tiles-middle": Case(48, 96, 48, 20),
    "tiles-end": Case(48, 96, 48, 48),
    "square": Case(96, 96, 32, 0),
    "part-of-the-last": Case(50, 101, 40, 0),
    "part-of-the-last-middle": Case(50, 101, 40, 33),
    "part-of-the-last-end": Case(50, 101, 40, 51),
    "positives-at-an-edge": Case(16, 64, 16, 31),
    "groups": Case(83, 83, 16, 0, tiles=SMALL._replace(group=3)),
    "large-tiles": Case(128, 256, 128, 100, tiles=TILES),
    "part-of-large-tiles": Case(130, 300, 100, 170, tiles=TILES),
    "forty": Case(40, 70, 24, 10, size=40.0),
    "zero-row": Case(20, 40, 16, 5, zero=17),
    "slices": Case(20, 40, 16, 5, sliced=True),
    "slices-part-of-the-last": Case(19, 37, 21, 5, sliced=True),
    "nan-in-a-row": Case(20, 70, 16, 40, nan=("rows", 3)),
    "nan-in-a-positive": Case(1, 40, 16, 5, nan=("keys", 5)),
    "nan-in-a-key": Case(20, 40, 16, 5, nan=("keys", 30)),
}


def inputs(case: Case) -> tuple[Any, Any, Any, Any]:
    """Rows and keys that bfloat16 holds, and factors that make their products logits of at most the case's size."""
    random = np.random.default_rng(case[:4])
    rows, keys = (
        torch.from_numpy(random.standard_normal((n, case.depth))).bfloat16() for n in (case.rows, case.columns)
    )
    r, c = (random.uniform(0.5, 2, n).astype("f4") for n in ((case.rows, 1), (1, case.columns)))
    if case.zero is not None:
        rows[case.zero], r[case.zero] = 0, 0
    r *= case.size / np.abs((rows.double() @ keys.double().T).numpy() * r * c).max()
    return rows, keys, torch.from_numpy(r), torch.from_numpy(c)


def expected(case: Case) -> tuple[Any, Any, Any]:
    """p, total and the positives, a row at a time."""
    rows, keys, r, c = (x.double().numpy() for x in inputs(case))
    p, total, positive = np.zeros((case.rows, case.columns)), *np.zeros((2, case.rows, 1))
    for i in range(case.rows):
        z = np.array([np.sum(rows[i] * key) for key in keys]) * r[i] * c[0]
        own = case.first_row + i
        p[i] = np.exp(z)
        total[i] = sum(np.delete(p[i], own))
        p[i, own], positive[i] = -total[i, 0], z[own]
    return p, total, positive


def teach_bfloat16() -> None:
    """Triton 3.7's interpreter multiplies the bits of bfloat16 as if they were integers."""
    import triton.language as tl
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

    dot = InterpreterBuilder.create_dot

    def of_floats(self: Any, a: Any, b: Any, *others: Any) -> Any:
        assert a.dtype == b.dtype == tl.bfloat16
        wide = ((x.data.astype(np.uint32) << 16).view(np.float32) for x in (a, b))
        return dot(self, *(TensorHandle(x, tl.float32) for x in wide), *others)

    InterpreterBuilder.create_dot = of_floats


def differences(case: Case) -> list[str]:
    """What the kernel gives and the formulas do not."""
    rows, keys, r, c = inputs(case)
    lost = np.zeros(case.rows, bool)  # rows that NaN reaches
    if case.nan:
        kind, i = case.nan
        (rows if kind == "rows" else keys)[i, -1] = torch.nan
        lost[i if kind == "rows" else slice(None)] = True
    if case.sliced:
        held = [torch.full((x.shape[0] + 2, x.shape[1] + 3), OUTSIDE, dtype=x.dtype) for x in (rows, keys)]
        for part, x in zip(held, (rows, keys), strict=True):
            part[1:-1, :-3] = x
        rows, keys = (x[1:-1, :-3] for x in held)
    _kernel_products.TILES = case.tiles
    got = exp_scores(rows, keys, r, c, case.first_row)

    found = []
    if [x.dtype for x in got] != [torch.bfloat16, torch.float32, torch.float32]:
        found.append(f"dtypes = {[x.dtype for x in got]}")
    for name, x, want in zip(("p", "total", "positive"), got, expected(case), strict=True):
        # The interpreter cuts bfloat16 off, where a GPU rounds to the nearest.
        relative = 1e-6 * (1 + case.size) + (torch.finfo(x.dtype).eps if x.dtype == torch.bfloat16 else 0)
        least = case.size * 1e-6 if name == "positive" else 1e-37
        values = x.double().numpy()
        wrong = ~(np.abs(values - want) <= least + relative * np.abs(want)) & ~lost[:, None]  # NaN is wrong
        if values.shape != want.shape or wrong.any():
            i = tuple(np.argwhere(wrong)[0])
            found.append(f"{name}{list(map(int, i))} = {values[i]}, but should be {want[i]}; {wrong.sum()} are wrong")
    if not got[1][lost].isnan().all():
        found.append(f"total = {got[1][lost].flatten().tolist()}, but should be NaN")
    return found


@pytest.fixture(scope="module")
def wrong() -> dict[str, list[str]]:
    return interpreted(__name__)


@needs_triton
@pytest.mark.parametrize("name", CASES)
def test_product_kernel_is_the_formula(name: str, wrong: dict[str, list[str]]) -> None:
    assert wrong[name] == []


@pytest.mark.parametrize("first_row", [-1, 4])
def test_positives_outside_the_products_are_refused(first_row: int) -> None:
    rows, keys = torch.zeros(2, 3, dtype=torch.bfloat16), torch.zeros(5, 3, dtype=torch.bfloat16)
    with pytest.raises(AssertionError):
        exp_scores(rows, keys, torch.ones(2, 1), torch.ones(1, 5), first_row)


if __name__ == "__main__":
    teach_bfloat16()
    json.dump({name: differences(case) for name, case in CASES.items()}, sys.stdout)
