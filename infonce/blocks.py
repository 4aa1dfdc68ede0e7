"""How a backend wants a batch cut into blocks of rows: see `frame.rows_per_block`."""

from __future__ import annotations

from typing import NamedTuple


class Blocks(NamedTuple):
    """How a batch is cut into blocks of rows."""

    whole: int  # so many logits are one block
    kept: int  # so many, too, where the slopes would have to make them again
    entries: int  # logits held at a time of a larger batch, unless those are fewer than `FEWEST` rows
    rows: int  # at most; twice as many where fused passes hold no logits, but half as many bytes


FEWEST = 128  # rows: a product of fewer costs more, and the block holds no more numbers than keys of 128 features do
FUNCTIONAL = Blocks(1 << 20, 1 << 20, 1 << 22, 512)  # where nothing is done in place, several copies are held
ON_CPU = Blocks(1 << 20, 1 << 24, 1 << 22, 512)  # the logits stay in the caches
ON_GPU = Blocks(1 << 26, 1 << 26, 1 << 29, 8192)  # 2 GiB in float32: few calls, whose sums over blocks cost little


def rows_in_cache(width: int) -> int:
    """How many rows of `width` numbers stay in a core's cache."""
    return max(1, (1 << 18) // max(width, 1))
