"""What the oracles answer with, and what they share: unit rows and their derivative, reductions, sizes of errors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from infonce.conformance._row_losses import Flags, Floats


@dataclass(frozen=True)
class Reference:
    """The loss, its gradients by parameter name, and the magnitudes that rounding errors are measured against.

    `uncancelled` holds what the gradients would be if no two terms cancelled: per row of an embedding |x_i| times that,
    for the temperature sum |dL/dz_ij * z_ij| (by row or sample for a temperature by row or sample), for the
    bias sum_i |dL/dz_ij|, for the weights the sizes of the losses. `sensitivity`, with the loss's shape, is half of
    sum_ij |dL/dz_ij|: what errors of the logits are multiplied with on their way to the loss.
    """

    loss: Floats
    gradients: dict[str, Floats]
    largest_logit: float
    largest_reach: float  # the largest |q_i| |k_j| / t_i: what a slope is multiplied with on its way to a gradient
    uncancelled: dict[str, Floats]
    sensitivity: Floats


class Reduced(NamedTuple):
    """The loss after the reduction, and the derivatives of the number that is differentiated."""

    loss: Floats
    sensitivity: Floats
    by_loss: Floats  # (R,): with respect to each row's loss
    by_weight: Floats  # (R,): with respect to each row's weight
    weight_terms: Floats  # (R,): the same without cancellation


def reduce(
    loss: Floats,
    sensitivity: Floats,
    reduction: str,
    weight: Floats | None = None,
    cotangent: ArrayLike | None = None,
    counted: Flags | None = None,
) -> Reduced:
    """The weighted losses, their sum, or sum(w L) / sum(w) over the rows that are `counted` (0 where sum(w) is 0).

    What is differentiated is that, or sum(cotangent * w * L) for reduction none (ones by default).
    """
    w = np.ones_like(loss) if weight is None else weight
    size = np.maximum(np.abs(loss), sensitivity)
    if reduction == "mean":
        counts = np.ones_like(loss) if counted is None else counted.astype(loss.dtype)
        total = np.sum(w * counts)
        counts = counts / total if total else np.zeros_like(counts)
        mean, mean_size = np.sum(counts * w * loss), np.sum(np.abs(counts * w) * size)
        found = np.sum(np.abs(counts * w) * sensitivity)
        terms = np.abs(counts) * (size + mean_size)
        return Reduced(np.asarray(mean), np.asarray(found), counts * w, counts * (loss - mean), terms)
    if reduction == "sum":
        return Reduced(np.asarray(np.sum(w * loss)), np.asarray(np.sum(np.abs(w) * sensitivity)), w, loss, size)
    v = np.ones_like(loss) if cotangent is None else np.asarray(cotangent, loss.dtype).reshape(-1)
    return Reduced(w * loss, np.abs(w) * sensitivity, v * w, v * loss, np.abs(v) * size)


def unit_rows(x: Floats) -> tuple[Floats, Floats, Floats]:
    """x / |x| with the norm in two factors (largest entry, norm of the rest): squares of 1e30 overflow float32."""
    highest = np.max(np.abs(x), axis=-1, keepdims=True)
    scale = np.where(highest == 0, 1, highest)  # a zero row stays zero: cosine 0 with everything
    norm = np.sqrt(np.sum((x / scale) ** 2, axis=-1, keepdims=True))
    norm = np.where(highest == 0, 1, norm)
    return x / scale / norm, scale, norm


def through_unit_rows(x: Floats, gradient: Floats) -> Floats:
    """The gradient with respect to x of a function of u = x / |x|: (g - u (u . g)) / |x|, and 0 for a zero row."""
    u, scale, norm = unit_rows(x)
    tangent = gradient - u * np.sum(u * gradient, axis=-1, keepdims=True)
    zero = np.all(x == 0, axis=-1, keepdims=True)
    return np.where(zero, 0, tangent / norm / scale)


def row_norms(x: Floats) -> Floats:
    """The norms of rows of any magnitude."""
    _, scale, norm = unit_rows(x)
    return np.where(np.all(x == 0, axis=-1), 0, (scale * norm)[..., 0])


def reshaped_or_summed(by_row: Floats, shape: tuple[int, ...]) -> Floats:
    """The gradient of a temperature of this shape: one number, or one per row."""
    return np.reshape(by_row if by_row.size == math.prod(shape) else np.sum(by_row), shape)


def summed_to(shape: tuple[int, ...], values: Floats) -> Floats:
    """The gradient of something of this shape from that of what it was broadcast to."""
    leading = values.ndim - len(shape)
    values = np.sum(values, axis=tuple(range(leading)))
    stretched = tuple(axis for axis, size in enumerate(shape) if size == 1 and values.shape[axis] != 1)
    return np.asarray(np.sum(values, axis=stretched, keepdims=True))
