"""The bounds on mutual information: one answer in every framework, compiled or not, and its gradient."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from infonce import mutual_information, mutual_information_from_scores

from ._frameworks import Framework
from ._frameworks import framework as framework_of
from ._gradients import gradient_of
from ._information import ALPHAS, KEY, MODES, QUERY, RNG, SHARED, D, N, ceiling_of, check, first_column, rows


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("mode", MODES)
def test_streamed_equals_the_formula(framework: Framework, mode: str, alpha: float, dtype: str) -> None:
    arrays, options = MODES[mode]
    given = [framework.array(x, dtype) for x in arrays]
    normalize, block_size = (True, None) if dtype == "float64" else (False, 2)
    found = mutual_information(
        *given, temperature=0.5, normalize=normalize, alpha=alpha, block_size=block_size, **options
    )
    scores = first_column(mode, 0.5, normalize)
    check(framework, found, rows(scores, alpha), ceiling_of(scores.shape[1] - 1, alpha), dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_scores_equal_the_formula(framework: Framework, alpha: float, dtype: str) -> None:
    scores = RNG.normal(size=(6, 6))
    scores[0, 3] = scores[4, 1] = -math.inf
    own = np.eye(6, dtype=bool)
    first = np.concatenate([scores[own][:, None], scores[~own].reshape(6, 5)], axis=1)
    want = rows(first, alpha), ceiling_of(5, alpha), dtype
    check(framework, mutual_information_from_scores(framework.array(scores, dtype), alpha=alpha), *want)
    check(framework, mutual_information_from_scores(framework.array(first, dtype), "first", alpha), *want)


@pytest.mark.parametrize("alpha", [1.0, 0.5, 0.0])
def test_large_scores_stay_finite(framework: Framework, alpha: float) -> None:
    """Exponentials of these leave the dtype's range; the bound of perfect scores does not."""
    scores = np.where(np.eye(4, dtype=bool), 2000.0, -2000.0)
    found = mutual_information_from_scores(framework.array(scores), alpha=alpha)
    want = {1.0: math.log(4), 0.5: 1 + math.log(3 / 0.5), 0.0: 2001.0}[alpha]
    np.testing.assert_allclose(framework.values(found.estimate), want, rtol=1e-12)


@pytest.mark.parametrize("temperature", ["scalar", "rows"])
def test_temperature_may_be_an_array(framework: Framework, temperature: str) -> None:
    t = np.asarray(0.5) if temperature == "scalar" else np.linspace(0.3, 0.9, N)
    found = mutual_information(*map(framework.array, (QUERY, KEY)), None, framework.array(t))
    scores = first_column("in-batch", t.reshape(-1, 1), True)
    check(framework, found, rows(scores, 1.0), math.log(N), "float64")


@pytest.mark.parametrize("alpha", [1.0, 0.5, 0.0])
@pytest.mark.parametrize("others", ["some", "none"])
def test_a_pair_called_impossible_gives_minus_infinity(framework: Framework, alpha: float, others: str) -> None:
    scores = np.zeros((3, 4))
    scores[1, 0] = -math.inf
    if others == "none":
        scores[1] = -math.inf
    found = mutual_information_from_scores(framework.array(scores), "first", alpha)
    assert framework.values(found.estimate) == -math.inf
    assert framework.values(found.standard_error) == math.inf
    assert not framework.values(found.saturated)


def test_one_row_has_no_standard_error(framework: Framework) -> None:
    found = mutual_information_from_scores(framework.array([[1.0, 0.0, 0.0]]), "first")
    np.testing.assert_allclose(framework.values(found.estimate), math.log(3) - math.log(1 + 2 * math.exp(-1)))
    assert framework.values(found.standard_error) == math.inf


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_computes_in_float32(dtype: str) -> None:
    for name in ("torch", "jax", "tensorflow"):
        framework = framework_of(name)
        with framework.settings():
            scores = framework.array(np.where(np.eye(300, dtype=bool), 4.0, 0.0), dtype)
            found = mutual_information_from_scores(scores)
            assert framework.dtype(found.estimate) == "float32"
            np.testing.assert_allclose(
                framework.values(found.estimate), math.log(300) - math.log1p(299 * math.exp(-4)), rtol=1e-5
            )


def test_memory_is_that_of_blocks() -> None:
    count, block = 4000, 50
    query, key = (RNG.normal(size=(count, 8)).astype(np.float32) for _ in range(2))
    tracemalloc.start()
    try:
        mutual_information(query, key, block_size=block)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * block * count * 4 + 16 * query.nbytes < count * count * 4 / 9


# Compiled, and under autodiff.


def compiled(name: str, fn: Callable[..., Any]) -> Iterator[tuple[Framework, Callable[..., Any]]]:
    """`fn` under each of the framework's compilers."""
    framework = framework_of(name)
    with framework.settings():
        if name == "torch":
            import torch

            torch._dynamo.reset()
            for dynamic in (False, True):
                yield framework, torch.compile(fn, fullgraph=True, backend="aot_eager", dynamic=dynamic)
        elif name == "jax":
            import jax

            yield framework, jax.jit(fn)
        else:
            import tensorflow as tf

            for jit_compile in (False, True):
                yield framework, tf.function(fn, jit_compile=jit_compile, reduce_retracing=True)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # Dynamo's own doing
