"""Products of float32 matrices on a CPU: MKL's, which torch takes, or oneDNN's.

On AMD's CPUs MKL leaves AVX-512 alone, and takes twice the time. The operator is that of linear layers in compiled
graphs.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

# Multiplications that pay back what oneDNN does before it starts; and the copy of a factor, too.
LEAST, LEAST_COPIED = 1 << 22, 1 << 24
VENDOR = "AuthenticAMD"
CPU_INFO = Path("/proc/cpuinfo")  # on Linux; Windows has a variable


def of_amd() -> bool:
    if not CPU_INFO.exists():
        return VENDOR in os.environ.get("PROCESSOR_IDENTIFIER", "")
    with CPU_INFO.open() as info:
        return VENDOR in info.read(1024)  # of the first core


def one_dnn() -> Callable[..., Tensor] | None:
    """The function of x and w that is x @ w^T, where oneDNN is there and the faster one."""
    if not (torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()):  # type: ignore[no-untyped-call]
        return None
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or not of_amd():
        return None
    found = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    return found and found.default


linear = one_dnn()


def applies(a: Tensor, b: Tensor) -> bool:
    """Whether a @ b is oneDNN's."""
    if linear is None or a.dtype != torch.float32:
        return False
    enough = math.prod(a.shape) * b.shape[1] >= (LEAST if a.stride(1) == 1 else LEAST_COPIED)
    return enough and bool(torch.backends.mkldnn.enabled)


def product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b, which lies in memory row by row where `a` does, else perhaps column by column."""
    if linear is None or not applies(a, b):
        return torch.mm(a, b)
    if a.stride(1) == 1:
        return linear(a, b.t(), None, "none", [], "")
    # What comes first is read row by row: of the two the smaller is copied for it.
    return linear(b.t().contiguous(), a, None, "none", [], "").t()


def add_product(total: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """The total, with a @ b added to it in place."""
    return total.add_(product(a, b)) if applies(a, b) else total.addmm_(a, b)
