"""What the engine computes with on NumPy arrays, in place, and on every other library of the Array API standard."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import array_api_compat
import numpy as np

from infonce.arithmetic import Arithmetic, Body
from infonce.blocks import ON_CPU, Blocks, concatenated, rows_in_cache, walk, written
from infonce.halves import Halved
from infonce.rows import LEAST
from infonce.spread import FLOOR, NEAR

from . import _memory

SAFE = 1e-30  # squares of norms between this and its inverse: none that matters left float32's range
PIECE = 1024  # numbers that are summed one after the other
FACTOR, SUMMAND, QUERY, KEY = -1, -2, -3, -4  # parts of a run's memory, beside those of the blocks of logits
least, most = np.minimum.reduce, np.maximum.reduce  # without the methods around them


@functools.lru_cache(maxsize=None, typed=True)  # dtypes of two libraries may hash alike and refuse to be compared
def name_of(dtype: Any) -> str:
    return str(dtype).rpartition(".")[2]


class ArrayAPIArithmetic(Arithmetic):
    """Any Array API namespace: nothing is done in place."""

    def __init__(self, xp: Any) -> None:
        self._xp = xp

    @property
    def xp(self) -> Any:
        return self._xp

    def shape(self, x: Any) -> tuple[int | None, ...]:
        return tuple(x.shape)

    def dtype(self, x: Any) -> str:
        return name_of(x.dtype)

    def size(self, x: Any) -> int:
        return int(x.shape[0])

    def indices(self, like: Any, n: int) -> Any:
        return self.xp.expand_dims(self.xp.arange(n, device=array_api_compat.device(like)), axis=0)

    def loop(self, body: Body, start: Callable[[], tuple[Any, ...]], rows: tuple[Any, ...], block: int) -> Any:
        return walk(body, rows, block, concatenated(self.xp.concat))

    def put(self, x: Any, first_row: int, rows: Any) -> Any:
        return self.xp.concat([x[:first_row, ...], rows, x[first_row + rows.shape[0] :, ...]], axis=0)


class Normed(NamedTuple):
    """What the way back from unit rows needs."""

    length: Any  # (rows, 1): their norms times `over`
    over: Any  # what they were divided by


def own_entries(x: Any, first_row: int) -> Any:
    """A view of the entries (i, first_row + i) of a contiguous `x`."""
    rows, columns = x.shape
    return x.reshape(-1)[first_row : first_row + rows * (columns + 1) : columns + 1]


class NumPyArithmetic(ArrayAPIArithmetic):
    """One run of the engine on NumPy, whose arrays can be overwritten. At its exit its memory serves the next one."""

    def __init__(self, xp: Any) -> None:
        super().__init__(xp)
        self._buffers: _memory.Buffers | None = None

    def __enter__(self) -> NumPyArithmetic:
        return self

    def __exit__(self, *_: object) -> None:
        if self._buffers is not None:
            _memory.give(self._buffers)

    def loop(self, body: Body, start: Callable[[], tuple[Any, ...]], rows: tuple[Any, ...], block: int) -> Any:
        return walk(body, rows, block, written(lambda like, shape: np.empty(shape, like.dtype)))

    def blocks(self) -> Blocks:
        return ON_CPU

    def buffer(self, part: int, like: Any, shape: tuple[int, ...]) -> Any:
        """Memory for a block that the next block of the same part writes over; None: NumPy's own will do."""
        size = math.prod(shape) * like.itemsize
        if size < _memory.LEAST:
            return None
        if self._buffers is None:
            self._buffers = _memory.take()
        return _memory.room(self._buffers, part, size).view(like.dtype).reshape(shape)

    def scores(self, rows: Any, keys: Any, part: int = 0, alone: bool = False) -> Any:
        if keys is rows:  # NumPy would make one triangle, and copy it number by number
            keys = np.positive(rows, out=self.buffer(KEY, rows, rows.shape))
        return np.matmul(rows, keys.T, out=self.buffer(part, rows, (len(rows), len(keys))))

    def spreads(self, temperature: Any) -> bool:
        return not (temperature if isinstance(temperature, float) else temperature.min(initial=1.0)) >= NEAR

    def exp_shifted(self, x: Any, shift: Any, weight: Any = None, keep: bool = False, far: bool = False) -> Any:
        x = np.subtract(x, shift, out=self.buffer(FACTOR, x, x.shape) if keep else x)
        if far:
            floor, above = FLOOR[x.dtype.itemsize]
            np.exp(np.maximum(x, floor, out=x), out=x)
            x *= x > above
        else:
            np.exp(x, out=x)
        if weight is not None:
            x *= weight
        return x

    def exponential(self, x: Any) -> Any:
        return np.exp(x, out=x)

    def times_sum(self, x: Any, rows: Any, columns: Any) -> Any:
        size = rows_in_cache(x.shape[1])
        for first in range(0, len(x), size):
            part = x[first : first + size]
            part *= np.add(rows[first : first + size], columns, out=self.buffer(FACTOR, x, part.shape))
        return x

    def column_sums(self, x: Any) -> Any:
        return self.row_sums(x.T).T

    def row_sums(self, x: Any) -> Any:
        """(rows, 1): by products, which take all cores; in pieces, since those sum one number after the other."""
        ones = np.ones((x.shape[1], 1), x.dtype)
        total = x[:, :PIECE] @ ones[:PIECE]
        for first in range(PIECE, x.shape[1], PIECE):
            total += x[:, first : first + PIECE] @ ones[first : first + PIECE]
        return total

    def write_own(self, x: Any, first_row: int, value: Any) -> Any:
        own_entries(x, first_row)[...] = np.ravel(value)
        return x

    def against_others(
        self,
        rows: Any,
        keys: Any,
        own: Any,
        first_row: int,
        bounded: bool,
        halves: tuple[Halved, Halved] | None = None,
        far: bool = False,
    ) -> tuple[Any, Any, Any]:
        z = self.scores(rows, keys)
        own = own_entries(z, first_row)
        positive = own.copy()[:, None]
        own[...] = -math.inf
        largest = 0 if bounded else np.max(z, axis=1, keepdims=True)
        z = self.exponential(z) if bounded else self.exp_shifted(z, largest, far=far)
        total = self.row_sums(z)
        own[...] = -total[:, 0]
        return z, *self.closed_form(total, largest + np.log(total), positive)

    def softplus(self, x: Any) -> tuple[Any, Any]:
        return np.logaddexp(x, 0), 1 / (1 + np.exp(-x))

    def leave_out(self, x: Any, absent: Any) -> Any:
        np.copyto(x, -math.inf, where=absent)
        return x

    def mask_visit(self, x: Any, rows: Any, views: int) -> Any:
        size, total = len(x), len(rows)
        half, samples = total // 2, total // views
        if views % 2 and total % 2 == 0:
            np.einsum("ii->i", x[:, half:])[...] += math.log(0.5)
        for offset in range(samples, half + 1, samples):
            np.fill_diagonal(x[:, offset : offset + size], -math.inf)
        corner = np.tri(size, dtype=bool)
        np.copyto(x[:, :size], -math.inf, where=corner)
        np.copyto(x[:, half:], -math.inf, where=~corner)
        return x

    def mask_samples(self, x: Any, samples: int, views: int) -> Any:
        for first in range(0, len(x), samples):
            own_entries(x[: len(x) - first], first)[...] = -math.inf
            own_entries(x[first:], 0)[...] = -math.inf
        return x

    def put(self, x: Any, first_row: int, rows: Any) -> Any:
        if not np.may_share_memory(x, rows):
            x[first_row : first_row + rows.shape[0]] = rows
        return x

    def add_product(self, total: Any, a: Any, b: Any) -> Any:
        if total is None:
            return a @ b
        total += np.matmul(a, b, out=self.buffer(SUMMAND, total, total.shape))
        return total

    def positive_scores(self, rows: Any, keys: Any, block: Any, first_row: int) -> Any:
        if block is None:
            return super().positive_scores(rows, keys, block, first_row)
        return block.diagonal(first_row).copy()[:, None]

    def unit_rows(self, x: Any, dtype: Any, over: Any = None, part: int | None = None) -> Any:
        """As the others do; with a `part`, of its memory."""
        x = x.astype(dtype, copy=False)
        squares = np.vecdot(x, x)[..., None]
        # No square that matters left the dtype's range; not so for rows of zeros, or NaN.
        if x.size == 0 or not (least(squares, axis=None) > SAFE and most(squares, axis=None) < 1 / SAFE):
            return super().unit_rows(x, dtype, over)
        over = 1.0 if over is None else over
        lowest, highest = (over, over) if isinstance(over, float) else (over.min(), over.max())
        if not (lowest > LEAST and highest < 1 / LEAST):
            return super().unit_rows(x, dtype, over)
        length = np.sqrt(squares) if isinstance(over, float) and over == 1 else np.sqrt(squares) * over
        room = None if part is None else self.buffer(part, x, x.shape)
        return np.divide(x, length, out=room), Normed(length, over)

    def through_unit_rows(self, gradient: Any, made: Any, back: Any) -> Any:
        if not isinstance(back, Normed):
            return super().through_unit_rows(gradient, made, back)
        length, over = back
        along = np.vecdot(made, gradient)[..., None]
        if not (isinstance(over, float) and over == 1):
            along *= over * over
        gradient -= np.multiply(made, along, out=self.buffer(SUMMAND, made, made.shape))
        gradient /= length
        return gradient
