"""The backend of NumPy and, out of place, of every other library that follows the Array API standard."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from infonce.backend import Body
from infonce.engine import solve
from infonce.problem import Gradients, Inputs, Options


class ArrayAPIBackend:
    """Any Array API namespace: nothing is done in place, and gradients come from `value_and_grad`."""

    def __init__(self, xp: Any, name: str) -> None:
        self.xp = xp
        self.name = name

    def owns(self, x: object) -> bool:
        return hasattr(x, "__array_namespace__")

    def shape(self, x: Any) -> tuple[int | None, ...]:
        return tuple(x.shape)

    def dtype(self, x: Any) -> str:
        return str(x.dtype).rpartition(".")[2]

    def device(self, x: Any) -> str:
        return str(x.device)

    def compiling(self, x: Any) -> bool:
        return False

    def loop(self, body: Body, start: Callable[[], tuple[Any, ...]], rows: tuple[Any, ...], block: int) -> Any:
        n, sums, outputs = rows[0].shape[0], None, []
        for first in range(0, max(n, 1), block):
            cut = rows if block >= n else tuple(x if x is None else x[first : first + block, ...] for x in rows)
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

    def count(self, x: Any) -> int:
        return int(x.shape[0])

    def solve(self, options: Options, inputs: Inputs, wanted: tuple[str, ...]) -> tuple[Any, Gradients]:
        loss, gradients = solve(self, options, inputs, wanted)
        named = inputs._asdict()
        return loss, {name: self.xp.astype(g, named[name].dtype) for name, g in gradients.items()}

    def loss(self, options: Options, inputs: Inputs) -> Any:
        return self.solve(options, inputs, ())[0]


class NumPyBackend(ArrayAPIBackend):
    """NumPy, whose arrays can be overwritten."""

    def __init__(self) -> None:
        super().__init__(np, "numpy")

    def owns(self, x: object) -> bool:
        return isinstance(x, np.ndarray) and not isinstance(x, np.ma.MaskedArray | np.matrix)

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

    def solve(self, options: Options, inputs: Inputs, wanted: tuple[str, ...]) -> tuple[Any, Gradients]:
        with np.errstate(all="ignore"):  # an exponential that underflows, or a NaN of the caller's, is no event here
            return super().solve(options, inputs, wanted)


BACKEND = NumPyBackend()


@functools.cache
def array_api_backend(xp: Any) -> ArrayAPIBackend:
    """The backend of another Array API namespace."""
    name = xp.__name__.removeprefix("array_api_compat.").partition(".")[0]
    return ArrayAPIBackend(xp, name)
