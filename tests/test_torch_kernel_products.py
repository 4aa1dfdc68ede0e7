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

from infonce.halves import Halved
from infonce.torch import _kernel_products
from infonce.torch._kernel_products import TILES, Tiles, exponentials, fits, totals, weighted

from ._interpreted import interpreted, needs_triton

pytestmark = pytest.mark.xdist_group("torch_kernel_products")  # one worker takes them all: the cases run once
SMALL = Tiles(rows=16, columns=32, depth=16, group=2, warps=1, stages=2, programs=1)


class Case(NamedTuple):
    rows: int
    columns: int
    depth: int
    first_row: int
    tiles: Tiles = SMALL
    period: int | None = None  # of a row's own entries
    size: float = 2.0  # of the logits
    nan: tuple[str, int] | None = None  # of "rows", "keys"; which
    zero: int | None = None  # a row whose embedding and factor are 0


CASES = {
    "no-negatives": Case(8, 8, 8, 0, period=32),
    "few": Case(3, 8, 8, 1),
    "one-tile": Case(16, 32, 16, 0),
    "less-than-a-tile": Case(15, 24, 8, 9),
    "more-than-a-tile": Case(17, 40, 24, 3),
    "tiles": Case(48, 96, 48, 0),
    "tiles-middle": Case(48, 96, 48, 20),
    "tiles-end": Case(48, 96, 48, 48),
    "square": Case(96, 96, 32, 0),
    "part-of-the-last": Case(50, 104, 40, 0),
    "part-of-the-last-middle": Case(50, 104, 40, 33),
    "part-of-the-last-end": Case(50, 104, 40, 54),
    "positives-at-an-edge": Case(16, 64, 16, 31),
    "groups": Case(83, 88, 16, 0, tiles=SMALL._replace(group=3)),
    "more-programs": Case(83, 88, 16, 0, tiles=SMALL._replace(programs=3)),
    "large-tiles": Case(128, 256, 128, 100, tiles=TILES),
    "part-of-large-tiles": Case(130, 304, 104, 170, tiles=TILES),
    "period": Case(48, 96, 16, 0, period=48),
    "period-middle": Case(48, 96, 16, 48, period=32),
    "period-of-a-tile": Case(96, 96, 16, 0, period=32),
    "odd-period": Case(33, 104, 16, 66, period=33),
    "period-of-large-tiles": Case(260, 520, 64, 260, tiles=TILES, period=260),
    "forty": Case(40, 72, 24, 10, size=40.0),
    "zero-row": Case(20, 40, 16, 5, zero=17),
    "nan-in-a-row": Case(20, 72, 16, 40, nan=("rows", 3)),
    "nan-in-a-positive": Case(1, 40, 16, 5, nan=("keys", 5)),
    "nan-in-a-key": Case(20, 40, 16, 5, nan=("keys", 30)),
}


class Given(NamedTuple):
    rows: Halved
    keys: Halved
    row_weight: Any
    column_weight: Any
    own_value: Any


def inputs(case: Case) -> Given:
    """Rows and keys that bfloat16 holds, and factors that make their products logits of at most the case's size."""
    random = np.random.default_rng(case[:4])
    rows, keys = (
        torch.from_numpy(random.standard_normal((n, case.depth))).bfloat16() for n in (case.rows, case.columns)
    )
    r, c = (random.uniform(0.5, 2, (n, 1)).astype("f4") for n in (case.rows, case.columns))
    if case.zero is not None:
        rows[case.zero], r[case.zero] = 0, 0
    r *= case.size / np.abs((rows.double() @ keys.double().T).numpy() * r * c.T).max()
    weights = (random.standard_normal(shape).astype("f4") for shape in ((case.rows, 1), (1, case.columns)))
    own = random.standard_normal((case.rows, 1)).astype("f4")
    halved = (Halved(x, torch.from_numpy(f), x) for x, f in ((rows, r), (keys, c)))
    return Given(*halved, *map(torch.from_numpy, (*weights, own)))


def expected(case: Case) -> dict[str, Any]:
    """What each function returns, an entry at a time."""
    given = inputs(case)
    rows, r, keys, c = (x.double().numpy() for side in (given.rows, given.keys) for x in (side.rows, side.factor))
    a, b, value = (x.double().numpy() for x in given[2:])
    shape = case.rows, case.columns
    e, positive, own, w = np.zeros(shape), np.zeros((case.rows, 1)), np.zeros(shape, bool), np.zeros(shape)
    for i, j in np.ndindex(shape):
        z = np.sum(rows[i] * keys[j]) * r[i, 0] * c[j, 0]
        ahead = j - case.first_row - i
        own[i, j] = ahead == 0 if case.period is None else ahead % case.period == 0
        e[i, j] = 0 if own[i, j] else np.exp(z)
        w[i, j] = e[i, j] * (a[i, 0] + b[0, j])
        if ahead == 0:
            positive[i] = z
    total, of_columns = e.sum(axis=1, keepdims=True), e.sum(axis=0, keepdims=True)
    found = {"total": total, "columns": of_columns, "weighted": np.where(own, 0 if case.period else value, w)}
    if case.period is None:
        found |= {"p": np.where(own, -total, e), "total of p": total, "positive of p": positive, "positive": positive}
    return found


