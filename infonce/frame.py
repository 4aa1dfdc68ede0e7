"""What every loss has around its passes: the compute dtype, rows on the sphere, block sizes and the reduction."""

from __future__ import annotations

from typing import Any

from .backend import Arithmetic
from .forms import nonzero
from .problem import Inputs, Options

WHOLE = 1 << 20  # so many logits are one block: 4 MB in float32
BLOCK_ENTRIES = 1 << 22  # logits held at a time of a larger batch
BLOCK_ROWS = 512
UNKNOWN_SHAPE_ROWS = 256


def compute_dtype(b: Arithmetic, inputs: Inputs) -> Any:
    """float64 where an embedding is float64, else float32: logits and sums are never held in less."""
    for x in inputs[:3]:
        if x is not None and b.dtype(x) == "float64":
            return b.xp.float64
    return b.xp.float32


def rows_per_block(options: Options, rows: int | None, columns: int | None, most: int = BLOCK_ROWS) -> int:
    """`block_size`; or all rows of few logits; or as many rows as keep the block in a fixed number of entries."""
    if options.block_size is not None:
        return options.block_size
    if rows is None or columns is None:
        return UNKNOWN_SHAPE_ROWS
    if rows * columns <= WHOLE:
        return max(1, rows)
    return max(1, min(most, BLOCK_ENTRIES // columns))


def bounded(options: Options, temperature: Any) -> bool:
    """Whether |z| <= 40 is known: exp(z) and its sums and quotients then stay far within float32's range."""
    return options.normalize and isinstance(temperature, float) and temperature >= 1 / 40


def sphere(b: Arithmetic, x: Any, dtype: Any, normalize: bool, over: Any = None) -> tuple[Any, Any]:
    """The rows that are multiplied, in the compute dtype: unit rows or as they are, over `over`; and the way back."""
    x = b.xp.astype(x, dtype)
    if normalize:
        return b.unit_rows(x, over)
    return (x if over is None else x / over), over


def off_sphere(b: Arithmetic, gradient: Any, back: Any, normalize: bool) -> Any:
    """A gradient with respect to what `sphere` returned as one with respect to what it was given."""
    if normalize:
        return b.through_unit_rows(gradient, back)
    return gradient if back is None else gradient / back


def column(b: Arithmetic, x: Any, dtype: Any) -> Any:
    """(N,) or (N, 1) as (N, 1) in the compute dtype."""
    return b.xp.reshape(b.xp.astype(x, dtype), (-1, 1))


def inverse(xp: Any, total: Any) -> Any:
    """1 / total, and 0 for 0."""
    return xp.where(total == 0, xp.zeros_like(total), 1 / nonzero(xp, total))


def row_weight(b: Arithmetic, options: Options, query: Any, weight: Any, cotangent: Any) -> Any:
    """dL/dL_i of the reduced loss: a number where all rows are alike, else (N, 1). `weight` is (N, 1) or None."""
    if options.reduction == "none":
        c = column(b, cotangent, query.dtype)
        return c if weight is None else c * weight
    if weight is None:
        n = b.size(query) if options.reduction == "mean" else 1
        return 1 / n if isinstance(n, int) else 1 / b.xp.astype(n, query.dtype)
    return weight if options.reduction == "sum" else weight * inverse(b.xp, b.xp.sum(weight))


def reduced(b: Arithmetic, options: Options, loss: Any, weight: Any) -> Any:
    """The loss of all rows, (N, 1), as the caller wants it. `weight` is (N, 1) or None."""
    xp = b.xp
    if options.reduction == "none":
        return xp.squeeze(loss if weight is None else weight * loss, axis=-1)
    if weight is None:
        return xp.mean(loss) if options.reduction == "mean" else xp.sum(loss)
    total = xp.sum(weight * loss)
    return total if options.reduction == "sum" else total * inverse(xp, xp.sum(weight))


def of_weight(b: Arithmetic, options: Options, loss: Any, mean: Any, weight: Any, cotangent: Any) -> Any:
    """The gradient of the reduced loss with respect to the weights, (N, 1)."""
    if options.reduction == "none":
        return loss * column(b, cotangent, loss.dtype)
    return loss if options.reduction == "sum" else (loss - mean) * inverse(b.xp, b.xp.sum(weight))
