"""Unit rows and the way back: the L2 normalisation and its derivative, for rows of any scale."""

from __future__ import annotations

import math
from typing import Any

Norm = tuple[Any, Any]  # two factors, whose product may leave the dtype's range


def unit_rows(xp: Any, x: Any) -> tuple[Any, Norm]:
    """Return `x / |x|` along the last axis, and `|x|` with that axis kept, as two factors.

    Each row is scaled by its largest entry first, so that no square leaves the dtype's range; by its root twice, since
    compilers divide by multiplying with a reciprocal, which is flushed to 0 for 3e38. A zero row counts as infinitely
    long: its unit row and its gradient are then 0 without a division by zero.
    """
    largest = xp.max(xp.abs(x), axis=-1, keepdims=True)
    root = xp.sqrt(xp.where(largest == 0, xp.full_like(largest, math.inf), largest))
    scaled = x / root / root
    squares = xp.sum(scaled * scaled, axis=-1, keepdims=True)
    length = xp.sqrt(xp.where(squares == 0, xp.ones_like(squares), squares))  # the root of 0 has no derivative
    return scaled / length, (root, root * length)


def through_unit_rows(xp: Any, gradient: Any, unit: Any, norm: Norm) -> Any:
    """Carry a gradient with respect to unit rows back to the rows: (g - u (u . g)) / |x|."""
    return (gradient - unit * xp.sum(unit * gradient, axis=-1, keepdims=True)) / norm[0] / norm[1]
