"""What every loss has around its passes: the compute dtype, rows on the sphere, block sizes and the reduction."""

from __future__ import annotations

from typing import Any

from .arithmetic import Arithmetic
from .blocks import FEWEST
from .forms import nonzero
from .problem import Inputs, Options

FULL = 1 / 40  # from this temperature on |z| <= 40: exp(z), its sums and quotients stay within float32's range
UNKNOWN_SHAPE_ROWS = 256


def compute_dtype(b: Arithmetic, inputs: Inputs) -> Any:
    """float64 where an embedding is float64, else float32: logits and sums are never held in less."""
    for x in inputs[:3]:
        if x is not None and b.dtype(x) == "float64":
            return b.xp.float64
    return b.xp.float32


def rows_per_block(
    b: Arithmetic,
    options: Options,
    rows: int | None,
    columns: int | None,
    parts: int = 1,
    kept: bool = False,
    fused: bool = False,
) -> int:
    """`block_size`; or all rows of few logits; or as many rows as keep the block small, but not too few.

    With two `parts` the columns are the rows, and a row meets half of them at a time. Of a single block the
    exponentials may be `kept` for the slopes, which else make them again. Where passes over halves are `fused` a block
    is of halves.
    """
    if options.block_size is not None:
        return options.block_size
    if rows is None or columns is None:
        return UNKNOWN_SHAPE_ROWS
    blocks = b.blocks()
    again = blocks.kept if parts == 1 else blocks.pairs
    if rows * columns <= (again if kept else blocks.whole):
        return max(1, rows)
    small = parts * blocks.entries // columns
    # Own negatives are no products of many rows; and in a few visits new memory costs more than small products.
    fewest = 1 if options.paired else min(FEWEST, rows // 8, 2 * small)
    return max(1, min((1 + fused) * blocks.rows // parts, max(fewest, small)))


def bounded(options: Options, temperature: Any) -> bool:
    """Whether |z| <= 40 is known, so that no maximum need be subtracted."""
    return options.bounded or (options.normalize and isinstance(temperature, float) and temperature >= FULL)


def per_row(x: Any) -> bool:
    return len(getattr(x, "shape", ())) > 0


def divisor(b: Arithmetic, temperature: Any, dtype: Any) -> Any:
    """The temperature: a number, a 0-d array or (N, 1)."""
    if isinstance(temperature, float):
        return temperature
    t = b.xp.astype(temperature, dtype)
    return b.xp.reshape(t, (-1, 1)) if per_row(t) else t


def temperature_gradient(b: Arithmetic, along: Any, t: Any, like: Any, more: Any = None) -> Any:
    """dL/dt in the shape of `like`: of each row -q . dL/dq / t, q being over t, and `more`, (N, 1).

    `along` is q . dL/dq, (N, 1): -(1/t) sum_j s_ij / t dL/dz_ij is -along / t, without a visit to the logits.
    """
    xp = b.xp
    of_row = -along / t if more is None else more - along / t
    one_each = len(like.shape)
    return xp.sum(of_row) if not one_each else of_row if one_each == 2 else xp.squeeze(of_row, axis=1)


def sphere(b: Arithmetic, x: Any, dtype: Any, normalize: bool, over: Any = None) -> tuple[Any, Any]:
    """The rows that are multiplied, in the compute dtype: unit rows or as they are, over `over`; and the way back."""
    if normalize:
        return b.unit_rows(x, dtype, over)
    x = b.xp.astype(x, dtype, copy=False)
    return (x if over is None else x / over), over


def off_sphere(b: Arithmetic, gradient: Any, made: Any, back: Any, normalize: bool) -> Any:
    """A gradient with respect to `made` as one with respect to what `sphere` was given when it returned these two."""
    if normalize:
        return b.through_unit_rows(gradient, made, back)
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
        return 1 / b.xp.astype(n, query.dtype) if hasattr(n, "dtype") else 1 / n
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
