"""The MLP in TensorFlow."""

from __future__ import annotations

import keras
import tensorflow as tf

from encoders import MOMENTUM, FloatArray
from infonce.tensorflow import info_nce


class MLP:
    def __init__(self, weights: list[FloatArray], learning_rate: float, temperature: float) -> None:
        self.weights = [tf.Variable(w) for w in weights]
        self.optimizer = keras.optimizers.SGD(learning_rate, momentum=MOMENTUM)
        self.optimizer.build(self.weights)
        self.temperature = temperature

    def features(self, x: tf.Tensor) -> tf.Tensor:
        w1, b1, w2, b2, *_ = self.weights
        return tf.tanh(tf.tanh(x @ w1 + b1) @ w2 + b2)

    def project(self, view: tf.Tensor) -> tf.Tensor:
        return self.features(view) @ self.weights[4] + self.weights[5]

    @tf.function
    def update(self, view_a: tf.Tensor, view_b: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            a, b = self.project(view_a), self.project(view_b)
            loss = info_nce(a, b, temperature=self.temperature, symmetric=True)
        self.optimizer.apply(tape.gradient(loss, self.weights), self.weights)
        return loss

    def step(self, view_a: FloatArray, view_b: FloatArray) -> float:
        return float(self.update(tf.constant(view_a), tf.constant(view_b)))

    def encode(self, images: FloatArray) -> FloatArray:
        return self.features(tf.constant(images)).numpy()
