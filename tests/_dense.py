"""NT-Xent written plainly from its formula, dense, in float64: what the streamed one is compared with.

Over the rows of all views, with z_ij = s(x_i, x_j) / t and P(i) the same sample's rows in the other views,

    L_i = log sum_{j != i} exp(z_ij) - mean_{p in P(i)} z_ip,     dL_i/dz_ij = softmax_j(z_i) - [j in P(i)] / (V - 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Dense:
    """The loss, its gradients, and the sizes that rounding errors are measured against."""

    loss: Floats
    views: tuple[Floats, ...]
    temperature: float
    largest_logit: float
    terms: Floats  # (V N,): per row, what |x_i| |gradient_i| would be if no two terms cancelled
    temperature_terms: float


def nt_xent(
    views: Sequence[Floats],
    temperature: float = 0.5,
    reduction: str = "mean",
    normalize: bool = True,
    cotangent: Floats | None = None,
) -> Dense:
    """The loss and all gradients; for reduction none those of sum(cotangent * loss), ones by default."""
    x = np.concatenate(views)
    rows, samples, t = len(x), len(views[0]), float(temperature)
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    norm = np.where(norm == 0, np.inf, norm) if normalize else np.ones_like(norm)  # a zero row has cosine 0
    u = x / norm
    z = u @ u.T / t
    distance = np.subtract.outer(np.arange(rows), np.arange(rows))
    own = distance == 0
    target = np.where((distance % samples == 0) & ~own, 1 / (len(views) - 1), 0.0)

    largest = np.max(np.where(own, -np.inf, z), axis=1, keepdims=True)
    e = np.where(own, 0, np.exp(z - largest))
    total = e.sum(axis=1, keepdims=True)
    loss = (largest + np.log(total))[:, 0] - np.sum(target * z, axis=1)

    weight = np.full(rows, 1 / rows if reduction == "mean" else 1.0)
    if reduction == "none" and cotangent is not None:
        weight = cotangent
    slope = weight[:, None] * (e / total - target)
    towards = (slope + slope.T) @ u / t
    if normalize:
        towards = towards - u * np.sum(u * towards, axis=1, keepdims=True)
    length = np.linalg.norm(u, axis=1)
    return Dense(
        loss=np.asarray({"none": loss, "mean": loss.mean(), "sum": loss.sum()}[reduction]),
        views=tuple(np.split(towards / norm, len(views))),
        temperature=float(-np.sum(slope * z) / t),
        largest_logit=float(np.max(np.abs(z))),
        terms=length * (np.abs(slope + slope.T) @ length) / t,
        temperature_terms=float(np.sum(np.abs(slope * z)) / t),
    )


def check(got: tuple[Any, Sequence[Floats]], want: Dense, inputs: Sequence[Floats], dtype: str = "float64") -> None:
    """Assert that loss and gradients (none, or all views' and perhaps the temperature's) are as exact as the dtype.

    Z the largest |logit|: float64 8e-15 (1 + Z), float32 1e-6 max(1, Z) (the loss twice that), each relative to the
    terms that are added up; a gradient in half precision is that of float32 rounded once.
    """
    loss, gradients = got
    z = want.largest_logit
    unit = 8e-15 * (1 + z) if dtype == "float64" else 1e-6 * max(1.0, z)
    largest = max(1.0, float(np.max(np.abs(want.loss), initial=0)))
    np.testing.assert_allclose(loss, want.loss, rtol=0, atol=2 * unit * largest, err_msg="loss")
    if not gradients:
        return
    *of_views, of_temperature = gradients if len(gradients) > len(want.views) else (*gradients, None)
    assert len(of_views) == len(want.views)
    half = {"float16": 2.0**-11, "bfloat16": 2.0**-8}.get(dtype, 0.0)
    smallest = 2.0**-25 if dtype == "float16" else 0.0  # half of the least float16
    for i, (found, exact, x) in enumerate(zip(of_views, want.views, inputs, strict=True)):
        length = np.linalg.norm(x, axis=1, keepdims=True)
        error = np.abs(found - exact) - 1.01 * half * np.abs(exact) - smallest
        assert np.max(length * error) <= unit * np.max(want.terms), f"gradient of view {i + 1}"
    if of_temperature is not None:
        error = abs(float(of_temperature) - want.temperature) - half * abs(want.temperature)
        assert error <= unit * want.temperature_terms, "gradient of the temperature"
