"""The functions of the Array API standard that the core calls, on TensorFlow tensors."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

abs = tf.abs
concat = tf.concat
exp = tf.exp
log = tf.math.log
log1p = tf.math.log1p
matmul = tf.matmul
matrix_transpose = tf.linalg.matrix_transpose
maximum = tf.maximum
ones_like = tf.ones_like
reshape = tf.reshape
sqrt = tf.sqrt
where = tf.where
zeros_like = tf.zeros_like

float32, float64 = tf.float32, tf.float64


def astype(x: Any, dtype: Any, *, copy: bool = False) -> Any:
    return tf.cast(x, dtype)


def expand_dims(x: Any, *, axis: int) -> Any:
    return tf.expand_dims(x, axis)


def full_like(x: Any, value: float) -> Any:
    return tf.fill(tf.shape(x), tf.constant(value, x.dtype))


def max(x: Any, *, axis: int, keepdims: bool = False) -> Any:
    return tf.reduce_max(x, axis=axis, keepdims=keepdims)


def mean(x: Any) -> Any:
    return tf.reduce_mean(x)


def squeeze(x: Any, *, axis: int) -> Any:
    return tf.squeeze(x, axis=axis)


def sum(x: Any, *, axis: int | None = None, keepdims: bool = False) -> Any:
    return tf.reduce_sum(x, axis=axis, keepdims=keepdims)
