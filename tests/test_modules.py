"""`InfoNCE`: the options as an object, in the core and in each framework's own form."""

from __future__ import annotations

import copy
import functools
import importlib
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import infonce
from infonce import info_nce, value_and_grad

from ._frameworks import Framework

ROWS, FEATURES = 5, 4
QUERY, KEY = np.random.default_rng(0).normal(size=(2, ROWS, FEATURES))
SHARED = np.random.default_rng(1).normal(size=(7, FEATURES))
OWN = np.random.default_rng(2).normal(size=(ROWS, 3, FEATURES))
OPTIONS: tuple[tuple[dict[str, Any], Any], ...] = (
    ({}, None),
    ({"temperature": 0.3, "reduction": "sum"}, None),
    ({"reduction": "none"}, SHARED),
    ({"negative_mode": "paired"}, OWN),
    ({"symmetric": True, "block_size": 2}, None),
    ({"normalize": False, "in_batch": True}, SHARED),
    ({"symmetric": True, "in_batch": True, "negative_mode": "paired"}, OWN),
)


def own_form(framework: Framework) -> Callable[..., Any]:
    """The framework's InfoNCE; that of the core where it has none."""
    module = infonce if framework.name == "array_api_strict" else importlib.import_module(f"infonce.{framework.name}")
    found: Callable[..., Any] = module.InfoNCE
    return found


def arrays(framework: Framework, negatives: Any = None, dtype: str | None = None) -> list[Any]:
    given = [QUERY, KEY] if negatives is None else [QUERY, KEY, negatives]
    return [framework.array(x, dtype) for x in given]


@pytest.mark.parametrize("core", [False, True])
@pytest.mark.parametrize("learnable", [False, True])
@pytest.mark.parametrize("case", range(len(OPTIONS)))
def test_same_value_as_the_function(framework: Framework, core: bool, learnable: bool, case: int) -> None:
    options, negatives = OPTIONS[case]
    make = infonce.InfoNCE if core else own_form(framework)
    if learnable:
        if make is infonce.InfoNCE:
            with pytest.raises(TypeError, match="learnable_temperature"):
                make(**options, learnable_temperature=True)
            return
        options = {**options, "learnable_temperature": True}
    loss = make(**options)(*arrays(framework, negatives))
    options = {name: value for name, value in options.items() if name != "learnable_temperature"}
    want = framework.values(info_nce(*arrays(framework, negatives), **options))
    # A learnable temperature is exp(log t) in float32.
    np.testing.assert_allclose(framework.values(loss), want, rtol=1e-5 if learnable else 0)


def test_defaults_are_those_of_the_function(framework: Framework) -> None:
    loss = framework.values(own_form(framework)()(*arrays(framework)))
    assert loss == framework.values(info_nce(*arrays(framework)))


@pytest.mark.parametrize("core", [False, True])
def test_repr_is_what_a_user_would_write(framework: Framework, core: bool) -> None:
    make = infonce.InfoNCE if core else own_form(framework)
    want = "InfoNCE(temperature=0.25, reduction='sum', negative_mode='unpaired', symmetric=True, block_size=3)"
    module = make(temperature=0.25, reduction="sum", symmetric=True, block_size=3)
    assert repr(module) == want
    again = eval(repr(module), {"InfoNCE": make})
    assert repr(again) == want


