"""Unit rows and the way back: the L2 normalisation and its derivative, for rows of any scale."""

from __future__ import annotations

import math
from typing import Any


def unit_rows(xp: Any, x: Any) -> tuple[Any, Any]:
    """Return `x / |x|` along the last axis and `|x|` with that axis kept.

    Each row is scaled by its largest entry first, so that no square leaves the dtype's range. A zero row counts as
    infinitely long: its unit row and its gradient are then 0 without a division by zero.
    """
    largest = xp.max(xp.abs(x), axis=-1, keepdims=True)
    largest = xp.where(largest == 0, xp.full_like(largest, math.inf), largest)
    scaled = x / largest
    squares = xp.sum(scaled * scaled, axis=-1, keepdims=True)
    length = xp.sqrt(xp.where(squares == 0, xp.ones_like(squares), squares))  # the root of 0 has no derivative
    return scaled / length, largest * length


def through_unit_rows(xp: Any, gradient: Any, unit: Any, norm: Any) -> Any:
    """Carry a gradient with respect to unit rows back to the rows: (g - u (u . g)) / |x|."""
    return (gradient - unit * xp.sum(unit * gradient, axis=-1, keepdims=True)) / norm
