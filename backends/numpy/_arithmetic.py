"""What the engine computes with on NumPy arrays, in place, and on every other library of the Array API standard."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

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

    def count(self, x: Any) -> int:
        return int(x.shape[0])

    def loop(self, body: Body, start: Callable[[], tuple[Any, ...]], rows: tuple[Any, ...], block: int) -> Any:
        n, sums, outputs = rows[0].shape[0], None, []
        for first in range(0, max(n, 1), block):
            cut = rows if block >= n else tuple(x if x is None else x[first : min(first + block, n), ...] for x in rows)
            out, sums = body(first, cut, sums)
            outputs.append(out)
        if len(outputs) == 1:
            return outputs[0], sums
        return tuple(x[0] if x[0] is None else self.xp.concat(x, axis=0) for x in zip(*outputs, strict=True)), sums

    def exp_shifted(self, x: Any, shift: Any) -> Any:
        return self.xp.exp(x - shift)

    def mask_own(self, x: Any, first_row: Any) -> Any:
        own = self.xp.eye(x.shape[0], x.shape[1], k=first_row, dtype=self.xp.bool, device=x.device)
        return self.xp.where(own, self.xp.full_like(x, -math.inf), x)

    def add_product(self, total: Any, a: Any, b: Any) -> Any:
        return self.xp.matmul(a, b) if total is None else total + self.xp.matmul(a, b)


class NumPyArithmetic(ArrayAPIArithmetic):
    """NumPy, whose arrays can be overwritten."""

    def exp_shifted(self, x: Any, shift: Any) -> Any:
        x -= shift
        return np.exp(x, out=x)

    def mask_own(self, x: Any, first_row: Any) -> Any:
        np.fill_diagonal(x[:, first_row:], -math.inf)
        return x

    def add_product(self, total: Any, a: Any, b: Any) -> Any:
        if total is None:
            return a @ b
        total += a @ b
        return total