def test_repr_of_a_learnable_temperature(autodiff: Framework) -> None:
    text = repr(own_form(autodiff)(temperature=0.5, learnable_temperature=True))
    shown, _, rest = text.removeprefix("InfoNCE(").partition(", reduction=")
    assert rest == "'mean', negative_mode='unpaired', learnable_temperature=True)"
    # In JAX the leaf as it is: it may be anything while a tree is mapped.
    assert shown == (
        "log_temperature=Array(-0.6931472, dtype=float32)" if autodiff.name == "jax" else "temperature=0.5"
    )


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"symetric": True}, TypeError, "InfoNCE has no option symetric; the options are .*symmetric"),
        ({"reduction": "avg"}, ValueError, "reduction must be one of"),
        ({"negative_mode": "pair"}, ValueError, "negative_mode must be one of"),
        ({"normalize": "yes"}, TypeError, "normalize must be True or False"),
        ({"block_size": 0}, ValueError, "block_size must be at least 1"),
        ({"temperature": 0.0}, ValueError, "temperature must be positive"),
        ({"temperature": -1}, ValueError, "temperature must be positive"),
        ({"temperature": math.nan}, ValueError, "temperature must be positive"),
        ({"temperature": "0.1"}, TypeError, "temperature must be a number"),
    ],
)
@pytest.mark.parametrize("module", ["infonce", "infonce.torch", "infonce.jax", "infonce.tensorflow"])
def test_wrong_options_are_refused_at_once(
    module: str, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        importlib.import_module(module).InfoNCE(**options)


def test_inputs_are_checked_by_name(framework: Framework) -> None:
    with pytest.raises(ValueError, match="query and positive_key must have the same number of rows N"):
        own_form(framework)()(framework.array(QUERY), framework.array(KEY[1:]))


# Gradients without autodiff.


@pytest.mark.parametrize("case", [case for case, (options, _) in enumerate(OPTIONS) if "reduction" not in options])
def test_value_and_grad_of_an_object_and_of_a_partial(framework: Framework, case: int) -> None:
    options, negatives = OPTIONS[case]
    given = arrays(framework, negatives)
    loss, gradients = value_and_grad(info_nce)(*given, **options)
    temperature = framework.array(np.asarray(0.1))
    ways: dict[str, Callable[..., Any]] = {
        "object": infonce.InfoNCE(**options),
        "partial": functools.partial(info_nce, **options),
        "partial of a partial": functools.partial(functools.partial(info_nce, **options), temperature=0.1),
        "partial of an object": functools.partial(infonce.InfoNCE(**options)),
    }
    for way, fn in ways.items():
        other, found = value_and_grad(fn)(*given)
        assert framework.values(other) == framework.values(loss), way
        assert set(found) == set(gradients), way
        for name, gradient in gradients.items():
            np.testing.assert_array_equal(framework.values(found[name]), framework.values(gradient), err_msg=way)
    _, found = value_and_grad(infonce.InfoNCE(temperature, **options))(*given)
    assert set(found) == {*gradients, "temperature"}


def test_value_and_grad_of_keywords_and_of_a_bound_query(framework: Framework) -> None:
    query, key = arrays(framework)
    _, want = value_and_grad(info_nce)(query, key)
    _, found = value_and_grad(functools.partial(info_nce, query))(positive_key=key)
    assert set(found) == {"query", "positive_key"}
    for name in want:
        np.testing.assert_array_equal(framework.values(found[name]), framework.values(want[name]))


@pytest.mark.parametrize("wrong", [abs, None, 3, lambda query: query, "info_nce", functools.partial(abs)])
def test_value_and_grad_of_anything_else_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="value_and_grad takes info_nce"):
        value_and_grad(wrong)


def test_value_and_grad_of_another_functions_wrapper_is_refused() -> None:
    @functools.wraps(info_nce)
    def doubled(*args: Any) -> Any:
        return 2 * info_nce(*args)

    with pytest.raises(TypeError, match="value_and_grad takes info_nce"):
        value_and_grad(doubled)


# PyTorch.


def torch_parts() -> tuple[Any, Any, Any, Any]:
    import torch

    from infonce.torch import InfoNCE

    return torch, InfoNCE, torch.from_numpy(QUERY), torch.from_numpy(KEY)


def test_torch_parameter_and_its_gradient_by_the_chain_rule() -> None:
    torch, InfoNCE, query, key = torch_parts()
    module = InfoNCE(temperature=0.3, learnable_temperature=True)
    assert [(name, tuple(p.shape), p.dtype) for name, p in module.named_parameters()] == [
        ("log_temperature", (), torch.float32)
    ]
    module(query, key).backward()
    t = module.log_temperature.detach().exp()
    _, found = value_and_grad(info_nce)(query, key, temperature=t.double())
    assert module.log_temperature.grad.item() == pytest.approx((t * found["temperature"]).item(), rel=1e-6)
    assert list(InfoNCE().parameters()) == []
    assert list(InfoNCE().buffers()) == []
    assert InfoNCE().state_dict() == {}


def test_torch_optimiser_moves_the_temperature_and_it_stays_positive() -> None:
    torch, InfoNCE, query, key = torch_parts()
    module = InfoNCE(temperature=0.3, learnable_temperature=True)
    optimiser = torch.optim.SGD(module.parameters(), lr=5.0)
    losses, temperatures = [], []
    for _ in range(5):
        optimiser.zero_grad()
        loss = module(query, query + 0.1 * key)  # aligned: the lower, the better
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        temperatures.append(module.temperature.item())
    assert losses == sorted(losses, reverse=True)
    assert all(0 < t < 0.3 for t in temperatures)
    assert len(set(temperatures)) == 5


