"""What a user's type checker should see; tests/test_packaging.py checks this against the installed wheel.

An unneeded `type: ignore` is an error there, so each of them is a call that the types must refuse.
"""

from __future__ import annotations

from typing import Any, assert_type

import jax
import numpy as np
import tensorflow as tf
import torch
from numpy.typing import NDArray

import infonce
import infonce.jax
import infonce.numpy
import infonce.tensorflow
import infonce.torch


def check_torch(x: torch.Tensor, other: NDArray[np.float32]) -> None:
    assert_type(infonce.torch.info_nce(x, x), torch.Tensor)
    assert_type(infonce.torch.info_nce(x, x, x, x, "none", "paired", symmetric=False, block_size=64), torch.Tensor)
    assert_type(infonce.torch.InfoNCE(learnable_temperature=True)(x, x), torch.Tensor)
    loss, gradients = infonce.torch.value_and_grad(infonce.torch.info_nce)(x, x)
    assert_type(loss, torch.Tensor)
    assert_type(gradients, dict[str, torch.Tensor])
    infonce.torch.info_nce(other, x)  # type: ignore[arg-type]
    infonce.torch.info_nce(x, x, reduction="median")  # type: ignore[arg-type]
    infonce.torch.info_nce(x, x, no_such_option=True)  # type: ignore[call-arg]


def check_jax(x: jax.Array, other: torch.Tensor) -> None:
    assert_type(infonce.jax.info_nce(x, x, temperature=x), jax.Array)
    assert_type(infonce.jax.InfoNCE()(x, x), jax.Array)
    infonce.jax.info_nce(other, x)  # type: ignore[arg-type]


def check_tensorflow(x: tf.Tensor, other: torch.Tensor) -> None:
    assert_type(infonce.tensorflow.info_nce(x, x, x), tf.Tensor)
    assert_type(infonce.tensorflow.InfoNCE(learnable_temperature=True)(x, x), tf.Tensor)
    infonce.tensorflow.info_nce(other, x)  # type: ignore[arg-type]


def check_numpy(x: NDArray[np.float64], other: jax.Array) -> None:
    assert_type(infonce.numpy.info_nce(x, x), NDArray[Any])
    _, gradients = infonce.numpy.value_and_grad(infonce.numpy.info_nce)(x, x)
    assert_type(gradients, dict[str, NDArray[Any]])
    infonce.numpy.info_nce(other, x)  # type: ignore[arg-type]


def check_any_framework(x: torch.Tensor, y: jax.Array) -> None:
    assert_type(infonce.info_nce(x, x), Any)
    infonce.info_nce(y, y)
