"""The Triton kernel of `_kernel_products`; importing it imports Triton."""

from __future__ import annotations

import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)


# M and D stay specialised: only where they are known to be multiples of 16 do accesses become vectors.
@triton.jit(do_not_specialize=["B", "first_row", "period", "programs"])  # type: ignore[untyped-decorator]
def exp_products(
    rows: tl.tensor,  # descriptor: (B, D) bfloat16 or float32, in blocks of ROWS by DEPTH
    keys: tl.tensor,  # descriptor: (M, D) of the same, in blocks of COLUMNS by DEPTH
    out: tl.tensor,  # descriptor: (B, M) of the same, in blocks of ROWS by COLUMNS // PIECES; None: sums alone
    row_factor: tl.tensor,  # (B,) float32; None: 1
    column_factor: tl.tensor,  # (M,) float32, or None with the one before
    row_weight: tl.tensor,  # (B,) float32; None: `out` is not weighted
    column_weight: tl.tensor,  # (M,) float32, or None with the one before
    row_parts: tl.tensor,  # (tiles across, B) float32: each tile's share of the sums over the columns; None: not wanted
    column_parts: tl.tensor,  # (tiles down, M) float32, likewise
    own_logits: tl.tensor,  # (B,) float32; None: not wanted
    B: tl.tensor,
    M: tl.tensor,
    D: tl.tensor,
    first_row: tl.tensor,
    period: tl.tensor,  # row i's own entries: those at first_row + i, and at multiples of this before and after
    programs: tl.tensor,
    WHOLE: tl.constexpr,  # all tiles lie within (B, M)
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
    GROUP: tl.constexpr,
    PIECES: tl.constexpr,  # 2 or 4
) -> None:
    """All tiles of ROWS by COLUMNS, `programs` apart, 0 at own entries: see `_kernel_products`.

    As one loop with that over D: while a tile's exponentials are taken the next tile's rows and keys are on their way.
    """
    tiles_across, tiles_down = tl.cdiv(M, COLUMNS), tl.cdiv(B, ROWS)
    for tile in tl.range(tl.program_id(0), tiles_across * tiles_down, programs, flatten=True):
        # Down GROUP tiles, then one across: those that run together read few rows and few keys, which the cache holds.
        in_group = GROUP * tiles_across
        first = tile // in_group * GROUP
        height = min(tiles_down - first, GROUP)
        down, across = first + tile % in_group % height, tile % in_group // height
        top, left = down * ROWS, across * COLUMNS
        z = tl.zeros([ROWS, COLUMNS], tl.float32)
        for depth in range(0, D, DEPTH):  # beyond the edges descriptors give 0
            z = tl.dot(rows.load([top, depth]), keys.load([left, depth]).T, z, input_precision="tf32")

        row, column = top + tl.arange(0, ROWS), left + tl.arange(0, COLUMNS)
        inside, within = row < B, column < M
        if row_factor is None:
            z = z * LOG2E
        else:
            z = z * (tl.load(row_factor + row, mask=inside, other=0.0) * LOG2E)[:, None]
            z = z * tl.load(column_factor + column, mask=within, other=0.0)[None, :]
        # Of each row the first own entry from `left` on; the first multiple of the period is beyond all that is added.
        beyond = tl.cdiv(first_row + B + ROWS, period) * period
        own = first_row + row
        own += tl.cdiv(left - own + beyond, period) * period - beyond
        least = left - (first_row + top + ROWS - 1) + beyond
        has_own = (least + ROWS + COLUMNS - 2) // period * period >= least  # so far columns may be ahead of rows
        if has_own:
            is_own = own[:, None] == column[None, :]
            if own_logits is not None:
                logit = tl.sum(tl.where(is_own, z, 0.0), axis=1) / LOG2E
                tl.store(own_logits + row, logit, mask=inside & (own < left + COLUMNS))
            z = tl.where(is_own & (z == z), -float("inf"), z)  # NaN in an own entry alone reaches the sums
        if not WHOLE:
            z = tl.where(inside[:, None] & within[None, :], z, -float("inf"))
        e = tl.exp2(z)
        if row_parts is not None:
            tl.store(row_parts + across.to(tl.int64) * B + row, tl.sum(e, axis=1), mask=inside)
        if column_parts is not None:
            tl.store(column_parts + down.to(tl.int64) * M + column, tl.sum(e, axis=0), mask=within)
        if out is not None:
            if row_weight is not None:
                weight = tl.load(row_weight + row, mask=inside, other=0.0)
                e = e * (weight[:, None] + tl.load(column_weight + column, mask=within, other=0.0)[None, :])
            # In pieces: what waits for being written then leaves room for a stage more.
            e = e.to(out.dtype)
            if PIECES == 2:
                store_halves(out, top, left, e, ROWS, COLUMNS)
            else:
                near, far = halved(e, ROWS, COLUMNS)
                store_halves(out, top, left, near, ROWS, COLUMNS // 2)
                store_halves(out, top, left + COLUMNS // 2, far, ROWS, COLUMNS // 2)


@triton.jit  # type: ignore[untyped-decorator]
def store_halves(
    out: tl.tensor, top: tl.tensor, left: tl.tensor, x: tl.tensor, ROWS: tl.constexpr, COLUMNS: tl.constexpr
) -> None:
    near, far = halved(x, ROWS, COLUMNS)
    out.store([top, left], near)
    out.store([top, left + COLUMNS // 2], far)


@triton.jit  # type: ignore[untyped-decorator]
def halved(x: tl.tensor, ROWS: tl.constexpr, COLUMNS: tl.constexpr) -> tl.tuple:
    """The columns of the first and of the second half."""
    return x.reshape(ROWS, 2, COLUMNS // 2).permute(0, 2, 1).split()
