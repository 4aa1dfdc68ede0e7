"""The product of rows and the exponential of what it gives, in one kernel on GPUs: no logit is ever stored.

    z_ij = (sum_d rows_id keys_jd) * row_factor_i * column_factor_j, summed in float32, |z_ij| <= 40

A row's own entries are (i, first_row + i) and those a multiple of a period before and after: its positive, or in
NT-Xent the row itself and its sample's in the other views. The sums leave them out; they are sums of float32. A NaN,
be it in an own entry, makes its row's sum NaN.

Rows are bfloat16; or float32, without factors, where a GPU may multiply that as TF32.
"""

from __future__ import annotations

import functools
import importlib.util
from typing import Any, NamedTuple

import torch
from torch import Tensor

from infonce.blocks import ON_GPU
from infonce.halves import Halved

from ._kernel import closed_form

ALIGNED = 16  # bytes: the copies between the memories take no less
ONCE = 1 << 29  # a period that no block is as wide as


class Tiles(NamedTuple):
    """What one program computes at a time, and how."""

    rows: int
    columns: int
    depth: int  # of the products, at a time
    group: int  # tiles below each other that run one after the other
    warps: int
    stages: int  # depths that are loaded ahead, and the one at hand
    programs: int  # on each multiprocessor


WIDE = Tiles(rows=128, columns=256, depth=64, group=32, warps=8, stages=4, programs=1)
# Of short rows the exponentials take as long as the products: of two programs one multiplies meanwhile.
NARROW = Tiles(rows=128, columns=128, depth=64, group=32, warps=4, stages=3, programs=2)
SHALLOW = 256  # features: measured on an H100
OF_FLOATS = WIDE._replace(depth=32)  # as many bytes


def tiles(rows: Halved) -> Tiles:
    if rows.rows.dtype == torch.float32:
        return OF_FLOATS
    return NARROW if rows.rows.shape[1] <= SHALLOW else WIDE


@functools.cache
def available(device: torch.device) -> bool:
    """Whether the tiles are for this device, whose multiprocessors they fill, a Hopper's; and Triton knows them."""
    if torch.cuda.get_device_capability(device)[0] != 9:
        return False
    return importlib.util.find_spec("triton.tools.tensor_descriptor") is not None  # from Triton 3.4 on


def tf32() -> bool:
    """Whether float32 may be multiplied so."""
    settings = torch.backends.cuda.matmul
    # From torch 2.9 on; then the older setting may not be read after this was made.
    return bool(settings.fp32_precision == "tf32" if hasattr(settings, "fp32_precision") else settings.allow_tf32)


def fits(rows: Halved, keys: Halved, period: int | None = None) -> bool:
    """Whether the kernel takes them: contiguous, each row of D or of M entries aligned to 16 bytes.

    And whether it multiplies their dtype, and in a tile a row has one own entry at most. A single block of float32 is
    sooner made by the library's product: it is launched faster.
    """
    x, (M, D) = rows.rows, keys.rows.shape
    dtype = x.dtype == torch.bfloat16 or (x.dtype == torch.float32 and tf32() and len(x) * M > ON_GPU.whole)
    aligned = (y.rows.is_contiguous() and y.rows.data_ptr() % ALIGNED == 0 for y in (rows, keys))
    sizes = (D * x.itemsize) % ALIGNED == (M * x.itemsize) % ALIGNED == 0
    return dtype and sizes and (period is None or period >= tiles(rows).columns) and all(aligned)


def prepared(rows: Halved) -> Halved:
    """`Fused.prepared`: float32, rounded to the nearest number of 11 binary digits (Veltkamp).

    Tensor cores cut the others off, which would make every logit smaller.
    """
    if rows.factor is not None:
        return rows
    above = rows.rows * (2.0**13 + 1)
    return rows._replace(rows=above.sub_(above - rows.rows))


