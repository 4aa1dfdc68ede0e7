"""The plain in-batch loss of one block, in a straight line.

It is what `passes` computes; but of a small batch's time most is Python's own, and this takes half of it.
"""

from __future__ import annotations

import math
from typing import Any

from .backend import Arithmetic
from .frame import WHOLE, bounded, compute_dtype, reduced, row_weight
from .problem import Gradients, Inputs, Options

MOST = math.isqrt(WHOLE)


def applies(b: Arithmetic, options: Options, inputs: Inputs) -> bool:
    if inputs.negative_keys is not None or not bounded(options, inputs.temperature):
        return False
    rows = b.shape(inputs.positive_key)[0]
    others = inputs.bias, inputs.weight, inputs.ids, inputs.mask
    fits = rows is not None and 1 < rows <= MOST
    return fits and all(x is None for x in others) and options == Options(options.reduction)


def solve(
    b: Arithmetic, options: Options, inputs: Inputs, wanted: tuple[str, ...], cotangent: Any
) -> tuple[Any, Gradients]:
    """As `engine.solve`."""
    xp, dtype, t = b.xp, compute_dtype(b, inputs), inputs.temperature
    query, query_back = b.unit_rows(xp.astype(inputs.query, dtype), t)
    key, key_back = b.unit_rows(xp.astype(inputs.positive_key, dtype))
    z = b.scores(query, key)
    positive = b.positive_scores(query, key, z, 0)
    e = b.exponential(b.write_own(z, 0, -math.inf))
    total = xp.sum(e, axis=-1, keepdims=True)
    loss, missed = b.softplus(xp.log(total) - positive)
    value = reduced(b, options, loss, None)
    if not wanted:
        return value, {}

    scale = missed * row_weight(b, options, query, None, cotangent) / total
    p = b.write_own(e, 0, -total)
    found: Gradients = {}
    if "query" in wanted:
        found["query"] = b.through_unit_rows(xp.matmul(p, key) * scale, query_back)
    if "positive_key" in wanted:
        found["positive_key"] = b.through_unit_rows(xp.matmul(xp.matrix_transpose(p), query * scale), key_back)
    return value, found
