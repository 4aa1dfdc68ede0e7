"""The loops over blocks of rows.

All columns of a block of rows are at hand, so one visit completes its softmax, its loss and its gradient
(`one_direction`). Only a column's softmax needs a pass of its own before (`statistics`, then `two_directions`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .backend import Arithmetic
from .block import LOWEST, Sides, exponentials, logits, nonzero, positive_logits, pull


class Statistics(NamedTuple):
    """What the losses are closed forms of."""

    positive: Any  # (N, 1): the positive's logit
    rows: Any  # (N, 1): log-sum-exp over the row's negatives
    columns: Any  # (1, N): log-sum-exp over the key's negatives, None in one direction


class Gradient(NamedTuple):
    """What a gradient pass gives; None for what is not wanted."""

    loss: Any  # (N, 1)
    query: Any  # (N, D): with respect to Sides.query
    positive: Any  # (N, D)
    own: Any  # (N, K, D): with respect to the raw rows
    batch: Any  # (N, D)
    shared: Any  # (M, D)
    # sum of z_ij dL/dz_ij over the key-to-query direction, where each row has its own temperature
    row_logits: Any = None  # (N, 1)
    key_logits: Any = None  # (1, N)


def statistics(b: Arithmetic, sides: Sides, block_size: int, symmetric: bool, temperature: Any) -> Statistics:
    """One product: the log-sum-exp of every row and, if `symmetric`, of every column by a running maximum."""
    xp = b.xp

    def body(first_row: Any, rows: tuple[Any, ...], sums: Any) -> Any:
        *cut, t = rows
        block = logits(b, sides, cut, first_row)
        positive = positive_logits(xp, block)
        if symmetric:
            z = key_logits(xp, block.logits[0], t, temperature)
            largest, total = sums or (None, None)
            above = xp.max(z, axis=0, keepdims=True)
            above = xp.maximum(above, xp.full_like(above, LOWEST) if largest is None else largest)
            new = xp.sum(b.exp_shifted(z, above, keep=True), axis=0, keepdims=True)
            sums = (above, new if total is None else total * xp.exp(largest - above) + new)
        return (positive, exponentials(b, sides, block.logits, positive)[2]), sums if symmetric else ()

    def start() -> tuple[Any, ...]:
        like = xp.matrix_transpose(sides.positive[:, :1])
        return (xp.full_like(like, LOWEST), xp.zeros_like(like)) if symmetric else ()

    (positive, lse), sums = b.loop(body, start, (*sides.rows, temperature), block_size)
    return Statistics(positive, lse, sums[0] + xp.log(nonzero(xp, sums[1])) if symmetric else None)


def one_direction(b: Arithmetic, sides: Sides, block_size: int, weight: Any, wanted: frozenset[str]) -> Gradient:
    """Three products: the loss of every row and the gradient of sum(weight * loss); `weight` is (N, 1)."""

    def body(first_row: Any, rows: tuple[Any, ...], sums: Any) -> Any:
        *cut, w = rows
        block = logits(b, sides, cut, first_row)
        positive = positive_logits(b.xp, block)
        p, total, lse = exponentials(b, sides, block.logits, positive)
        loss, p_negative = b.softplus(lse - positive)
        w = w * p_negative
        gradients, sums = pull(b, sides, block, p, w / total, w, sums, wanted)
        return (loss, *gradients), sums

    rows, sums = b.loop(body, zero_sums(b, sides, wanted), (*sides.rows, weight), block_size)
    return Gradient(*rows, *sums)


def two_directions(
    b: Arithmetic, sides: Sides, block_size: int, weight: Any, wanted: frozenset[str], temperature: Any
) -> Gradient:
    """Four products: as `one_direction`, for the mean of the query-to-key and the key-to-query loss."""
    xp = b.xp
    found = statistics(b, sides, block_size, True, temperature)
    to_key, p_row = b.softplus(found.rows - found.positive)
    to_query, p_key = b.softplus(xp.matrix_transpose(found.columns) - found.positive)
    w_row, w_key = 0.5 * weight * p_row, 0.5 * weight * p_key
    w_column = xp.matrix_transpose(w_key)

    def body(first_row: Any, rows: tuple[Any, ...], sums: Any) -> Any:
        *cut, t, lse, w, w_positive = rows
        block = logits(b, sides, cut, first_row)
        z = key_logits(xp, block.logits[0], t, temperature)
        of_keys = b.exp_shifted(z, found.columns, w_column, keep=True)
        moved: tuple[Any, ...] = ()
        moved_sum: tuple[Any, ...] = ()
        if temperature is not None:
            # The key's temperature scales these entries; z is -inf at the own positive, where of_keys is 0.
            zg = of_keys * xp.where(of_keys == 0, xp.zeros_like(z), z)
            moved = (xp.sum(zg, axis=-1, keepdims=True),)
            column = xp.sum(zg, axis=0, keepdims=True)
            moved_sum = (column if sums is None else sums[2] + column,)
            of_keys = of_keys * (t / xp.matrix_transpose(temperature))
        parts = [b.exp_shifted(part, lse, w) for part in block.logits]
        parts[0] += of_keys
        gradients, sums = pull(b, sides, block, parts, None, w_positive, sums and sums[:2], wanted)
        return (*gradients, *moved), (*sums, *moved_sum)

    def start() -> tuple[Any, ...]:
        return (*zero_sums(b, sides, wanted)(), *(() if temperature is None else (xp.zeros_like(w_column),)))

    rows, sums = b.loop(body, start, (*sides.rows, temperature, found.rows, w_row, w_row + w_key), block_size)
    return Gradient(0.5 * (to_key + to_query), *rows[:3], *sums[:2], *rows[3:], *sums[2:])


def key_logits(xp: Any, z: Any, rows: Any, temperature: Any) -> Any:
    """The block's logits in the key-to-query direction, where key j brings row j's own temperature."""
    return z if temperature is None else z * (rows / xp.matrix_transpose(temperature))


def zero_sums(b: Arithmetic, sides: Sides, wanted: frozenset[str]) -> Callable[[], tuple[Any, ...]]:
    """The sums that a gradient pass starts from."""

    def start() -> tuple[Any, ...]:
        batch = b.xp.zeros_like(sides.batch) if sides.batch is not None and "positive_key" in wanted else None
        shared = b.xp.zeros_like(sides.shared) if sides.shared is not None and "negative_keys" in wanted else None
        return batch, shared

    return start
