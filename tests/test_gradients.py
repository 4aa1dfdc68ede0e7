"""Gradients of some inputs only, with any cotangent, and what a call leaves behind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from infonce import info_nce, nt_xent, value_and_grad

from ._frameworks import Framework
from ._gradients import gradient_of
from ._points import POINTS, VIEWS, N, T


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (3,), (0, 2), (1, 3)], ids=str)
def test_gradients_of_some_inputs_alone(autodiff: Framework, wanted: tuple[int, ...]) -> None:
    given = [*POINTS["unpaired"]["arrays"], np.asarray(T)]
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
    gradient = gradient_of(autodiff.name, lambda x: info_nce(x, x, symmetric=symmetric), x)
    np.testing.assert_allclose(autodiff.values(gradient), total, rtol=0, atol=1e-14)
    twice = gradient_of(autodiff.name, lambda x: nt_xent(x, x), x)
    views = value_and_grad(nt_xent)(x, y)[1]["views"]
    np.testing.assert_allclose(autodiff.values(twice), sum(map(autodiff.values, views)), rtol=0, atol=1e-14)


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
