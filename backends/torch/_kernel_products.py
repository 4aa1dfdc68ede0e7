"""The product of halves and the exponential of what it gives, in one kernel on GPUs: no logit is ever stored."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Tiles(NamedTuple):
    """What one program computes, and how."""

    rows: int
    columns: int
    depth: int  # of the products, at a time
    group: int  # tiles below each other that run one after the other
    warps: int
    stages: int  # depths that are loaded ahead, and the one at hand


# Two programs share a multiprocessor: while one takes exponentials, the other multiplies.
TILES = Tiles(rows=128, columns=128, depth=64, group=32, warps=4, stages=3)


def exp_scores(
    rows: Tensor, keys: Tensor, row_factor: Tensor, column_factor: Tensor, first_row: int
) -> tuple[Tensor, Tensor, Tensor]:
    """`_kernel.softmax_block` of `rows @ keys.T`, summed in float32, where all logits are known to be bounded.

        z_ij = (sum_d rows_id keys_jd) * row_factor_i * column_factor_j, |z_ij| <= 40
        total_i = sum_{j negative} exp(z_ij)
        p_ij = exp(z_ij), and for the positive - total_i

    Args:
        rows: (B, D) bfloat16, adjacent along D.
        keys: (M, D) bfloat16, adjacent along D.
        row_factor: (B, 1) float32.
        column_factor: (1, M) float32.
        first_row: the positive of row i is the entry (i, first_row + i).

    Returns:
        p, total and the positives' z: (B, M) bfloat16 and two of (B, 1) float32. The totals are sums of float32, not
        of p. A NaN makes its row's total NaN.
    """
    (B, D), M = rows.shape, keys.shape[0]
    assert keys.shape[1] == D
    assert row_factor.shape == (B, 1)
    assert column_factor.shape == (1, M)
    assert all(x.dtype == torch.bfloat16 and (x.stride(1) == 1 or D == 1) for x in (rows, keys))
    assert all(x.dtype == torch.float32 for x in (row_factor, column_factor))
    assert 0 <= first_row <= M - B
    from ._triton_products import exp_products  # Triton need not be installed

    across = -(-M // TILES.columns)
    p = rows.new_empty((B, M))
    parts, positive = row_factor.new_empty((across, B)), row_factor.new_empty((B, 1))
    with torch.cuda.device_of(rows):  # type: ignore[no-untyped-call]
        exp_products[(-(-B // TILES.rows) * across,)](
            rows,
            keys,
            row_factor.contiguous(),
            column_factor.contiguous(),
            p,
            parts,
            positive,
            B,
            M,
            D,
            rows.stride(0),
            keys.stride(0),
            first_row,
            WHOLE_COLUMNS=M % TILES.columns == 0,
            WHOLE_DEPTH=D % TILES.depth == 0,
            ROWS=TILES.rows,
            COLUMNS=TILES.columns,
            DEPTH=TILES.depth,
            GROUP=TILES.group,
            num_warps=TILES.warps,
            num_stages=TILES.stages,
        )
    total = parts.sum(0)
    torch.mul(total, -1, out=p.diagonal(first_row))
    return p, total.unsqueeze(1), positive
