"""The Triton kernels of `_kernel`; importing it imports Triton."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit  # type: ignore[untyped-decorator]
def tile_logits(
    scores: tl.tensor,
    factor: tl.tensor,
    column_factor: tl.tensor,
    columns: tl.tensor,
    M: tl.tensor,
) -> tl.tensor:
    """z of some columns of a row, -inf beyond the last."""
    inside = columns < M
    z = tl.load(scores + columns, mask=inside, other=0.0) * factor
    if column_factor is not None:
        z = z * tl.load(column_factor + columns, mask=inside, other=0.0)
    return tl.where(inside, z, -float("inf"))


# M stays specialised: only where it is known to be a multiple of 16 do loads and stores become vectors.
@triton.jit(do_not_specialize=["first_row", "tiles"])  # type: ignore[untyped-decorator]
def softmax_rows(
    scores: tl.tensor,  # (B, M) float32, contiguous
    row_factor: tl.tensor,  # (B,) float32 or None
    column_factor: tl.tensor,  # (M,) float32 or None
    out: tl.tensor,  # (B, M), perhaps `scores`
    totals: tl.tensor,  # (B,) float32, as the next two
    maxima: tl.tensor,
    positives: tl.tensor,
    M: tl.tensor,
    first_row: tl.tensor,  # -B or less: no positives
    tiles: tl.tensor,  # of BLOCK columns: at least one
    LOWEST: tl.constexpr,
    BOUNDED: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """One row: see `_kernel.softmax_block`.

    The tile that holds the positive comes last: its slope, minus the total, is then written with the others.
    """
    row = tl.program_id(0).to(tl.int64)  # offsets may exceed 2**31
    own = first_row + tl.program_id(0)
    last = tl.where(own < 0, tiles - 1, own // BLOCK)
    scores += row * M
    out += row * M
    factor = 1.0
    if row_factor is not None:
        factor = tl.load(row_factor + row)
    lanes = tl.arange(0, BLOCK)
    # Each lane sums its own columns; NaN passes through sums, not through maxima.
    sums = tl.zeros([BLOCK], tl.float32)
    m = 0.0
    if not BOUNDED:
        tops = tl.full([BLOCK], LOWEST, tl.float32)
        for tile in range(tiles):
            columns = tile * BLOCK + lanes
            z = tile_logits(scores, factor, column_factor, columns, M)
            z = tl.where(columns == own, -float("inf"), z)
            higher = tl.maximum(tops, z)
            sums = sums * tl.exp(tops - higher) + tl.exp(z - higher)
            tops = higher
        m = tl.max(tops, axis=0)
        sums = sums * tl.exp(tops - m)

    for step in range(tiles - 1):
        columns = tl.where(step < last, step, step + 1) * BLOCK + lanes
        z = tile_logits(scores, factor, column_factor, columns, M)
        e = tl.exp(z - m)
        if BOUNDED:
            sums += e
        tl.store(out + columns, e.to(out.dtype.element_ty), mask=columns < M)

    columns = last * BLOCK + lanes
    z = tile_logits(scores, factor, column_factor, columns, M)
    positive = tl.sum(tl.where(columns == own, z, 0.0), axis=0)
    e = tl.exp(tl.where(columns == own, -float("inf"), z) - m)
    if BOUNDED:
        sums += e
    total = tl.sum(sums, axis=0)
    total = tl.where(positive == positive, total, positive)  # NaN in the positive alone
    p = tl.where(columns == own, -total, e)
    tl.store(out + columns, p.to(out.dtype.element_ty), mask=columns < M)
    tl.store(totals + row, total)
    tl.store(maxima + row, m)
    tl.store(positives + row, positive)


@triton.jit(do_not_specialize=["T", "B", "M", "first_row"])  # type: ignore[untyped-decorator]
def close_rows(
    parts: tl.tensor,  # (T, B) float32, contiguous
    maxima: tl.tensor,  # (B,) float32, or None for 0
    positives: tl.tensor,  # (B,) float32
    out: tl.tensor,  # (B, M), or None
    losses: tl.tensor,  # (B,) float32, as the next
    slopes: tl.tensor,
    T: tl.tensor,
    B: tl.tensor,
    M: tl.tensor,
    first_row: tl.tensor,
    ROWS: tl.constexpr,
    PARTS: tl.constexpr,
) -> None:
    """ROWS rows: see `_kernel.closed_form`."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = row < B
    total = tl.zeros([ROWS], tl.float32)
    for first in range(0, T, PARTS):
        part = first + tl.arange(0, PARTS)
        at = part.to(tl.int64)[:, None] * B + row[None, :]  # offsets may exceed 2**31
        total += tl.sum(tl.load(parts + at, mask=(part < T)[:, None] & inside[None, :], other=0.0), axis=0)
    if out is not None:
        at = row.to(tl.int64) * M + first_row + row
        tl.store(out + at, (-total).to(out.dtype.element_ty), mask=inside)
    total = tl.where(inside, total, 1.0)
    lse = tl.log(total)
    if maxima is not None:
        lse += tl.load(maxima + row, mask=inside, other=0.0)
    beyond = lse - tl.load(positives + row, mask=inside, other=0.0)
    e = tl.exp(-tl.abs(beyond))
    above = 1 + e
    # log(1 + e), with the digits of e that 1 + e has lost.
    lost = above == 1
    log1p = tl.where(lost, e, tl.log(above) * (e / tl.where(lost, 1.0, above - 1)))
    tl.store(losses + row, tl.maximum(beyond, 0.0) + log1p, mask=inside)
    tl.store(slopes + row, tl.where(beyond >= 0, 1.0, e) / above / total, mask=inside)