def test_torch_state_dict_copies_and_casts() -> None:
    torch, InfoNCE, query, key = torch_parts()
    module = InfoNCE(temperature=0.3, learnable_temperature=True, symmetric=True)
    other = InfoNCE(temperature=0.9, learnable_temperature=True, symmetric=True)
    assert other(query, key) != module(query, key)
    other.load_state_dict(module.state_dict())
    assert other(query, key) == module(query, key)
    for same in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert same(query, key) == module(query, key)
        assert same.log_temperature is not module.log_temperature
    want = module(query, key).item()
    for cast in ("double", "half", "bfloat16"):
        changed = getattr(copy.deepcopy(module), cast)()
        assert changed.log_temperature.dtype != torch.float32
        loss = changed(query, key)
        assert loss.dtype == torch.float64
        loss.backward()
        assert changed.log_temperature.grad.dtype == changed.log_temperature.dtype
        assert loss.item() == pytest.approx(want, rel=2e-2)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # Dynamo's own doing
def test_torch_module_compiles_whole() -> None:
    torch, InfoNCE, query, key = torch_parts()
    module = InfoNCE(temperature=0.3, learnable_temperature=True)
    want = module(query, key)
    (gradient,) = torch.autograd.grad(want, [module.log_temperature])
    torch._dynamo.reset()
    got = torch.compile(module, fullgraph=True, backend="aot_eager")(query, key)
    assert got.item() == pytest.approx(want.item(), rel=1e-14)
    (found,) = torch.autograd.grad(got, [module.log_temperature])
    assert found.item() == pytest.approx(gradient.item(), rel=1e-6)


def test_torch_value_and_grad_of_the_module() -> None:
    _, InfoNCE, query, key = torch_parts()
    loss, found = value_and_grad(InfoNCE(temperature=0.3))(query, key)
    want, gradients = value_and_grad(info_nce)(query, key, temperature=0.3)
    assert loss == want
    assert set(found) == {"query", "positive_key"}
    assert all(bool((found[name] == gradients[name]).all()) for name in found)


# JAX.


def jax_parts() -> tuple[Any, Any, Any, Any]:
    import jax

    from infonce.jax import InfoNCE

    return jax, InfoNCE, jax.numpy.asarray(QUERY, np.float32), jax.numpy.asarray(KEY, np.float32)


def test_jax_leaf_and_its_gradient_by_the_chain_rule() -> None:
    jax, InfoNCE, query, key = jax_parts()
    assert jax.tree.leaves(InfoNCE()) == []
    module = InfoNCE(temperature=0.3, learnable_temperature=True)
    ((path, leaf),) = jax.tree_util.tree_leaves_with_path(module)
    assert (jax.tree_util.keystr(path), leaf.shape, leaf.dtype) == (".log_temperature", (), np.float32)
    gradient = jax.grad(lambda module: module(query, key))(module)
    assert isinstance(gradient, InfoNCE)
    t = module.temperature
    _, found = value_and_grad(info_nce)(query, key, temperature=t)
    assert float(gradient.log_temperature) == pytest.approx(float(t * found["temperature"]), rel=1e-5)


def test_jax_tree_map_jit_and_steps() -> None:
    jax, InfoNCE, query, key = jax_parts()
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


def test_jax_static_module_is_an_argument_of_jit() -> None:
    jax, InfoNCE, query, key = jax_parts()
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


def test_jax_copies_and_vmap_over_temperatures() -> None:
    jax, InfoNCE, query, key = jax_parts()
    module = InfoNCE(temperature=0.3, learnable_temperature=True)
    for same in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert float(same(query, key)) == float(module(query, key))
    stack = jax.tree.map(lambda x: jax.numpy.stack([x, x + 1]), module)
    losses = jax.vmap(lambda module: module(query, key))(stack)
    assert float(losses[0]) == pytest.approx(float(module(query, key)), rel=1e-6)
    assert float(losses[1]) == pytest.approx(float(info_nce(query, key, temperature=0.3 * math.e)), rel=1e-5)