def exponentials(rows: Halved, keys: Halved, first_row: int) -> tuple[Tensor, Tensor, Tensor]:
    """`Fused.exponentials`."""
    B, M = rows.rows.shape[0], keys.rows.shape[0]
    p, positive = rows.rows.new_empty((B, M)), _empty(rows, B, 1)
    parts = _empty(rows, -(-M // tiles(rows).columns), B)
    _launch(rows, keys, first_row, ONCE, out=p, row_parts=parts, own_logits=positive)
    return p, *closed_form(parts, None, positive, p, first_row)


def totals(
    rows: Halved, keys: Halved, first_row: int, period: int | None = None, columns: bool = True
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """`Fused.totals`."""
    B, M, t = rows.rows.shape[0], keys.rows.shape[0], tiles(rows)
    own = _empty(rows, B, 1) if period is None else None
    parts = _empty(rows, -(-M // t.columns), B)
    column_parts = _empty(rows, -(-B // t.rows), M) if columns else None
    _launch(rows, keys, first_row, period or ONCE, row_parts=parts, column_parts=column_parts, own_logits=own)
    return parts.sum(0).unsqueeze(1), None if column_parts is None else column_parts.sum(0, keepdim=True), own


def weighted(
    rows: Halved,
    keys: Halved,
    first_row: int,
    row: Tensor,
    column: Tensor,
    own: Tensor | None = None,
    period: int | None = None,
) -> Tensor:
    """`Fused.weighted`."""
    p: Tensor = rows.rows.new_empty((rows.rows.shape[0], keys.rows.shape[0]))
    _launch(rows, keys, first_row, period or ONCE, out=p, row_weight=row, column_weight=column)
    if own is not None:
        p.diagonal(first_row).unsqueeze(1).copy_(own)
    return p


def _empty(like: Halved, *shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.float32, device=like.rows.device)


def _launch(rows: Halved, keys: Halved, first_row: int, period: int, out: Tensor | None = None, **named: Any) -> None:
    """The kernel, with what is `named` of its arguments; the others are None."""
    (B, D), M, t = rows.rows.shape, keys.rows.shape[0], tiles(rows)
    assert keys.rows.shape[1] == D
    assert 0 <= first_row <= M - B < ONCE
    assert rows.rows.dtype == keys.rows.dtype
    whole = rows.rows.dtype == torch.float32
    assert all((x.factor is None) == whole for x in (rows, keys))
    vectors = {"row_factor": rows.factor, "column_factor": keys.factor, **named}
    assert all(x is None or x.dtype == torch.float32 for x in vectors.values())
    from triton.tools.tensor_descriptor import TensorDescriptor  # Triton need not be installed

    from ._triton_products import exp_products

    contiguous = {name: None if x is None else x.contiguous() for name, x in vectors.items()}
    given = dict.fromkeys(("row_weight", "column_weight", "row_parts", "column_parts", "own_logits"))
    count = -(-B // t.rows) * -(-M // t.columns)
    programs = min(count, t.programs * _multiprocessors(rows.rows.device))
    pieces = rows.rows.itemsize
    across = [t.rows, t.depth], [t.columns, t.depth], [t.rows, t.columns // pieces]
    left, right, to = (
        None if x is None else TensorDescriptor.from_tensor(x, block)
        for x, block in zip((rows.rows, keys.rows, out), across, strict=True)
    )
    with torch.cuda.device_of(rows.rows):  # type: ignore[no-untyped-call]
        exp_products[(programs,)](
            left,
            right,
            to,
            **{**given, **contiguous},
            B=B,
            M=M,
            D=D,
            first_row=first_row,
            period=period,
            programs=programs,
            WHOLE=B % t.rows == 0 and M % t.columns == 0,
            ROWS=t.rows,
            COLUMNS=t.columns,
            DEPTH=t.depth,
            GROUP=t.group,
            PIECES=pieces,
            num_warps=t.warps,
            num_stages=t.stages,
        )


@functools.cache
def _multiprocessors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 2
