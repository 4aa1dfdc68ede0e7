"""What is taken, as what it is: layouts, subclasses, variables, numbers; and the warning without negatives."""

from __future__ import annotations

import fractions
import pathlib
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from infonce import info_nce, nt_xent, value_and_grad

from ._frameworks import AUTODIFF, Framework
from ._frameworks import framework as framework_of

N, D = 4, 3
QUERY, KEY = np.random.default_rng(0).normal(size=(2, N, D))


def test_numpy_layouts_subclasses_and_byte_orders(tmp_path: pathlib.Path) -> None:
    want = info_nce(QUERY, KEY)

    class Mine(np.ndarray[Any, Any]):
        pass

    stored = np.memmap(tmp_path / "keys", np.float64, "w+", shape=(N, D))
    stored[:] = KEY
    read_only = KEY.copy()
    read_only.flags.writeable = False
    for key in (
        KEY.view(Mine),
        stored,
        np.memmap(tmp_path / "keys", np.float64, "r", shape=(N, D)),
        read_only,
        np.asfortranarray(KEY),
        np.repeat(KEY, 2, axis=0)[::2],
        KEY[::-1][::-1],
    ):
        assert info_nce(QUERY, key) == want
        loss, found = value_and_grad(info_nce)(QUERY, key)
        assert loss == want
        assert type(found["positive_key"]) is (Mine if isinstance(key, Mine) else np.ndarray)
        np.testing.assert_allclose(found["positive_key"], value_and_grad(info_nce)(QUERY, KEY)[1]["positive_key"])


def test_numbers_as_temperature(framework: Framework) -> None:
    query, key = framework.array(QUERY), framework.array(KEY)
    want = framework.values(info_nce(query, key, temperature=0.5))
    for number in (np.float64(0.5), np.float32(0.5), np.float16(0.5), fractions.Fraction(1, 2)):
        assert framework.values(info_nce(query, key, temperature=number)) == want
    one = framework.values(info_nce(query, key, temperature=1.0))
    for number in (1, np.int64(1), np.uint8(1)):
        assert framework.values(info_nce(query, key, temperature=number)) == one


def test_numpy_number_does_not_promote(framework: Framework) -> None:
    query, key = framework.array(QUERY, "float32"), framework.array(KEY, "float32")
    for temperature in (np.float64(0.1), framework.array(np.asarray(0.1)), framework.array(np.full(N, 0.1))):
        loss, found = value_and_grad(info_nce)(query, key, temperature=temperature)
        assert framework.dtype(loss) == "float32"
        assert framework.dtype(info_nce(query, key, temperature=temperature)) == "float32"
        assert [framework.dtype(found[name]) for name in ("query", "positive_key")] == ["float32"] * 2
        if "temperature" in found:
            assert framework.dtype(found["temperature"]) == "float64"


def test_subclasses_and_parameters_of_torch() -> None:
    import torch

    class Mine(torch.Tensor):
        pass

    query, key = torch.from_numpy(QUERY), torch.from_numpy(KEY)
    want, gradients = value_and_grad(info_nce)(query, key)
    parameter = torch.nn.Parameter(query.clone())
    info_nce(parameter, key).backward()
    torch.testing.assert_close(parameter.grad, gradients["query"], rtol=0, atol=0)
    for mine in (query.as_subclass(Mine), query.clone().as_subclass(Mine).requires_grad_()):
        loss = info_nce(mine, key)
        assert loss.item() == pytest.approx(want.item(), rel=1e-14)
        if mine.requires_grad:
            loss.backward()
            # Equal to rounding: a subclass may be visited without in-place operations.
            np.testing.assert_allclose(mine.grad.numpy(), gradients["query"].numpy(), rtol=1e-13, atol=1e-15)
        both = nt_xent(mine, mine)
        assert both.item() == pytest.approx(nt_xent(query, query).item(), rel=1e-14)


