"""The in-batch loss without options, in a straight line.

It is what `passes` computes. But of a small batch's time most is Python's own, and of a large one's all that is not a
product is what a block is visited for: here that is one call, which a backend may fuse.
"""

from __future__ import annotations

from typing import Any

from .arithmetic import Arithmetic
from .frame import (
    bounded,
    compute_dtype,
    divisor,
    off_sphere,
    per_row,
    reduced,
    row_weight,
    rows_per_block,
    sphere,
    temperature_gradient,
)
from .halves import Halved, of_halves
from .problem import Gradients, Inputs, Kept, Options, without_options
from .spread import far_apart, lift, lowered

KEPT = "exponentials", "slope"  # what the gradients of row losses need again, each of all rows


def applies(b: Arithmetic, options: Options, inputs: Inputs) -> bool:
    if options.views or options.symmetric or not without_options(options, inputs):
        return False
    return b.shape(inputs.positive_key)[0] not in (None, 0, 1)


def solve(
    b: Arithmetic, options: Options, inputs: Inputs, wanted: tuple[str, ...], cotangent: Any, kept: Kept | None
) -> tuple[Any, Gradients]:
    """As `engine.solve`. Of row losses in a single block the exponentials are kept for the call with the cotangent."""
    xp, dtype, n = b.xp, compute_dtype(b, inputs), b.shape(inputs.positive_key)[0]
    t, within = divisor(b, inputs.temperature, dtype), bounded(options, inputs.temperature)
    far = far_apart(b, options, inputs)
    key, key_back = sphere(b, inputs.positive_key, dtype, options.normalize)
    half = b.half_products(inputs.query, inputs.positive_key)
    right = b.halved(inputs.positive_key, key, key_back, half, options.normalize)
    fused = b.fused(right, right) if within else None
    right = right if fused is None else fused.prepared(right)
    later = bool(wanted) and options.reduction == "none" and cotangent is None
    block_size = rows_per_block(b, options, n, n, kept=later, fused=of_halves(fused, right))
    assert n is not None  # see `applies`
    keep = later and n <= block_size and n * n <= b.blocks().kept
    if kept:
        block_size = n
    wanted = () if later else wanted
    of_temperature, of_key = "temperature" in wanted, "positive_key" in wanted
    of_query = "query" in wanted or of_temperature
    weight = row_weight(b, options, key, None, cotangent) if wanted else None
    power = lift(b, options, t, weight, far)

    def visited(q: Any, own: Any, first_row: Any, halves: tuple[Halved, Halved]) -> Any:
        """The losses, and what their slopes need."""
        if fused is None:
            p, loss, slope = b.against_others(q, key, own, first_row, within, None if half is None else halves, far)
        elif wanted or keep:
            p, loss, slope = fused.exponentials(*halves, first_row)
        else:
            total, _, positive = fused.totals(*halves, first_row, columns=False)
            p, slope, (loss, _) = None, None, b.softplus(xp.log(total) - positive)
        return loss, p, slope

    def body(first_row: Any, rows: tuple[Any, ...], sums: Any) -> Any:
        """All that a block of queries needs, their way to the sphere and back included: while it is in the caches."""
        raw, own, *of_rows = rows
        over, w = (x if y is None else y for x, y in zip((t, weight), of_rows, strict=True))
        q, back = sphere(b, raw, dtype, options.normalize, over)
        left = b.halved(raw, q, back, half, options.normalize)
        halves = left if fused is None else fused.prepared(left), right
        loss, p, slope = (None, *(kept[name] for name in KEPT)) if kept else visited(q, own, first_row, halves)
        if not wanted:
            return (loss, p, slope) if keep else (loss, None, None), ()
        scale, d_query, along = slope * w, None, None
        if of_query:
            d_query = b.product(p, right.rounded) * scale
            along = xp.sum(q * d_query, axis=-1, keepdims=True) if of_temperature else None
            d_query = off_sphere(b, d_query, q, back, options.normalize) if "query" in wanted else None
        if not of_key:
            return (loss, d_query, along), ()
        scale = scale * power if far else scale
        weighted = q * scale if half is None else b.rounded_product(q, scale, half)
        d_key = b.add_transposed(sums[0] if sums else None, p, weighted)
        return (loss, d_query, along), (d_key,)

    def start() -> tuple[Any, ...]:
        return (xp.zeros_like(key),) if of_key else ()

    rows = (inputs.query, key, *(x if per_row(x) else None for x in (t, weight)))
    (losses, *of_rows), sums = b.loop(body, start, rows, block_size)
    loss = None if kept else reduced(b, options, losses, None)
    if keep:
        return loss, dict(zip(KEPT, of_rows, strict=True))
    d_query, along = of_rows
    found: Gradients = dict.fromkeys(wanted)  # in their order
    if "query" in wanted:
        found["query"] = d_query
    if of_key:
        found["positive_key"] = off_sphere(b, lowered(sums[0], power), key, key_back, options.normalize)
    if of_temperature:
        found["temperature"] = temperature_gradient(b, along, t, inputs.temperature)
    return loss, found
