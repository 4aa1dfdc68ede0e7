"""Blocks of many columns in JAX, whose sums and maxima over rows XLA is slow at: made otherwise, and to the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import pytest

from infonce import info_nce, nt_xent, value_and_grad
from infonce.jax import _arithmetic
from infonce.jax._autodiff import ARITHMETIC

from ._frameworks import framework as framework_of

N, D, BLOCK = 21, 5, 6
RNG = np.random.default_rng(0)
FIRST, SECOND = RNG.normal(size=(2, N, D))
CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "symmetric": (info_nce, {"symmetric": True, "temperature": 0.2}),
    "symmetric, cold": (info_nce, {"symmetric": True, "temperature": 0.011}),
    "symmetric, a temperature for each row": (info_nce, {"symmetric": True, "temperature": np.linspace(0.1, 0.9, N)}),
    "symmetric, hard": (info_nce, {"symmetric": True, "temperature": 0.2, "hardness": 0.5}),
    "symmetric, smoothed": (info_nce, {"symmetric": True, "temperature": 0.2, "label_smoothing": 0.1}),
    "symmetric, debiased": (info_nce, {"symmetric": True, "temperature": 0.2, "debias": 0.1}),
    "nt_xent": (nt_xent, {"temperature": 0.2}),
    "nt_xent, cold": (nt_xent, {"temperature": 0.011}),
}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The widths of the blocks that counted as wide."""
    widths: list[int] = []
    too_wide = _arithmetic.too_wide

    def watched(x: Any) -> bool:
        if too_wide(x):
            widths.append(x.shape[1])
        return too_wide(x)

    monkeypatch.setattr(_arithmetic, "WIDE", 8)
    monkeypatch.setattr(_arithmetic, "too_wide", watched)
    jax.clear_caches()  # of what was traced with another width
    with framework_of("jax").settings():
        yield widths
    jax.clear_caches()


@pytest.mark.parametrize("rows", [1, 2, 7, 8])
def test_sums_and_maxima_of_columns(rows: int, seen: list[int]) -> None:
    x = RNG.normal(size=(rows, 9))
    x[0, 3] = -np.inf
    np.testing.assert_array_equal(ARITHMETIC.column_maxima(jax.numpy.asarray(x)), x.max(axis=0, keepdims=True))
    x[0, 3] = 0
    np.testing.assert_allclose(ARITHMETIC.column_sums(jax.numpy.asarray(x)), x.sum(axis=0, keepdims=True), atol=1e-15)
    assert seen


@pytest.mark.parametrize("name", CALLS)
def test_value_and_gradients_are_those_of_numpy(name: str, seen: list[int]) -> None:
    function, options = CALLS[name]
    loss, gradients = value_and_grad(function)(FIRST, SECOND, block_size=BLOCK, **options)
    rows = jax.numpy.asarray(FIRST), jax.numpy.asarray(SECOND)
    given = {k: jax.numpy.asarray(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}

    def of_rows(*x: Any) -> Any:
        return function(*x, block_size=BLOCK, **given)

    found, by_autodiff = jax.value_and_grad(of_rows, (0, 1))(*rows)
    same, by_engine = value_and_grad(function)(*rows, block_size=BLOCK, **given)
    assert seen
    np.testing.assert_allclose([found, same], loss, rtol=1e-12)
    expected = jax.tree.leaves(gradients)
    for x, y in zip(jax.tree.leaves(by_engine), expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-13)
    of_sides = gradients["views"] if function is nt_xent else (gradients["query"], gradients["positive_key"])
    for x, y in zip(by_autodiff, of_sides, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("name", ["symmetric, cold", "nt_xent, cold"])
def test_second_derivatives_are_those_of_narrow_blocks(
    name: str, seen: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    function, options = CALLS[name]
    first, second = jax.numpy.asarray(FIRST), jax.numpy.asarray(SECOND)

    def second_derivative(block_size: int) -> Any:
        def along(x: Any) -> Any:
            g = value_and_grad(function)(x, second, block_size=block_size, **options)[1]
            return sum(jax.numpy.sum(jax.numpy.sin(y)) for y in jax.tree.leaves(g))

        return jax.grad(along)(first)

    wide = second_derivative(BLOCK + 1)  # and blocks of other sizes than above: nothing that is compiled already
    widths = len(seen)
    monkeypatch.setattr(_arithmetic, "WIDE", 1 << 14)
    narrow = second_derivative(BLOCK + 2)
    assert 0 < widths == len(seen)
    np.testing.assert_allclose(wide, narrow, rtol=1e-8, atol=1e-11)
