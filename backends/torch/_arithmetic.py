"""What the engine computes with on torch tensors: in place on the plain eager path, functional elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from infonce.backend import Arithmetic, Body

from . import _namespace


SAFE = 1e-15  # norms between this and its inverse: no square that matters left float32's range


class TorchArithmetic(Arithmetic):
    """One run of the engine. `in_place` is False under transforms: a tensor may hide a batch that the other lacks."""

    xp = _namespace

    def __init__(self, in_place: bool) -> None:
        self.in_place = in_place
        self._buffers: dict[int, Tensor] = {}

    def shape(self, x: Tensor) -> tuple[int | None, ...]:
        return tuple(x.shape)

    def dtype(self, x: Tensor) -> str:
        return str(x.dtype).removeprefix("torch.")

    def count(self, x: Tensor) -> int:
        return x.shape[0]

    def loop(
        self, body: Body, start: Callable[[], tuple[Any, ...]], rows: tuple[Tensor | None, ...], block: int
    ) -> Any:
        assert rows[0] is not None
        n, sums, outputs = rows[0].shape[0], None, []
        if n <= block:
            return body(0, rows, None)
        for first in range(0, n, block):
            out, sums = body(first, tuple(None if x is None else x[first : first + block] for x in rows), sums)
            outputs.append(out)
        return tuple(None if x[0] is None else torch.cat(x) for x in zip(*outputs, strict=True)), sums

    def exp_shifted(self, x: Tensor, shift: Tensor) -> Tensor:
        return x.sub_(shift).exp_() if self.in_place else torch.exp(x - shift)

    def mask_own(self, x: Tensor, first_row: int) -> Tensor:
        if self.in_place:
            x.diagonal(first_row).fill_(-math.inf)
            return x
        own = torch.ones(x.shape, dtype=torch.bool, device=x.device).triu(first_row)
        own = own & ~own.triu(first_row + 1)
        return torch.where(own, -math.inf, x)

    def add_product(self, total: Tensor | None, a: Tensor, b: Tensor) -> Tensor:
        if total is None:
            return a @ b
        return total.addmm_(a, b) if self.in_place else total + a @ b

    def scores(self, rows: Tensor, keys: Tensor) -> Tensor:
        if not self.in_place or rows.shape[0] == keys.shape[0]:
            return rows @ keys.T
        buffer = self._buffers.get(id(keys))
        if buffer is None or buffer.shape[0] < rows.shape[0]:
            buffer = self._buffers[id(keys)] = rows.new_empty(rows.shape[0], keys.shape[0])
        return torch.mm(rows, keys.T, out=buffer[: rows.shape[0]])

    def unit_rows(self, x: Tensor) -> tuple[Tensor, Any]:
        # On the CPU a look at the norms waits for nothing: unless one is extreme, its squares were in range.
        if self.in_place and x.device.type == "cpu" and x.numel() > 0:
            norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
            smallest, largest = norm.aminmax()
            if smallest.item() > SAFE and largest.item() < 1 / SAFE:
                return x / norm, norm
        return super().unit_rows(x)

    def through_unit_rows(self, gradient: Tensor, unit: Tensor, norm: Any) -> Tensor:
        if isinstance(norm, tuple):
            return super().through_unit_rows(gradient, unit, norm)
        along = (unit * gradient).sum(-1, keepdim=True)
        gradient = torch.addcmul(gradient, unit, along, value=-1)
        return gradient.div_(norm)

    def softplus(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.nn.functional.softplus(x, threshold=60.0), torch.sigmoid(x)
