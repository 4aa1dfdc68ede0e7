"""The Triton kernel of `_kernel_products.exp_scores`; importing it imports Triton."""

from __future__ import annotations

import triton
import triton.language as tl


# M, D and the strides stay specialised: only where they are known to be multiples of 16 do accesses become vectors.
@triton.jit(do_not_specialize=["B", "first_row"])  # type: ignore[untyped-decorator]
def exp_products(
    rows: tl.tensor,  # (B, D) bfloat16, columns adjacent
    keys: tl.tensor,  # (M, D) bfloat16, columns adjacent
    row_factor: tl.tensor,  # (B,) float32
    column_factor: tl.tensor,  # (M,) float32
    out: tl.tensor,  # (B, M) bfloat16, contiguous
    parts: tl.tensor,  # (tiles across, B) float32: each tile's share of the totals
    positives: tl.tensor,  # (B,) float32
    B: tl.tensor,
    M: tl.tensor,
    D: tl.tensor,
    row_stride: tl.tensor,
    key_stride: tl.tensor,
    first_row: tl.tensor,
    WHOLE_COLUMNS: tl.constexpr,  # M is a multiple of COLUMNS
    WHOLE_DEPTH: tl.constexpr,  # D is a multiple of DEPTH
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
    GROUP: tl.constexpr,
) -> None:
    """One tile of ROWS by COLUMNS, 0 at the positives: see `_kernel_products.exp_scores`."""
    # Down GROUP tiles, then one across: those that run together read few rows and few keys, which the cache then holds.
    tiles_across = tl.cdiv(M, COLUMNS)
    in_group = GROUP * tiles_across
    first = tl.program_id(0) // in_group * GROUP
    height = min(tl.cdiv(B, ROWS) - first, GROUP)
    place = tl.program_id(0) % in_group
    top = (first + place % height) * ROWS
    across = place // height
    left = across * COLUMNS

    row = top + tl.arange(0, ROWS)
    column = left + tl.arange(0, COLUMNS)
    depth = tl.arange(0, DEPTH)
    # Beyond the edges the last row and the last key are read again, and what comes of them is not kept.
    near = tl.minimum(row, B - 1).to(tl.int64)  # offsets may exceed 2**31
    far = tl.minimum(column, M - 1).to(tl.int64)
    a_at = rows + near[:, None] * row_stride + depth[None, :]
    b_at = keys + far[None, :] * key_stride + depth[:, None]
    z = tl.zeros([ROWS, COLUMNS], tl.float32)
    for step in range(tl.cdiv(D, DEPTH)):
        if WHOLE_DEPTH:
            a = tl.load(a_at)
            b = tl.load(b_at)
        else:
            within = depth < D - step * DEPTH
            a = tl.load(a_at, mask=within[None, :], other=0.0)
            b = tl.load(b_at, mask=within[:, None], other=0.0)
        z = tl.dot(a, b, z)
        a_at += DEPTH
        b_at += DEPTH

    inside = row < B
    z = z * tl.load(row_factor + row, mask=inside, other=0.0)[:, None]
    z = z * tl.load(column_factor + column, mask=column < M, other=0.0)[None, :]
    if not WHOLE_COLUMNS:
        z = tl.where((column < M)[None, :], z, -float("inf"))
    if (first_row + top < left + COLUMNS) & (left < first_row + top + ROWS):  # some positives are in this tile
        own = first_row + row
        is_own = own[:, None] == column[None, :]
        positive = tl.sum(tl.where(is_own, z, 0.0), axis=1)
        here = inside & (own >= left) & (own < left + COLUMNS)
        tl.store(positives + row, positive, mask=here)
        z = tl.where(is_own & (z == z), -float("inf"), z)  # NaN in the positive alone reaches the total
    e = tl.exp(z)
    tl.store(parts + across.to(tl.int64) * B + row, tl.sum(e, axis=1), mask=inside)
    at = out + row.to(tl.int64)[:, None] * M + column[None, :]
    if WHOLE_COLUMNS:
        tl.store(at, e.to(out.dtype.element_ty), mask=inside[:, None])
    else:
        tl.store(at, e.to(out.dtype.element_ty), mask=inside[:, None] & (column < M)[None, :])
