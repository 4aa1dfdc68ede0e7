"""What people watch beside the loss, from the pass that computes it: `return_metrics`."""

from __future__ import annotations

from typing import Any, NamedTuple

from .arithmetic import Arithmetic
from .block import Block, Sides, finite, remaining, row_maximum, summed
from .forms import nonzero
from .problem import Options

NAMES = ("accuracy", "positive_similarity", "negative_similarity", "log_sum_exp")


class Measured(NamedTuple):
    """What a pass gives of each row, (B, 1)."""

    positive: Any  # its logit
    largest: Any  # the largest logit of a negative
    lse: Any  # the log-sum-exp of the negatives' logits
    count: Any = None  # how many remain; None: all
    similarity: Any = None  # the sum of their similarities
    rank: Any = None  # of the positive, where that is asked for: 1 plus the negatives that are as large or larger
    effective: Any = None  # 1 / sum_j p_j^2 over the negatives, where that is asked for


def ahead_of(b: Arithmetic, options: Options, block: Block) -> Measured:
    """What is read off the logits before they are exponentiated."""
    sides, xp, like = block.sides, b.xp, block.positive
    largest = row_maximum(xp, block.logits, True, like)
    count = similarity = None
    if sides.ids is not None or sides.mask is not None or sides.own is not None:  # else the sums need no visit
        counted = remaining(xp, block.logits)
        scores = finite(xp, block.scores)
        similarity = summed(xp, [part * c for part, c in zip(scores, counted, strict=True)], like) * sides.temperature
        count = summed(xp, counted, like)
    return Measured(like, largest, None, count, similarity, rank(xp, block, largest) if options.rank else None)


def measured_of(
    b: Arithmetic, options: Options, block: Block, before: Measured, e: list[list[Any]], lse: Any
) -> Measured:
    xp, like = b.xp, block.positive
    return before._replace(lse=lse, effective=effective(xp, e[0], like) if options.rank else None)


def rank(xp: Any, block: Block, largest: Any) -> Any:
    above = [xp.where(part >= block.positive, xp.ones_like(part), xp.zeros_like(part)) for part in block.logits]
    # No comparison with NaN holds: a row that has one would rank first.
    return 1 + summed(xp, above, block.positive) + 0 * (block.positive + largest)


def effective(xp: Any, e: list[Any], like: Any) -> Any:
    """How many equal negatives would be as many as these: (sum e)^2 / sum e^2, 0 without any."""
    total = nonzero(xp, summed(xp, e, like))
    squares = summed(xp, [(x / total) * (x / total) for x in e], like)
    return xp.where(squares == 0, squares, 1 / nonzero(xp, squares))


def means(b: Arithmetic, sides: Sides, measured: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values of `NAMES`, 0-d, then the ranks (N,) and the effective number; nothing where nothing was measured."""
    if not measured:
        return ()
    xp, m = b.xp, Measured(*measured)
    one, t = xp.ones_like(m.positive), sides.temperature
    own = xp.sum(sides.query * sides.positive, axis=-1, keepdims=True) * t
    if m.count is None:
        # The sum over all pairs is the product of two sums of rows.
        count, similarity = 0 * xp.sum(one), 0 * xp.sum(one)
        queries = xp.sum(sides.query * t, axis=0, keepdims=True)
        for keys in (sides.batch, sides.shared):
            if keys is not None:
                similarity = similarity + xp.sum(queries * xp.sum(keys, axis=0, keepdims=True))
                count = count + xp.sum(one) * xp.sum(xp.ones_like(keys[:, :1]))
        if sides.batch is not None:
            similarity, count = similarity - xp.sum(own), count - xp.sum(one)
    else:
        count, similarity = xp.sum(m.count), xp.sum(m.similarity)
    by_row = () if m.rank is None else (xp.squeeze(m.rank, axis=1), xp.mean(m.effective))
    return (
        xp.mean(xp.where(m.positive > m.largest, one, 0 * one)),
        xp.mean(own),
        similarity / nonzero(xp, count),
        xp.mean(m.positive + b.softplus(m.lse - m.positive)[0]),
        *by_row,
    )
