"""The Triton kernel of products and exponentials, run by Triton's interpreter, against the formulas in float64.

See `test_torch_kernel.py`: this module run as a program checks all cases.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import pytest
import torch

from infonce.halves import Halved
from infonce.torch import _kernel_products
from infonce.torch._arithmetic import TorchArithmetic
from infonce.torch._kernel_products import NARROW, OF_FLOATS, SHALLOW, WIDE, Tiles, exponentials, fits, prepared, tiles

from . import _products
from ._interpreted import interpreted, needs_triton
from ._products import Case

pytestmark = pytest.mark.xdist_group("torch_kernel_products")  # one worker takes them all: the cases run once
SMALL = Tiles(rows=16, columns=32, depth=16, group=2, warps=1, stages=2, programs=1)


def teach_bfloat16() -> None:
    """Triton 3.7's interpreter multiplies the bits of bfloat16 as if they were integers."""
    import triton.language as tl
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

    dot = InterpreterBuilder.create_dot

    def of_floats(self: Any, a: Any, b: Any, *others: Any) -> Any:
        assert a.dtype == b.dtype
        if a.dtype == tl.float32:
            return dot(self, a, b, *others)
        assert a.dtype == tl.bfloat16
        wide = ((x.data.astype(np.uint32) << 16).view(np.float32) for x in (a, b))
        return dot(self, *(TensorHandle(x, tl.float32) for x in wide), *others)

    InterpreterBuilder.create_dot = of_floats


OF_FLOATS_ALONE = {
    "multiples-of-four": Case(50, 100, 36, 33),
    "multiples-of-four-in-large-tiles": Case(130, 300, 100, 170, large=True),
}
CASES = {**_products.CASES, **OF_FLOATS_ALONE}


def differences(case: Case) -> list[str]:
    """What the kernel gives and the formulas do not."""
    given, lost = _products.with_nan(case, _products.inputs(case))
    rows, r, keys, c, *others = map(torch.from_numpy, given)
    halves = [Halved(x.bfloat16(), factor, x.bfloat16()) for x, factor in ((rows, r), (keys, c))]
    small = SMALL._replace(group=case.group, programs=case.programs)
    floats = [Halved(x * factor, None, x * factor) for x, factor in ((rows, r), (keys, c))]
    found = []
    alone = case in OF_FLOATS_ALONE.values()
    assert fits(*halves) is not alone
    for sides, large in [(floats, (OF_FLOATS,)), *([] if alone else [(halves, (NARROW, WIDE))])]:
        for chosen in large if case.large else (small,):
            _kernel_products.tiles = lambda rows, chosen=chosen: chosen
            got = _products.by(_kernel_products, case, *sides, *others)
            dtypes = {name: str(x.dtype).removeprefix("torch.") for name, x in got.items()}
            values, of_rows = {name: x.double().numpy() for name, x in got.items()}, str(sides[0].rows.dtype)
            found += _products.differences(case, values, dtypes, lost, of_rows.removeprefix("torch."))
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
    for depth in (SHALLOW, SHALLOW + 8):
        rows, keys = halved(3, depth), halved(24, depth)
        assert fits(rows, keys, tiles(rows).columns)
        assert not fits(rows, keys, tiles(rows).columns - 1)


def test_floats_fit_where_they_may_be_multiplied_as_tf32() -> None:
    settings = torch.backends.cuda.matmul
    assert not fits(floats(8196), floats(8196))
    try:
        torch.set_float32_matmul_precision("high")
        assert fits(floats(8196), floats(8196))
        assert not fits(floats(8192), floats(8192))  # in a single block the library's product is launched faster
        assert not fits(floats(8197), floats(8197))
        assert not fits(floats(8196, torch.float64), floats(8196, torch.float64))
        if hasattr(settings, "fp32_precision"):  # from torch 2.9 on
            settings.fp32_precision = "tf32"  # from here on the older setting cannot be read
            assert fits(floats(8196), floats(8196))
    finally:
        torch.set_float32_matmul_precision("highest")
        if hasattr(settings, "fp32_precision"):
            settings.fp32_precision = "none"
    assert not fits(floats(8196), floats(8196))


@pytest.mark.parametrize("allowed", [True, False])
def test_the_backend_asks_the_device_and_the_rows(monkeypatch: pytest.MonkeyPatch, allowed: bool) -> None:
    def fused(rows: Halved, in_place: bool = True) -> Any:
        return TorchArithmetic(in_place).fused(rows, rows)

    def has_kernels(self: TorchArithmetic, x: torch.Tensor, dtype: torch.dtype) -> bool:
        return self.in_place and dtype == torch.float32

    assert fused(halved(24, 16)) is None  # on a CPU
    monkeypatch.setattr(TorchArithmetic, "_has_kernels", has_kernels)
    monkeypatch.setattr(_kernel_products, "available", lambda device: device.type == "cpu")
    monkeypatch.setattr(_kernel_products, "tf32", lambda: allowed)
    assert fused(halved(24, 16)) is _kernel_products
    assert fused(halved(24, 16), in_place=False) is None
    assert fused(floats(8196)) is (_kernel_products if allowed else None)
    assert fused(floats(8196, torch.float64)) is None


def floats(rows: int, dtype: torch.dtype = torch.float32) -> Halved:
    x = torch.zeros(rows, 4, dtype=dtype)
    return Halved(x, None, x)


def test_floats_are_rounded_to_the_nearest() -> None:
    x = torch.tensor([1 + k * 2.0**-12 for k in range(9)] + [0.0, 1e-30, 40.0, torch.nan])
    x = torch.stack([x, -x])
    found = prepared(Halved(x, None, x))
    assert found.factor is None
    assert found.rounded is x
    want = torch.tensor([1.0, 1, 1, 1 + 2**-10, 1 + 2**-10, 1 + 2**-10, 1 + 2**-9, 1 + 2**-9, 1 + 2**-9])
    assert found.rows[0, :9].equal(want)
    assert found.rows[0].isnan().tolist() == [False] * 12 + [True]
    assert not (found.rows[0, :-1].view(torch.int32) & 0x1FFF).any()
    assert ((found.rows - x)[0, :-1].abs() <= x[0, :-1] * 2**-11).all()
    assert found.rows[1, :-1].equal(-found.rows[0, :-1])
    of_halves = halved(3, 16)
    assert prepared(of_halves) is of_halves


if __name__ == "__main__":
    teach_bfloat16()
    json.dump({name: differences(case) for name, case in CASES.items()}, sys.stdout)
