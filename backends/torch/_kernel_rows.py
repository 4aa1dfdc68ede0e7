"""Unit rows and the way back, in one kernel each on GPUs: eager torch takes a dozen for them."""

from __future__ import annotations

import torch
from torch import Tensor

from infonce.halves import Halved
from infonce.rows import EXTREME

ENTRIES = 2048  # that a program holds at a time: 16 in each thread
NARROWEST = 32  # columns of them
WARPS = 4


def tile(D: int) -> tuple[int, int]:
    """Rows of a program, and the columns that it takes at a time: powers of two."""
    columns = min(max(1 << max(D - 1, 0).bit_length(), NARROWEST), ENTRIES)
    return ENTRIES // columns, columns


def unit_rows(x: Tensor, over: float) -> tuple[Tensor, tuple[Tensor, Tensor], Halved | None]:
    """`infonce.rows.unit_rows` in float32, divided by `over`.

    Args:
        x: (N, D), contiguous, of any floating dtype up to float32.
        over: what unit rows are divided by.

    Returns:
        x / |x| / over, (N, D); |x| times a power of two, inf for a zero row, (N, 1), and that power of two, (N, 1),
        all of them float32; and of bfloat16 what `Arithmetic.halved` makes of the rows. NaN stays in its row.
    """
    N, D = x.shape
    assert x.is_contiguous()
    from ._triton_rows import to_unit_rows  # Triton need not be installed

    limit, power = EXTREME[4]
    unit = torch.empty_like(x, dtype=torch.float32)
    length, scale = (unit.new_empty((N, 1)) for _ in range(2))
    halves = None
    if x.dtype == torch.bfloat16:
        halves = Halved(torch.empty_like(x), unit.new_empty((N, 1)), torch.empty_like(x))
    rows, columns = tile(D)
    with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
        to_unit_rows[(-(-N // rows),)](
            x,
            unit,
            length,
            scale,
            *(halves or (None,) * 3),
            N,
            D,
            over,
            LIMIT=limit,
            POWER=power,
            ROWS=rows,
            BLOCK=columns,
            num_warps=WARPS,
        )
    return unit, (length, scale), halves


def through_unit_rows(gradient: Tensor, unit: Tensor, length: Tensor, scale: Tensor, over: float) -> Tensor:
    """Carry a gradient with respect to what `unit_rows` returned first back to its argument, in float32.

        u = unit * over, g = gradient / over; (g - u (u . g)) / |x|, 0 for a zero row

    Args:
        gradient: (N, D) float32.
        unit: as `unit_rows` returned it, as are `length` and `scale`.
        over: as `unit_rows` was given it.
    """
    N, D = unit.shape
    assert gradient.shape == unit.shape
    assert length.shape == scale.shape == (N, 1)
    assert all(x.dtype == torch.float32 for x in (gradient, unit, length, scale))
    assert all(x.is_contiguous() for x in (unit, length, scale))
    from ._triton_rows import from_unit_rows  # Triton need not be installed

    out = torch.empty_like(unit)
    rows, columns = tile(D)
    with torch.cuda.device_of(unit):  # type: ignore[no-untyped-call]
        from_unit_rows[(-(-N // rows),)](
            gradient.contiguous(), unit, out, length, scale, N, D, over, ROWS=rows, BLOCK=columns, num_warps=WARPS
        )
    return out
