"""Logits that lie far apart: nothing subnormal is multiplied on a CPU that would take its time over it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from infonce import info_nce, nt_xent, value_and_grad
from infonce.conformance import oracle
from infonce.numpy._arithmetic import NumPyArithmetic
from infonce.torch._arithmetic import TorchArithmetic

from ._frameworks import Framework
from ._frameworks import framework as framework_of

N, D = 48, 16
RNG = np.random.default_rng(0)
QUERY = np.float32(RNG.normal(size=(N, D)))
KEY = np.float32(QUERY + 0.1 * RNG.normal(size=(N, D)))
QUEUE = np.float32(RNG.normal(size=(2 * N, D)))
LOW = 0.008  # from here on exponentials of cosines are subnormal

CASES: dict[str, Callable[..., Any]] = {
    "in-batch": lambda fn, q, k, n, **options: fn(info_nce)(q, k, **options),
    "in-batch, summed": lambda fn, q, k, n, **options: fn(info_nce)(q, k, reduction="sum", **options),
    "symmetric": lambda fn, q, k, n, **options: fn(info_nce)(q, k, symmetric=True, **options),
    "queue": lambda fn, q, k, n, **options: fn(info_nce)(q, k, n, **options),
    "both": lambda fn, q, k, n, **options: fn(info_nce)(q, k, n, in_batch=True, **options),
    "nt_xent": lambda fn, q, k, n, **options: fn(nt_xent)(q, k, **options),
}


def subnormal(x: Any) -> int:
    x = np.abs(np.asarray(x))
    return int(np.sum((x > 0) & (x < np.finfo(x.dtype).tiny)))


@pytest.mark.parametrize("name", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exponentials_are_normal_numbers_or_zero(name: str, dtype: str) -> None:
    framework = framework_of(name)
    b: Any = NumPyArithmetic(np) if name == "numpy" else TorchArithmetic(in_place=True)
    scale = 1 if dtype == "float32" else 10
    values = scale * np.append(np.linspace(-120, 0, 1001), -np.inf)[None, :].astype(dtype)
    exact = np.exp(values.astype(np.float64))
    assert subnormal(np.exp(values)) > 0
    for keep in (False, True):
        shift = framework.array(np.zeros((1, 1)), dtype)
        found = framework.values(b.exp_shifted(framework.array(values), shift, keep=keep, far=True)).astype(dtype)
        assert subnormal(found) == 0
        assert np.all(found[values < -60.1 * scale] == 0)
        near = values > -59.8 * scale
        np.testing.assert_allclose(found[near], exact[near], rtol=1e-6)


@pytest.mark.parametrize("name", ["numpy", "torch"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("block_size", [None, 16])
def test_factors_and_products_are_normal_numbers(
    name: str, case: str, block_size: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    framework, seen = framework_of(name), []

    def watched(original: Callable[..., Any], first: int) -> Callable[..., Any]:
        def product(self: Any, *arguments: Any) -> Any:
            found = original(self, *arguments)
            seen.append(sum(subnormal(x) for x in (*arguments[first:], found)))
            return found

        return product

    arithmetic = NumPyArithmetic if name == "numpy" else TorchArithmetic
    monkeypatch.setattr(arithmetic, "product", watched(arithmetic.product, 0))
    monkeypatch.setattr(arithmetic, "add_product", watched(arithmetic.add_product, 1))
    arrays = [framework.array(x) for x in (QUERY, KEY, QUEUE)]
    CASES[case](value_and_grad, *arrays, temperature=LOW, block_size=block_size)
    assert len(seen) >= (1 if block_size is None and case == "nt_xent" else 2)
    assert sum(seen) == 0
    monkeypatch.setattr(arithmetic, "spreads", lambda *_: False)
    seen.clear()
    CASES[case](value_and_grad, *arrays, temperature=LOW, block_size=block_size)
    assert sum(seen) > 0, "the check sees nothing"


@pytest.mark.parametrize("temperature", [0.03, 0.02, LOW, 0.004], ids=str)
@pytest.mark.parametrize("as_array", [False, True], ids=["number", "array"])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("block_size", [None, 16])
def test_values_and_gradients_of_tiny_losses(
    framework: Framework, temperature: float, as_array: bool, symmetric: bool, block_size: int | None
) -> None:
    options = {"symmetric": symmetric, "reduction": "sum"}
    number: Any = np.float32(temperature) if as_array else temperature
    want = oracle.info_nce(QUERY, KEY, temperature=np.asarray(number), **options)
    t = framework.array(number) if as_array else temperature
    arrays = [framework.array(x) for x in (QUERY, KEY)]
    loss, gradients = value_and_grad(info_nce)(*arrays, temperature=t, block_size=block_size, **options)
    assert framework.values(loss) == pytest.approx(float(want.loss), rel=2e-5 / temperature * 0.03, abs=1e-44)
    for name, gradient in gradients.items():
        exact: NDArray[np.float64] = np.asarray(want.gradients[name])
        tolerance = 1e-4 * 0.03 / temperature * np.max(np.abs(exact)) + 1e-44
        np.testing.assert_allclose(framework.values(gradient), exact, rtol=0, atol=tolerance)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("block_size", [None, 16])
def test_masked_keys_have_no_part(framework: Framework, symmetric: bool, block_size: int | None) -> None:
    mask = np.ones((N, N), bool)
    mask[3, :] = False  # a row without negatives
    mask[:, 7] = False  # a key that is no negative
    arrays = [framework.array(x) for x in (QUERY, KEY)]
    options = {"mask": framework.array(mask), "symmetric": symmetric, "block_size": block_size, "temperature": LOW}
    losses = framework.values(info_nce(*arrays, reduction="none", **options))
    if not symmetric:
        assert losses[3] == 0
    _, gradients = value_and_grad(info_nce)(*arrays, reduction="sum", **options)
    want = oracle.info_nce(QUERY, KEY, mask=mask, symmetric=symmetric, temperature=LOW, reduction="sum")
    for name, exact in want.gradients.items():
        found = framework.values(gradients[name])
        assert np.all(found[np.all(np.asarray(exact) == 0, axis=-1)] == 0)
        np.testing.assert_allclose(found, exact, rtol=0, atol=1e-3 * np.max(np.abs(exact)))


EXTREMES: dict[str, dict[str, Any]] = {
    "a bias far below": {"temperature": 0.1, "bias": np.float32(RNG.uniform(-120, 0, N))},
    "a bias at a high temperature": {"temperature": np.float32(1e9), "bias": np.float32(RNG.normal(size=N))},
    "a margin at a tiny temperature": {"temperature": np.float32(1e-10), "margin": 0.2},
    "a tiny temperature": {"temperature": np.float32(1e-10)},
    "a temperature for each row": {"temperature": np.float32(RNG.uniform(LOW, 0.1, N))},
    "rows far from one": {"temperature": np.float32(LOW), "scale": 1e-20},
    "no norms": {"temperature": np.float32(1), "normalize": False, "scale": 3.0},
}


@pytest.mark.parametrize("name", EXTREMES)
@pytest.mark.parametrize("symmetric", [False, True])
def test_gradients_where_a_power_might_overflow(framework: Framework, name: str, symmetric: bool) -> None:
    options = {"symmetric": symmetric, "reduction": "sum", **EXTREMES[name]}
    scale = np.float32(options.pop("scale", 1))
    query, key = scale * QUERY, KEY
    want = oracle.info_nce(query, key, **options)
    arrays = {n: framework.array(x) for n, x in options.items() if isinstance(x, np.ndarray | np.float32)}
    loss, gradients = value_and_grad(info_nce)(*map(framework.array, (query, key)), **{**options, **arrays})
    rounding = float(2e-6 / np.min(options["temperature"]) + 1e-5)  # of a logit
    assert framework.values(loss) == pytest.approx(float(want.loss), rel=max(rounding, 1e-5))
    for n, gradient in gradients.items():
        exact = np.asarray(want.gradients[n])
        found = framework.values(gradient)
        assert np.all(np.isfinite(found))
        if rounding < 1:
            np.testing.assert_allclose(found, exact, rtol=0, atol=10 * rounding * np.max(np.abs(exact)) + 1e-44)


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_a_bias_far_below_is_no_subnormal_factor(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    framework, seen = framework_of(name), []
    arithmetic = NumPyArithmetic if name == "numpy" else TorchArithmetic
    original = arithmetic.exp_shifted

    def watched(self: Any, *arguments: Any, **options: Any) -> Any:
        found = original(self, *arguments, **options)
        seen.append(subnormal(found))
        return found

    monkeypatch.setattr(arithmetic, "exp_shifted", watched)
    bias = framework.array(np.linspace(-120, 0, N, dtype=np.float32))
    value_and_grad(info_nce)(framework.array(QUERY), framework.array(KEY), bias=bias, temperature=0.1)
    assert seen
    assert sum(seen) == 0
