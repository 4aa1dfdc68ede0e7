"""Second derivatives where options are given: right in JAX and TensorFlow, a clear error in PyTorch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from infonce import info_nce, nt_xent, sup_con

from ._frameworks import Framework
from ._frameworks import framework as framework_of

N, D = 4, 3
RNG = np.random.default_rng(0)
QUERY, KEY, THIRD = RNG.normal(size=(3, N, D))
MASK = RNG.random((N, N)) < 0.6
MASK[1] = False  # a row without negatives
ROWS, WEIGHT = RNG.uniform(0.3, 0.8, size=(2, N))
IDS, LABELS = np.array([0, 1, 0, 2]), np.array([0, 0, 0, 1])
STEP = 1e-5

# A loss and its options, the positional arrays, the temperature, and arrays by name.
Case = tuple[Callable[..., Any], list[Any], Any, dict[str, NDArray[Any]]]
CASES: dict[str, Case] = {
    "hard, masked, symmetric": (
        functools.partial(info_nce, hardness=1.0, debias=0.1, symmetric=True, block_size=3),
        *([QUERY, KEY], 0.4, {"mask": MASK}),
    ),
    "symmetric, temperatures of rows": (
        functools.partial(info_nce, symmetric=True),
        *([QUERY, KEY], ROWS, {"mask": MASK}),
    ),
    "smoothed, masked": (
        functools.partial(info_nce, label_smoothing=0.2),
        *([QUERY, KEY], ROWS, {"mask": MASK, "weight": WEIGHT}),
    ),
    "decoupled, ids, margin": (
        functools.partial(info_nce, decoupled=True, margin=0.2),
        *([QUERY, KEY], 0.4, {"ids": IDS, "bias": RNG.normal(size=N)}),
    ),
    "views, ids": (functools.partial(nt_xent, debias=0.1), [QUERY, KEY], ROWS, {"ids": IDS, "weight": WEIGHT}),
    "views excluded": (functools.partial(nt_xent, exclude_positives=True), [QUERY, KEY, THIRD], 0.4, {}),
    "labels": (sup_con, [QUERY], 0.4, {"labels": LABELS}),
    "labels, inside": (
        functools.partial(sup_con, form="in", hardness=0.5, margin=0.1),
        *([QUERY], ROWS, {"labels": LABELS}),
    ),
}


@pytest.fixture(params=["jax", "tensorflow"])
def exact(request: pytest.FixtureRequest) -> Iterator[Framework]:
    found = framework_of(request.param)
    with found.settings():
        yield found


def parts(case: str) -> tuple[Callable[..., Any], list[Any], dict[str, Any]]:
    """The loss of (embeddings, temperature, then weight and bias), those leaves, and what has no gradient."""
    loss, arrays, temperature, named = CASES[case]
    fixed = {name: x for name, x in named.items() if x.dtype != np.float64}
    more = {"temperature": np.asarray(temperature), **{name: x for name, x in named.items() if name not in fixed}}

    def call(fixed: dict[str, Any], *leaves: Any) -> Any:
        return loss(*leaves[: len(arrays)], **fixed, **dict(zip(more, leaves[len(arrays) :], strict=True)))

    return call, [*arrays, *more.values()], fixed


def product(framework: Framework, loss: Callable[..., Any]) -> Callable[..., tuple[Any, Any]]:
    """(leaves, along) to the gradient and the Hessian times `along`, the gradient of the gradient's part along it."""
    if framework.name == "jax":
        import jax

        def directional(leaves: list[Any], along: list[Any]) -> tuple[Any, Any]:
            found = jax.grad(lambda leaves: loss(*leaves))(leaves)
            return sum(jax.numpy.sum(g * v) for g, v in zip(found, along, strict=True)), found

        twice = jax.jit(jax.grad(directional, has_aux=True))
        return lambda leaves, along: twice(leaves, along)[::-1]
    import tensorflow as tf

    def of(leaves: list[Any], along: list[Any]) -> tuple[Any, Any]:
        with tf.GradientTape() as outer:
            outer.watch(leaves)
            with tf.GradientTape() as inner:
                inner.watch(leaves)
                value = loss(*leaves)
            once = inner.gradient(value, leaves)
            total = sum(tf.reduce_sum(g * v) for g, v in zip(once, along, strict=True))
        return once, outer.gradient(total, leaves)

    return of


@pytest.mark.parametrize("case", CASES)
def test_second_derivatives_are_the_differences_of_the_first(exact: Framework, case: str) -> None:
    call, leaves, fixed = parts(case)
    rng = np.random.default_rng(1)
    along = [rng.normal(size=x.shape) for x in leaves]
    both = product(exact, functools.partial(call, {name: exact.array(x) for name, x in fixed.items()}))

    def at(step: float) -> list[list[Any]]:
        moved = [exact.array(x + step * v) for x, v in zip(leaves, along, strict=True)]
        return [[exact.values(x) for x in found] for found in both(moved, [exact.array(v) for v in along])]

    (above, _), (below, _), (_, got) = at(STEP), at(-STEP), at(0.0)
    for x, y, second in zip(above, below, got, strict=True):
        want = (x - y) / (2 * STEP)
        np.testing.assert_allclose(second, want, rtol=0, atol=1e-7 * max(1.0, float(np.max(np.abs(want)))))


@pytest.mark.parametrize("case", CASES)
def test_torch_raises(case: str) -> None:
    import torch

    call, arrays, fixed = parts(case)
    leaves = [torch.from_numpy(x.copy()).requires_grad_() for x in arrays]
    loss = call({name: torch.from_numpy(x) for name, x in fixed.items()}, *leaves)
    gradients = torch.autograd.grad(loss, leaves, create_graph=True)
    for gradient in gradients:
        with pytest.raises(NotImplementedError, match="no second derivative in PyTorch"):
            gradient.sum().backward(retain_graph=True)