@pytest.mark.parametrize("function", [info_nce, nt_xent])
def test_no_grad_and_inference_mode_of_torch(function: Any) -> None:
    import torch

    leaves = [torch.from_numpy(x).requires_grad_() for x in (QUERY, KEY)]
    want = function(*leaves)
    for context in (torch.no_grad, torch.inference_mode):
        with context():
            loss = function(*leaves)
            assert not loss.requires_grad
            assert loss.item() == want.item()
            inside = [leaf * 1.0 for leaf in leaves]
            assert function(*inside).item() == want.item()
        assert function(*inside).item() == want.item()  # tensors made in inference mode, used outside
        loss, found = value_and_grad(function)(*inside)
        assert loss.item() == want.item()
        assert not any(g.requires_grad for g in found.get("views", found.values()))


def test_variables_of_tensorflow() -> None:
    import tensorflow as tf

    query, key, t = tf.Variable(QUERY), tf.Variable(KEY), tf.Variable(0.1, dtype=tf.float64)
    with tf.GradientTape() as tape:
        loss = info_nce(query, key, temperature=t)
    gradients = tape.gradient(loss, [query, key, t])
    want, found = value_and_grad(info_nce)(query, key, temperature=t)
    assert float(loss) == float(want)
    assert float(loss) == pytest.approx(float(info_nce(QUERY, KEY)), rel=1e-14)
    for got, exact in zip(gradients, found.values(), strict=True):
        np.testing.assert_allclose(got, exact, rtol=1e-13, atol=1e-16)
    with tf.GradientTape() as tape:
        loss = nt_xent(query, key, temperature=t)
    assert all(g is not None for g in tape.gradient(loss, [query, key, t]))


def test_unknown_rank_in_a_graph_of_tensorflow_is_refused() -> None:
    import tensorflow as tf

    traced = tf.function(info_nce, input_signature=[tf.TensorSpec(None, tf.float32)] * 2)
    with pytest.raises(ValueError, match=r"unknown rank.*tf\.ensure_shape"):
        traced(tf.ones((N, D)), tf.ones((N, D)))


def test_committed_arrays_of_jax_keep_their_device() -> None:
    import jax

    device = jax.devices("cpu")[0]
    query, key = (jax.device_put(np.float32(x), device) for x in (QUERY, KEY))
    assert info_nce(query, key).devices() == {device}


# The warning that there is nothing to tell apart.


@pytest.mark.parametrize("way", ["info_nce", "nt_xent", "value_and_grad", "no keys"])
def test_warning_without_negatives_is_the_same_and_points_at_the_caller(framework: Framework, way: str) -> None:
    one = framework.array(QUERY[:1])
    ways: dict[str, Callable[[], Any]] = {
        "info_nce": lambda: info_nce(one, one),
        "nt_xent": lambda: nt_xent(one, one),
        "value_and_grad": lambda: value_and_grad(info_nce)(one, one)[0],
        "no keys": lambda: info_nce(one, one, framework.array(np.ones((0, D)))),
    }
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loss = ways[way]()
    assert framework.values(loss) == 0
    (warning,) = [w for w in caught if issubclass(w.category, UserWarning)]
    assert str(warning.message) == (
        "there are no negatives: the loss and its gradients are 0. Pass more than one row, or negative_keys."
    )
    assert warning.filename == __file__


def test_three_views_of_one_sample_are_worth_no_warning(framework: Framework) -> None:
    """They tell positives apart: the loss is not 0."""
    views = [framework.array(x) for x in (QUERY[:1], KEY[:1], QUERY[1:2])]
    assert float(framework.values(nt_xent(*views))) > 0.1


@pytest.mark.parametrize("name", AUTODIFF)
def test_no_warning_inside_a_graph(name: str) -> None:
    framework = framework_of(name)
    with framework.settings():
        one = framework.array(QUERY[:1])
        if name == "torch":
            import torch

            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", ".*should not be instantiated", DeprecationWarning)
                loss = torch.compile(info_nce, fullgraph=True, backend="aot_eager")(one, one)
            assert loss.item() == 0
        elif name == "jax":
            import jax

            assert float(jax.jit(info_nce)(one, one)) == 0
        else:
            import tensorflow as tf

            assert float(tf.function(info_nce)(one, one)) == 0
