"""The MLP in NumPy, with its backward pass by hand around `infonce.value_and_grad`."""

from __future__ import annotations

import numpy as np

from encoders import MOMENTUM, FloatArray
from infonce.numpy import info_nce, value_and_grad


class MLP:
    def __init__(self, weights: list[FloatArray], learning_rate: float, temperature: float) -> None:
        self.weights = [w.copy() for w in weights]
        self.velocity = [np.zeros_like(w) for w in weights]
        self.learning_rate = learning_rate
        self.temperature = temperature

    def layers(self, x: FloatArray) -> list[FloatArray]:
        """Return each layer's input, and the projection last."""
        w1, b1, w2, b2, w3, b3 = self.weights
        hidden = np.tanh(x @ w1 + b1)
        features = np.tanh(hidden @ w2 + b2)
        return [x, hidden, features, features @ w3 + b3]

    def backward(self, layers: list[FloatArray], gradient: FloatArray) -> list[FloatArray]:
        """Return the weights' gradients from the projection's."""
        gradients: list[FloatArray] = []
        for i in (2, 1, 0):
            gradients = [layers[i].T @ gradient, gradient.sum(axis=0), *gradients]
            gradient = (gradient @ self.weights[2 * i].T) * (1 - layers[i] ** 2)
        return gradients

    def step(self, view_a: FloatArray, view_b: FloatArray) -> float:
        a, b = self.layers(view_a), self.layers(view_b)
        loss, grads = value_and_grad(info_nce)(a[-1], b[-1], temperature=self.temperature, symmetric=True)
        of_a, of_b = self.backward(a, grads["query"]), self.backward(b, grads["positive_key"])
        for weight, velocity, grad_a, grad_b in zip(self.weights, self.velocity, of_a, of_b, strict=True):
            velocity *= MOMENTUM
            velocity += grad_a + grad_b
            weight -= self.learning_rate * velocity
        return float(loss)

    def encode(self, images: FloatArray) -> FloatArray:
        return self.layers(images)[2]
