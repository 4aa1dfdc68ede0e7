"""bfloat16 on tensor cores: what only a GPU runs, its arithmetic here on the CPU, judged by the whole suite."""

from __future__ import annotations

import importlib
from typing import Any

import jax
import pytest
import torch
from torch.nn.functional import softplus

from infonce import info_nce
from infonce.backend import Arithmetic
from infonce.conformance.cases import all_cases
from infonce.conformance.variants._subject import BoundSubject
from infonce.halves import Halved
from infonce.jax import _arithmetic as jax_arithmetic
from infonce.jax import _kernel_products as jax_products
from infonce.jax._kernel_products import Asked
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
    assert chosen or (framework == "torch" and dtype == "float32")  # where nothing is
    assert {name: outcome.messages for name, outcome in outcomes.items() if not outcome.passed} == {}