@pytest.mark.parametrize("learnable", [False, True])
def test_jax_value_and_grad_of_the_module(learnable: bool) -> None:
    _, InfoNCE, query, key = jax_parts()
    loss, found = value_and_grad(InfoNCE(temperature=0.3, learnable_temperature=learnable))(query, key)
    want, gradients = value_and_grad(info_nce)(query, key, temperature=0.3)
    assert float(loss) == pytest.approx(float(want), rel=1e-5)
    np.testing.assert_allclose(found["query"], gradients["query"], rtol=1e-4, atol=1e-7)
    assert set(found) == {"query", "positive_key", *(["temperature"] if learnable else [])}


# TensorFlow.


def keras_parts() -> tuple[Any, Any, Any, Any]:
    import tensorflow as tf

    from infonce.tensorflow import InfoNCE

    return tf, InfoNCE, tf.constant(QUERY), tf.constant(KEY)


def test_keras_weight_and_its_gradient_by_the_chain_rule() -> None:
    tf, InfoNCE, query, key = keras_parts()
    assert InfoNCE().weights == []
    layer = InfoNCE(temperature=0.3, learnable_temperature=True)
    (weight,) = layer.trainable_weights
    assert (weight.name, tuple(weight.shape), weight.dtype) == ("log_temperature", (), "float32")
    with tf.GradientTape() as tape:
        loss = layer(query, key)
    assert loss.dtype == tf.float64
    gradient = tape.gradient(loss, layer.trainable_variables[0].value)
    t = tf.cast(layer.temperature, tf.float64)
    _, found = value_and_grad(info_nce)(query, key, temperature=t)
    assert float(gradient) == pytest.approx(float(t * found["temperature"]), rel=1e-6)


@pytest.mark.parametrize("graph", [False, True])
def test_keras_optimiser_moves_the_temperature_and_it_stays_positive(graph: bool) -> None:
    import keras

    tf, InfoNCE, query, key = keras_parts()
    layer = InfoNCE(temperature=0.3, learnable_temperature=True)
    optimiser = keras.optimizers.SGD(5.0)
    optimiser.build(layer.trainable_variables)

    def step() -> Any:
        with tf.GradientTape() as tape:
            loss = layer(query, query + 0.1 * key)
        gradients = tape.gradient(loss, layer.trainable_variables)
        optimiser.apply_gradients(zip(gradients, layer.trainable_variables, strict=True))
        return loss

    run = tf.function(step) if graph else step
    losses, temperatures = [], []
    for _ in range(5):
        losses.append(float(run()))
        temperatures.append(float(layer.temperature))
    assert losses == sorted(losses, reverse=True)
    assert all(0 < t < 0.3 for t in temperatures)
    assert len(set(temperatures)) == 5


def test_keras_weights_round_trip() -> None:
    _, InfoNCE, query, key = keras_parts()
    layer = InfoNCE(temperature=0.3, learnable_temperature=True, symmetric=True)
    other = InfoNCE(temperature=0.9, learnable_temperature=True, symmetric=True)
    assert float(other(query, key)) != float(layer(query, key))
    other.set_weights(layer.get_weights())
    assert float(other(query, key)) == float(layer(query, key))


def test_keras_config_round_trip() -> None:
    _, InfoNCE, query, key = keras_parts()
    for layer in (InfoNCE(temperature=0.3, symmetric=True), InfoNCE(0.3, learnable_temperature=True, block_size=2)):
        again = InfoNCE.from_config(layer.get_config())
        assert repr(again) == repr(layer)
        assert float(again(query, key)) == float(layer(query, key))


def test_keras_layer_inside_a_model() -> None:
    import keras

    tf, InfoNCE, query, key = keras_parts()
    inputs = [keras.Input((FEATURES,), dtype="float64") for _ in range(2)]
    layer = InfoNCE(temperature=0.3, learnable_temperature=True)
    model = keras.Model(inputs, layer(*inputs))
    assert float(model([query, key])) == pytest.approx(float(layer(query, key)), rel=1e-12)
    assert [weight.name for weight in model.trainable_weights] == ["log_temperature"]
    assert isinstance(model([query, key]), tf.Tensor)


def test_keras_value_and_grad_of_the_layer() -> None:
    _, InfoNCE, query, key = keras_parts()
    loss, found = value_and_grad(InfoNCE(temperature=0.3))(query, key)
    want, gradients = value_and_grad(info_nce)(query, key, temperature=0.3)
    assert float(loss) == float(want)
    assert set(found) == {"query", "positive_key"}
    np.testing.assert_array_equal(found["query"], gradients["query"])
