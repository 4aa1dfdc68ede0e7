"""NT-Xent against its dense formula, in every framework and every way of calling it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from infonce import nt_xent
from infonce.conformance.variants._load import load

from ._dense import Floats, check
from ._dense import nt_xent as dense
from ._frameworks import NAMES, Framework
from ._nt_xent import ALL, CHOSEN, FEATURES, Views, exact, judge, sets

pytestmark = [
    pytest.mark.filterwarnings("ignore:there are no negatives:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),  # Dynamo's own doing
]

PLAIN = ("numpy", "array_api_strict", "torch")  # no compilation: every combination is run
VARIANTS = (
    *("numpy", "numpy:readonly", "array_api_strict", "array_api_strict:no-float64"),
    *("torch", "torch:compile", "torch:func", "torch:vmap", "torch:grad(vmap)", "torch:vmap(grad)", "torch:no_grad"),
    *("torch:inference", "torch:autocast-float16", "torch:autocast-bfloat16", "torch:value_and_grad"),
    *("jax", "jax:jit", "jax:vmap", "jax:shard_map", "jax:shard_map:unchecked", "jax:x32", "jax:value_and_grad"),
    *("tensorflow", "tensorflow:function", "tensorflow:jit", "tensorflow:dynamic", "tensorflow:variable"),
    "tensorflow:value_and_grad",
)
REPLICATED = ("jax:shard_map", "jax:shard_map:unchecked")
SINGLE = ("array_api_strict:no-float64", "torch:autocast-float16", "torch:autocast-bfloat16", "jax:x32")


@pytest.mark.parametrize("task", CHOSEN, ids=lambda task: task.program.name)
def test_formula_has_the_gradient_of_its_value(task: Views) -> None:
    for views, t in sets(task):
        x, shape = np.array(views), np.array(views).shape
        weights = np.random.default_rng(5).normal(size=task.count * task.program.rows) if task.by_row else None
        found = exact(task, views, t, weights)

        def value(x: Floats, t: float, weights: Floats | None = weights) -> float:
            loss = exact(task, [*x], t).loss
            return float(loss if weights is None else loss @ weights)

        step, flat = 1e-6, []
        for at in np.ndindex(shape):
            move = np.zeros(shape)
            move[at] = step
            flat.append((value(x + move, t) - value(x - move, t)) / (2 * step))
        tolerance = 1e-6 * np.max(found.terms)
        np.testing.assert_allclose(np.reshape(flat, shape), np.array(found.views), rtol=0, atol=tolerance)
        of_t = (value(x, t + step * t) - value(x, t - step * t)) / (2 * step * t)
        assert of_t == pytest.approx(found.temperature, rel=1e-6, abs=1e-6 * found.temperature_terms)


def programs() -> list[Any]:
    """(variant, task): where each program is compiled, what is derived from the plain way runs three of them."""
    return [
        pytest.param(name, task, id=f"{name}-{task.program.name}")
        for name in VARIANTS
        for task in (CHOSEN[1:6:2] if name.startswith(("jax:", "tensorflow:")) else CHOSEN)
    ]


@pytest.mark.parametrize(("name", "task"), programs())
def test_value_and_every_gradient_are_those_of_the_formula(name: str, task: Views) -> None:
    for views, t in sets(task):
        judge(name, task, views, t, "float32" if name in SINGLE else "float64")


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_combination_of_options_and_shapes(name: str, dtype: str) -> None:
    for task in ALL[::7] if name == "array_api_strict" else ALL:  # which checks every operation, and is slow
        for views, t in sets(task):
            judge(name, task, views, t, dtype)


@pytest.mark.parametrize("name", REPLICATED)
def test_views_that_all_devices_share_in_shard_map(name: str) -> None:
    task = replace(CHOSEN[3], replicated=True)
    for views, t in sets(task):
        judge(name, task, views, t, "float64")


@pytest.mark.parametrize("block_size", [3, None], ids=["blocks", "no whole block"])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_one_trace_of_open_shape_for_all_batch_sizes(jit_compile: bool, block_size: int | None) -> None:
    import tensorflow as tf

    def step(*views: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            tape.watch(views)
            loss = nt_xent(*views, block_size=block_size)
        return loss, tape.gradient(loss, views)

    open_rows = tf.TensorSpec([None, FEATURES], tf.float64)
    traced = tf.function(step, input_signature=[open_rows] * 3, jit_compile=jit_compile)
    for rows in (1, 2, 5, 16):
        views = [*np.random.default_rng(rows).normal(size=(3, rows, FEATURES))]
        loss, gradients = traced(*map(tf.constant, views))
        check((loss.numpy(), [g.numpy() for g in gradients]), dense(views), views)
    loss, gradients = traced(*tf.zeros((3, 0, FEATURES), tf.float64))
    assert np.isnan(loss.numpy())
    assert [g.shape for g in gradients] == [(0, FEATURES)] * 3


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_gradients_of_halves_are_those_of_float32_rounded_once(framework: Framework, dtype: str) -> None:
    if dtype in framework.toolkit.lacking():
        assert framework.name in ("numpy", "array_api_strict")
        return
    for task in (CHOSEN[2], CHOSEN[3]):
        for views, t in sets(task):
            judge(framework.name, task, views, t, dtype)


def test_variants_are_those_of_the_conformance_suite() -> None:
    found = {variant.name for name in NAMES for variant in load(name).variants()}
    assert found - set(VARIANTS) == {"torch:inductor", "torch:scaler"}
    assert set(VARIANTS) <= found
