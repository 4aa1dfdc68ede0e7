"""The in-batch loss without options of a small batch: `infonce.plain` in a row of NumPy calls.

So short a computation is as long as the Python around it: of reductions the ufuncs' own are called, without the methods
around them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from infonce.backend import Arithmetic
from infonce.problem import Gradients, Inputs, Options

SAFE = 1e-30  # squares of norms between this and its inverse: none that matters left float32's range
vecdot, total, least, most = np.vecdot, np.add.reduce, np.minimum.reduce, np.maximum.reduce


def solve(b: Arithmetic, options: Options, inputs: Inputs, wanted: tuple[str, ...]) -> tuple[Any, Gradients] | None:
    """As `Backend.solve` where `plain.small` applies; None where a row's norm is extreme."""
    query, key, t = inputs.query, inputs.positive_key, inputs.temperature
    lengths = []
    for x in (query, key):
        squares = vecdot(x, x)
        if not (least(squares) > SAFE and most(squares) < 1 / SAFE):
            return None
        lengths.append(np.sqrt(squares, out=squares)[:, None])
    q_length, k_length = lengths
    q_length *= t
    q, k = query / q_length, key / k_length
    z = q @ k.T
    own = z.reshape(-1)[:: len(z) + 1]  # a view
    positive = own.copy()
    own[...] = -math.inf
    sums = total(np.exp(z, out=z), axis=1)
    if options.symmetric:
        sums = np.stack([sums, b.column_sums(z)[0]])  # a row for each direction
    beyond = np.log(sums)
    beyond -= positive
    losses = np.logaddexp(beyond, 0)
    if options.symmetric:
        losses = total(losses, axis=0) / 2
    if options.reduction == "none":
        return losses, {}
    share = 1 / len(z) if options.reduction == "mean" else 1
    loss, found = total(losses) * share, dict.fromkeys(wanted)  # in their order
    if not wanted:
        return loss, found
    missed = np.exp(np.negative(beyond, out=beyond), out=beyond)
    missed += 1
    missed = np.divide(share, missed, out=missed)
    scale = None  # of rows, which stays out of the block: its products would be subnormal
    if options.symmetric:
        missed /= 2
        by_row, by_column = missed / sums
        b.times_sum(z, by_row[:, None], by_column)
        own[...] = -total(missed, axis=0)
    else:
        own[...] = -sums
        missed /= sums
        scale = missed[:, None]
    if "query" in wanted:
        gradient = z @ k
        if scale is not None:
            gradient *= scale
        along = vecdot(q, gradient)[:, None]
        along *= t * t
        gradient -= q * along
        gradient /= q_length
        found["query"] = gradient
    if "positive_key" in wanted:
        if scale is not None:
            q *= scale
        gradient = z.T @ q
        gradient -= k * vecdot(k, gradient)[:, None]
        gradient /= k_length
        found["positive_key"] = gradient
    return loss, found
