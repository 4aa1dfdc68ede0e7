"""Rows against each other where each may have several positives: by label, by weights, or the other views of a sample.

The rows of a sample follow each other, and all columns of a block of rows are at hand: one visit completes its softmax
over negatives and positives, its loss and its gradient.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from . import forms
from .arithmetic import Arithmetic
from .block import combined, exponentials, finite, remaining
from .forms import LOWEST, Slopes, Statistics, nonzero
from .frame import column, compute_dtype, inverse, of_weight, off_sphere, per_row, reduced, rows_per_block, sphere
from .problem import Gradients, Inputs, Options


class Rows(NamedTuple):
    """All rows, sample after sample, (R, .), and what decides which are whose positives and which leave."""

    query: Any  # (R, D): unit rows over the temperature
    keys: Any  # (R, D): unit rows
    temperature: Any  # a number, a 0-d array or (R, 1)
    labels: Any  # (R, 1); None: by `positives`
    ids: Any  # (R, 1) or None
    positives: Any  # (R, R): weights or booleans, or None

    def cut(self, b: Arithmetic, rows: tuple[Any, ...]) -> Rows:
        """The rows of some samples, of which each entry holds all its views in one row."""
        flat = [None if x is None else b.xp.reshape(x, (-1, width(b, y))) for x, y in zip(rows, self, strict=True)]
        return Rows(*(y if x is None else x for x, y in zip(flat, self, strict=True)))


class Positives(NamedTuple):
    """A block's positives, (B, R)."""

    logits: Any  # -inf where a candidate is none
    share: Any  # t_p: sums to 1 over a row's positives
    softmax: Any  # exp(z_p - lse_p)
    tilted: Any  # t_p exp(z_p) over their sum; None where the loss does not need it


