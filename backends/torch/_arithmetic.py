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

    def size(self, x: Tensor) -> int:
        return x.shape[0]

    def ahead(self, like: Tensor, rows: int, columns: int) -> Tensor:
        i = torch.arange(rows, dtype=torch.int32, device=like.device)
        return torch.arange(columns, dtype=torch.int32, device=like.device) - i[:, None]

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

    def exp_shifted(self, x: Tensor, shift: Tensor, weight: Tensor | None = None, keep: bool = False) -> Any:
        if not self.in_place:
            return super().exp_shifted(x, shift, weight, keep)
        x = torch.sub(x, shift, out=self._buffer(-1, x, x.shape)) if keep else x.sub_(shift)
        return x.exp_() if weight is None else x.exp_().mul_(weight)

    def exponential(self, x: Tensor) -> Any:
        return x.exp_() if self.in_place else super().exponential(x)

    def times_sum(self, x: Tensor, rows: Tensor, columns: Tensor) -> Any:
        if not self.in_place:
            return super().times_sum(x, rows, columns)
        return x.mul_(torch.add(rows, columns, out=self._buffer(-1, x, x.shape)))

    def stop_gradient(self, x: Tensor) -> Tensor:
        return x.detach()

    def own(self, x: Tensor, first_row: int) -> Any:
        return x.diagonal(first_row).clone().unsqueeze(1) if self.in_place else super().own(x, first_row)

    def write_own(self, x: Tensor, first_row: int, value: Tensor | float) -> Any:
        if not self.in_place:
            return super().write_own(x, first_row, value)
        own = x.diagonal(first_row)
        if isinstance(value, float):
            own.fill_(value)
        else:
            own.copy_(value.squeeze(1))
        return x

    def leave_out(self, x: Tensor, absent: Tensor) -> Any:
        return x.masked_fill_(absent, -math.inf) if self.in_place else super().leave_out(x, absent)

    def mask_visit(self, x: Tensor, total: int, views: int) -> Any:
        if not self.in_place:
            return super().mask_visit(x, total, views)
        size, half, samples = x.shape[0], total // 2, total // views
        corner = torch.ones(size, size, dtype=torch.bool, device=x.device)
        if views % 2 and total % 2 == 0:
            x.diagonal(half).add_(math.log(0.5))
        for offset in range(samples, half + 1, samples):
            x.diagonal(offset).fill_(-math.inf)
        x[:, :size].masked_fill_(corner.tril(), -math.inf)
        x[:, half:].masked_fill_(corner.triu(1), -math.inf)
        return x

    def mask_samples(self, x: Tensor, samples: int, views: int) -> Any:
        if not self.in_place:
            return super().mask_samples(x, samples, views)
        for view in range(1 - views, views):
            x.diagonal(view * samples).fill_(-math.inf)
        return x

    def put(self, x: Tensor, first_row: int, rows: Tensor) -> Tensor:
        if not self.in_place:
            return torch.slice_scatter(x, rows, 0, first_row, first_row + rows.shape[0])
        own = x[first_row : first_row + rows.shape[0]]
        if not own.is_set_to(rows):
            own.copy_(rows)
        return x

    def add_product(self, total: Tensor | None, a: Tensor, b: Tensor) -> Any:
        return total.addmm_(a, b) if self.in_place and total is not None else super().add_product(total, a, b)

    def scores(self, rows: Tensor, keys: Tensor, part: int = 0) -> Any:
        if not self.in_place:
            return super().scores(rows, keys, part)
        out = self._buffer(part, rows, (rows.shape[0], keys.shape[0]))
        return torch.mm(rows, keys.T, out=out)

    def _buffer(self, part: int, like: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Memory for a block that the next block of the same part writes over: fresh pages cost more than the sums."""
        size, held = math.prod(shape), self._buffers.get(part)
        if held is None or held.numel() < size:
            held = self._buffers[part] = like.new_empty(shape)
        return held if held.shape == shape else held.view(-1)[:size].view(shape)

    def unit_rows(self, x: Tensor) -> tuple[Tensor, Any]:
        # On the CPU a look at the norms waits for nothing: unless one is extreme, its squares were in range.
        if self.in_place and x.device.type == "cpu" and x.numel() > 0:
            norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
            smallest, largest = norm.aminmax()
            if smallest.item() > SAFE and largest.item() < 1 / SAFE:
                return x / norm, norm
        return super().unit_rows(x)

    def through_unit_rows(self, gradient: Tensor, unit: Tensor, norm: Any) -> Any:
        if isinstance(norm, tuple):
            return super().through_unit_rows(gradient, unit, norm)
        along = (unit * gradient).sum(-1, keepdim=True)
        gradient = torch.addcmul(gradient, unit, along, value=-1)
        return gradient.div_(norm)

    def softplus(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.nn.functional.softplus(x, threshold=60.0), torch.sigmoid(x)
