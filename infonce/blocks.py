"""How a backend wants a batch cut into blocks of rows: see `frame.rows_per_block`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Blocks(NamedTuple):
    """How a batch is cut into blocks of rows."""

    whole: int  # so many logits are one block
    kept: int  # so many, too, where the slopes would have to make them again
    entries: int  # logits held at a time of a larger batch; up to twice as many where those are not `FEWEST` rows
    rows: int  # at most; twice as many where fused passes hold no logits, but half as many bytes


FEWEST = 128  # rows: a product of fewer costs more
FUNCTIONAL = Blocks(1 << 20, 1 << 20, 1 << 22, 512)  # where nothing is done in place, several copies are held
ON_CPU = Blocks(1 << 20, 1 << 24, 1 << 22, 512)  # most logits stay in the caches
ON_GPU = Blocks(1 << 26, 1 << 26, 1 << 29, 8192)  # 2 GiB in float32: few calls, whose sums over blocks cost little


def rows_in_cache(width: int) -> int:
    """How many rows of `width` numbers stay in a core's cache."""
    return max(1, (1 << 18) // max(width, 1))


def loop_in_place(body: Callable[..., Any], rows: tuple[Any, ...], block: int, empty: Callable[..., Any]) -> Any:
    """`Arithmetic.loop` of mutable arrays: `empty(x, shape)` is one like `x`.

    Each block's outputs are written among those of all rows at once: joined at the end they would be held twice.
    """
    n, sums = len(rows[0]), None
    outputs: tuple[Any, ...] = ()
    if n <= block:
        return body(0, rows, None)
    for first in range(0, n, block):
        cut: tuple[Any, ...] = tuple(None if x is None else x[first : first + block] for x in rows)
        found, sums = body(first, cut, sums)
        size = len(cut[0])  # of which an output may have a multiple: several views
        if not outputs:
            outputs = tuple(None if x is None else empty(x, (n * len(x) // size, *x.shape[1:])) for x in found)
        for whole, x in zip(outputs, found, strict=True):
            if x is not None:
                start = first * len(x) // size
                whole[start : start + len(x)] = x
    return outputs, sums
