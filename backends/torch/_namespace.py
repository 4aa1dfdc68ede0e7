"""The functions of the Array API standard that the core calls, on torch tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch

abs = torch.abs
exp = torch.exp
log = torch.log
log1p = torch.log1p
matmul = torch.matmul
maximum = torch.maximum
mean = torch.mean
ones_like = torch.ones_like
reshape = torch.reshape
sqrt = torch.sqrt
where = torch.where
zeros_like = torch.zeros_like

float32, float64 = torch.float32, torch.float64
Tensor = torch.Tensor


def astype(x: Tensor, dtype: torch.dtype, *, copy: bool = False) -> Tensor:
    return x if x.dtype == dtype else x.to(dtype)


def concat(xs: Sequence[Tensor], *, axis: int) -> Tensor:
    return torch.cat(tuple(xs), axis)


def expand_dims(x: Tensor, *, axis: int) -> Tensor:
    return x.unsqueeze(axis)


def full_like(x: Tensor, value: float) -> Tensor:
    return torch.full_like(x, value)


def matrix_transpose(x: Tensor) -> Tensor:
    return x.mT


def max(x: Tensor, *, axis: int, keepdims: bool = False) -> Tensor:
    return torch.amax(x, axis, keepdims)


def squeeze(x: Tensor, *, axis: int) -> Tensor:
    return x.squeeze(axis)


def sum(x: Tensor, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    return torch.sum(x) if axis is None else torch.sum(x, axis, keepdims)
