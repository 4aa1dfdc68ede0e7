"""The MLP in JAX."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from encoders import MOMENTUM, FloatArray
from infonce.jax import info_nce

Weights = list[jax.Array]


def features(weights: Weights, x: jax.Array) -> jax.Array:
    w1, b1, w2, b2, *_ = weights
    return jnp.tanh(jnp.tanh(x @ w1 + b1) @ w2 + b2)


def loss_of(weights: Weights, view_a: jax.Array, view_b: jax.Array, temperature: float) -> jax.Array:
    a, b = (features(weights, view) @ weights[4] + weights[5] for view in (view_a, view_b))
    return info_nce(a, b, temperature=temperature, symmetric=True)


@partial(jax.jit, static_argnames=("learning_rate", "temperature"))
def update(
    weights: Weights, velocity: Weights, view_a: jax.Array, view_b: jax.Array, learning_rate: float, temperature: float
) -> tuple[Weights, Weights, jax.Array]:
    loss, gradients = jax.value_and_grad(loss_of)(weights, view_a, view_b, temperature)
    velocity = [MOMENTUM * v + g for v, g in zip(velocity, gradients, strict=True)]
    weights = [w - learning_rate * v for w, v in zip(weights, velocity, strict=True)]
    return weights, velocity, loss


class MLP:
    def __init__(self, weights: list[FloatArray], learning_rate: float, temperature: float) -> None:
        self.weights = [jnp.asarray(w) for w in weights]
        self.velocity = [jnp.zeros_like(w) for w in self.weights]
        self.learning_rate = learning_rate
        self.temperature = temperature

    def step(self, view_a: FloatArray, view_b: FloatArray) -> float:
        a, b = jnp.asarray(view_a), jnp.asarray(view_b)
        self.weights, self.velocity, loss = update(
            self.weights, self.velocity, a, b, self.learning_rate, self.temperature
        )
        return float(loss)

    def encode(self, images: FloatArray) -> FloatArray:
        return np.asarray(features(self.weights, jnp.asarray(images)))
