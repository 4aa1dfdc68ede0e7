"""Second derivatives, gradients of some inputs only, and what a call leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from infonce import info_nce, nt_xent, value_and_grad

from ._frameworks import Framework

N, M, D = 4, 3, 3
T = 0.4
RNG = np.random.default_rng(0)

# Points by name: where the loss is smooth and its parts are not (maxima that are shared, x = 0 in the softplus).
POINTS: dict[str, dict[str, Any]] = {
    "random": {"arrays": [*RNG.normal(size=(2, N, D))]},
    "all rows equal": {"arrays": [np.ones((N, D)), np.ones((N, D))]},
    "one-hot rows": {"arrays": [np.eye(D), np.eye(D)[::-1]]},
    "symmetric": {"arrays": [*RNG.normal(size=(2, N, D))], "symmetric": True},
    "symmetric, all rows equal": {"arrays": [np.ones((N, D)), np.ones((N, D))], "symmetric": True},
    "unpaired": {"arrays": [*RNG.normal(size=(2, N, D)), RNG.normal(size=(M, D))], "reduction": "sum"},
    "paired": {"arrays": [*RNG.normal(size=(2, N, D)), RNG.normal(size=(N, M, D))], "negative_mode": "paired"},
    # One negative as near as the positive: softplus(0), whose two branches meet.
    "one negative, x = 0": {"arrays": [np.ones((1, D)), np.eye(D)[:1], np.eye(D)[1:2]]},
    "blocks": {"arrays": [*RNG.normal(size=(2, 3, D))], "block_size": 2, "normalize": False},
    "losses of rows": {"arrays": [*RNG.normal(size=(2, N, D))], "reduction": "none"},
}
VIEWS: dict[str, dict[str, Any]] = {
    "random": {"arrays": [*RNG.normal(size=(2, N, D))]},
    "all rows equal": {"arrays": [np.ones((N, D)), np.ones((N, D))]},
    "three one-hot views": {"arrays": [np.eye(D), np.eye(D), np.eye(D)[::-1]]},
    "blocks": {"arrays": [*RNG.normal(size=(3, 2, D))], "block_size": 4},
}
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


def products(jax: Any, fn: Callable[..., Any], *arguments: Any) -> int:
    """How many matrix products `fn` takes, those of its inner functions included."""

    def count(jaxpr: Any) -> int:
        inner = 0
        for equation in jaxpr.eqns:
            inner += equation.primitive.name == "dot_general"
            inner += sum(count(sub) for value in equation.params.values() for sub in subjaxprs(value))
        return inner

    def subjaxprs(value: Any) -> Iterator[Any]:
        for entry in value if isinstance(value, tuple | list) else (value,):
            found = getattr(entry, "jaxpr", entry)
            if hasattr(found, "eqns"):
                yield found

    return count(jax.make_jaxpr(fn)(*arguments).jaxpr)


def test_jax_constant_keys_cost_fewer_products(jax: Any) -> None:
    query, key = (jax.numpy.asarray(x) for x in POINTS["random"]["arrays"])
    queue = jax.numpy.asarray(RNG.normal(size=(M, D)))

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


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (3,), (0, 2), (1, 3)], ids=str)
def test_gradients_of_some_inputs_alone(autodiff: Framework, wanted: tuple[int, ...]) -> None:
    given = [*RNG.normal(size=(2, N, D)), RNG.normal(size=(M, D)), np.asarray(T)]
    names = ("query", "positive_key", "negative_keys", "temperature")
    for options in ({}, {"reduction": "none"}, {"in_batch": True, "symmetric": True, "block_size": 3}):
        arrays = [autodiff.array(x) for x in given]
        by_row = options.get("reduction") == "none"
        weights = autodiff.array(np.linspace(-1, 1, N)) if by_row else None
        found = dict(zip(wanted, some_gradients(autodiff.name, arrays, wanted, weights, options), strict=True))
        if by_row:
            every = some_gradients(autodiff.name, arrays, (0, 1, 2, 3), weights, options)
            want = dict(zip(names, every, strict=True))
        else:
            want = value_and_grad(info_nce)(*arrays, **options)[1]
        for place, gradient in found.items():
            np.testing.assert_allclose(
                autodiff.values(gradient), autodiff.values(want[names[place]]), rtol=1e-12, atol=1e-15
            )


def some_gradients(name: str, arrays: list[Any], wanted: tuple[int, ...], weights: Any, options: Any) -> list[Any]:
    """The gradients of those inputs; all others are constants to the framework."""

    def scalar(*inputs: Any) -> Any:
        loss = info_nce(*inputs, **options)
        return loss if weights is None else (loss * weights).sum()

    if name == "torch":
        import torch

        inputs = [x.detach().requires_grad_(i in wanted) for i, x in enumerate(arrays)]
        scalar(*inputs).backward()
        assert all((x.grad is None) == (i not in wanted) for i, x in enumerate(inputs))
        assert isinstance(inputs[0], torch.Tensor)
        return [inputs[i].grad for i in wanted]
    if name == "jax":
        import jax

        return list(jax.grad(scalar, wanted)(*arrays))
    import tensorflow as tf

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch([arrays[i] for i in wanted])
        loss = info_nce(*arrays, **options)
        scalar_loss = loss if weights is None else tf.reduce_sum(loss * weights)
    return list(tape.gradient(scalar_loss, [arrays[i] for i in wanted]))


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


# PyTorch.


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("function", ["info_nce", "nt_xent"])
def test_torch_second_derivatives_raise(function: str, reduction: str) -> None:
    import torch

    fn = {"info_nce": info_nce, "nt_xent": nt_xent}[function]
    query, key = (torch.from_numpy(x).requires_grad_() for x in POINTS["random"]["arrays"])

    def loss(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        return fn(query, key, reduction=reduction).sum()  # type: ignore[no-any-return, operator]

    (gradient,) = torch.autograd.grad(loss(query, key), query, create_graph=True)
    assert gradient.requires_grad
    words = "no second derivative in PyTorch.*create_graph=True.*JAX or TensorFlow"
    with pytest.raises(NotImplementedError, match=words):
        gradient.sum().backward()
    with pytest.raises(NotImplementedError, match=words):
        torch.autograd.functional.hessian(lambda query: loss(query, key), query)
    twice = torch.func.grad(lambda query: torch.func.grad(loss)(query, key).sum())
    with pytest.raises(NotImplementedError, match=words):
        twice(query.detach())
    with pytest.raises(NotImplementedError, match=words):
        torch.func.jacrev(torch.func.grad(loss))(query.detach(), key.detach())


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch.func.jvp's own doing
def test_torch_forward_mode_raises_and_is_never_silently_wrong() -> None:
    import torch

    query, key = map(torch.from_numpy, POINTS["random"]["arrays"])
    with pytest.raises((NotImplementedError, RuntimeError), match=r"forward mode|forward AD|jvp"):
        torch.func.jvp(lambda query: info_nce(query, key), (query,), (query,))


def test_torch_gradient_penalty_raises_and_does_not_vanish() -> None:
    """The classical silent bug: a penalty on the gradient whose own gradient is that of a constant."""
    import torch

    query, key = (torch.from_numpy(x) for x in POINTS["random"]["arrays"])
    weight = torch.eye(D, dtype=torch.float64, requires_grad=True)
    loss = info_nce(query @ weight, key)
    (gradient,) = torch.autograd.grad(loss, weight, create_graph=True)
    with pytest.raises(NotImplementedError, match="no second derivative"):
        (loss + gradient.square().sum()).backward()


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_torch_keeps_nothing_of_the_size_of_the_logits(reduction: str) -> None:
    import torch

    rows, keys = 200, 300
    arrays = [torch.randn(shape, D, requires_grad=True) for shape in (rows, rows, keys)]
    sizes: list[int] = []

    def pack(x: torch.Tensor) -> torch.Tensor:
        sizes.append(x.untyped_storage().nbytes() // x.element_size())
        return x

    for fn in (
        lambda: info_nce(*arrays, reduction=reduction, block_size=16),
        lambda: info_nce(*arrays[:2], reduction=reduction, symmetric=True, block_size=16),
        lambda: nt_xent(*arrays[:2], reduction=reduction, block_size=16),
    ):
        sizes.clear()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            loss = fn()
        assert sizes, "nothing was saved"
        assert max(sizes) <= 2 * rows * D
        loss.sum().backward()


def test_torch_backward_twice_and_scaled() -> None:
    import torch

    query, key = (torch.from_numpy(x).requires_grad_() for x in POINTS["random"]["arrays"])
    loss = info_nce(query, key)
    first = torch.autograd.grad(loss, (query, key), retain_graph=True)
    want = [-3 * x for x in first]
    for x in first:
        x.zero_()  # the caller's own
    for x, y in zip(torch.autograd.grad(-3 * loss, (query, key)), want, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-14, atol=0)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        torch.autograd.grad(loss, (query, key))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_torch_hands_over_the_gradients_that_it_kept(dtype: str) -> None:
    import torch

    query, key = (torch.randn(6, 4, dtype=getattr(torch, dtype), requires_grad=True) for _ in range(2))
    loss = info_nce(query, key)
    kept = [x.data_ptr() for x in loss.grad_fn.gradients]
    (2 * loss).backward()
    assert loss.grad_fn.gradients == ()
    handed_over = [x.grad.data_ptr() == place for x, place in zip((query, key), kept, strict=True)]
    assert handed_over == [dtype == "float32"] * 2  # a gradient in another dtype is a new array


# All of them.


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_torch_takes_a_batch_of_cotangents(dtype: str) -> None:
    import torch

    query, key = (torch.randn(6, 4, dtype=getattr(torch, dtype), requires_grad=True) for _ in range(2))
    loss = info_nce(query, key)
    several = torch.tensor([1.0, -2.0])
    batched = torch.autograd.grad(loss, (query, key), several, is_grads_batched=True, retain_graph=True)
    for x, cotangent in enumerate(several):
        single = torch.autograd.grad(loss, (query, key), cotangent, retain_graph=True)
        assert all(torch.equal(many[x], one) for many, one in zip(batched, single, strict=True))


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (info_nce, {"symmetric": True}),
        *((f, o) for f in (info_nce, nt_xent) for o in ({}, {"hardness": 0.5}, {"label_smoothing": 0.1})),
        *((f, {"temperature": 0.01}) for f in (info_nce, nt_xent)),
    ],
    ids=lambda x: getattr(x, "__name__", str(x)),
)
@pytest.mark.parametrize("block_size", [None, 4])
def test_torch_takes_a_batch_of_cotangents_of_rows(
    function: Any, options: dict[str, Any], block_size: int | None
) -> None:
    import torch

    query, key = (torch.from_numpy(x).requires_grad_() for x in POINTS["random"]["arrays"])
    loss = function(query, key, reduction="none", block_size=block_size, **options)
    several = torch.from_numpy(np.random.default_rng(1).normal(size=(3, len(loss))))
    batched = torch.autograd.grad(loss, (query, key), several, is_grads_batched=True, retain_graph=True)
    for i, cotangent in enumerate(several):
        single = torch.autograd.grad(loss, (query, key), cotangent, retain_graph=True)
        for many, one in zip(batched, single, strict=True):
            torch.testing.assert_close(many[i], one, rtol=0, atol=1e-13)


@pytest.mark.parametrize("function", [info_nce, nt_xent])
def test_losses_of_rows_with_any_cotangent(autodiff: Framework, function: Any) -> None:
    arrays = [autodiff.array(x) for x in POINTS["random"]["arrays"]]
    rows = N if function is info_nce else 2 * N
    each = [pulled(autodiff.name, function, arrays, autodiff.array(np.eye(rows)[i])) for i in range(rows)]
    cotangent = np.random.default_rng(5).normal(size=rows) * 10.0 ** np.arange(rows)
    cotangent[1] = 0
    found = pulled(autodiff.name, function, arrays, autodiff.array(cotangent))
    for place, gradient in enumerate(found):
        want = sum(c * autodiff.values(one[place]) for c, one in zip(cotangent, each, strict=True))
        got = autodiff.values(gradient)
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-13 * np.max(np.abs(want)))


def pulled(name: str, function: Any, arrays: list[Any], cotangent: Any) -> list[Any]:
    """The cotangent of the losses of the rows carried back to the arrays."""
    if name == "torch":
        import torch

        leaves = [x.detach().requires_grad_() for x in arrays]
        return list(torch.autograd.grad(function(*leaves, reduction="none"), leaves, cotangent))
    if name == "jax":
        import jax

        return list(jax.vjp(lambda *x: function(*x, reduction="none"), *arrays)[1](cotangent))
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(arrays)
        loss = function(*arrays, reduction="none")
    return list(tape.gradient(loss, arrays, output_gradients=cotangent))


@pytest.mark.parametrize("symmetric", [False, True])
def test_positive_key_is_the_query(autodiff: Framework, symmetric: bool) -> None:
    x = autodiff.array(POINTS["random"]["arrays"][0])
    y = autodiff.array(POINTS["random"]["arrays"][0])
    loss, found = value_and_grad(info_nce)(x, x, symmetric=symmetric)
    other, apart = value_and_grad(info_nce)(x, y, symmetric=symmetric)
    assert autodiff.values(loss) == autodiff.values(other)
    total = autodiff.values(apart["query"]) + autodiff.values(apart["positive_key"])
    np.testing.assert_array_equal(autodiff.values(found["query"]), autodiff.values(apart["query"]))
    gradient = of_one(autodiff.name, lambda x: info_nce(x, x, symmetric=symmetric), x)
    np.testing.assert_allclose(autodiff.values(gradient), total, rtol=0, atol=1e-14)
    twice = of_one(autodiff.name, lambda x: nt_xent(x, x), x)
    views = value_and_grad(nt_xent)(x, y)[1]["views"]
    np.testing.assert_allclose(autodiff.values(twice), sum(map(autodiff.values, views)), rtol=0, atol=1e-14)


def of_one(name: str, fn: Callable[[Any], Any], x: Any) -> Any:
    if name == "torch":
        import torch

        leaf = x.detach().requires_grad_()
        return torch.autograd.grad(fn(leaf), leaf)[0]
    if name == "jax":
        import jax

        return jax.grad(fn)(x)
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = fn(x)
    return tape.gradient(loss, x)


def test_torch_value_and_grad_leaves_grad_and_graphs_alone() -> None:
    import torch

    arrays = [torch.from_numpy(x).requires_grad_() for x in POINTS["unpaired"]["arrays"]]
    for leaf in arrays:
        leaf.grad = torch.full_like(leaf, 7.0)
    loss, found = value_and_grad(info_nce)(*arrays)
    assert not loss.requires_grad
    assert not any(gradient.requires_grad for gradient in found.values())
    assert all(bool((leaf.grad == 7.0).all()) for leaf in arrays)
    with torch.no_grad():
        again, unseen = value_and_grad(info_nce)(*arrays)
    assert again == loss
    assert all(torch.equal(found[name], unseen[name]) for name in found)
    loss, found = value_and_grad(nt_xent)(*arrays[:2])
    assert not any(x.requires_grad for x in (loss, *found["views"]))


def test_tensorflow_value_and_grad_is_not_taped() -> None:
    import tensorflow as tf

    variables = [tf.Variable(x) for x in POINTS["random"]["arrays"]]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        loss, _ = value_and_grad(info_nce)(*variables)
    assert isinstance(loss, tf.Tensor)
    assert all(not isinstance(g, tf.Variable) for g in value_and_grad(info_nce)(*variables)[1].values())
    assert [v.numpy().tolist() for v in variables] == [x.tolist() for x in POINTS["random"]["arrays"]]
    del tape


@pytest.mark.parametrize("block_size", [None, 2])
def test_inputs_are_left_as_they_are(framework: Framework, block_size: int | None) -> None:
    options: dict[str, Any]
    for options in ({}, {"symmetric": True, "in_batch": True}, {"normalize": False}):
        arrays = [framework.array(x) for x in (*POINTS["unpaired"]["arrays"], np.asarray(T))]
        before = [framework.values(x) for x in arrays]
        value_and_grad(info_nce)(*arrays, block_size=block_size, **options)
        info_nce(*arrays, reduction="none", block_size=block_size, **options)
        for x, kept in zip(arrays, before, strict=True):
            np.testing.assert_array_equal(framework.values(x), kept)
    views = [framework.array(x) for x in VIEWS["blocks"]["arrays"]]
    value_and_grad(nt_xent)(*views, block_size=block_size)
    for x, given in zip(views, VIEWS["blocks"]["arrays"], strict=True):
        np.testing.assert_array_equal(framework.values(x), given)


def test_answers_share_no_memory_with_the_inputs_or_each_other() -> None:
    for options in ({}, {"normalize": False}, {"normalize": False, "temperature": 1.0, "reduction": "sum"}):
        arrays = [x.copy() for x in POINTS["unpaired"]["arrays"]]
        found = list(value_and_grad(info_nce)(*arrays, **options)[1].values())
        for i, gradient in enumerate(found):
            assert not any(np.shares_memory(gradient, x) for x in (*arrays, *found[i + 1 :]))
            assert gradient.flags.writeable
