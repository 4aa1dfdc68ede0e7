"""bfloat16 on tensor cores: what only a GPU runs, its arithmetic here on the CPU, judged by the whole suite."""

from __future__ import annotations

import functools
import importlib
from typing import Any

import jax
import pytest
import torch
from torch.nn.functional import softplus

from infonce import info_nce, nt_xent
from infonce.arithmetic import Arithmetic
from infonce.blocks import Blocks
from infonce.conformance.cases import all_cases
from infonce.conformance.variants._subject import BoundSubject
from infonce.halves import Halved
from infonce.jax import _arithmetic as jax_arithmetic
from infonce.jax import _kernel_products as jax_products
from infonce.jax._kernel_products import Asked
from infonce.torch import _kernel_products as torch_products
from infonce.torch import _small
from infonce.torch._arithmetic import TorchArithmetic

CASES = {
    "bfloat16": [case for case in all_cases() if "bfloat16" in case.dtypes and case.group != "errors"],
    "float32": [case for case in all_cases() if case.group == "agreement" or case.name.startswith("options/bounded")],
}


def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch, framework: str) -> list[bool]:
    """Make what a GPU computes the backend's choice; the list grows with each time it is made."""
    chosen: list[bool] = []

    def half_products(self: Any, *arrays: Any) -> Any:
        half = all(x.dtype == torch.bfloat16 for x in arrays) and self.in_place
        chosen.extend([True] * half)
        return torch.bfloat16 if half else None

    def on_gpu() -> bool:
        chosen.append(True)
        return True

    if framework == "torch":
        monkeypatch.setattr(TorchArithmetic, "half_products", half_products)
        monkeypatch.setattr(TorchArithmetic, "unit_rows", Arithmetic.unit_rows)  # the CPU's own look at the norms
        monkeypatch.setattr(TorchArithmetic, "through_unit_rows", Arithmetic.through_unit_rows)
    else:
        monkeypatch.setattr(jax_arithmetic, "on_gpu", on_gpu)
    return chosen


class Passes:
    """`Fused` in plain torch; `made` names each that was asked for."""

    def __init__(self) -> None:
        self.made: set[str] = set()

    def logits(self, rows: Halved, keys: Halved, first_row: int, period: int | None) -> tuple[Any, Any]:
        z = rows.rows.float() @ keys.rows.float().T
        if rows.factor is not None:
            z = z * rows.factor * keys.factor.T
        ahead = torch.arange(z.shape[1]) - first_row - torch.arange(z.shape[0])[:, None]
        return z, ahead == 0 if period is None else ahead % period == 0

    def prepared(self, rows: Halved) -> Halved:
        return rows

    def exponentials(self, rows: Halved, keys: Halved, first_row: int) -> tuple[Any, Any, Any]:
        self.made.add("exponentials")
        z, own = self.logits(rows, keys, first_row, None)
        e = z.exp().masked_fill(own & ~z.isnan(), 0)
        total = e.sum(1, keepdim=True)
        beyond = total.log() - z[own][:, None]
        return torch.where(own, -total, e).to(rows.rows.dtype), softplus(beyond), beyond.sigmoid() / total

    def totals(
        self, rows: Halved, keys: Halved, first_row: int, period: int | None = None, columns: bool = True
    ) -> Any:
        self.made.add(f"totals{' of columns' * columns}{' of samples' * (period is not None)}")
        z, own = self.logits(rows, keys, first_row, period)
        e = z.exp().masked_fill(own & ~z.isnan(), 0)
        return e.sum(1, keepdim=True), e.sum(0, keepdim=True) if columns else None, None if period else z[own][:, None]

    def weighted(
        self, rows: Halved, keys: Halved, first_row: int, row: Any, column: Any, own: Any = None, period: Any = None
    ) -> Any:
        self.made.add(f"weighted{' of samples' * (period is not None)}")
        z, is_own = self.logits(rows, keys, first_row, period)
        return torch.where(is_own, 0.0 if own is None else own, z.exp() * (row + column)).to(rows.rows.dtype)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("variant", ["torch", "torch:no_grad"])
def test_exponentials_in_one_pass_pass_the_suite(monkeypatch: pytest.MonkeyPatch, variant: str, dtype: str) -> None:
    passes = Passes()
    monkeypatch.setattr(
        TorchArithmetic, "fused", lambda self, rows, *_: passes if str(rows.rows.dtype) == f"torch.{dtype}" else None
    )
    judge(monkeypatch, variant, dtype)
    with_gradient = {"exponentials", "weighted", "weighted of samples"} if variant == "torch" else set()
    assert passes.made == {"totals", "totals of columns", "totals of samples", *with_gradient}


