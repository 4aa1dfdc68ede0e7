"""One block of rows: its logits, their exponentials, and the way back from the slopes to both sides.

Where the batch's own keys are candidates the positive is an entry of the block. It is read, left out as the other
absent entries are (-inf), and before the products of the gradient its slope is written there.
"""

from __future__ import annotations

import functools
import math
import operator
from typing import Any, NamedTuple

from .arithmetic import Arithmetic
from .forms import LOWEST, log_of, nonzero
from .halves import Fused, Halved

ROWS = ("query", "positive", "own", "ids", "negative_ids", "mask", "bias", "temperature")


class Sides(NamedTuple):
    """The two sides of the logit matrix, in the compute dtype; a part of the candidates may be absent (None).

    `columns` are the batch's keys where they are candidates, then the shared or the own negatives.
    """

    query: Any  # (N, D): unit rows over the temperature
    positive: Any  # (N, D): unit rows
    batch: Any  # (N, D): `positive` again where the batch's own keys are candidates
    shared: Any  # (M, D): unit rows of the negatives that all rows share
    own: Any  # (N, K, D): each row's own negatives, raw: normalised block by block
    temperature: Any  # a number, a 0-d array or (N, 1)
    normalize: bool
    margin: float
    may_lack: bool  # whether a row may have no candidate beside its own positive
    bounded: bool  # whether exp(z) is known to stay far within float32's range, so that no maximum need be subtracted
    by_row: tuple[bool, ...]  # for each of ROWS, whether a loop cuts it into blocks of rows
    ids: Any = None  # (N, 1)
    key_ids: Any = None  # (1, N)
    negative_ids: Any = None  # (1, M) or (N, K)
    mask: Any = None  # (1 or N, 1 or columns), True: counts
    bias: Any = None  # (1 or N, columns)
    # Where halves are multiplied as such, or passes are fused:
    halves: Halved | None = None  # of the queries
    half_batch: Halved | None = None
    half_shared: Halved | None = None
    fused: Fused | None = None  # passes that make all that is asked for
    far: bool = False  # whether logits spread so far that it costs time

    @property
    def rows(self) -> tuple[Any, ...]:
        """What a loop cuts into blocks of rows."""
        found = (getattr(self, name) if cut else None for name, cut in zip(ROWS, self.by_row, strict=True))
        return *found, *(self.halves or ())

    @property
    def plain(self) -> bool:
        """Whether the candidates are the batch's keys, all of them, as they are."""
        others = self.shared, self.own, self.ids, self.mask, self.bias
        return self.batch is not None and not self.margin and all(x is None for x in others)

    @property
    def both_halves(self) -> tuple[Halved, Halved]:
        """Of the queries and of the batch's keys, where there are such."""
        assert self.halves is not None
        assert self.half_batch is not None
        return self.halves, self.half_batch

    @property
    def bias_by_row(self) -> bool:
        return self.by_row[ROWS.index("bias")]

    def at(self, rows: tuple[Any, ...]) -> Sides:
        """These rows of it."""
        if rows[0] is self.query:
            return self
        named = {name: x for name, x in zip(ROWS, rows, strict=False) if x is not None}
        return self._replace(**named, halves=None if self.halves is None else Halved(*rows[len(ROWS) :]))


class Block(NamedTuple):
    """The rows at hand, the positives' logits, and those of the remaining negatives: -inf where a candidate left."""

    sides: Sides
    first_row: Any
    positive: Any  # (B, 1)
    logits: list[Any]  # one for each part that is present: batch, shared or own
    unbiased: Any  # `positive` without bias
    scores: list[Any]  # `logits` without bias; perhaps the same arrays
    own: Any = None  # (B, K, D), unit rows
    own_back: Any = None  # the way back from them


def logits(b: Arithmetic, whole: Sides, rows: tuple[Any, ...], first_row: Any) -> Block:
    """Score a block of rows against all their candidates."""
    xp, sides = b.xp, whole.at(rows)
    z, own, back = [], sides.own, None
    if sides.batch is not None:
        z.append(multiplied(b, sides, sides.batch, sides.half_batch))
    if sides.shared is not None:
        z.append(multiplied(b, sides, sides.shared, sides.half_shared, part=1))
    if own is not None:
        own = xp.astype(own, sides.query.dtype)
        own, back = b.unit_rows(own, own.dtype) if sides.normalize else (own, None)
        z.append(xp.squeeze(xp.matmul(own, xp.expand_dims(sides.query, axis=-1)), axis=-1))
    scores, batch = z, None if sides.batch is None else z[0]
    positive = b.positive_scores(sides.query, sides.positive, batch, first_row)
    if sides.margin:
        positive = positive - sides.margin / sides.temperature
    unbiased = positive
    if z and sides.bias is not None:
        z = [part + bias for part, bias in zip(z, parts(b, sides, sides.bias), strict=True)]
        if batch is not None:
            positive = positive + own_bias(b, sides, batch, first_row)
    out = absent(b, sides) if z and (sides.ids is not None or sides.mask is not None) else [None] * len(z)
    z = left(b, sides, z, out, first_row)
    scores = z if sides.bias is None else left(b, sides, scores, out, first_row)
    return Block(sides, first_row, positive, z, unbiased, scores, own, back)


