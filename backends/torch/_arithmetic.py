"""What the engine computes with on torch tensors: in place on the plain eager path, functional elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from infonce.backend import Body

from . import _namespace


class TorchArithmetic:
    """`in_place` is False under transforms, whose tensors may hide a batch that the one written to lacks."""

    xp = _namespace

    def __init__(self, in_place: bool) -> None:
        self.in_place = in_place

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


IN_PLACE = TorchArithmetic(in_place=True)
FUNCTIONAL = TorchArithmetic(in_place=False)
