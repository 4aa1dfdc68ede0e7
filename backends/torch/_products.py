"""Products of float32 matrices on a CPU: MKL's, which torch takes, or oneDNN's.

On AMD's CPUs MKL leaves AVX-512 alone, and takes twice the time. The operator is that of linear layers in compiled
graphs.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

# Multiplications that pay back what oneDNN does before it starts; and the copy of a factor, too.
LEAST, LEAST_COPIED = 1 << 22, 1 << 24
MULTIPLE = 32  # of all sizes: oneDNN keeps two thirds of a megabyte for each shape that it met, of up to 1,024
CPU_INFO = Path("/proc/cpuinfo")


def of_amd() -> bool:
    try:
        with CPU_INFO.open(errors="replace") as info:
            return "AuthenticAMD" in info.read(1024)  # of the first core
    except OSError:
        return "AuthenticAMD" in platform.processor()


def one_dnn() -> Callable[..., Tensor] | None:
    """The function of x and w that is x @ w^T, where oneDNN is there and the faster one."""
    if not (torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()):  # type: ignore[no-untyped-call]
        return None
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or not of_amd():
        return None
    found = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    return found and found.default


linear = one_dnn()


def dense(x: Tensor) -> bool:
    """Whether a matrix lies row by row or column by column in memory; of others oneDNN is a thousand times slower."""
    return x.stride() in ((x.shape[1], 1), (1, x.shape[0]))


def by_one_dnn(a: Tensor, b: Tensor, scale: float = 1.0) -> Tensor | None:
    """scale * a @ b, which lies in memory row by row where `a` does, else column by column; None where MKL has it."""
    if linear is None or a.dtype != torch.float32 or torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return None
    sizes, by_row = (*a.shape, b.shape[1]), a.stride(1) == 1
    if math.prod(sizes) < (LEAST if by_row else LEAST_COPIED) or any(size % MULTIPLE for size in sizes):
        return None
    if not (dense(a) and dense(b) and torch.backends.mkldnn.enabled):
        return None
    a = a if scale == 1 else a * scale
    # What comes first is read row by row: of the two the smaller is copied for it.
    return linear(a, b.t(), None, "none", [], "") if by_row else linear(b.t(), a, None, "none", [], "").t()


def product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b"""
    found = by_one_dnn(a, b)
    return torch.mm(a, b) if found is None else found


def add_product(total: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """The total, with a @ b added to it in place."""
    found = by_one_dnn(a, b)
    return total.addmm_(a, b) if found is None else total.add_(found)