def solve(
    b: Arithmetic, options: Options, inputs: Inputs, wanted: tuple[str, ...], cotangent: Any
) -> tuple[Any, Gradients]:
    """`engine.solve` for the rows in `inputs.query`: view after view where no positives are given, else by sample."""
    xp, dtype, views = b.xp, compute_dtype(b, inputs), options.views
    stacked = inputs.positives is None
    given = by_sample(b, inputs.query, views) if stacked else inputs.query
    unit, back = sphere(b, given, dtype, options.normalize)
    t: Any = inputs.temperature
    if not isinstance(t, float):
        t = xp.astype(t, dtype)
        t = repeated(xp, t, views) if per_row(t) else t
    if b.shape(unit)[0] == 0:
        nothing = xp.sum(unit, axis=-1) if options.reduction == "none" else xp.sum(unit)
        return nothing, {n: xp.astype(xp.zeros_like(getattr(inputs, n)), dtype) for n in wanted}
    z = Rows(unit / t, unit, t, labels_of(b, inputs, unit, views), repeated(xp, inputs.ids, views), matrix_of(inputs))
    block_size = max(1, rows_per_block(b, options, b.shape(unit)[0], b.shape(unit)[0]) // views)
    weight = None if inputs.weight is None else repeated(xp, xp.astype(inputs.weight, dtype), views)
    w = xp.ones_like(unit[:, :1]) if weight is None else weight
    if options.reduction == "none" and wanted:
        c = column(b, cotangent, dtype)
        w = w * (by_sample(b, c, views) if stacked else c)
    found = passes(b, options, z, block_size, w, frozenset(wanted))

    counted = found.present if options.skip_lonely else xp.ones_like(found.present)
    effective = counted if weight is None else counted * weight
    loss = reduced(b, options, found.loss, effective)
    if stacked and options.reduction == "none":
        loss = xp.squeeze(by_view(b, xp.expand_dims(loss, axis=1), views), axis=1)
    if not wanted:
        return loss, {}
    total = inverse(xp, xp.sum(effective)) if options.reduction == "mean" else 1.0
    gradients: Gradients = {}
    if "query" in wanted:
        of_rows = off_sphere(b, (found.query / t + found.keys) * total, unit, back, options.normalize)
        gradients["query"] = by_view(b, of_rows, views) if stacked else of_rows
    if "temperature" in wanted:
        of_t = (found.temperature - xp.sum(z.query * found.query, axis=-1, keepdims=True) / t) * total
        gradients["temperature"] = folded(xp, of_t, inputs.temperature, views) if per_row(t) else xp.sum(of_t)
    if "weight" in wanted:
        c = cotangent if not (options.reduction == "none" and stacked) else by_sample(b, column(b, c, dtype), views)
        of_w = of_weight(b, options, found.loss, loss, effective, c) * counted
        gradients["weight"] = folded(xp, of_w, inputs.weight, views)
    return loss, gradients


def width(b: Arithmetic, x: Any) -> Any:
    """The number of columns."""
    return b.shape(x)[-1] or b.size(b.xp.matrix_transpose(x))


def by_sample(b: Arithmetic, x: Any, views: int) -> Any:
    """Rows given view after view, sample after sample."""
    xp, n = b.xp, b.size(x) // views
    parts = [xp.expand_dims(x[i * n : (i + 1) * n, ...], axis=1) for i in range(views)]
    return xp.reshape(xp.concat(parts, axis=1), (-1, width(b, x)))


def by_view(b: Arithmetic, x: Any, views: int) -> Any:
    """Rows given sample after sample, view after view."""
    x = b.xp.reshape(x, (-1, views, width(b, x)))
    return b.xp.concat([x[:, i, :] for i in range(views)], axis=0)


def repeated(xp: Any, x: Any, views: int) -> Any:
    """What belongs to each sample, (N,) or (N, 1), for each of its rows, (R, 1)."""
    return None if x is None else xp.reshape(xp.concat([xp.reshape(x, (-1, 1))] * views, axis=1), (-1, 1))


def folded(xp: Any, x: Any, like: Any, views: int) -> Any:
    """The gradient of `repeated`."""
    x = xp.sum(xp.reshape(x, (-1, views)), axis=1, keepdims=True)
    return x if len(like.shape) == 2 else xp.squeeze(x, axis=1)


def labels_of(b: Arithmetic, inputs: Inputs, rows: Any, views: int) -> Any:
    """A label for each row, (R, 1): the sample's number where no positives are given."""
    if inputs.positives is None:
        return repeated(b.xp, b.indices(rows, b.size(rows) // views), views)
    return repeated(b.xp, inputs.positives, views) if len(inputs.positives.shape) == 1 else None


def matrix_of(inputs: Inputs) -> Any:
    return inputs.positives if inputs.positives is not None and len(inputs.positives.shape) == 2 else None


class Found(NamedTuple):
    """What the loop gives; None for what is not wanted."""

    loss: Any  # (R, 1): 0 without a positive
    present: Any  # (R, 1): 1 with a positive, else 0
    query: Any  # (R, D): with respect to Rows.query
    temperature: Any  # (R, 1): what does not reach it through Rows.query
    keys: Any  # (R, D)


def passes(b: Arithmetic, options: Options, z: Rows, block_size: int, weight: Any, wanted: frozenset[str]) -> Found:
    """One product for the value, three with the gradient of sum(weight * loss); `weight` is (R, 1)."""
    xp, views = b.xp, options.views

    def body(sample: Any, rows: tuple[Any, ...], sums: Any) -> Any:
        cut = z.cut(b, rows[:-1])
        s = b.write_own(b.scores(cut.query, z.keys), sample * views, -math.inf)
        weights = None if z.positives is None else xp.astype(cut.positives, s.dtype)
        same = cut.labels == xp.matrix_transpose(z.labels) if weights is None else weights != 0
        out = same if z.ids is None else same | (cut.ids == xp.matrix_transpose(z.ids))
        of_positives, statistics = positives(b, options, cut.temperature, s, same, weights)
        negative = [b.leave_out(s, out)]
        counted = remaining(xp, negative) if options.counts else None
        count = None if counted is None else xp.sum(counted[0], axis=-1, keepdims=True)
        total = xp.sum(finite(xp, negative)[0], axis=-1, keepdims=True) if options.label_smoothing else None
        e, totals, lse = exponentials(b, negative, options.powers, True, cut.query[:, :1])
        statistics = statistics._replace(lse=lse, count=count, total=total)
        loss, slopes, p = closed_form(b, options, statistics, of_positives, cut.temperature)
        present = xp.where(statistics.positives == 0, 0 * loss, xp.ones_like(loss))
        loss = xp.where(statistics.positives == 0, xp.zeros_like(loss), loss)
        if not wanted:
            return (loss, present, None, None), sums or ()
        w = xp.reshape(rows[-1], (-1, 1)) * present
        scales = [w * c * x / n for c, x, n in zip(options.powers, slopes.lse, totals, strict=True)]
        (g,) = combined(xp, e, scales, None if slopes.total is None else w * slopes.total, counted)
        of_t = 0 * loss if slopes.temperature is None else w * slopes.temperature
        if options.margin:
            t = cut.temperature
            of_t = of_t + w * xp.sum(p, axis=-1, keepdims=True) * options.margin / (t * t)
        g = g + w * p
        keys = b.add_transposed(sums[0] if sums else None, g, cut.query)
        return (loss, present, b.product(g, z.keys), of_t), (keys,)

    def start() -> tuple[Any, ...]:
        return (xp.zeros_like(z.keys),) if wanted else ()

    by_row = (True, False, per_row(z.temperature), z.labels is not None, z.ids is not None, z.positives is not None)
    rows = [x if cut else None for x, cut in zip(z, by_row, strict=True)]
    if views > 1:  # a block holds whole samples
        rows = [None if x is None else xp.reshape(x, (-1, views * width(b, x))) for x in rows]
    found, sums = b.loop(body, start, (*rows, xp.reshape(weight, (-1, views))), block_size)
    return Found(*found, *(sums or (None,)))


def positives(
    b: Arithmetic, options: Options, temperature: Any, s: Any, same: Any, weights: Any
) -> tuple[Positives, Statistics]:
    """A block's positives, and their statistics."""
    xp = b.xp
    nothing = xp.full_like(s, -math.inf)
    z = xp.where(same, s - options.margin / temperature if options.margin else s, nothing)
    absent = z == -math.inf
    one, zero = xp.ones_like(s), xp.zeros_like(s)
    weights = xp.where(absent, zero, one if weights is None else weights)
    share = weights / nonzero(xp, xp.sum(weights, axis=-1, keepdims=True))
    number = xp.sum(xp.where(absent, zero, one), axis=-1, keepdims=True)
    largest = xp.max(z, axis=-1, keepdims=True)
    largest = xp.maximum(largest, xp.full_like(largest, LOWEST))
    e = xp.exp(z - largest)
    total = nonzero(xp, xp.sum(e, axis=-1, keepdims=True))
    # The maximum is subtracted before the mean is taken, so that a single positive's difference of the two is 0.
    mean = largest + xp.sum(share * xp.where(absent, zero, z - largest), axis=-1, keepdims=True)
    tilted, lse_weighted = None, None
    if options.inside or options.debias:
        tilted = share * e
        sum_tilted = nonzero(xp, xp.sum(tilted, axis=-1, keepdims=True))
        tilted, lse_weighted = tilted / sum_tilted, largest + xp.log(sum_tilted)
    total_positive = xp.sum(xp.where(absent, zero, z), axis=-1, keepdims=True) if options.label_smoothing else None
    statistics = Statistics(mean, [], None, None, largest + xp.log(total), lse_weighted, number, total_positive)
    return Positives(z, share, e / total, tilted), statistics


def closed_form(
    b: Arithmetic, options: Options, statistics: Statistics, of: Positives, temperature: Any
) -> tuple[Any, Slopes, Any]:
    """The loss of each row, the slopes with respect to the negatives' statistics, and each positive's, (B, R)."""
    xp = b.xp
    if not options.exclude_positives:
        loss, slopes = forms.loss(b, options, statistics, temperature)
        p: Any = None
        for slope, each in (
            (slopes.positive, of.share),
            (slopes.lse_positive, of.softmax),
            (slopes.lse_weighted, of.tilted),
            (slopes.total, None if slopes.total is None else xp.where(of.share == 0, 0 * of.share, 1 + 0 * of.share)),
        ):
            if slope is not None:
                p = slope * each if p is None else p + slope * each
        return loss, slopes, p
    n = forms.negatives(b, options, statistics, temperature)
    absent = of.logits == -math.inf
    beyond, missed = b.softplus(xp.where(absent, xp.zeros_like(of.logits), n.value - of.logits))
    loss = xp.sum(of.share * beyond, axis=-1, keepdims=True)
    p = -of.share * missed
    of_value = -xp.sum(p, axis=-1, keepdims=True)
    if n.weighted is not None:
        p = p + of_value * n.weighted * of.tilted
    lse = [of_value] if n.lse is None else [of_value * x for x in n.lse]
    return loss, Slopes(None, lse, None, None if n.temperature is None else of_value * n.temperature), p
