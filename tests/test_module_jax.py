"""`infonce.jax.InfoNCE`: a pytree."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest

from infonce import info_nce, value_and_grad

QUERY, KEY = np.random.default_rng(0).normal(size=(2, 5, 4))


def parts() -> tuple[Any, Any, Any, Any]:
    import jax

    from infonce.jax import InfoNCE

    return jax, InfoNCE, jax.numpy.asarray(QUERY, np.float32), jax.numpy.asarray(KEY, np.float32)


def test_leaf_and_its_gradient_by_the_chain_rule() -> None:
    jax, InfoNCE, query, key = parts()
    assert jax.tree.leaves(InfoNCE()) == []
    module = InfoNCE(temperature=0.3, learnable_temperature=True)
    ((path, leaf),) = jax.tree_util.tree_leaves_with_path(module)
    assert (jax.tree_util.keystr(path), leaf.shape, leaf.dtype) == (".log_temperature", (), np.float32)
    gradient = jax.grad(lambda module: module(query, key))(module)
    assert isinstance(gradient, InfoNCE)
    t = module.temperature
    _, found = value_and_grad(info_nce)(query, key, temperature=t)
    assert float(gradient.log_temperature) == pytest.approx(float(t * found["temperature"]), rel=1e-5)


def test_tree_map_jit_and_steps() -> None:
    jax, InfoNCE, query, key = parts()
    module = InfoNCE(temperature=0.3, learnable_temperature=True)
    near = query + 0.1 * key

    @jax.jit
    def step(module: Any) -> Any:
        loss, gradient = jax.value_and_grad(lambda module: module(query, near))(module)
        return loss, jax.tree.map(lambda x, g: x - 5.0 * g, module, gradient)

    losses, temperatures = [], []
    for _ in range(5):
        loss, module = step(module)
        losses.append(float(loss))
        temperatures.append(float(module.temperature))
    assert losses == sorted(losses, reverse=True)
    assert all(0 < t < 0.3 for t in temperatures)
    assert len(set(temperatures)) == 5


def test_static_module_is_an_argument_of_jit() -> None:
    jax, InfoNCE, query, key = parts()
    traces = []

    @jax.jit
    def loss(module: Any, query: Any, key: Any) -> Any:
        traces.append(module)
        return module(query, key)

    for _ in range(2):
        assert float(loss(InfoNCE(0.3), query, key)) == pytest.approx(float(InfoNCE(0.3)(query, key)), rel=1e-6)
    assert len(traces) == 1
    loss(InfoNCE(0.3, symmetric=True), query, key)
    assert len(traces) == 2
    mapped = jax.tree.map(lambda x: 2 * x, InfoNCE(0.3))
    assert mapped == InfoNCE(0.3)
    assert hash(mapped) == hash(InfoNCE(0.3))


def test_copies_and_vmap_over_temperatures() -> None:
    jax, InfoNCE, query, key = parts()
    module = InfoNCE(temperature=0.3, learnable_temperature=True)
    for same in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert float(same(query, key)) == float(module(query, key))
    stack = jax.tree.map(lambda x: jax.numpy.stack([x, x + 1]), module)
    losses = jax.vmap(lambda module: module(query, key))(stack)
    assert float(losses[0]) == pytest.approx(float(module(query, key)), rel=1e-6)
    assert float(losses[1]) == pytest.approx(float(info_nce(query, key, temperature=0.3 * math.e)), rel=1e-5)


@pytest.mark.parametrize("learnable", [False, True])
def test_value_and_grad_of_the_module(learnable: bool) -> None:
    _, InfoNCE, query, key = parts()
    loss, found = value_and_grad(InfoNCE(temperature=0.3, learnable_temperature=learnable))(query, key)
    want, gradients = value_and_grad(info_nce)(query, key, temperature=0.3)
    assert float(loss) == pytest.approx(float(want), rel=1e-5)
    np.testing.assert_allclose(found["query"], gradients["query"], rtol=1e-4, atol=1e-7)
    assert set(found) == {"query", "positive_key", *(["temperature"] if learnable else [])}
