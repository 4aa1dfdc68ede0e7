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
    infonce.torch.info_nce(other, x)  # type: ignore[call-overload]
    infonce.torch.info_nce(x, x, reduction="median")  # type: ignore[call-overload]
    infonce.torch.info_nce(x, x, no_such_option=True)  # type: ignore[call-overload]


def check_options(x: torch.Tensor, ids: torch.Tensor, other: jax.Array) -> None:
    loss = infonce.torch.info_nce
    assert_type(loss(x, x, x, ids=ids, negative_ids=ids, mask=ids, weight=x, bias=x), torch.Tensor)
    assert_type(loss(x, x, label_smoothing=0.1, margin=1, return_metrics=False), torch.Tensor)
    found, metrics = loss(x, x, decoupled=True, debias=0.1, hardness=1.0, return_metrics=True)
    assert_type(found, torch.Tensor)
    assert_type(metrics, dict[str, torch.Tensor])
    (found, metrics), gradients = infonce.torch.value_and_grad(loss)(x, x, return_metrics=True)
    assert_type(gradients, dict[str, torch.Tensor])
    loss(x, x, weight=other)  # type: ignore[call-overload]
    loss(x, x, margin="0.1")  # type: ignore[call-overload]


def check_objects(x: torch.Tensor, y: jax.Array, z: tf.Tensor) -> None:
    assert_type(infonce.torch.InfoNCE(label_smoothing=0.1, margin=0.2)(x, x, x, ids=x, negative_ids=x), torch.Tensor)
    assert_type(infonce.jax.InfoNCE(decoupled=True, debias=0.1, hardness=1.0)(y, y, mask=y, weight=y), jax.Array)
    assert_type(infonce.tensorflow.InfoNCE()(z, z, bias=z), tf.Tensor)
    infonce.torch.InfoNCE()(x, x, weight=y)  # type: ignore[arg-type]
    infonce.jax.InfoNCE()(y, y, margin=0.1)  # type: ignore[call-arg]
    infonce.tensorflow.InfoNCE(weight=z)  # type: ignore[call-arg]
    infonce.InfoNCE(return_metrics=True)  # type: ignore[call-arg]


def check_other_losses(x: jax.Array, labels: jax.Array, other: torch.Tensor) -> None:
    assert_type(infonce.jax.nt_xent(x, x, x, temperature=x, ids=labels, weight=x, debias=0.1), jax.Array)
    assert_type(infonce.jax.sup_con(x, labels, 0.1, "none", form="in", weight=x), jax.Array)
    assert_type(infonce.jax.sup_con(x, positives=x, rows_without_positives="zero"), jax.Array)
    infonce.jax.nt_xent(x, other)  # type: ignore[arg-type]
    infonce.jax.sup_con(x, labels, form="middle")  # type: ignore[arg-type]


def check_measures(x: jax.Array, other: torch.Tensor) -> None:
    found = infonce.jax.mutual_information(x, x, alpha=0.5)
    assert_type(found, infonce.MutualInformation[jax.Array])
    assert_type(found.estimate, jax.Array)
    assert_type(infonce.jax.metrics(x, x, x, ids=x, negative_ids=x, top_k=(1, 10))["loss"], jax.Array)
    assert_type(infonce.jax.mutual_information_from_scores(x, "first").saturated, jax.Array)
    infonce.jax.metrics(x, x, weight=x)  # type: ignore[call-arg]
    infonce.jax.mutual_information(x, other)  # type: ignore[arg-type]
    infonce.jax.mutual_information_from_scores(x, "last")  # type: ignore[arg-type]


def check_jax(x: jax.Array, other: torch.Tensor) -> None:
    assert_type(infonce.jax.info_nce(x, x, temperature=x), jax.Array)
    assert_type(infonce.jax.InfoNCE()(x, x), jax.Array)
    infonce.jax.info_nce(other, x)  # type: ignore[call-overload]


def check_tensorflow(x: tf.Tensor, other: torch.Tensor) -> None:
    assert_type(infonce.tensorflow.info_nce(x, x, x), tf.Tensor)
    assert_type(infonce.tensorflow.InfoNCE(learnable_temperature=True)(x, x), tf.Tensor)
    infonce.tensorflow.info_nce(other, x)  # type: ignore[call-overload]


def check_numpy(x: NDArray[np.float64], ids: NDArray[np.int64], other: jax.Array) -> None:
    assert_type(infonce.numpy.info_nce(x, x), NDArray[Any])
    assert_type(infonce.numpy.info_nce(x, x, ids=ids), NDArray[Any])
    _, gradients = infonce.numpy.value_and_grad(infonce.numpy.info_nce)(x, x)
    assert_type(gradients, dict[str, NDArray[Any]])
    infonce.numpy.info_nce(other, x)  # type: ignore[call-overload]


def check_any_framework(x: torch.Tensor, y: jax.Array) -> None:
    assert_type(infonce.info_nce(x, x), Any)
    assert_type(infonce.InfoNCE(margin=0.1)(x, x, weight=x), Any)
    infonce.info_nce(y, y)