def multiplied(b: Arithmetic, sides: Sides, keys: Any, halves: Halved | None, part: int = 0) -> Any:
    if sides.halves is None or halves is None:
        return b.scores(sides.query, keys, part, alone=sides.bounded and sides.ids is None and sides.mask is None)
    return b.half_scores(sides.halves, halves, part)


def left(b: Arithmetic, sides: Sides, z: list[Any], out: list[Any], first_row: Any) -> list[Any]:
    """The logits of the negatives that remain: -inf for absent candidates, and for the row's own positive."""
    z = [part if gone is None else b.leave_out(part, gone) for part, gone in zip(z, out, strict=True)]
    return z if sides.batch is None else [b.write_own(z[0], first_row, -math.inf), *z[1:]]


def own_bias(b: Arithmetic, sides: Sides, batch: Any, first_row: Any) -> Any:
    """The bias of each row's positive, (B, 1), where the batch's keys are candidates."""
    return b.own(parts(b, sides, sides.bias)[0] + b.xp.zeros_like(batch), first_row)


def parts(b: Arithmetic, sides: Sides, columns: Any) -> list[Any]:
    """What belongs to each part of the candidates, of an array over all columns, or over one for all."""
    explicit = sides.shared if sides.shared is not None else sides.own
    if sides.batch is None or explicit is None:
        return [columns]
    if b.shape(columns)[1] == 1:
        return [columns, columns]
    n = b.size(sides.batch)
    return [columns[:, :n], columns[:, n:]]


def absent(b: Arithmetic, sides: Sides) -> list[Any]:
    """Per part, which candidates do not count: masked ones and false negatives."""
    outs: list[Any] = [None] * ((sides.batch is not None) + (sides.shared is not None or sides.own is not None))
    if sides.mask is not None:
        outs = [~part for part in parts(b, sides, sides.mask)]
    if sides.ids is not None:
        keys = [] if sides.batch is None else [sides.key_ids]
        for i, key_ids in enumerate([*keys, sides.negative_ids][: len(outs)]):
            if key_ids is not None:
                same = sides.ids == key_ids
                outs[i] = same if outs[i] is None else outs[i] | same
    return outs


def remaining(xp: Any, z: list[Any]) -> list[Any]:
    """Which negatives count, as numbers 0 and 1 in the logits' dtype."""
    return [xp.where(part == -math.inf, xp.zeros_like(part), xp.ones_like(part)) for part in z]


def finite(xp: Any, z: list[Any]) -> list[Any]:
    """The logits of the negatives that remain, 0 for the others."""
    return [xp.where(part == -math.inf, xp.zeros_like(part), part) for part in z]


def summed(xp: Any, z: list[Any], like: Any) -> Any:
    """The row sums over all parts; zeros like `like` without any."""
    sums = [xp.sum(part, axis=-1, keepdims=True) for part in z]
    return functools.reduce(operator.add, sums) if sums else xp.zeros_like(like)


def exponentials(
    b: Arithmetic,
    z: list[Any],
    powers: tuple[float, ...],
    may_lack: bool,
    like: Any,
    bounded: bool = False,
    far: bool = False,
) -> tuple[list[list[Any]], list[Any], list[Any]]:
    """For each power c, with m the row maximum of z: exp(c (z - m)) of each part; their row sums; log sum exp(c z).

    Where z is `bounded` m is 0. A row without candidates has the sum 1 and the logarithm LOWEST. `z` is lost.
    """
    xp = b.xp
    if bounded:
        e = [[b.exponential(part) for part in z]]
        totals = [summed(xp, e[0], like)]
        if not may_lack:
            return e, totals, [xp.log(totals[0])]
        return e, [nonzero(xp, totals[0])], [log_of(xp, totals[0])]
    largest = row_maximum(xp, z, may_lack, like)
    if powers == (1.0,):
        e = [[b.exp_shifted(part, largest, far=far) for part in z]]
    else:
        shifted = [part - largest for part in z]
        e = [[xp.exp(c * part) for part in shifted] for c in powers]
    totals = [summed(xp, parts, like) for parts in e]
    if may_lack:
        totals = [nonzero(xp, total) for total in totals]
    return e, totals, [times(xp, c, largest) + xp.log(total) for c, total in zip(powers, totals, strict=True)]


