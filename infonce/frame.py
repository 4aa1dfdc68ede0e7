"""What every loss has around its passes: the compute dtype, rows on the sphere, block sizes and the reduction."""

from __future__ import annotations

from typing import Any

from .backend import Arithmetic
from .problem import Inputs, Options

BLOCK_ENTRIES = 1 << 22  # logits held at a time: 16 MB in float32
BLOCK_ROWS = 512
UNKNOWN_SHAPE_ROWS = 256


def compute_dtype(b: Arithmetic, inputs: Inputs) -> Any:
    """float64 where an embedding is float64, else float32: logits and sums are never held in less."""
    names = (b.dtype(x) for x in inputs[:3] if x is not None)
    return b.xp.float64 if "float64" in names else b.xp.float32


def rows_per_block(options: Options, columns: int | None, most: int = BLOCK_ROWS) -> int:
    """`block_size`, or as many rows as keep the block of logits in a fixed number of entries."""
    if options.block_size is not None:
        return options.block_size
    if columns is None:
        return UNKNOWN_SHAPE_ROWS
    return max(1, min(most, BLOCK_ENTRIES // max(1, columns)))


def sphere(b: Arithmetic, x: Any, dtype: Any, normalize: bool) -> tuple[Any, Any]:
    """The rows that are multiplied, in the compute dtype, and their norms (None where they stay as they are)."""
    x = b.xp.astype(x, dtype)
    return b.unit_rows(x) if normalize else (x, None)


def off_sphere(b: Arithmetic, gradient: Any, unit: Any, norm: Any) -> Any:
    return gradient if norm is None else b.through_unit_rows(gradient, unit, norm)


def reduced(xp: Any, options: Options, loss: Any) -> Any:
    if options.reduction == "none":
        return xp.squeeze(loss, axis=-1)
    return xp.mean(loss) if options.reduction == "mean" else xp.sum(loss)


def row_weight(b: Arithmetic, options: Options, query: Any, cotangent: Any) -> Any:
    """dL/dL_i of the reduced loss, (N, 1)."""
    if options.reduction == "none":
        return b.xp.reshape(b.xp.astype(cotangent, query.dtype), (-1, 1))
    n = b.size(query) if options.reduction == "mean" else 1
    column = query[:, :1]
    return b.xp.full_like(column, 1 / n) if isinstance(n, int) else b.xp.ones_like(column) / b.xp.astype(n, query.dtype)
