"""Unit rows and the way back: the L2 normalisation and its derivative, for rows of any scale."""

from __future__ import annotations

import math
from typing import Any

Norm = tuple[Any, Any]  # |x| times a power of two, and that power of two: |x| itself may leave the dtype's range

LEAST = 1e-6  # what may divide rows together with their norms lies between this and its inverse
# Per item size: rows beyond the first number, or below its inverse, are scaled by the power of two before squaring.
EXTREME = {4: (1e15, 2.0**100), 8: (1e100, 2.0**600)}


def unit_rows(xp: Any, x: Any) -> tuple[Any, Norm]:
    """Return `x / |x|` along the last axis, and `|x|` with that axis kept, as two factors.

    Rows that are extreme are first scaled by a power of two, which rounds nothing, so that no square leaves the dtype's
    range. A zero row counts as infinitely long: its unit row and its gradient are then 0 without a division by zero.
    """
    limit, power = EXTREME[8 if x.dtype == xp.float64 else 4]
    largest = xp.max(xp.abs(x), axis=-1, keepdims=True)
    one = xp.ones_like(largest)
    scale = xp.where(largest > limit, one / power, xp.where(largest < 1 / limit, one * power, one))
    scaled = x * scale
    squares = xp.sum(scaled * scaled, axis=-1, keepdims=True)
    length = xp.sqrt(xp.where(squares == 0, one * math.inf, squares))
    return scaled * (1 / length), (length, scale)


def through_unit_rows(xp: Any, gradient: Any, unit: Any, norm: Norm) -> Any:
    """Carry a gradient with respect to unit rows back to the rows: (g - u (u . g)) / |x|."""
    length, scale = norm
    inverse, root = 1 / length, xp.sqrt(scale)  # one division a row; a power of two
    # Half of the scale before and half after: else gradients of tiny losses, or of tiny rows, leave the dtype's range.
    gradient = gradient * root
    along = xp.sum(unit * gradient, axis=-1, keepdims=True)
    return (gradient * inverse - unit * (along * inverse)) * root
