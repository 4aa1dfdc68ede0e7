"""Both directions at once: a column's softmax needs a pass over all rows before its slopes are known.

In the key-to-query direction key j scores the batch's queries with row j's own temperature, over the same pairs, and
without bias.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from . import forms
from .arithmetic import Arithmetic
from .block import Block, Sides, finite, logits, pull, remaining, times
from .forms import LOWEST, Statistics, exp_minus, log_of, nonzero
from .frame import per_row
from .passes import Gradient, bias_of, explicit, pull_bias, visit, zero_bias, zero_sums
from .problem import Options
from .spread import lift


class Found(NamedTuple):
    """The statistics of every query and of every key, (N, 1), and what is measured."""

    to_key: Statistics
    to_query: Statistics
    measured: tuple[Any, ...]
    kept: list[tuple[Block, list[Any]]]  # the only block and its exponentials, where there is one and it is bounded


def statistics(b: Arithmetic, options: Options, sides: Sides, block_size: int) -> Found:
    """One product: those of the keys come by a running maximum."""
    xp, powers, kept = b.xp, options.powers, []
    n = b.size(sides.query)
    alone = isinstance(n, int) and n <= block_size

    def body(first_row: Any, rows: tuple[Any, ...], sums: Any) -> Any:
        if sides.fused is not None:
            total, new, positive = sides.fused.totals(*sides.at(rows).both_halves, first_row)
            return (positive, log_of(xp, total), None, None, positive), (sums[0] + new if sums else new,)
        block = logits(b, sides, rows, first_row)
        if sides.bounded:
            s, e, *_, measured = visit(b, options, block)
            new = b.column_sums(e[0][0])
            if alone:
                kept.append((block, e[0]))
            return (s.positive, *s.lse, None, None, s.positive, *measured), (sums[0] + new if sums else new,)
        z, positive = key_logits(b, sides, block)
        largest, *totals = sums or start()
        above = xp.maximum(largest, b.column_maxima(z))
        e = (
            [b.exp_shifted(z, above, keep=True, far=sides.far)]
            if powers == (1.0,)
            else [xp.exp(c * (z - above)) for c in powers]
        )
        new = [b.column_sums(part) for part in e]
        lower = xp.maximum(largest - above, xp.full_like(above, -1e30))  # whose multiples stay in range
        new = [x + total * xp.exp(c * lower) for x, total, c in zip(new, totals, powers, strict=False)]
        if options.counts:
            new.append(totals[len(powers)] + b.column_sums(*remaining(xp, [z])))
        if options.label_smoothing:
            new.append(totals[-1] + b.column_sums(*finite(xp, [z])))
        s, *_, measured = visit(b, options, block)
        return (s.positive, *s.lse, s.count, s.total, positive, *measured), (above, *new)

    def start() -> tuple[Any, ...]:
        like = xp.matrix_transpose(sides.positive[:, :1])
        if sides.bounded:
            return (xp.zeros_like(like),)
        sums = len(powers) + options.counts + bool(options.label_smoothing)
        return xp.full_like(like, LOWEST), *[xp.zeros_like(like)] * sums

    (positive, *found), sums = b.loop(body, start, sides.rows, block_size)
    n = len(powers)
    if sides.bounded:
        total = xp.matrix_transpose(sums[0])
        of_keys = Statistics(positive, [log_of(xp, total)])
        return Found(Statistics(positive, found[:1]), of_keys, tuple(found[4:]), kept)
    largest, *totals = (xp.matrix_transpose(x) for x in sums)
    lse = [times(xp, c, largest) + xp.log(nonzero(xp, x)) for c, x in zip(powers, totals, strict=False)]
    count, total = totals[n] if options.counts else None, totals[-1] if options.label_smoothing else None
    to_key, to_query = Statistics(positive, found[:n], *found[n : n + 2]), Statistics(found[n + 2], lse, count, total)
    return Found(to_key, to_query, tuple(found[n + 3 :]), kept)


def key_logits(b: Arithmetic, sides: Sides, block: Block) -> tuple[Any, Any]:
    """The batch's logits of a block, and the positives', in the key-to-query direction."""
    xp, z = b.xp, block.scores[0]
    if per_row(sides.temperature):
        # -inf stays out of the product: second derivatives would take 0 * inf for the ratio's.
        ratio = block.sides.temperature / xp.matrix_transpose(sides.temperature)
        z = xp.where(z == -math.inf, z, finite(xp, [z])[0] * ratio)
    return z, block.unbiased


def value(b: Arithmetic, options: Options, sides: Sides, block_size: int) -> tuple[Any, tuple[Any, ...]]:
    """The loss of every row, (N, 1), by one product, and what is measured in the query-to-key direction."""
    to_key, to_query, measured, _ = statistics(b, options, sides, block_size)
    t = sides.temperature
    return 0.5 * (forms.loss(b, options, to_key, t)[0] + forms.loss(b, options, to_query, t)[0]), measured


def gradient(
    b: Arithmetic, options: Options, sides: Sides, block_size: int, weight: Any, wanted: frozenset[str]
) -> Gradient:
    """Four products: as `passes.gradient`, for the mean of the query-to-key and the key-to-query loss."""
    xp, t, powers = b.xp, sides.temperature, options.powers
    to_key, to_query, measured, kept = statistics(b, options, sides, block_size)
    key_loss, of_key = forms.loss(b, options, to_key, t)
    query_loss, of_query = forms.loss(b, options, to_query, t)
    # A weight that all rows share waits until the end: it might take the slopes of tiny losses out of range.
    power = lift(b, options, t, weight, sides.far)
    half, shared = (0.5 * weight, 1) if per_row(weight) else (0.5 * power, weight / power)
    key_lses = [xp.matrix_transpose(x) for x in to_query.lse]
    key_weights = [xp.matrix_transpose(half * c * s) for c, s in zip(powers, of_query.lse, strict=True)]
    key_total = None if of_query.total is None else xp.matrix_transpose(half * of_query.total)
    row_weights = [half * c * s for c, s in zip(powers, of_key.lse, strict=True)]
    row_total = None if of_key.total is None else half * of_key.total
    of_row = half * of_key.positive
    of_positive = of_row + half * of_query.positive
    own_temperature = per_row(t)  # of each row
    of_column = key_weights[0] * exp_minus(xp, key_lses[0]) if sides.bounded else None

    def body(first_row: Any, rows: tuple[Any, ...], sums: Any) -> Any:
        cut, lses, weights, (total, own, own_row) = split(rows, len(sides.rows), len(powers))
        if sides.bounded:
            scale = weights[0] * exp_minus(xp, lses[0])
            if sides.fused is not None:
                block = Block(sides.at(cut), first_row, None, [], None, [])
                parts = [sides.fused.weighted(*block.sides.both_halves, first_row, scale, of_column, own)]
            else:
                block, e = kept[0] if kept else exponentiated_block(b, sides, cut, first_row)
                parts = [b.times_sum(e[0], scale, of_column), *(part * scale for part in e[1:])]
                parts[0] = b.write_own(parts[0], first_row, own)
            gradients, new = pull(b, block, parts, None, None, sums and sums[:2], wanted)
            return (*gradients, None), new
        block = logits(b, sides, cut, first_row)
        counted = None if total is None else remaining(xp, block.logits)
        z, _ = key_logits(b, sides, block)
        of_keys = exponentiated(b, powers, z, key_lses, key_weights, keep=True, far=sides.far)
        if counted is not None:
            of_keys = of_keys + key_total * counted[0]
        shares: tuple[Any, ...] = ()
        if own_temperature:
            # Key j's temperature scales these, which `Sides.query` takes for row i's.
            zg = of_keys * finite(xp, [z])[0]
            column = b.column_sums(zg)
            shares = (xp.sum(zg, axis=-1, keepdims=True), sums[-1] + column if sums else column)
            of_keys = of_keys * (block.sides.temperature / xp.matrix_transpose(t))
        parts = [exponentiated(b, powers, part, lses, weights, far=sides.far) for part in block.logits]
        if counted is not None:
            parts = [part + total * c for part, c in zip(parts, counted, strict=True)]
        of_bias, bias_sums = None, ()
        if "bias" in wanted:
            parts[0] = b.write_own(parts[0], first_row, own_row)
            of_bias, bias_sums = pull_bias(b, block, parts, None, sums and sums[2 : 2 + len(parts)])
        parts[0] += of_keys
        parts[0] = b.write_own(parts[0], first_row, own)
        gradients, new = pull(b, block, parts, None, None, sums and sums[:2], wanted)
        return (*gradients, of_bias, *shares[:1]), (*new, *bias_sums, *shares[1:])

    def start() -> tuple[Any, ...]:
        bias = zero_bias(b, sides) if "bias" in wanted else ()
        return *zero_sums(b, sides, wanted), *bias, *([xp.zeros_like(key_lses[0])] if own_temperature else [])

    every = (*sides.rows, *to_key.lse, *row_weights, row_total, of_positive, of_row)
    rows, sums = b.loop(body, start, every, block_size)
    of_temperature = None
    if "temperature" in wanted:
        of_temperature = added(explicit(options, sides, of_key, half), explicit(options, sides, of_query, half))
        if own_temperature:
            of_temperature = added(of_temperature, (rows[4] - xp.matrix_transpose(sums[-1])) / t)
            sums = sums[:-1]
    found = (*rows[:3], *sums[:2], of_temperature, bias_of(b, rows[3], sums[2:]))
    found = tuple(x if x is None else x * shared for x in found)
    return Gradient._make((0.5 * (key_loss + query_loss), *found, measured))


def exponentiated_block(b: Arithmetic, sides: Sides, rows: tuple[Any, ...], first_row: Any) -> tuple[Block, list[Any]]:
    block = logits(b, sides, rows, first_row)
    return block, [b.exponential(part) for part in block.logits]


def exponentiated(
    b: Arithmetic, powers: tuple[float, ...], z: Any, lses: Any, weights: Any, keep: bool = False, far: bool = False
) -> Any:
    """sum_c weight_c exp(c z - lse_c); `z` is lost unless `keep`."""
    if powers == (1.0,):
        return b.exp_shifted(z, lses[0], weights[0], keep, far)
    terms = [b.xp.exp(c * z - lse) * w for c, lse, w in zip(powers, lses, weights, strict=True)]
    return terms[0] + terms[1]


def split(rows: tuple[Any, ...], first: int, powers: int) -> Any:
    """The rows of the sides, of the log-sum-exps, of their weights, and the rest."""
    middle = first + powers
    return rows[:first], rows[first:middle], rows[middle : middle + powers], rows[middle + powers :]


def added(x: Any, y: Any) -> Any:
    """x + y, where None is 0."""
    return y if x is None else x if y is None else x + y
