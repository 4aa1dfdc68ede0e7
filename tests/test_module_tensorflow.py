"""`infonce.tensorflow.InfoNCE`: a Keras layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from infonce import info_nce, value_and_grad

QUERY, KEY = np.random.default_rng(0).normal(size=(2, 5, 4))


def parts() -> tuple[Any, Any, Any, Any]:
    import tensorflow as tf

    from infonce.tensorflow import InfoNCE

    return tf, InfoNCE, tf.constant(QUERY), tf.constant(KEY)


def test_weight_and_its_gradient_by_the_chain_rule() -> None:
    tf, InfoNCE, query, key = parts()
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
def test_optimiser_moves_the_temperature_and_it_stays_positive(graph: bool) -> None:
    import keras

    tf, InfoNCE, query, key = parts()
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


def test_weights_round_trip() -> None:
    _, InfoNCE, query, key = parts()
    layer = InfoNCE(temperature=0.3, learnable_temperature=True, symmetric=True)
    other = InfoNCE(temperature=0.9, learnable_temperature=True, symmetric=True)
    assert float(other(query, key)) != float(layer(query, key))
    other.set_weights(layer.get_weights())
    assert float(other(query, key)) == float(layer(query, key))


def test_config_round_trip() -> None:
    _, InfoNCE, query, key = parts()
    for layer in (InfoNCE(temperature=0.3, symmetric=True), InfoNCE(0.3, learnable_temperature=True, block_size=2)):
        again = InfoNCE.from_config(layer.get_config())
        assert repr(again) == repr(layer)
        assert float(again(query, key)) == float(layer(query, key))


def test_layer_inside_a_model() -> None:
    import keras

    tf, InfoNCE, query, key = parts()
    inputs = [keras.Input((4,), dtype="float64") for _ in range(2)]
    layer = InfoNCE(temperature=0.3, learnable_temperature=True)
    model = keras.Model(inputs, layer(*inputs))
    assert float(model([query, key])) == pytest.approx(float(layer(query, key)), rel=1e-12)
    assert [weight.name for weight in model.trainable_weights] == ["log_temperature"]
    assert isinstance(model([query, key]), tf.Tensor)


def test_value_and_grad_of_the_layer() -> None:
    _, InfoNCE, query, key = parts()
    loss, found = value_and_grad(InfoNCE(temperature=0.3))(query, key)
    want, gradients = value_and_grad(info_nce)(query, key, temperature=0.3)
    assert float(loss) == float(want)
    assert set(found) == {"query", "positive_key"}
    np.testing.assert_array_equal(found["query"], gradients["query"])
