"""NT-Xent: the rows of V views against each other, where each pair of rows is scored once unless they are few.

Row r of R = V N is scored against the rows r + 1 ... r + R/2, cyclically: z is symmetric, so what a row finds there its
partners find too, as a column. With A the rows over sqrt(t), z = A A^T; over the positives p of row i (the same sample
in the other views) and its negatives,

    L_i = (lse_p z_ip - mean_p z_ip) + softplus(lse_neg_i - lse_p z_ip),

where the first part is exactly 0 for two views: nothing cancels, however small the loss.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

from .backend import Arithmetic
from .block import exponentials
from .forms import LOWEST, exp_minus, log_of, nonzero
from .frame import (
    bounded,
    compute_dtype,
    off_sphere,
    per_row,
    reduced,
    row_weight,
    rows_per_block,
    sphere,
)
from .halves import Fused, Halved
from .problem import Gradients, Inputs, Options
from .spread import far_apart, lift, lowered

PARTS = 2  # half of the usual rows in a block: it scores B (B + R/2) pairs for the B R/2 that count


class Rows(NamedTuple):
    """All rows, and what every visit needs of them."""

    rows: Any  # (R, D): unit rows over sqrt(t)
    cyclic: Any  # (R + R/2, D): the same, and the first half again
    views: int
    half: Any  # R // 2
    bounded: bool  # as in `block.Sides`
    halves: Halved | None = None  # of `rows`
    halves_cyclic: Halved | None = None
    far: bool = False  # as in `block.Sides`


class Positives(NamedTuple):
    """The closed form's share that needs no block."""

    loss: Any  # (R, 1): lse_p z_ip - mean_p z_ip
    lse: Any  # (R, 1)
    softmax: list[Any]  # V - 1 times (R, 1): of row r and row r + k N


def symmetric(options: Options, inputs: Inputs) -> bool:
    """Whether the call is plain NT-Xent: z_ij = z_ji, and the loss is the closed form below."""
    plain = Options(
        options.reduction, options.block_size, normalize=options.normalize, bounded=options.bounded, views=options.views
    )
    alike = inputs.weight is None and inputs.ids is None and inputs.positives is None
    return alike and options == plain and not per_row(inputs.temperature)


def doubled(b: Arithmetic, x: Any, half: Any) -> Any:
    return b.xp.concat([x, x[:half, ...]], axis=0)


def scored(
    b: Arithmetic, z: Rows, rows: Any, halves: tuple[Any, ...], first_row: Any, part: int = 0
) -> tuple[Any, Any]:
    """A block's logits against the rows ahead, (B, B + R/2), -inf where a pair is not of this visit; and those rows.

    The rows are those that the products of the gradient multiply.
    """
    width = b.size(rows) + z.half
    if z.halves_cyclic is None:
        partners = b.take(z.cyclic, first_row, width)
        s = b.scores(rows, partners, part)
    else:
        taken = Halved(*(b.take(x, first_row, width) for x in z.halves_cyclic))
        s, partners = b.half_scores(Halved(*halves), taken, part), taken.rounded
    return partners, b.mask_visit(s, b.size(z.rows), z.views)


def by_row(z: Rows) -> tuple[Any, ...]:
    """What a loop cuts into blocks of rows."""
    return z.rows, *(z.halves or ())


def negatives(b: Arithmetic, z: Rows, block_size: int, kept: list[Any] | None) -> Any:
    """Half a product: the log-sum-exp over every row's negatives, (R, 1), LOWEST where there is none.

    What `gradient` needs of bounded blocks is `kept`, unless that is None.
    """
    xp = b.xp

    def start() -> tuple[Any, ...]:
        like = z.cyclic[:, :1]
        return (xp.zeros_like(like),) if z.bounded else (xp.full_like(like, LOWEST), xp.zeros_like(like))

    def body(first_row: Any, rows: tuple[Any, ...], sums: Any) -> Any:
        partners, s = scored(b, z, rows[0], rows[1:], first_row, part=0 if kept is None else first_row)
        width = b.size(partners)
        if z.bounded:
            (total,) = sums or start()
            e = b.exponential(s)
            if kept is not None:
                kept.append((partners, e))
            column = xp.matrix_transpose(xp.sum(e, axis=0, keepdims=True))
            column = b.take(total, first_row, width) + column
            return (xp.sum(e, axis=-1, keepdims=True),), (b.put(total, first_row, column),)
        largest, total = sums or start()
        before = b.take(largest, first_row, width)
        above = xp.maximum(before, xp.matrix_transpose(xp.max(s, axis=0, keepdims=True)))
        column = xp.sum(b.exp_shifted(s, xp.matrix_transpose(above), keep=True, far=z.far), axis=0, keepdims=True)
        column = b.take(total, first_row, width) * xp.exp(before - above) + xp.matrix_transpose(column)
        sums = b.put(largest, first_row, above), b.put(total, first_row, column)
        along = xp.max(s, axis=-1, keepdims=True)
        along = xp.maximum(along, xp.full_like(along, LOWEST))
        return (along, xp.sum(b.exp_shifted(s, along, far=z.far), axis=-1, keepdims=True)), sums

    if z.bounded:
        (along,), (total,) = b.loop(body, start, by_row(z), block_size)
        return log_of(xp, along + met_twice(b, z, total))
    (along, found), (largest, total) = b.loop(body, start, by_row(z), block_size)
    again = xp.full_like(along, LOWEST)  # the first half was met again at the end
    again = xp.concat([largest[b.size(z.rows) :, ...], again[z.half :, ...]], axis=0)
    found_again = xp.concat([total[b.size(z.rows) :, ...], xp.zeros_like(again[z.half :, ...])], axis=0)
    largest, total = largest[: b.size(z.rows), ...], total[: b.size(z.rows), ...]
    m = xp.maximum(xp.maximum(along, largest), again)
    total = found * xp.exp(along - m) + total * xp.exp(largest - m) + found_again * xp.exp(again - m)
    return m + xp.log(nonzero(xp, total))


