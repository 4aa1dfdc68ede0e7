"""NT-Xent: the rows of V views against each other, where each pair of rows is scored once unless they are few.

With A the rows over sqrt(t), z = A A^T; over the positives p of row i (the same sample in the other views) and its
negatives,

    L_i = (lse_p z_ip - mean_p z_ip) + softplus(lse_neg_i - lse_p z_ip),

where the first part is exactly 0 for two views: nothing cancels, however small the loss.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

from .arithmetic import Arithmetic
from .block import exponentials
from .cyclic import PARTS, Rows, doubled, gradient, negatives
from .forms import exp_minus, log_of
from .frame import bounded, compute_dtype, off_sphere, per_row, reduced, row_weight, rows_per_block, sphere
from .halves import Fused, Halved, of_halves
from .problem import Gradients, Inputs, Options, without_options
from .spread import far_apart, lift, lowered


class Positives(NamedTuple):
    """The closed form's share that needs no block."""

    loss: Any  # (R, 1): lse_p z_ip - mean_p z_ip
    lse: Any  # (R, 1)
    softmax: list[Any]  # V - 1 times (R, 1): of row r and row r + k N


def symmetric(options: Options, inputs: Inputs) -> bool:
    """Whether the call is plain NT-Xent: z_ij = z_ji, and the loss is the closed form below."""
    return without_options(options, inputs) and not per_row(inputs.temperature)


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
    """Whether blocks of half of all pairs of so many rows may be held."""
    return rows is not None and options.block_size is None and rows * rows // 2 <= 2 * b.blocks().kept


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
    dtype_of_halves = b.half_products(inputs.query)
    made = b.halved(inputs.query, a, back, dtype_of_halves, options.normalize)
    halves, halves_cyclic = None if dtype_of_halves is None else made, None
    fused = b.fused(made, made, b.size(a) // options.views) if within else None
    cyclic = a
    if not at_once and fused is None:
        del made  # else the rows would be held twice
        cyclic = doubled(b, a, half)
        a = b.take(cyclic, 0, b.size(a))
        halves_cyclic = None if halves is None else Halved(*(doubled(b, x, half) for x in halves))
    far = far_apart(b, options, inputs)
    z = Rows(a, cyclic, options.views, half, within, halves, halves_cyclic, far)
    p = positives(b, z)
    if fused is not None:
        made = fused.prepared(made)
        lse, pull = in_passes(b, z, fused, made, rows_per_block(b, options, rows, rows, fused=of_halves(fused, made)))
    elif at_once:
        lse, pull = whole(b, z)
    else:
        keep = within and bool(wanted) and keeps(b, options, rows)
        lse, kept = negatives(b, z, block_size, keep)
        pull = functools.partial(gradient, b, z, block_size, kept, lse)
    beyond, p_negative = b.softplus(lse - p.lse)
    loss = reduced(b, options, p.loss + beyond, None)
    if not wanted:
        return loss, {}

    weight = row_weight(b, options, a, None, cotangent)
    power = lift(b, options, t, weight, far)
    weight = weight * power
    of_rows = pull(weight * p_negative)
    if z.cyclic is not z.rows:
        cyclic, back = b.after(of_rows, (z.cyclic, back))
        z = z._replace(rows=b.take(cyclic, 0, b.size(a)), cyclic=cyclic)
    of_rows += of_positives(b, z, p, weight, p_negative)
    of_rows = lowered(of_rows, power)
    gradients: Gradients = dict.fromkeys(wanted)
    if "temperature" in wanted:  # each z_ij holds both rows' root of t
        gradients["temperature"] = -0.5 * xp.sum(z.rows * of_rows) / t
    if "query" in wanted:
        gradients["query"] = off_sphere(b, of_rows, z.rows, back, options.normalize)
    return loss, gradients
