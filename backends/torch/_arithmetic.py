"""What the engine computes with on torch tensors: in place on the plain eager path, functional elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus, threshold

from infonce.arithmetic import Arithmetic, Body
from infonce.blocks import ON_CPU, ON_GPU, Blocks, concatenated, rows_in_cache, walk, written
from infonce.halves import Fused, Halved
from infonce.rows import LEAST
from infonce.spread import FLOOR, NEAR

from . import _kernel, _kernel_products, _kernel_rows, _namespace, _products
from ._small import NATS, extreme, weight_norm, weight_norm_backward

NAMES = {getattr(torch, name): name for name in ("float16", "bfloat16", "float32", "float64")}
# Of halves: from torch 2.8 on.
SUMS_IN_FLOAT32 = "dtype" in torch.ops.aten.mm.overloads()  # type: ignore[no-untyped-call]
SMALL = 1 << 16  # entries of a block that costs less than keeping it
# Of 2^24 pairs each scored once, in blocks, it takes four fifths of the time; NumPy and TensorFlow take more.
IN_PLACE = ON_CPU._replace(pairs=1 << 22)


class Normed(NamedTuple):
    """What the way back from unit rows needs."""

    rows: Tensor  # as they were given, in two dimensions
    length: Tensor  # (rows, 1): what they were made to have
    norm: Tensor
    over: Any  # what they were divided by then, or None


class OnGPU(NamedTuple):
    """The same, of the kernels."""

    norm: tuple[Tensor, Tensor]  # length and scale
    over: float | None
    halves: Halved | None


def by_column(x: Tensor) -> bool:
    """Whether a block lies column by column in memory."""
    return x.stride(0) < x.stride(1)


class TorchArithmetic(Arithmetic):
    """One run of the engine. `in_place` is False under transforms: a tensor may hide a batch that the other lacks."""

    xp = _namespace

    def __init__(self, in_place: bool, device: str = "cpu") -> None:
        self.in_place, self._device = in_place, device
        self._on_cpu = in_place and device == "cpu"
        self._buffers: dict[int, Tensor] = {}
        self._corner: Tensor | None = None  # of the last block

    def shape(self, x: Tensor) -> tuple[int | None, ...]:
        return tuple(x.shape)

    def dtype(self, x: Tensor) -> str:
        return NAMES.get(x.dtype) or str(x.dtype).removeprefix("torch.")

    def size(self, x: Tensor) -> int:
        return x.shape[0]

    def indices(self, like: Tensor, n: int) -> Tensor:
        return torch.arange(n, dtype=torch.int32, device=like.device)[None, :]

    def blocks(self) -> Blocks:
        return ON_GPU if self._device != "cpu" else IN_PLACE if self.in_place else super().blocks()

    def loop(
        self, body: Body, start: Callable[[], tuple[Any, ...]], rows: tuple[Tensor | None, ...], block: int
    ) -> Any:
        return walk(body, rows, block, written(Tensor.new_empty) if self.in_place else concatenated(torch.cat))

    def spreads(self, temperature: Any) -> bool:
        if not self._on_cpu:
            return False
        if not isinstance(temperature, float):
            temperature = temperature.min().item() if temperature.numel() > 0 else NEAR
        return not temperature >= NEAR

    def exp_shifted(
        self, x: Tensor, shift: Tensor, weight: Tensor | None = None, keep: bool = False, far: bool = False
    ) -> Any:
        if not self.in_place:
            return super().exp_shifted(x, shift, weight, keep)
        x = torch.sub(x, shift, out=self._buffer(-1, x, x.shape)) if keep else x.sub_(shift)
        if far:
            floor, above = FLOOR[x.element_size()]
            x = threshold(x.clamp_min_(floor).exp_(), above, 0.0, inplace=True)
        else:
            x.exp_()
        return x if weight is None else x.mul_(weight)

    def exponential(self, x: Tensor) -> Any:
        if self._on_cpu:
            return x.mul_(1 / NATS).exp2_()
        return x.exp_() if self.in_place else super().exponential(x)

    def times_sum(self, x: Tensor, rows: Tensor, columns: Tensor) -> Any:
        if not self.in_place:
            return super().times_sum(x, rows, columns)
        if by_column(x):
            return self.times_sum(x.T, columns.T, rows.T).T
        size = rows_in_cache(x.shape[1]) if self._device == "cpu" else max(1, len(x))
        for first in range(0, len(x), size):
            part = x[first : first + size]
            part.mul_(torch.add(rows[first : first + size], columns, out=self._buffer(-1, x, part.shape)))
        return x

    def stop_gradient(self, x: Tensor) -> Tensor:
        return x.detach()

    def write_own(self, x: Tensor, first_row: int, value: Tensor | float) -> Any:
        if not self.in_place:
            return super().write_own(x, first_row, value)
        own = x.diagonal(first_row)
        if isinstance(value, float):
            own.fill_(value)
        else:
            own.unsqueeze_(1).copy_(value)
        return x

    def leave_out(self, x: Tensor, absent: Tensor) -> Any:
        return x.masked_fill_(absent, -math.inf) if self.in_place else super().leave_out(x, absent)

    def mask_visit(self, x: Tensor, rows: Tensor, views: int) -> Any:
        if not self.in_place:
            return super().mask_visit(x, rows, views)
        size, total = len(x), len(rows)
        half, samples = total // 2, total // views
        if self._corner is None or len(self._corner) != size:
            self._corner = torch.ones(size, size, dtype=torch.bool, device=x.device).tril_()
        if views % 2 and total % 2 == 0:
            x.diagonal(half).add_(math.log(0.5))
        for offset in range(samples, half + 1, samples):
            x.diagonal(offset).fill_(-math.inf)
        x[:, :size].masked_fill_(self._corner, -math.inf)
        x[:, half:].masked_fill_(~self._corner, -math.inf)
        return x

    def mask_samples(self, x: Tensor, samples: int, views: int) -> Any:
        if not self.in_place:
            return super().mask_samples(x, samples, views)
        for view in range(1 - views, views):
            x.diagonal(view * samples).fill_(-math.inf)
        return x

    def against_others(
        self,
        rows: Tensor,
        keys: Tensor,
        own: Tensor,
        first_row: int,
        bounded: bool,
        halves: tuple[Halved, Halved] | None = None,
        far: bool = False,
    ) -> Any:
        if not self.in_place:
            return super().against_others(rows, keys, own, first_row, bounded, halves, far)
        if self._has_kernels(rows, rows.dtype):
            return _kernel.against_others(self.scores, rows, keys, first_row, bounded, halves)
        in_bits = bounded and halves is None and self._on_cpu
        if in_bits:
            z = self._scores(rows, keys, scale=1 / NATS)
        else:
            z = self.scores(rows, keys) if halves is None else self.half_scores(*halves)
        entries = z.diagonal(first_row).unsqueeze_(1)
        positive = entries * NATS if in_bits else entries.clone()
        entries.fill_(-math.inf)
        largest = positive.new_zeros(()) if bounded else z.amax(1, True)
        z = z.exp2_() if in_bits else z.exp_() if bounded else self.exp_shifted(z, largest, far=far)
        total = z.sum(1, True)
        entries.copy_(total).neg_()
        p = z if halves is None else z.to(torch.bfloat16)
        return p, *self.closed_form(total, total.log().add_(largest), positive)

    def _has_kernels(self, x: Tensor, dtype: torch.dtype) -> bool:
        """Whether there are kernels that compute with `x` in this dtype."""
        return self.in_place and dtype == torch.float32 and _kernel.available(x.device)

    def put(self, x: Tensor, first_row: int, rows: Tensor) -> Tensor:
        if not self.in_place:
            return torch.slice_scatter(x, rows, 0, first_row, first_row + rows.shape[0])
        own = x[first_row : first_row + rows.shape[0]]
        if not own.is_set_to(rows):
            own.copy_(rows)
        return x

    def half_products(self, *arrays: Tensor) -> Any:
        cuda = self.in_place and all(x.is_cuda and x.dtype == torch.bfloat16 for x in arrays)
        return torch.bfloat16 if cuda and SUMS_IN_FLOAT32 else None

    def halved(self, x: Tensor, unit: Tensor, back: Any, half: Any, normalize: bool) -> Halved:
        if half is not None and isinstance(back, OnGPU) and back.halves is not None:
            return back.halves
        return super().halved(x, unit, back, half, normalize)

    def rounded_product(self, x: Tensor, row: Tensor, half: Any) -> Any:
        if self.in_place:
            return torch.mul(x, row, out=torch.empty_like(x, dtype=half))
        return super().rounded_product(x, row, half)

    def fused(self, rows: Halved, keys: Halved, period: int | None = None) -> Fused | None:
        x = rows.rows
        if not self._has_kernels(x, torch.float32) or not _kernel_products.available(x.device):
            return None
        return _kernel_products if _kernel_products.fits(rows, keys, period) else None

    def product(self, a: Tensor, b: Tensor) -> Tensor:
        if a.dtype == torch.bfloat16:
            if a.is_cuda:
                return torch.mm(a, b, out_dtype=torch.float32)
            a, b = a.float(), b.float()  # a CPU rounds its products of halves
        return _products.product(a, b) if self._on_cpu else torch.matmul(a, b)

    def add_product(self, total: Tensor | None, a: Tensor, b: Tensor) -> Any:
        if not self.in_place or total is None:
            return super().add_product(total, a, b)
        if a.dtype != torch.bfloat16:
            return _products.add_product(total, a, b) if self._on_cpu else total.addmm_(a, b)
        if a.is_cuda:
            return torch.addmm(total, a, b, out_dtype=torch.float32, out=total)
        return super().add_product(total, a, b)

    def zeros_after(self, done: Any, like: Tensor) -> Any:
        if not self._on_cpu or _products.linear is None or like.dtype != torch.float32:
            return super().zeros_after(done, like)
        return like.new_zeros(like.shape[::-1]).t()  # as it makes most of what will be added

    def scores(self, rows: Tensor, keys: Tensor, part: int = 0, alone: bool = False) -> Any:
        if not self.in_place or rows.dtype == torch.bfloat16:
            return super().scores(rows, keys, part, alone)
        return self._scores(rows, keys, part, by_column=alone and self._device == "cpu")

    def _scores(self, rows: Tensor, keys: Tensor, part: int = 0, scale: float = 1.0, by_column: bool = True) -> Tensor:
        """`scale` times the scores; `by_column` in memory, which of few rows is faster by MKL."""
        found = _products.by_one_dnn(rows, keys.T, scale) if self._on_cpu else None
        if found is not None:
            return found
        if by_column:
            rows, keys = keys, rows
        out = self._out(part, keys, (rows.shape[0], keys.shape[0])).addmm_(rows, keys.T, beta=0, alpha=scale)
        return out.T if by_column else out

    def _out(self, part: int, like: Tensor, shape: tuple[int, int]) -> Tensor:
        """Memory for a block."""
        return like.new_empty(shape) if math.prod(shape) <= SMALL else self._buffer(part, like, shape)

    def _buffer(self, part: int, like: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Memory for a block that the next block of the same part writes over: fresh pages cost more than the sums."""
        size, held = math.prod(shape), self._buffers.get(part)
        if held is None or held.numel() < size:
            held = self._buffers[part] = like.new_empty(shape)
        return held if held.shape == shape else held.view(-1)[:size].view(shape)

    def positive_scores(self, rows: Tensor, keys: Tensor, block: Tensor | None, first_row: int) -> Any:
        if not self.in_place or block is None:
            return super().positive_scores(rows, keys, block, first_row)
        return block.diagonal(first_row).clone().unsqueeze_(1)

    def unit_rows(self, x: Tensor, dtype: Any, over: Any = None) -> tuple[Tensor, Any]:
        if x.numel() > 0 and (over is None or isinstance(over, float)) and self._has_kernels(x, dtype):
            flat = x.reshape(-1, x.shape[-1]).contiguous()
            made, scales, halves = _kernel_rows.unit_rows(flat, 1.0 if over is None else over)
            return made.view(x.shape), OnGPU(scales, over, halves)
        # On the CPU a look at the norms waits for nothing: unless one is extreme, its squares were in range.
        if not self._on_cpu or x.numel() == 0:
            return super().unit_rows(x, dtype, over)
        x = x.to(dtype)
        flat = x if x.ndim == 2 and x.is_contiguous() else x.reshape(-1, x.shape[-1]).contiguous()
        number, rest = (over, None) if isinstance(over, float) and LEAST < over < 1 / LEAST else (1.0, over)
        length = flat.new_full((flat.shape[0], 1), 1 / number)
        unit, norm = weight_norm(flat, length)
        if extreme(norm):
            return super().unit_rows(x, dtype, over)
        unit = unit if x is flat else unit.view(x.shape)
        return (unit if rest is None else unit / rest), Normed(flat, length, norm, rest)

    def through_unit_rows(self, gradient: Tensor, made: Tensor, back: Any) -> Any:
        if isinstance(back, OnGPU):
            over = 1.0 if back.over is None else back.over
            flat, unit = (x.reshape(-1, x.shape[-1]) for x in (gradient, made))
            return _kernel_rows.through_unit_rows(flat, unit, *back.norm, over).view(gradient.shape)
        if not isinstance(back, Normed):
            return super().through_unit_rows(gradient, made, back)
        rows, length, norm, over = back
        gradient = (gradient if over is None else gradient / over).contiguous()
        return weight_norm_backward(gradient.reshape(rows.shape), rows, length, norm, 0)[0].view(gradient.shape)

    def softplus(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return softplus(x, 1.0, 60.0), torch.sigmoid(x)
