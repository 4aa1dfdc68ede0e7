"""All that a block of logits needs between the matrix products, in one kernel on GPUs."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable

import torch
from torch import Tensor

from infonce.forms import LOWEST
from infonce.halves import Halved

NARROWEST, WIDEST = 128, 4096  # columns that a program takes at a time
COLUMNS_PER_WARP = 512  # 16 in each thread: four loads of 16 bytes in flight
CLOSED_ROWS, PARTS = 32, 64  # that a program of `closed_form` takes at a time


@functools.cache
def available(device: torch.device) -> bool:
    """Whether the kernels run on this device: it is one of Triton's, and Triton and its C compiler are here."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    if device.type != "cuda" or importlib.util.find_spec("triton") is None or compiler is None:
        return False
    if "tensorflow" in sys.modules and "triton" not in sys.modules:
        return False  # loaded after TensorFlow's, Triton's compiler crashes
    return torch.cuda.get_device_capability(device) >= (8, 0)


def softmax_block(
    scores: Tensor,
    row_factor: Tensor | None,
    column_factor: Tensor | None,
    first_row: int | None,
    bounded: bool,
    out: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The unnormalised softmax of a block over its negatives, with the positives' slopes in it, in float32.

        z_ij = scores_ij * row_factor_i * column_factor_j
        m_i = max_{j negative} z_ij, LOWEST where there is none; 0 where z is `bounded`
        total_i = sum_{j negative} exp(z_ij - m_i)
        p_ij = exp(z_ij - m_i), and for the positive - total_i

    Args:
        scores: (B, M) float32, contiguous; lost where `out` is None.
        row_factor: B numbers of float32; None for 1.
        column_factor: as many for the columns; None for 1.
        first_row: the positive of row i is the entry (i, first_row + i); None: all entries are negatives.
        bounded: whether |z| <= 40 is known.
        out: (B, M), contiguous, of any floating dtype; None: in place.

    Returns:
        p, total, m and the positives' z (0 without): (B, M) and three of (B, 1). A NaN makes its row's total NaN.
    """
    rows, M = scores.shape
    p = scores if out is None else out
    assert p.shape == scores.shape
    assert all(x.is_contiguous() for x in (scores, p))
    assert first_row is None or 0 <= first_row <= M - rows
    from ._triton import softmax_rows  # Triton need not be installed

    factors = [None if x is None else x.contiguous() for x in (row_factor, column_factor)]
    total, m, positive = (scores.new_empty((rows, 1)) for _ in range(3))
    block = min(max(1 << (M - 1).bit_length(), NARROWEST), WIDEST)
    with torch.cuda.device_of(scores):  # type: ignore[no-untyped-call]
        softmax_rows[(rows,)](
            scores,
            *factors,
            p,
            total,
            m,
            positive,
            M,
            -rows if first_row is None else first_row,
            max(-(-M // block), 1),
            LOWEST=LOWEST,
            BOUNDED=bounded,
            BLOCK=block,
            num_warps=max(block // COLUMNS_PER_WARP, 1),
            enable_fp_fusion=False,  # else z - m is not 0 at the maximum, and differs between the passes
        )
    return p, total, m, positive


def against_others(
    scores: Callable[[Tensor, Tensor], Tensor],
    rows: Tensor,
    keys: Tensor,
    first_row: int,
    bounded: bool,
    halves: tuple[Halved, Halved] | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """`Arithmetic.against_others` by the kernels; `scores` multiplies."""
    if halves is None:
        p, total, largest, positive = softmax_block(scores(rows, keys), None, None, first_row, bounded, None)
    else:
        left, right = halves
        z = scores(left.rows, right.rows)
        out = torch.empty_like(z, dtype=torch.bfloat16)
        p, total, largest, positive = softmax_block(z, left.factor, right.factor, first_row, bounded, out)
    return p, *closed_form(total.T, largest, positive)


def closed_form(
    parts: Tensor, largest: Tensor | None, positive: Tensor, p: Tensor | None = None, first_row: int = 0
) -> tuple[Tensor, Tensor]:
    """`Arithmetic.closed_form` of the rows of a block, in one kernel.

        total_i = sum_t parts_ti
        loss_i = softplus(log(total_i) + m_i - positive_i), slope_i = sigmoid(log(total_i) + m_i - positive_i) / total_i

    Args:
        parts: (T, B) float32, contiguous: shares of the sums over a row's negatives.
        largest: m, (B, 1) float32, contiguous; None: 0.
        positive: the positives' logits, (B, 1) float32, contiguous.
        p: (B, M), contiguous, of any floating dtype: its entries (i, first_row + i) become - total_i. None: no such.
        first_row: see there.

    Returns:
        loss and slope, both (B, 1).
    """
    T, B = parts.shape
    assert all(x is None or (x.dtype == torch.float32 and x.numel() == B) for x in (largest, positive))
    assert all(x is None or x.is_contiguous() for x in (parts, largest, positive, p))
    assert p is None or (p.shape[0] == B and 0 <= first_row <= p.shape[1] - B)
    from ._triton import close_rows  # Triton need not be installed

    loss, slope = torch.empty_like(positive), torch.empty_like(positive)
    with torch.cuda.device_of(parts):  # type: ignore[no-untyped-call]
        close_rows[(-(-B // CLOSED_ROWS),)](
            parts,
            largest,
            positive,
            p,
            loss,
            slope,
            T,
            B,
            0 if p is None else p.shape[1],
            first_row,
            ROWS=CLOSED_ROWS,
            PARTS=PARTS,
            num_warps=4,
            enable_fp_fusion=False,
        )
    return loss, slope