@pytest.mark.parametrize("alpha", [1.0, 0.5])
@pytest.mark.parametrize("name", ["torch", "jax", "tensorflow"])
def test_scores_compiled(name: str, alpha: float) -> None:
    for positive in ("diagonal", "first"):
        fn = lambda x, positive=positive: mutual_information_from_scores(x, positive, alpha)  # noqa: E731
        for framework, call in compiled(name, fn):
            for size in (3, 5, 6):
                scores = np.random.default_rng(size).normal(size=(size, size))
                own = np.eye(size, dtype=bool)
                first = np.concatenate([scores[own][:, None], scores[~own].reshape(size, -1)], axis=1)
                found = call(framework.array(scores if positive == "diagonal" else first))
                check(framework, found, rows(first, alpha), ceiling_of(size - 1, alpha), "float64")


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # Dynamo's own doing
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["torch", "jax", "tensorflow"])
def test_streamed_compiled(name: str, mode: str) -> None:
    arrays, options = MODES[mode]
    scores = first_column(mode, 0.5, True)
    fn = lambda *given: mutual_information(*given, temperature=0.5, alpha=0.5, block_size=3, **options)  # noqa: E731
    for framework, call in compiled(name, fn):
        found = call(*map(framework.array, arrays))
        check(framework, found, rows(scores, 0.5), ceiling_of(scores.shape[1] - 1, 0.5), "float64")


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_streamed_with_open_shapes(mode: str, jit_compile: bool) -> None:
    import tensorflow as tf

    arrays, options = MODES[mode]
    scores = first_column(mode, 0.5, True)
    fn = tf.function(
        lambda *given: mutual_information(*given, temperature=0.5, alpha=0.5, block_size=3, **options),
        input_signature=[tf.TensorSpec([None] * (x.ndim - 1) + [D], tf.float64) for x in arrays],
        jit_compile=jit_compile,
    )
    found = fn(*map(tf.constant, arrays))
    check(framework_of("tensorflow"), found, rows(scores, 0.5), ceiling_of(scores.shape[1] - 1, 0.5), "float64")


@pytest.mark.parametrize("positive", ["diagonal", "first"])
def test_scores_with_open_shapes(positive: str) -> None:
    import tensorflow as tf

    fn = tf.function(
        lambda x: mutual_information_from_scores(x, positive), input_signature=[tf.TensorSpec([None, None], tf.float64)]
    )
    for size in (3, 5):
        scores = np.random.default_rng(size).normal(size=(size, size))
        found, want = fn(tf.constant(scores)), mutual_information_from_scores(scores, positive)
        for got, value in zip(found, want, strict=True):
            np.testing.assert_allclose(got, value, rtol=1e-13)


def test_scores_are_differentiable(autodiff: Framework) -> None:
    """For alpha = 1 by -(softmax - one-hot) / N; an impossible pair has the gradient 0."""
    scores = RNG.normal(size=(5, 5))
    scores[1, 2] = -math.inf
    scores[3] = np.where(np.arange(5) == 3, 0.5, -math.inf)
    e = np.exp(scores)
    want = (np.eye(5) - e / e.sum(axis=1, keepdims=True)) / 5
    for alpha in (1.0, 0.5, 0.0):
        fn = lambda x, alpha=alpha: mutual_information_from_scores(x, alpha=alpha).estimate  # noqa: E731
        gradient = autodiff.values(gradient_of(autodiff.name, fn, autodiff.array(scores)))
        assert np.all(np.isfinite(gradient))
        assert np.all(gradient[np.isinf(scores)] == 0)
        if alpha == 1:
            np.testing.assert_allclose(gradient, want, atol=1e-15)


@pytest.mark.parametrize("alpha", [1.0, 0.5, 0.0])
@pytest.mark.parametrize("argument", range(3))
def test_streamed_gradient_is_that_of_the_scores(autodiff: Framework, argument: int, alpha: float) -> None:
    """Whose rows hold the same scores: a few rows' central differences of the formula."""
    given = [autodiff.array(x) for x in (QUERY, KEY, SHARED)]

    def estimate(x: Any) -> Any:
        arrays = [*given[:argument], x, *given[argument + 1 :]]
        return mutual_information(*arrays, 0.5, alpha=alpha, normalize=False, in_batch=True, block_size=3).estimate

    gradient = autodiff.values(gradient_of(autodiff.name, estimate, given[argument]))
    exact = [QUERY, KEY, SHARED]
    h = 1e-5
    for place in ((0, 0), (2, 3), (4, 1)):
        values = []
        for sign in (1, -1):
            moved = [x.copy() for x in exact]
            moved[argument][place] += sign * h
            query, key, shared = moved
            own = np.sum(query * key, axis=1, keepdims=True)
            others = (query @ key.T)[~np.eye(N, dtype=bool)].reshape(N, N - 1)
            values.append(rows(np.concatenate([own, others, query @ shared.T], axis=1) / 0.5, alpha).mean())
        np.testing.assert_allclose(gradient[place], (values[0] - values[1]) / (2 * h), rtol=1e-6, atol=1e-9)
