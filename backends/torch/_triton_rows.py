"""The Triton kernels of `_kernel_rows`; importing it imports Triton."""

from __future__ import annotations

import triton
import triton.language as tl


# D stays specialised: only where it is known to be a multiple of 16 do accesses become vectors.
@triton.jit(do_not_specialize=["N"])  # type: ignore[untyped-decorator]
def to_unit_rows(
    x: tl.tensor,  # (N, D), contiguous
    units: tl.tensor,  # (N, D) float32, contiguous
    lengths: tl.tensor,  # (N,) float32, as the next
    scales: tl.tensor,
    exact: tl.tensor,  # (N, D) bfloat16, contiguous, as the next but one; None, as those: not wanted
    factors: tl.tensor,  # (N,) float32
    rounded: tl.tensor,
    N: tl.tensor,
    D: tl.tensor,
    over: tl.tensor,
    LIMIT: tl.constexpr,
    POWER: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """ROWS rows: see `_kernel_rows.unit_rows`. All but the first visit find the rows in the cache."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = row < N
    lanes = tl.arange(0, BLOCK)
    at = row.to(tl.int64)[:, None] * D + lanes[None, :]  # offsets may exceed 2**31

    tops = tl.zeros([ROWS, BLOCK], tl.float32)
    for first in range(0, D, BLOCK):
        mask = inside[:, None] & (lanes < D - first)[None, :]
        tops = tl.maximum(tops, tl.abs(tl.load(x + at + first, mask=mask, other=0.0).to(tl.float32)))
    largest = tl.max(tops, axis=1)
    scale = tl.where(largest > LIMIT, 1 / POWER, tl.where(largest < 1 / LIMIT, POWER, 1.0))

    squares = tl.zeros([ROWS, BLOCK], tl.float32)
    for first in range(0, D, BLOCK):
        mask = inside[:, None] & (lanes < D - first)[None, :]
        scaled = tl.load(x + at + first, mask=mask, other=0.0).to(tl.float32) * scale[:, None]
        squares += scaled * scaled
    square = tl.sum(squares, axis=1)
    length = tl.sqrt_rn(tl.where(square == 0, float("inf"), square))

    for first in range(0, D, BLOCK):
        mask = inside[:, None] & (lanes < D - first)[None, :]
        scaled = tl.load(x + at + first, mask=mask, other=0.0).to(tl.float32) * scale[:, None]
        unit = tl.div_rn(tl.div_rn(scaled, length[:, None]), over)
        tl.store(units + at + first, unit, mask=mask)
        if exact is not None:
            tl.store(exact + at + first, scaled.to(tl.bfloat16), mask=mask)
            tl.store(rounded + at + first, unit.to(tl.bfloat16), mask=mask)
    if factors is not None:
        tl.store(factors + row, tl.div_rn(1.0, length * over), mask=inside)
    tl.store(lengths + row, length, mask=inside)
    tl.store(scales + row, scale, mask=inside)


@triton.jit(do_not_specialize=["N"])  # type: ignore[untyped-decorator]
def from_unit_rows(
    gradients: tl.tensor,  # (N, D) float32, contiguous, as the next two
    units: tl.tensor,
    out: tl.tensor,
    lengths: tl.tensor,  # (N,) float32, as the next
    scales: tl.tensor,
    N: tl.tensor,
    D: tl.tensor,
    over: tl.tensor,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """ROWS rows: see `_kernel_rows.through_unit_rows`."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = row < N
    lanes = tl.arange(0, BLOCK)
    at = row.to(tl.int64)[:, None] * D + lanes[None, :]  # offsets may exceed 2**31

    products = tl.zeros([ROWS, BLOCK], tl.float32)
    for first in range(0, D, BLOCK):
        mask = inside[:, None] & (lanes < D - first)[None, :]
        u = tl.load(units + at + first, mask=mask, other=0.0) * over
        products += u * tl.div_rn(tl.load(gradients + at + first, mask=mask, other=0.0), over)
    along = tl.sum(products, axis=1)

    length = tl.load(lengths + row, mask=inside, other=1.0)
    root = tl.sqrt_rn(tl.load(scales + row, mask=inside, other=1.0))
    for first in range(0, D, BLOCK):
        mask = inside[:, None] & (lanes < D - first)[None, :]
        u = tl.load(units + at + first, mask=mask, other=0.0) * over
        across = tl.div_rn(tl.load(gradients + at + first, mask=mask, other=0.0), over) - u * along[:, None]
        # Half of the scale before and half after: else what is tiny leaves float32's range.
        tl.store(out + at + first, tl.div_rn(across * root[:, None], length[:, None]) * root[:, None], mask=mask)