class OfTF32(Passes):
    """Of float32, rounded as the kernel rounds it."""

    prepared = staticmethod(torch_products.prepared)  # type: ignore[assignment]

    def logits(self, rows: Halved, keys: Halved, first_row: int, period: int | None) -> tuple[Any, Any]:
        for x in (rows.rows, keys.rows):
            assert x.dtype == torch.float32
            assert not (x.view(torch.int32) & 0x1FFF).any()
        return super().logits(rows, keys, first_row, period)


TF32 = {
    "info_nce": ({}, {"exponentials"}),
    "none": ({"reduction": "none"}, {"totals", "exponentials"}),
    "symmetric": ({"symmetric": True}, {"totals of columns", "weighted"}),
    "nt_xent": ({}, {"totals of samples", "weighted of samples"}),
}


@pytest.mark.parametrize("dtypes", [("float32", "float32"), ("bfloat16", "float32"), ("float32", "bfloat16")], ids=str)
@pytest.mark.parametrize("name", TF32)
def test_passes_of_tf32_take_rounded_rows_in_blocks(
    monkeypatch: pytest.MonkeyPatch, name: str, dtypes: tuple[str, str]
) -> None:
    options, made = TF32[name]
    loss = nt_xent if name == "nt_xent" else functools.partial(info_nce, **options)
    generator = torch.Generator().manual_seed(0)
    query, noise = torch.randn(2, 300, 8, generator=generator)
    inputs = [
        x.to(getattr(torch, dtype)).requires_grad_() for x, dtype in zip((query, query + noise), dtypes, strict=True)
    ]
    blocks, loop = set(), TorchArithmetic.loop

    def remembered(self: Any, body: Any, start: Any, rows: Any, block: int) -> Any:
        blocks.add(block)
        return loop(self, body, start, rows, block)

    want = torch.autograd.grad(loss(*(x.double() for x in inputs)).square().sum(), inputs)
    passes = OfTF32()
    monkeypatch.setattr(TorchArithmetic, "fused", lambda *_: passes)
    monkeypatch.setattr(TorchArithmetic, "loop", remembered)
    monkeypatch.setattr(_small, "applies", lambda *_: False)  # a CPU's own
    monkeypatch.setattr(TorchArithmetic, "blocks", lambda _: Blocks(1000, 1000, 1000, entries=1 << 20, rows=100))
    got = torch.autograd.grad(loss(*inputs).square().sum(), inputs)
    assert passes.made == made
    assert blocks == {100}  # twice as many would be of halves
    for x, y in zip(got, want, strict=True):
        assert x.dtype == y.dtype
        assert (x - y).norm() <= 4e-3 * y.norm()


def test_exponentials_in_one_pass_of_jax_pass_the_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the kernel itself, interpreted."""
    asked = set()

    def passes(what: Any, given: Any) -> Any:
        asked.add(what._replace(period=what.period is not None))
        return made(what, given)

    made, small = jax_products.passes, jax_products.TILES._replace(rows=16, columns=16, depth=4)
    for name, value in {"TILES": small, "available": lambda: True, "passes": passes}.items():
        monkeypatch.setattr(jax_products, name, value)
    judge(monkeypatch, "jax")
    exponentials, totals = Asked(out=True, rows=True, own=True, period=False), Asked(rows=True, own=True, period=False)
    of_samples = Asked(rows=True, period=True), Asked(out=True, period=True)
    in_both_directions = totals._replace(columns=True), Asked(out=True, period=False)
    assert asked == {exponentials, totals, *of_samples, *in_both_directions}


@pytest.mark.parametrize("variant", ["torch", "torch:no_grad", "jax"])
def test_products_of_halves_pass_the_suite(monkeypatch: pytest.MonkeyPatch, variant: str) -> None:
    judge(monkeypatch, variant)


def test_what_jax_does_on_gpus_passes_the_suite_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    judge(monkeypatch, "jax:jit", "float32")


def judge(monkeypatch: pytest.MonkeyPatch, variant: str, dtype: str = "bfloat16") -> None:
    framework = variant.partition(":")[0]
    jax.clear_caches()  # of what was compiled for a CPU
    chosen = as_on_a_gpu(monkeypatch, framework)
    toolkit = importlib.import_module(f"infonce.conformance.variants.{framework}")
    found = next(v for v in toolkit.variants() if v.name == variant)
    subject = BoundSubject(info_nce, toolkit, found, toolkit.devices()["cpu"], dtype, tensor_cores=dtype == "bfloat16")
    judged = [case for case in CASES[dtype] if case.compiled or not found.compiled]
    try:
        outcomes = {case.name: case.judge(subject) for case in judged}
    finally:
        jax.clear_caches()
    assert bool(chosen) == (framework == "jax" or dtype == "bfloat16")
    assert {name: outcome.messages for name, outcome in outcomes.items() if not outcome.passed} == {}