def given_by_kernels(case: Case, given: Given) -> dict[str, Any]:
    rows, keys, a, b, own = given
    total, of_columns, positive = totals(rows, keys, case.first_row, case.period, columns=True)
    alone = totals(rows, keys, case.first_row, case.period, columns=False)
    assert alone[1] is None
    assert torch.equal(alone[0].nan_to_num(), total.nan_to_num())
    assert (positive is None) == (case.period is not None)
    at_own = None if case.period else own
    found = {"total": total, "columns": of_columns}
    found["weighted"] = weighted(rows, keys, case.first_row, a, b, at_own, case.period)
    if case.period is None:
        found |= {"positive": positive}
        names = "p", "total of p", "positive of p"
        found |= dict(zip(names, exponentials(rows, keys, case.first_row), strict=True))
    return found


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
    given = inputs(case)
    lost = np.zeros((case.rows, case.columns), bool)  # entries that NaN reaches
    if case.nan:
        kind, i = case.nan
        (given.rows if kind == "rows" else given.keys).rows[i, -1] = torch.nan
        lost[(i, slice(None)) if kind == "rows" else (slice(None), i)] = True
    _kernel_products.TILES = case.tiles
    got, want = given_by_kernels(case, given), expected(case)

    found = [] if got.keys() == want.keys() else [f"given are {list(got)}, expected {list(want)}"]
    for name, x in got.items():
        half = name in ("p", "weighted")
        if x.dtype != (torch.bfloat16 if half else torch.float32):
            found.append(f"{name} is of {x.dtype}")
        # The interpreter cuts bfloat16 off, where a GPU rounds to the nearest.
        relative = 1e-6 * (1 + case.size) + (torch.finfo(x.dtype).eps if half else 0)
        least = case.size * 1e-6 if "positive" in name else 1e-37
        values, away = x.double().numpy(), lost
        if not half:
            away = lost.any(axis=0 if name == "columns" else 1).reshape(values.shape)
        elif name == "p":
            away = lost | lost.any(axis=1, keepdims=True)
        wrong = ~(np.abs(values - want[name]) <= least + relative * np.abs(want[name])) & ~away  # NaN is wrong
        if values.shape != want[name].shape or wrong.any():
            i = tuple(np.argwhere(wrong)[0])
            found.append(f"{name}{list(map(int, i))} = {values[i]}, but should be {want[name][i]}; {wrong.sum()} wrong")
        if name in ("total", "columns", "total of p") and not np.isnan(values[away]).all():
            found.append(f"{name} = {values[away].tolist()}, but should be NaN")
    return found


@pytest.fixture(scope="module")
def wrong() -> dict[str, list[str]]:
    return interpreted(__name__)


@needs_triton
@pytest.mark.parametrize("name", CASES)
def test_product_kernel_is_the_formula(name: str, wrong: dict[str, list[str]]) -> None:
    assert wrong[name] == []


def halved(rows: int, depth: int) -> Halved:
    x = torch.zeros(rows, depth, dtype=torch.bfloat16)
    return Halved(x, torch.ones(rows, 1), x)


@pytest.mark.parametrize("first_row", [-1, 7])
def test_positives_outside_the_products_are_refused(first_row: int) -> None:
    with pytest.raises(AssertionError):
        exponentials(halved(2, 8), halved(8, 8), first_row)


def test_only_what_can_be_copied_in_blocks_fits() -> None:
    rows, keys = halved(3, 16), halved(24, 16)
    assert fits(rows, keys)
    assert not fits(rows, halved(23, 16))
    assert not fits(halved(3, 12), halved(24, 12))
    assert not fits(rows, Halved(halved(25, 16).rows.flatten()[4:388].view(24, 16), keys.factor, keys.rounded))
    assert not fits(rows, Halved(halved(24, 32).rows[:, ::2], keys.factor, keys.rounded))
    assert fits(rows, keys, TILES.columns)
    assert not fits(rows, keys, TILES.columns - 1)


if __name__ == "__main__":
    teach_bfloat16()
    json.dump({name: differences(case) for name, case in CASES.items()}, sys.stdout)