def met_twice(b: Arithmetic, z: Rows, sums: Any) -> Any:
    """The sums of the rows of `cyclic`, whose end is the first half again, as sums of the rows."""
    total = b.size(z.rows)
    once, again = sums[:total, ...], sums[total:, ...]
    return b.put(once, 0, once[: z.half, ...] + again)


def gradient(b: Arithmetic, z: Rows, block_size: int, kept: list[Any] | None, lse: Any, weight: Any) -> Any:
    """One and a half products, one of `kept` blocks: sum_i weight_i dlse_i / dA, (R, D)."""
    xp = b.xp
    if z.bounded:
        weight = weight * exp_minus(xp, lse)
    lse_cyclic, weight_cyclic = doubled(b, lse, z.half), doubled(b, weight, z.half)

    def start() -> tuple[Any]:
        return (xp.zeros_like(z.cyclic),)

    def body(first_row: Any, rows: tuple[Any, ...], sums: Any) -> Any:
        lse_row, w_row, a, *halves = rows
        partners, s = kept.pop(0) if kept else scored(b, z, a, tuple(halves), first_row)
        width = b.size(partners)
        lse_column = xp.matrix_transpose(b.take(lse_cyclic, first_row, width))
        w_column = xp.matrix_transpose(b.take(weight_cyclic, first_row, width))
        if z.bounded:
            g = b.times_sum(b.exponential(s) if kept is None else s, w_row, w_column)
        else:
            g = b.exp_shifted(s, lse_column, w_column, keep=True, far=z.far)
            g += b.exp_shifted(s, lse_row, w_row, far=z.far)
        (total,) = sums or start()
        if halves:
            g, a = xp.astype(g, partners.dtype), Halved(*halves).rounded
        part = b.add_product(b.take(total, first_row, width), xp.matrix_transpose(g), a)
        return (b.product(g, partners),), (b.put(total, first_row, part),)

    (ahead,), (behind,) = b.loop(body, start, (lse, weight, *by_row(z)), block_size)
    return ahead + met_twice(b, z, behind)


def whole(b: Arithmetic, z: Rows) -> tuple[Any, Callable[[Any], Any]]:
    """`negatives`, and `gradient` as a function of the weights, of few rows: two products of all rows at once."""
    xp, samples = b.xp, b.size(z.rows) // z.views
    rows = z.rows if z.halves is None else z.halves.rounded
    s = b.scores(rows, rows) if z.halves is None else b.half_scores(z.halves, z.halves)
    s = b.mask_samples(s, samples, z.views)
    ((e,),), (total,), (lse,) = exponentials(b, [s], (1.0,), True, z.rows[:, :1], z.bounded, z.far)

    def gradient(weight: Any) -> Any:
        scale = weight / total
        if z.bounded:
            g = b.times_sum(e, scale, xp.matrix_transpose(scale))
        else:
            p = e * scale
            g = p + xp.matrix_transpose(p)
        return b.product(g if z.halves is None else xp.astype(g, rows.dtype), rows)

    return lse, gradient


def in_passes(
    b: Arithmetic, z: Rows, fused: Fused, halves: Halved, block_size: int
) -> tuple[Any, Callable[[Any], Any]]:
    """As `whole`, of any number of rows, by fused passes over all of them: three products, none transposed."""
    xp, samples = b.xp, b.size(z.rows) // z.views

    def sums(first_row: Any, rows: tuple[Any, ...], _: Any) -> Any:
        return (fused.totals(Halved(*rows), halves, first_row, samples, columns=False)[0],), ()

    (total,), _ = b.loop(sums, tuple, halves, block_size)
    lse = log_of(xp, total)

    def gradient(weight: Any) -> Any:
        scale = weight * exp_minus(xp, lse)
        column = xp.matrix_transpose(scale)

        def body(first_row: Any, rows: tuple[Any, ...], _: Any) -> Any:
            row, *of_block = rows
            g = fused.weighted(Halved(*of_block), halves, first_row, row, column, period=samples)
            return (b.product(g, halves.rounded),), ()

        return b.loop(body, tuple, (scale, *halves), block_size)[0][0]

    return lse, gradient


