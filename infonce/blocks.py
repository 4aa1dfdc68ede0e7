"""How a backend wants a batch cut into blocks of rows (see `frame.rows_per_block`), and the walk over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

Join = Callable[[Iterator[tuple[Any, ...]], int, int], tuple[Any, ...]]  # of the outputs of n rows in blocks


class Held(NamedTuple):
    """Among a loop's outputs and the rows of a later one of the same blocks: what stays in its blocks, unjoined."""

    blocks: Any  # in the loop's body an array


class Blocks(NamedTuple):
    """How a batch is cut into blocks of rows."""

    whole: int  # so many logits are one block
    kept: int  # so many, too, where the slopes would have to make them again
    pairs: int  # as `kept`, for rows against themselves: several blocks score each pair once, a single one twice
    entries: int  # logits held at a time of a larger batch; up to twice as many where those are not `FEWEST` rows
    rows: int  # at most; twice as many where fused passes hold halves, not logits


FEWEST = 128  # rows: a product of fewer costs more
FUNCTIONAL = Blocks(1 << 20, 1 << 20, 1 << 20, 1 << 22, 512)  # where nothing is done in place, several copies are held
ON_CPU = Blocks(1 << 20, 1 << 24, 1 << 24, 1 << 22, 512)  # most logits stay in the caches
# 2 GiB in float32: few calls, whose sums over blocks cost little.
ON_GPU = Blocks(1 << 26, 1 << 26, 1 << 26, 1 << 29, 8192)


def rows_in_cache(width: int) -> int:
    """How many rows of `width` numbers stay in a core's cache."""
    return max(1, (1 << 18) // max(width, 1))


def of_each(function: Callable[..., Any], *xs: Sequence[Any]) -> tuple[Any, ...]:
    """The function of each entry of these that is not None."""
    return tuple(None if x[0] is None else function(*x) for x in zip(*xs, strict=True))


def alone(x: Any) -> Any:
    """Rows of a loop for its only block."""
    return x.blocks if isinstance(x, Held) else x


def walk(body: Callable[..., Any], rows: tuple[Any, ...], block: int, join: Join) -> Any:
    """`Arithmetic.loop`, a block after the other."""
    n, sums = rows[0].shape[0], None
    if n <= block:
        return body(0, of_each(alone, rows), None)

    def cut(x: Any, first: int) -> Any:
        return x.blocks[first // block] if isinstance(x, Held) else x[first : min(first + block, n), ...]

    def outputs() -> Iterator[tuple[Any, ...]]:
        nonlocal sums
        for first in range(0, n, block):
            found, sums = body(first, tuple(None if x is None else cut(x, first) for x in rows), sums)
            yield found

    return join(outputs(), n, block), sums


def with_rest(
    body: Callable[..., Any], rows: tuple[Any, ...], whole: Any, rest: bool, found: Any, concat: Callable[..., Any]
) -> Any:
    """`Arithmetic.loop` of which the outputs and sums of the first `whole` rows, blocks of one size, are `found`.

    Where there is a `rest`, that is the last block. What is `Held` is both: `(the first ones, the last)`.
    """
    outputs, sums = found
    if not rest:
        return of_each(lambda x: Held((x.blocks, None)) if isinstance(x, Held) else x, outputs), sums

    def joined(x: Any, last: Any) -> Any:
        return Held((x.blocks, last.blocks)) if isinstance(x, Held) else concat([x, last])

    last, sums = body(whole, of_each(lambda x: x.blocks[1] if isinstance(x, Held) else x[whole:], rows), sums)
    return of_each(joined, outputs, last), sums


def concatenated(concat: Callable[[list[Any]], Any]) -> Join:
    """The outputs joined at the end."""

    def joined(*blocks: Any) -> Any:
        return Held([x.blocks for x in blocks]) if isinstance(blocks[0], Held) else concat(list(blocks))

    def join(blocks: Iterator[tuple[Any, ...]], n: int, block: int) -> tuple[Any, ...]:
        return of_each(joined, *blocks)

    return join


def written(empty: Callable[[Any, tuple[int, ...]], Any]) -> Join:
    """Each block's outputs written among those of all rows at once: joined at the end they would be held twice.

    `empty(x, shape)` is a mutable array like `x`.
    """

    def join(blocks: Iterator[tuple[Any, ...]], n: int, block: int) -> tuple[Any, ...]:
        def room(x: Any) -> Any:
            return Held([]) if isinstance(x, Held) else empty(x, (n * len(x) // block, *x.shape[1:]))

        outputs: tuple[Any, ...] = ()
        for first, found in zip(range(0, n, block), blocks, strict=True):
            size = min(block, n - first)  # of which an output may have a multiple: several views
            outputs = outputs or of_each(room, found)
            for whole, x in zip(outputs, found, strict=True):
                if isinstance(x, Held):
                    whole.blocks.append(x.blocks)
                elif x is not None:
                    start = first * len(x) // size
                    whole[start : start + len(x)] = x
        return outputs

    return join
