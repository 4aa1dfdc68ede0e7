"""Second derivatives in JAX and TensorFlow: those of the formula. What a first one costs in JAX, in products."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from infonce import info_nce, nt_xent

from ._points import POINTS, VIEWS, N, T, products

CASES = {("info_nce", name): point for name, point in POINTS.items()} | {
    ("nt_xent", name): point for name, point in VIEWS.items()
}


def case_options(which: tuple[str, str]) -> dict[str, Any]:
    return {name: value for name, value in CASES[which].items() if name != "arrays"}


def ours(which: tuple[str, str]) -> Callable[..., Any]:
    """(temperature, *arrays) to the loss."""
    options = case_options(which)
    if which[0] == "nt_xent":
        return lambda t, *views: nt_xent(*views, temperature=t, **options)
    if options.get("reduction") == "none":
        return lambda t, query, key: weighed(info_nce(query, key, temperature=t, **options))
    return lambda t, query, key, negatives=None: info_nce(query, key, negatives, t, **options)


def weighed(losses: Any) -> Any:
    """A sum of the rows' losses, each with a weight of its own."""
    return sum((i - 1.5) * losses[i] for i in range(N))


def plain(which: tuple[str, str], xp: Any) -> Callable[..., Any]:
    """The same, dense, from the formula, by the framework's own operations: `xp` is jax.numpy or `Tensors`."""
    options = case_options(which)
    normalize = options.get("normalize", True)
    reduce = {"none": weighed, "sum": xp.sum, "mean": xp.mean}[options.get("reduction", "mean")]

    def unit(x: Any) -> Any:
        return x / xp.sqrt(xp.sum(x * x, axis=-1, keepdims=True)) if normalize else x

    def dense_info_nce(t: Any, query: Any, key: Any, negatives: Any = None) -> Any:
        q, p = unit(query), unit(key)
        positive = xp.sum(q * p, axis=-1) / t
        if negatives is None:
            z = q @ xp.matrix_transpose(p) / t
            loss = xp.logsumexp(z, axis=-1) - positive
            if options.get("symmetric"):
                loss = (loss + xp.logsumexp(z, axis=0) - positive) / 2
        else:
            k = unit(negatives)
            s = (
                xp.sum(q[:, None] * k, axis=-1)
                if options.get("negative_mode") == "paired"
                else q @ xp.matrix_transpose(k)
            )
            loss = xp.logsumexp(xp.concat([positive[:, None], s / t], axis=1), axis=-1) - positive
        return reduce(loss)

    def dense_nt_xent(t: Any, *views: Any) -> Any:
        u = xp.concat([unit(x) for x in views], axis=0)
        z, rows, samples = u @ xp.matrix_transpose(u) / t, len(views) * len(views[0]), len(views[0])
        distance = np.subtract.outer(np.arange(rows), np.arange(rows))
        target = ((distance % samples == 0) & (distance != 0)) / (len(views) - 1)
        own = np.where(distance == 0, -1e9, 0.0)
        return reduce(xp.logsumexp(z + own, axis=-1) - xp.sum(z * target, axis=-1))

    return dense_nt_xent if which[0] == "nt_xent" else dense_info_nce


def ids(which: tuple[str, str]) -> str:
    return ": ".join(which)


def close(got: Any, want: Any) -> None:
    want = np.asarray(want)
    np.testing.assert_allclose(np.asarray(got), want, rtol=0, atol=2e-12 * max(1.0, float(np.max(np.abs(want)))))


# JAX.


@pytest.fixture
def jax() -> Iterator[Any]:
    import jax

    with jax.enable_x64(True):
        yield jax


def jax_namespace(jax: Any) -> Any:
    class Namespace:
        def __getattr__(self, name: str) -> Any:
            return getattr(jax.scipy.special if name == "logsumexp" else jax.numpy, name)

    return Namespace()


@pytest.mark.parametrize("which", CASES, ids=ids)
def test_jax_hessian_is_that_of_the_formula(jax: Any, which: tuple[str, str]) -> None:
    arrays = [jax.numpy.asarray(T), *map(jax.numpy.asarray, CASES[which]["arrays"])]
    places = tuple(range(len(arrays)))
    want = jax.jit(jax.hessian(plain(which, jax_namespace(jax)), places))(*arrays)
    got = jax.jit(jax.jacrev(jax.grad(ours(which), places), places))(*arrays)
    jax.tree.map(close, got, want)


@pytest.mark.parametrize("which", [("info_nce", "random"), ("info_nce", "symmetric"), ("nt_xent", "blocks")], ids=ids)
def test_jax_forward_over_reverse(jax: Any, which: tuple[str, str]) -> None:
    arrays = [jax.numpy.asarray(T), *map(jax.numpy.asarray, CASES[which]["arrays"])]
    directions = [jax.numpy.asarray(np.random.default_rng(7).normal(size=x.shape)) for x in arrays]
    places = tuple(range(len(arrays)))

    def product(loss: Callable[..., Any]) -> Any:
        return jax.jit(lambda x, v: jax.jvp(jax.grad(loss, places), x, v)[1])(tuple(arrays), tuple(directions))

    jax.tree.map(close, product(ours(which)), product(plain(which, jax_namespace(jax))))


