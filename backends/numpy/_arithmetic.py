"""What the engine computes with on NumPy arrays, in place, and on every other library of the Array API standard."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import array_api_compat
import numpy as np

from infonce.backend import Arithmetic, Body


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
        return str(x.dtype).rpartition(".")[2]

    def size(self, x: Any) -> int:
        return int(x.shape[0])

    def ahead(self, like: Any, rows: int, columns: int) -> Any:
        xp = self.xp
        device = array_api_compat.device(like)
        i, j = xp.arange(rows, device=device), xp.arange(columns, device=device)
        return xp.expand_dims(j, axis=0) - xp.expand_dims(i, axis=1)

    def loop(self, body: Body, start: Callable[[], tuple[Any, ...]], rows: tuple[Any, ...], block: int) -> Any:
        n, sums, outputs = rows[0].shape[0], None, []
        for first in range(0, max(n, 1), block):
            cut = rows if block >= n else tuple(x if x is None else x[first : min(first + block, n), ...] for x in rows)
            out, sums = body(first, cut, sums)
            outputs.append(out)
        if len(outputs) == 1:
            return outputs[0], sums
        return tuple(x[0] if x[0] is None else self.xp.concat(x, axis=0) for x in zip(*outputs, strict=True)), sums

    def put(self, x: Any, first_row: int, rows: Any) -> Any:
        return self.xp.concat([x[:first_row, ...], rows, x[first_row + rows.shape[0] :, ...]], axis=0)


class NumPyArithmetic(ArrayAPIArithmetic):
    """NumPy, whose arrays can be overwritten."""

    def exp_shifted(self, x: Any, shift: Any, weight: Any = None, keep: bool = False) -> Any:
        x = np.subtract(x, shift, out=None if keep else x)
        np.exp(x, out=x)
        if weight is not None:
            x *= weight
        return x

    def exponential(self, x: Any) -> Any:
        return np.exp(x, out=x)

    def times_sum(self, x: Any, rows: Any, columns: Any) -> Any:
        x *= rows + columns
        return x

    def write_own(self, x: Any, first_row: int, value: Any) -> Any:
        np.einsum("ii->i", x[:, first_row : first_row + len(x)])[...] = np.ravel(value)
        return x

    def leave_out(self, x: Any, absent: Any) -> Any:
        np.copyto(x, -math.inf, where=absent)
        return x

    def mask_visit(self, x: Any, total: int, views: int) -> Any:
        size, half, samples = x.shape[0], total // 2, total // views
        if views % 2 and total % 2 == 0:
            np.einsum("ii->i", x[:, half:])[...] += math.log(0.5)
        for offset in range(samples, half + 1, samples):
            np.fill_diagonal(x[:, offset : offset + size], -math.inf)
        x[:, :size][np.tri(size, dtype=bool)] = -math.inf
        x[:, half:][~np.tri(size, dtype=bool)] = -math.inf
        return x

    def put(self, x: Any, first_row: int, rows: Any) -> Any:
        if not np.may_share_memory(x, rows):
            x[first_row : first_row + rows.shape[0]] = rows
        return x

    def add_product(self, total: Any, a: Any, b: Any) -> Any:
        if total is None:
            return a @ b
        total += a @ b
        return total

    def positive_scores(self, rows: Any, keys: Any, block: Any, first_row: int) -> Any:
        if block is None:
            return super().positive_scores(rows, keys, block, first_row)
        return block.diagonal(first_row).copy()[:, None]
