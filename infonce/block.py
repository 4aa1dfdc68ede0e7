"""One block of rows: its logits, their softmax, its loss and its share of the gradients.

Per row i, over the candidates j that are not its own positive,

    lse_i = log sum_j exp(z_ij),    L_i = softplus(lse_i - z_i+),    P_i = sigmoid(lse_i - z_i+) = sum_j p_ij,

    dL_i/dz_ij = p_ij = P_i exp(z_ij - lse_i),                       dL_i/dz_i+ = -P_i.

The own positive is scored row by row, and its entry in the block is -inf: nothing cancels, however small the loss.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

from .backend import Arithmetic

LOWEST = -8.5e37  # a quarter of float32's range: below every logit that can be told apart, and safe to subtract


class Sides(NamedTuple):
    """The two sides of the logit matrix, in the compute dtype; a part of the candidates may be absent (None)."""

    query: Any  # (N, D): unit rows over the temperature
    positive: Any  # (N, D): unit rows
    batch: Any  # (N, D): `positive` again where the batch's own keys are candidates
    shared: Any  # (M, D): unit rows of the negatives that all rows share
    own: Any  # (N, K, D): each row's own negatives, raw: normalised block by block
    normalize: bool
    may_lack: bool  # whether a row may have no candidate beside its own positive

    @property
    def rows(self) -> tuple[Any, Any, Any]:
        """What a loop cuts into blocks of rows."""
        return self.query, self.positive, self.own


class Block(NamedTuple):
    """The rows at hand, and their logits against the batch, the shared and their own candidates, where present."""

    query: Any  # (B, D)
    positive: Any  # (B, D)
    own: Any  # (B, K, D), unit rows
    own_norm: Any
    logits: list[Any]


def logits(b: Arithmetic, sides: Sides, rows: Sequence[Any], first_row: Any) -> Block:
    """Score a block of rows against all their candidates; own positives get -inf."""
    xp, (query, positive, own), norm, z = b.xp, rows, None, []
    if sides.batch is not None:
        z.append(b.mask_own(b.scores(query, sides.batch), first_row))
    if sides.shared is not None:
        z.append(b.scores(query, sides.shared, part=1))
    if own is not None:
        own = xp.astype(own, query.dtype)
        own, norm = b.unit_rows(own) if sides.normalize else (own, None)
        z.append(xp.squeeze(xp.matmul(own, xp.expand_dims(query, axis=-1)), axis=-1))
    return Block(query, positive, own, norm, z)


def positive_logits(xp: Any, block: Block) -> Any:
    return xp.sum(block.query * block.positive, axis=-1, keepdims=True)


def exponentials(b: Arithmetic, sides: Sides, z: list[Any], like: Any) -> tuple[list[Any], Any, Any]:
    """exp(z - m) of each part, m the row maximum; the row sums, 1 where there is no candidate; the log-sum-exp."""
    xp = b.xp
    maxima = [xp.max(part, axis=-1, keepdims=True) for part in z]
    if sides.may_lack:
        maxima.append(xp.full_like(like, LOWEST))  # finite where there is no candidate
    largest = functools.reduce(xp.maximum, maxima)
    parts = [b.exp_shifted(part, largest) for part in z]
    sums = [xp.sum(part, axis=-1, keepdims=True) for part in parts]
    total = functools.reduce(operator.add, sums) if sums else xp.zeros_like(like)
    if sides.may_lack:
        total = nonzero(xp, total)
    return parts, total, largest + xp.log(total)


def nonzero(xp: Any, total: Any) -> Any:
    """`total`, with 1 in place of 0: not a maximum, whose derivative is shared out at a tie."""
    return xp.where(total == 0, xp.ones_like(total), total)


def pull(
    b: Arithmetic, sides: Sides, block: Block, p: list[Any], scale: Any, weight: Any, sums: Any, wanted: frozenset[str]
) -> tuple[tuple[Any, Any, Any], tuple[Any, Any]]:
    """Carry dL/dz back to both sides: `p * scale` for the candidates, `-weight` for the positive.

    The scale, one number a row (None: 1), goes into the thin factors of the products and never touches the block.
    Returns the rows' gradients (query, positive, own negatives) and the new sums (batch, shared), None for what is not
    wanted.
    """
    xp, parts = b.xp, iter(p)
    d_batch, d_shared = sums or (None, None)
    d_query = d_positive = d_own = None
    need_query, need_positive, need_negatives = "query" in wanted, "positive_key" in wanted, "negative_keys" in wanted
    scaled = block.query if scale is None else block.query * scale
    if sides.batch is not None:
        part = next(parts)
        if need_query:
            d_query = b.add_product(d_query, part, sides.batch)
        if need_positive:
            d_batch = b.add_product(d_batch, xp.matrix_transpose(part), scaled)
    if sides.shared is not None:
        part = next(parts)
        if need_query:
            d_query = b.add_product(d_query, part, sides.shared)
        if need_negatives:
            d_shared = b.add_product(d_shared, xp.matrix_transpose(part), scaled)
    if block.own is not None:
        part = next(parts)
        if need_query:
            product = xp.squeeze(xp.matmul(xp.expand_dims(part, axis=-2), block.own), axis=-2)
            d_query = product if d_query is None else d_query + product
        if need_negatives:
            d_own = xp.expand_dims(part, axis=-1) * xp.expand_dims(scaled, axis=-2)
            if sides.normalize:
                d_own = b.through_unit_rows(d_own, block.own, block.own_norm)
    minus = -weight
    if need_query:
        if d_query is None:
            d_query = minus * block.positive
        else:
            d_query = b.add_scaled(d_query if scale is None else d_query * scale, block.positive, minus)
    if need_positive:
        d_positive = minus * block.query
    return (d_query, d_positive, d_own), (d_batch, d_shared)