def rolled(b: Arithmetic, x: Any, by: Any) -> Any:
    """Row r of the result is row r + by of x, cyclically."""
    return b.xp.concat([x[by:, ...], x[:by, ...]], axis=0)


def of_sample(b: Arithmetic, z: Rows, k: int) -> Any:
    """Of each row the same sample's, k views ahead."""
    total = b.size(z.rows)
    by = k * (total // z.views)
    return rolled(b, z.rows, by) if z.cyclic is z.rows or 2 * k > z.views else b.take(z.cyclic, by, total)


def positives(b: Arithmetic, z: Rows) -> Positives:
    xp = b.xp
    found = [xp.sum(z.rows * of_sample(b, z, k), axis=-1, keepdims=True) for k in range(1, z.views)]
    largest = functools.reduce(xp.maximum, found)
    # The maximum is subtracted first, so that for two views the loss below is exactly 0.
    found = [x - largest for x in found]
    e = [xp.exp(x) for x in found]
    total = functools.reduce(operator.add, e)
    loss = xp.log(total) - functools.reduce(operator.add, found) / len(found)
    return Positives(loss, largest + xp.log(total), [x / total for x in e])


def of_positives(b: Arithmetic, z: Rows, p: Positives, weight: Any, p_negative: Any) -> Any:
    """The positives' share of dL/dA: dL_i/dz_ip = (softmax_p - 1/(V - 1)) - P_i softmax_p."""
    samples = b.size(z.rows) // z.views
    slopes = [weight * ((softmax - 1 / (z.views - 1)) - p_negative * softmax) for softmax in p.softmax]
    # Row r finds row r + k N k views ahead, and that finds row r V - k views ahead: both slopes are the pair's.
    both = [w + rolled(b, back, k * samples) for k, (w, back) in enumerate(zip(slopes, slopes[::-1], strict=True), 1)]
    return functools.reduce(operator.add, [w * of_sample(b, z, k) for k, w in enumerate(both, 1)])


def keeps(b: Arithmetic, options: Options, rows: int | None) -> bool:
    """Whether blocks of half of all pairs of so many rows may be held: in place, where none of them is copied."""
    if rows is None or options.block_size is not None:
        return False
    return b.in_place and rows * rows // 2 <= 2 * b.blocks().kept


def solve(
    b: Arithmetic, options: Options, inputs: Inputs, wanted: tuple[str, ...], cotangent: Any
) -> tuple[Any, Gradients]:
    """`engine.solve` for the rows in `inputs.query`: the stacked views, where nothing breaks the symmetry of z."""
    xp, dtype = b.xp, compute_dtype(b, inputs)
    t: Any = inputs.temperature
    t, root = (t, math.sqrt(t)) if isinstance(t, float) else (xp.astype(t, dtype), xp.sqrt(xp.astype(t, dtype)))
    a, back = sphere(b, inputs.query, dtype, options.normalize, root)
    rows = b.shape(a)[0]
    if rows == 0:
        empty = xp.sum(a, axis=-1, keepdims=True)
        return reduced(b, options, empty, None), {name: a if name == "query" else xp.sum(empty) for name in wanted}
    within = bounded(options, inputs.temperature)
    block_size = rows_per_block(b, options, rows, rows, PARTS, kept=within and bool(wanted))
    half = b.size(a) // 2
    at_once = rows is not None and rows <= block_size
    halves = halves_cyclic = None
    dtype_of_halves = b.half_products(inputs.query)
    if dtype_of_halves is not None:
        halves = b.halved(inputs.query, a, back, dtype_of_halves, options.normalize)
    fused = None if halves is None or not within else b.fused(halves, halves, b.size(a) // options.views)
    cyclic = a
    if not at_once and fused is None:
        cyclic = doubled(b, a, half)
        halves_cyclic = None if halves is None else Halved(*(doubled(b, x, half) for x in halves))
    far = far_apart(b, options, inputs)
    z = Rows(a, cyclic, options.views, half, within, halves, halves_cyclic, far)
    p = positives(b, z)
    if halves is not None and fused is not None:
        lse, pull = in_passes(b, z, fused, halves, rows_per_block(b, options, rows, rows, fused=True))
    elif at_once:
        lse, pull = whole(b, z)
    else:
        kept: list[Any] | None = [] if within and wanted and keeps(b, options, rows) else None
        lse = negatives(b, z, block_size, kept)
        pull = functools.partial(gradient, b, z, block_size, kept, lse)
    beyond, p_negative = b.softplus(lse - p.lse)
    loss = reduced(b, options, p.loss + beyond, None)
    if not wanted:
        return loss, {}

    weight = row_weight(b, options, a, None, cotangent)
    power = lift(b, options, t, weight, far)
    weight = weight * power
    of_rows = lowered(b, pull(weight * p_negative) + of_positives(b, z, p, weight, p_negative), power)
    gradients: Gradients = dict.fromkeys(wanted)
    if "temperature" in wanted:  # each z_ij holds both rows' root of t
        gradients["temperature"] = -0.5 * xp.sum(z.rows * of_rows) / t
    if "query" in wanted:
        gradients["query"] = off_sphere(b, of_rows, back, options.normalize)
    return loss, gradients