def times(xp: Any, power: float, largest: Any) -> Any:
    """power * largest, where LOWEST, the maximum of nothing, stays what it is: its multiples leave float32's range."""
    if power == 1:
        return largest
    absent = largest <= LOWEST
    return xp.where(absent, largest, power * xp.where(absent, xp.zeros_like(largest), largest))


def row_maximum(xp: Any, z: list[Any], may_lack: bool, like: Any) -> Any:
    """The largest logit of each row, at least LOWEST where a row may have none."""
    maxima = [xp.max(part, axis=-1, keepdims=True) for part in z]
    if may_lack:
        maxima.append(xp.full_like(like, LOWEST))
    return functools.reduce(xp.maximum, maxima)


def combined(xp: Any, e: list[list[Any]], slopes: list[Any], of_total: Any, counted: list[Any] | None) -> list[Any]:
    """dL/dz of each part, the own positive's apart: sum_c slope_c e_c, and the same for all that remain."""
    found = []
    for i in range(len(e[0])):
        slope = functools.reduce(operator.add, [s * parts[i] for s, parts in zip(slopes, e, strict=True)])
        found.append(slope if counted is None or of_total is None else slope + of_total * counted[i])
    return found


def pull(
    b: Arithmetic, block: Block, p: list[Any], scale: Any, of_positive: Any, sums: Any, wanted: frozenset[str]
) -> tuple[tuple[Any, Any, Any], tuple[Any, Any]]:
    """Carry dL/dz back to both sides: `p * scale` for the candidates, `of_positive` for the positive.

    The scale, one number a row (None: 1), goes into the thin factors of the products and never touches the block.
    Where the batch's keys are candidates the positive's slope stands in the block already, and `of_positive` is unused.
    Returns the rows' gradients (query, positive, own negatives) and the new sums (batch, shared), None for what is not
    wanted.
    """
    xp, rest, sides = b.xp, iter(p), block.sides
    d_batch, d_shared = sums or (None, None)
    d_query = d_positive = d_own = None
    need_query, need_positive, need_negatives = "query" in wanted, "positive_key" in wanted, "negative_keys" in wanted
    factor = row_factor(b, sides, scale)
    if sides.batch is not None:
        part, keys = as_halves(xp, next(rest), sides.batch, sides.half_batch)
        if need_query:
            d_query = b.add_product(d_query, part, keys)
        if need_positive:
            d_batch = b.add_transposed(d_batch, part, factor)
    if sides.shared is not None:
        part, keys = as_halves(xp, next(rest), sides.shared, sides.half_shared)
        if need_query:
            d_query = b.add_product(d_query, part, keys)
        if need_negatives:
            d_shared = b.add_transposed(d_shared, part, factor)
    if block.own is not None:
        part = next(rest)
        if need_query:
            product = xp.squeeze(xp.matmul(xp.expand_dims(part, axis=-2), block.own), axis=-2)
            d_query = product if d_query is None else d_query + product
        if need_negatives:
            scaled = part if scale is None else part * scale
            d_own = xp.expand_dims(scaled, axis=-1) * xp.expand_dims(sides.query, axis=-2)
            if sides.normalize:
                d_own = b.through_unit_rows(d_own, block.own, block.own_back)
    if need_query and d_query is not None and scale is not None:
        d_query = d_query * scale
    if sides.batch is None:
        if need_query:
            own = of_positive * sides.positive
            d_query = own if d_query is None else d_query + own
        if need_positive:
            d_positive = of_positive * sides.query
    return (d_query, d_positive, d_own), (d_batch, d_shared)


def row_factor(b: Arithmetic, sides: Sides, scale: Any) -> Any:
    """The queries times the scale, as the products for the keys multiply them."""
    if sides.halves is None:
        return sides.query if scale is None else sides.query * scale
    half = sides.halves.rounded.dtype
    return sides.halves.rounded if scale is None else b.rounded_product(sides.query, scale, half)


def as_halves(xp: Any, part: Any, keys: Any, halves: Halved | None) -> tuple[Any, Any]:
    """The slopes and the keys, where these are halves both as such."""
    return (part, keys) if halves is None else (xp.astype(part, halves.rounded.dtype), halves.rounded)
