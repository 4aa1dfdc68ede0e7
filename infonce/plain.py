"""The in-batch loss without options, in a straight line.

It is what `passes` computes. But of a small batch's time most is Python's own, and of a large one's all that is not a
product is what a block is visited for: here that is one call, which a backend may fuse.
"""

from __future__ import annotations

from typing import Any

from .backend import Arithmetic, Halves
from .frame import (
    bounded,
    compute_dtype,
    divisor,
    half_keys,
    in_halves,
    of_temperature,
    off_sphere,
    per_row,
    reduced,
    row_weight,
    rows_per_block,
    sphere,
)
from .problem import Gradients, Inputs, Options


def applies(b: Arithmetic, options: Options, inputs: Inputs) -> bool:
    others = inputs.negative_keys, inputs.bias, inputs.weight, inputs.ids, inputs.mask
    if any(x is not None for x in others) or b.shape(inputs.positive_key)[0] in (None, 0, 1):
        return False
    return options == Options(
        options.reduction, options.block_size, normalize=options.normalize, bounded=options.bounded
    )


def solve(
    b: Arithmetic, options: Options, inputs: Inputs, wanted: tuple[str, ...], cotangent: Any
) -> tuple[Any, Gradients]:
    """As `engine.solve`."""
    xp, dtype = b.xp, compute_dtype(b, inputs)
    t, within = divisor(b, inputs.temperature, dtype), bounded(options, inputs.temperature)
    query, query_back = sphere(b, inputs.query, dtype, options.normalize, t)
    key, key_back = sphere(b, inputs.positive_key, dtype, options.normalize)
    of_query, of_key = "query" in wanted or "temperature" in wanted, "positive_key" in wanted
    weight = row_weight(b, options, query, None, cotangent) if wanted else None
    by_row = per_row(weight)
    half = b.half_products(inputs.query, inputs.positive_key)
    left = row_factor = right = None
    if half is not None:
        left, row_factor = in_halves(b, inputs.query, dtype, half, query_back, options.normalize)
        right = half_keys(b, inputs.positive_key, key, half, key_back, options.normalize)

    def body(first_row: Any, rows: tuple[Any, ...], sums: Any) -> Any:
        q, own, w, multiplied, factor = rows
        halves = None if right is None else Halves(multiplied, right.keys, factor, right.factor, half)
        p, total, lse, positive = b.against_others(q, key, own, first_row, within, halves)
        loss, missed = b.softplus(lse - positive)
        if not wanted:
            return (loss, None), ()
        scale = missed * (w if by_row else weight) / total
        d_query = b.product(p, key if right is None else right.rounded) * scale if of_query else None
        if not of_key:
            return (loss, d_query), ()
        weighted = q * scale if half is None else xp.astype(q * scale, half)
        return (loss, d_query), (b.add_product(sums[0] if sums else None, xp.matrix_transpose(p), weighted),)

    def start() -> tuple[Any, ...]:
        return (xp.zeros_like(key),) if of_key else ()

    block_size = rows_per_block(b, options, b.shape(query)[0], b.shape(key)[0])
    rows = (query, key, weight if by_row else None, left, row_factor)
    (losses, d_query), sums = b.loop(body, start, rows, block_size)
    loss = reduced(b, options, losses, None)
    found: Gradients = dict.fromkeys(wanted)  # in their order
    if "temperature" in wanted:  # before the way back, which may write over the gradient
        found["temperature"] = of_temperature(b, query, d_query, t, inputs.temperature)
    if "query" in wanted:
        found["query"] = off_sphere(b, d_query, query_back, options.normalize)
    if of_key:
        found["positive_key"] = off_sphere(b, sums[0], key_back, options.normalize)
    return loss, found
