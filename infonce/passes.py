"""The loop over blocks of rows: all columns of a row are at hand, so one visit completes its loss and its gradient."""

from __future__ import annotations

from typing import Any, NamedTuple

from . import forms
from .arithmetic import Arithmetic
from .block import Block, Sides, combined, exponentials, finite, logits, pull, remaining, summed
from .forms import Slopes, Statistics
from .frame import per_row
from .measures import ahead_of, measured_of
from .problem import Options
from .spread import lift, lowered


class Visit(NamedTuple):
    """A block's row statistics, and what its slopes are made of."""

    statistics: Statistics
    exponentials: list[list[Any]]  # for each power, of each part
    totals: list[Any]  # their row sums
    counted: list[Any] | None  # 1 where a negative remains, else 0; where the loss needs it
    measured: tuple[Any, ...]  # Measured of these rows, or nothing


class Gradient(NamedTuple):
    """What a gradient pass gives; None for what is not wanted. Of a weighted sum of the rows' losses."""

    loss: Any  # (N, 1)
    query: Any  # (N, D): with respect to Sides.query
    positive: Any  # (N, D)
    own: Any  # (N, K, D): with respect to the raw rows
    batch: Any  # (N, D)
    shared: Any  # (M, D)
    temperature: Any  # (N, 1): what does not reach it through Sides.query
    bias: Any  # (1 or N, columns)
    measured: tuple[Any, ...]  # Measured of all rows, or nothing


def visit(b: Arithmetic, options: Options, block: Block) -> Visit:
    """The statistics of each row of a block, whose logits are lost."""
    xp, z = b.xp, block.logits
    counted = remaining(xp, z) if options.counts else None
    count = None if counted is None else summed(xp, counted, block.positive)
    total = summed(xp, finite(xp, z), block.positive) if options.label_smoothing else None
    before = ahead_of(b, options, block) if options.measure else None
    sides = block.sides
    n = len(options.powers)
    powers = (*options.powers, 1.0) if options.measure and options.hardness else options.powers
    e, totals, lses = exponentials(b, z, powers, sides.may_lack, block.positive, sides.bounded, sides.far)
    measured = () if before is None else measured_of(b, options, block, before, e, lses[-1])
    return Visit(Statistics(block.positive, lses[:n], count, total), e[:n], totals[:n], counted, measured)


def value(b: Arithmetic, options: Options, sides: Sides, block_size: int) -> tuple[Any, tuple[Any, ...]]:
    """One product: the loss of every row, (N, 1), and what is measured."""

    def body(first_row: Any, rows: tuple[Any, ...], sums: Any) -> Any:
        block = logits(b, sides, rows, first_row)
        seen = visit(b, options, block)
        return (forms.loss(b, options, seen.statistics, block.sides.temperature)[0], *seen.measured), ()

    (loss, *measured), _ = b.loop(body, tuple, sides.rows, block_size)
    return loss, tuple(measured)


def gradient(
    b: Arithmetic, options: Options, sides: Sides, block_size: int, weight: Any, wanted: frozenset[str]
) -> Gradient:
    """Three products: the loss of every row, and the gradient of sum(weight * loss); `weight` is a number or (N, 1)."""
    by_row, power = per_row(weight), lift(b, options, sides.temperature, weight, sides.far)
    weight = weight * power

    def body(first_row: Any, rows: tuple[Any, ...], sums: Any) -> Any:
        *cut, w = rows
        w = w if by_row else weight
        block = logits(b, sides, tuple(cut), first_row)
        seen = visit(b, options, block)
        loss, slopes = forms.loss(b, options, seen.statistics, block.sides.temperature)
        p, scale = weighted(b, options, block, seen, slopes, w)
        of_positive = None if sides.batch is not None else w * slopes.positive
        gradients, new = pull(b, block, p, scale, of_positive, sums and sums[:2], wanted)
        of_temperature = explicit(options, block.sides, slopes, w) if "temperature" in wanted else None
        of_bias, bias_sums = pull_bias(b, block, p, scale, sums and sums[2:]) if "bias" in wanted else (None, ())
        return (loss, *gradients, of_temperature, of_bias, *seen.measured), (*new, *bias_sums)

    def start() -> tuple[Any, ...]:
        return *zero_sums(b, sides, wanted), *(zero_bias(b, sides) if "bias" in wanted else ())

    rows, sums = b.loop(body, start, (*sides.rows, weight if by_row else None), block_size)
    found = (*rows[1:4], *sums[:2], rows[4], bias_of(b, rows[5], sums[2:]))
    return Gradient._make((rows[0], *(lowered(x, power) for x in found), rows[6:]))


