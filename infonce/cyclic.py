"""The cyclic visits of NT-Xent's rows: each pair of rows is scored once.

Row r of R = V N is scored against the rows r + 1 ... r + R/2, cyclically: z is symmetric, so what a row finds there its
partners find too, as a column.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .arithmetic import Arithmetic
from .blocks import Held
from .forms import LOWEST, exp_minus, log_of, nonzero
from .halves import Halved

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


def doubled(b: Arithmetic, x: Any, half: Any) -> Any:
    return b.xp.concat([x, x[:half, ...]], axis=0)


def taken(b: Arithmetic, halves: Halved, first_row: Any, size: Any) -> Halved:
    return Halved(*(b.take(x, first_row, size) for x in halves))


def scored(b: Arithmetic, z: Rows, first_row: Any, size: Any, part: int = 0) -> Any:
    """A block's logits against the rows ahead, (B, B + R/2), -inf where a pair is not of this visit."""
    width = size + z.half
    if z.halves_cyclic is None:
        rows, partners = b.take(z.cyclic, first_row, size), b.take(z.cyclic, first_row, width)
        s = b.scores(rows, partners, part, alone=z.bounded)
    else:
        left, right = (taken(b, z.halves_cyclic, first_row, n) for n in (size, width))
        s = b.half_scores(left, right, part)
    return b.mask_visit(s, z.rows, z.views)


def negatives(b: Arithmetic, z: Rows, block_size: int, keep: bool) -> tuple[Any, Held | None]:
    """Half a product: the log-sum-exp over every row's negatives, (R, 1), LOWEST where there is none.

    And, to `keep` them for `gradient`, the exponentials of bounded logits.
    """
    xp = b.xp

    def start() -> tuple[Any, ...]:
        like = z.cyclic[:, :1]
        return (xp.zeros_like(like),) if z.bounded else (xp.full_like(like, LOWEST), xp.zeros_like(like))

    def body(first_row: Any, rows: tuple[Any, ...], sums: Any) -> Any:
        size = b.size(rows[0])
        width = size + z.half
        s = scored(b, z, first_row, size, part=first_row if keep else 0)
        if z.bounded:
            (total,) = sums or start()
            e = b.exponential(s)
            column = xp.matrix_transpose(b.column_sums(e))
            column = b.take(total, first_row, width) + column
            along = xp.sum(e, axis=-1, keepdims=True)
            return (along, Held(e) if keep else None), (b.put(total, first_row, column),)
        largest, total = sums or start()
        before = b.take(largest, first_row, width)
        above = xp.maximum(before, xp.matrix_transpose(b.column_maxima(s)))
        column = b.column_sums(b.exp_shifted(s, xp.matrix_transpose(above), keep=True, far=z.far))
        column = b.take(total, first_row, width) * xp.exp(before - above) + xp.matrix_transpose(column)
        sums = b.put(largest, first_row, above), b.put(total, first_row, column)
        along = xp.max(s, axis=-1, keepdims=True)
        along = xp.maximum(along, xp.full_like(along, LOWEST))
        return (along, xp.sum(b.exp_shifted(s, along, far=z.far), axis=-1, keepdims=True)), sums

    each = (z.rows[:, :1],)  # a block's rows are taken from `cyclic`: cut by the loop they would be held once more
    if z.bounded:
        (along, e), (total,) = b.loop(body, start, each, block_size)
        return log_of(xp, along + met_twice(b, z, total)), e
    (along, found), (largest, total) = b.loop(body, start, each, block_size)
    again = xp.full_like(along, LOWEST)  # the first half was met again at the end
    again = xp.concat([largest[b.size(z.rows) :, ...], again[z.half :, ...]], axis=0)
    found_again = xp.concat([total[b.size(z.rows) :, ...], xp.zeros_like(again[z.half :, ...])], axis=0)
    largest, total = largest[: b.size(z.rows), ...], total[: b.size(z.rows), ...]
    m = xp.maximum(xp.maximum(along, largest), again)
    total = found * xp.exp(along - m) + total * xp.exp(largest - m) + found_again * xp.exp(again - m)
    return m + xp.log(nonzero(xp, total)), None


def met_twice(b: Arithmetic, z: Rows, sums: Any) -> Any:
    """The sums of the rows of `cyclic`, whose end is the first half again, as sums of the rows; they are lost."""
    total = b.size(z.rows)
    once, first_half = sums[:total, ...], sums[: z.half, ...]
    first_half += sums[total:, ...]
    return b.put(once, 0, first_half)


def gradient(b: Arithmetic, z: Rows, block_size: int, kept: Held | None, lse: Any, weight: Any) -> Any:
    """One and a half products, one where blocks were kept: sum_i weight_i dlse_i / dA, (R, D)."""
    xp = b.xp
    multiplied = z.cyclic if z.halves_cyclic is None else z.halves_cyclic.rounded
    if z.bounded:
        weight = weight * exp_minus(xp, lse)
    weight_cyclic, lse_cyclic = doubled(b, weight, z.half), None if z.bounded else doubled(b, lse, z.half)

    def start() -> tuple[Any]:
        return (b.zeros_after(weight, z.cyclic),)

    def body(first_row: Any, rows: tuple[Any, ...], sums: Any) -> Any:
        lse_row, w_row, e = rows
        size = b.size(lse_row)
        width = size + z.half
        s = scored(b, z, first_row, size) if e is None else None
        w_column = xp.matrix_transpose(b.take(weight_cyclic, first_row, width))
        if z.bounded:
            g = b.times_sum(b.exponential(s) if e is None else e, w_row, w_column)
        else:
            lse_column = xp.matrix_transpose(b.take(lse_cyclic, first_row, width))
            g = b.exp_shifted(s, lse_column, w_column, keep=True, far=z.far)
            g += b.exp_shifted(s, lse_row, w_row, far=z.far)
        g = xp.astype(g, multiplied.dtype, copy=False)
        (total,) = sums or start()
        own, partners = (b.take(multiplied, first_row, n) for n in (size, width))
        return (), (b.add_both(total, g, own, partners, first_row),)

    _, (total,) = b.loop(body, start, (lse, weight, kept), block_size)
    return met_twice(b, z, total)
