"""Blocks of NT-Xent's exponentials that wait for the slopes, in every framework."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest

from infonce import nt_xent, self_similarity
from infonce.blocks import ON_CPU
from infonce.jax._arithmetic import JAXArithmetic
from infonce.numpy._arithmetic import ArrayAPIArithmetic, NumPyArithmetic
from infonce.tensorflow import _autodiff
from infonce.tensorflow._arithmetic import TensorFlowArithmetic
from infonce.torch._arithmetic import TorchArithmetic

from ._dense import Floats
from ._frameworks import framework as framework_of
from ._nt_xent import FEATURES, judge, sets, step_of, views_task

ARITHMETICS: dict[str, type] = {
    "numpy": NumPyArithmetic,
    "array_api_strict": ArrayAPIArithmetic,
    "torch": TorchArithmetic,
    "jax": JAXArithmetic,
    "tensorflow": TensorFlowArithmetic,
}


@pytest.fixture
def kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """Makes the framework `name` hold blocks of so few pairs as those of `rows` in `count` views; what was asked."""
    name, total = request.getfixturevalue("name"), request.getfixturevalue("count") * request.getfixturevalue("rows")
    blocks = ON_CPU._replace(whole=4, kept=total * total // 4, pairs=4, rows=6)  # visits of half of the pairs
    answers, keeps = [], self_similarity.keeps

    def asked(*given: Any) -> bool:
        answers.append(keeps(*given))
        return answers[-1]

    monkeypatch.setattr(self_similarity, "keeps", asked)
    monkeypatch.setattr(ARITHMETICS[name.partition(":")[0]], "blocks", lambda _: blocks)
    forget_traces()
    yield answers
    forget_traces()


def forget_traces() -> None:
    """Those of other blocks."""
    step_of.cache_clear()
    jax.clear_caches()  # type: ignore[no-untyped-call]
    _autodiff.graph.cache_clear()


@pytest.mark.parametrize("name", ["numpy", "array_api_strict", "torch", "torch:func", "jax", "tensorflow"])
@pytest.mark.parametrize(("count", "rows"), [(2, 5), (2, 8), (2, 9), (3, 5), (5, 4)])
def test_blocks_that_are_kept_for_the_slopes(kept: list[bool], name: str, count: int, rows: int) -> None:
    task = views_task(count, rows, None, True, "mean", "number")
    judge(name, task, sets(task)[0][0], 0.5, "float64")
    assert set(kept) == {True}
    assert len(kept) == 1 or name in ("jax", "tensorflow")  # which trace


@pytest.mark.parametrize("name", ["jax", "jax:jit", "tensorflow", "tensorflow:function", "tensorflow:jit"])
@pytest.mark.parametrize(("count", "rows"), [(2, 5), (3, 4)])
def test_second_derivatives_of_blocks_that_are_kept(kept: list[bool], name: str, count: int, rows: int) -> None:
    views, along = np.random.default_rng(0).normal(size=(2, count, rows, FEATURES))
    with framework_of(name.partition(":")[0]).settings():
        want = second_derivative(name, functools.partial(nt_xent, block_size=3), views, along)
        assert not any(kept)
        kept.clear()
        found = second_derivative(name, nt_xent, views, along)
    assert set(kept) == {True}
    np.testing.assert_allclose(found, want, rtol=1e-11, atol=1e-12)


def second_derivative(name: str, loss: Any, views: Floats, along: Floats) -> Floats:
    """Of the loss twice, once along a direction."""
    import tensorflow as tf

    if name.startswith("jax"):
        gradient = jax.grad(lambda x: loss(*x))
        gradient = jax.jit(gradient) if name == "jax:jit" else gradient
        return np.asarray(jax.grad(lambda x: jax.numpy.sum(along * gradient(x)))(jax.numpy.asarray(views)))

    def second(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                value = loss(*tf.unstack(x))
            slope = tf.reduce_sum(along * inner.gradient(value, x))
        return outer.gradient(slope, x)

    if ":" in name:
        second = tf.function(second, autograph=False, jit_compile=name == "tensorflow:jit")
    return np.asarray(second(tf.constant(views)))