def weighted(b: Arithmetic, options: Options, block: Block, seen: Visit, slopes: Slopes, w: Any) -> tuple[Any, Any]:
    """w dL/dz of each part as (parts, scale): one number a row that multiplies the parts, None for 1."""
    if len(slopes.lse) == 1 and slopes.total is None and not options.debias:
        (p,), (total,) = seen.exponentials, seen.totals
        if block.sides.batch is not None:
            p[0] = b.write_own(p[0], block.first_row, -total)  # the positive's slope is minus that of all negatives
        return p, slopes.lse[0] * w / total
    scales = [w * c * s / total for c, s, total in zip(options.powers, slopes.lse, seen.totals, strict=True)]
    of_total = None if slopes.total is None else w * slopes.total
    p = combined(b.xp, seen.exponentials, scales, of_total, seen.counted)
    if block.sides.batch is not None:
        p[0] = b.write_own(p[0], block.first_row, w * slopes.positive)
    return p, None


def explicit(options: Options, sides: Sides, slopes: Slopes, w: Any) -> Any:
    """The slope with respect to the temperature beside that by way of s / t: by the margin, and by the debiasing."""
    found = slopes.temperature
    if options.margin:
        of_margin = slopes.positive * options.margin / (sides.temperature * sides.temperature)
        found = of_margin if found is None else found + of_margin
    return None if found is None else w * found


def pull_bias(b: Arithmetic, block: Block, p: list[Any], scale: Any, sums: Any) -> tuple[Any, tuple[Any, ...]]:
    """The gradient of the bias: rows of it where each row has its own, else new sums over the rows for each part."""
    xp, like = b.xp, block.positive
    if block.sides.bias_by_row:
        rows = p if scale is None else [part * scale for part in p]
        return xp.concat(rows, axis=1), ()
    ones = xp.ones_like(like) if scale is None else scale
    new = [xp.matmul(xp.matrix_transpose(part), ones) for part in p]
    return None, tuple(new if not sums else [x + y for x, y in zip(sums, new, strict=True)])


def bias_of(b: Arithmetic, rows: Any, sums: tuple[Any, ...]) -> Any:
    """The gradient of the bias out of either."""
    return b.xp.matrix_transpose(b.xp.concat(sums, axis=0)) if sums else rows


def zero_sums(b: Arithmetic, sides: Sides, wanted: frozenset[str]) -> tuple[Any, Any]:
    """The sums that a gradient pass starts from."""
    batch = b.xp.zeros_like(sides.batch) if sides.batch is not None and "positive_key" in wanted else None
    shared = b.xp.zeros_like(sides.shared) if sides.shared is not None and "negative_keys" in wanted else None
    return batch, shared


def zero_bias(b: Arithmetic, sides: Sides) -> tuple[Any, ...]:
    xp, keys = b.xp, [x[:, :1] for x in (sides.batch, sides.shared) if x is not None]
    if sides.bias_by_row:
        return ()
    if sides.own is not None:
        keys.append(xp.astype(sides.own[0, :, :1], sides.query.dtype))
    return tuple(xp.zeros_like(x) for x in keys)