def test_jax_third_derivative(jax: Any) -> None:
    which = ("info_nce", "random")
    arrays = list(map(jax.numpy.asarray, CASES[which]["arrays"]))

    def third(loss: Callable[..., Any]) -> Any:
        return jax.jit(jax.grad(jax.grad(jax.grad(lambda t: loss(t, *arrays)))))(T)

    close(third(ours(which)), third(plain(which, jax_namespace(jax))))


def test_jax_constant_keys_cost_fewer_products(jax: Any) -> None:
    query, key, queue = map(jax.numpy.asarray, POINTS["unpaired"]["arrays"])

    def loss(query: Any, key: Any, queue: Any) -> Any:
        return info_nce(query, key, queue)

    assert products(jax, loss, query, key, queue) == 1
    assert products(jax, jax.grad(loss), query, key, queue) == 2
    assert products(jax, jax.grad(loss, (0, 1)), query, key, queue) == 2
    assert products(jax, jax.grad(loss, (0, 1, 2)), query, key, queue) == 3
    assert (
        products(jax, jax.grad(lambda *x: loss(*x[:2], jax.lax.stop_gradient(x[2])), (0, 1, 2)), query, key, queue) == 2
    )
    assert products(jax, jax.grad(info_nce, (0, 1)), query, key) == 3
    assert products(jax, jax.grad(info_nce), query, key) == 2
    assert products(jax, jax.grad(lambda *x: info_nce(*x, symmetric=True), (0, 1)), query, key) == 3  # in one block
    at_low_temperature = jax.grad(lambda *x: info_nce(*x, temperature=0.02, symmetric=True), (0, 1))
    assert products(jax, at_low_temperature, query, key) == 4


# TensorFlow.


class Tensors:
    """What `plain` needs of TensorFlow, by the names of jax.numpy."""

    def __getattr__(self, name: str) -> Any:
        import tensorflow as tf

        names: dict[str, Any] = {
            "sum": tf.reduce_sum,
            "mean": tf.reduce_mean,
            "sqrt": tf.sqrt,
            "concat": tf.concat,
            "logsumexp": tf.reduce_logsumexp,
            "matrix_transpose": tf.linalg.matrix_transpose,
        }
        return names[name]


GRAPHS = [
    *[
        ("info_nce", name)
        for name in ("all rows equal", "symmetric", "one negative, x = 0", "blocks", "losses of rows")
    ],
    *[("nt_xent", name) for name in ("all rows equal", "blocks")],
]


@pytest.mark.parametrize(
    ("way", "which"),
    [
        *[pytest.param("eager", which, id=f"eager-{ids(which)}") for which in CASES],
        *[pytest.param("inside a function", which, id=f"inside-{ids(which)}") for which in GRAPHS],
        *[pytest.param("tapes outside a function", which, id=f"outside-{ids(which)}") for which in GRAPHS],
        *[pytest.param("XLA", which, id=f"XLA-{ids(which)}") for which in GRAPHS[::2]],
    ],
)
def test_tensorflow_second_derivatives_are_those_of_the_formula(way: str, which: tuple[str, str]) -> None:
    import tensorflow as tf

    arrays = [tf.constant(T, tf.float64), *map(tf.constant, CASES[which]["arrays"])]
    directions = [np.random.default_rng(7).normal(size=x.shape) for x in arrays]

    def second(loss: Callable[..., Any]) -> Any:
        """The gradient of a weighted sum of all gradients: the Hessian times a direction."""
        with tf.GradientTape() as outer:
            outer.watch(arrays)
            with tf.GradientTape() as inner:
                inner.watch(arrays)
                value = loss(*arrays)
            gradients = inner.gradient(value, arrays)
            along = tf.add_n([tf.reduce_sum(g * v) for g, v in zip(gradients, directions, strict=True)])
        return outer.gradient(along, arrays, unconnected_gradients="zero")

    want = second(plain(which, Tensors()))
    if way == "eager":
        got = second(ours(which))
    elif way == "tapes outside a function":
        got = second(tf.function(ours(which)))
    else:
        got = tf.function(lambda: second(ours(which)), jit_compile=way == "XLA")()
    for one, exact in zip(got, want, strict=True):
        close(one, exact)


def test_tensorflow_persistent_tape_gives_the_same_twice() -> None:
    import tensorflow as tf

    query, key = map(tf.constant, POINTS["random"]["arrays"])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(query)
        loss = info_nce(query, key)
    first, second = tape.gradient(loss, query), tape.gradient(loss, query)
    np.testing.assert_array_equal(first, second)
