"""The losses without options of a small batch, each in a row of NumPy calls.

So short a computation is as long as the Python around it: of reductions the ufuncs' own are called, without the methods
around them. Which calls come here is `infonce.plain.small`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from infonce import plain
from infonce.backend import Arithmetic
from infonce.problem import Gradients, Inputs, Options

SAFE = 1e-30  # squares of norms between this and its inverse: none that matters left float32's range
vecdot, total, least, most = np.vecdot, np.add.reduce, np.minimum.reduce, np.maximum.reduce


def applies(b: Arithmetic, options: Options, inputs: Inputs, wanted: tuple[str, ...]) -> bool:
    """Whether `solve` may answer a call: of arrays, and no subclass."""
    return plain.small(b, options, inputs, wanted) and all(x is None or type(x) is np.ndarray for x in inputs[:2])


def solve(b: Arithmetic, options: Options, inputs: Inputs, wanted: tuple[str, ...]) -> tuple[Any, Gradients] | None:
    """As `Backend.solve` where `plain.small` applies; None where a row's norm is extreme."""
    if options.views:
        return two_views(b, options, inputs, wanted)
    query, key, t = inputs.query, inputs.positive_key, inputs.temperature
    q_norm, k_norm = norms(query), norms(key)
    if q_norm is None or k_norm is None:
        return None
    q_norm *= t
    q, k = query / q_norm, key / k_norm
    z = q @ k.T
    own = z.reshape(-1)[:: len(z) + 1]  # a view
    positive = own.copy()
    own[...] = -math.inf
    sums = total(np.exp(z, out=z), axis=1)
    if options.symmetric:
        sums = np.stack([sums, b.column_sums(z)[0]])  # a row for each direction
    loss, missed = closed_form(options, sums, positive)
    if not wanted:
        return loss, {}
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
    found: Gradients = dict.fromkeys(wanted)  # in their order
    if "query" in wanted:
        gradient = z @ k
        if scale is not None:
            gradient *= scale
        found["query"] = off_sphere(gradient, q, q_norm, t)
    if "positive_key" in wanted:
        if scale is not None:
            q *= scale
        found["positive_key"] = off_sphere(z.T @ q, k, k_norm, 1.0)
    return loss, found


def two_views(b: Arithmetic, options: Options, inputs: Inputs, wanted: tuple[str, ...]) -> tuple[Any, Gradients] | None:
    """`solve` for the rows of two views against each other."""
    rows, root = inputs.query, math.sqrt(inputs.temperature)
    norm = norms(rows)
    if norm is None:
        return None
    norm *= root
    x = rows / norm
    z, size, samples = b.scores(x, x), len(x), len(x) // 2
    np.fill_diagonal(z, -math.inf)
    entries = z.reshape(-1)
    partners = entries[samples : samples * size : size + 1], entries[samples * size :: size + 1]  # views
    positive = np.concatenate(partners)
    for own in partners:
        own[...] = -math.inf
    sums = total(np.exp(z, out=z), axis=1)
    loss, missed = closed_form(options, sums, positive)
    if not wanted:
        return loss, {}
    slope = missed / sums
    b.times_sum(z, slope[:, None], slope)
    for own in partners:
        own[...] = -missed[:samples] - missed[samples:]
    return loss, {"query": off_sphere(z @ x, x, norm, root)}


def norms(x: Any) -> Any:
    """The rows' norms, (N, 1); None where one is extreme."""
    squares = vecdot(x, x)
    if not (least(squares) > SAFE and most(squares) < 1 / SAFE):
        return None
    return np.sqrt(squares, out=squares)[:, None]


def closed_form(options: Options, sums: Any, positive: Any) -> tuple[Any, Any]:
    """The reduced loss, and its slope in each direction."""
    beyond = np.log(sums)
    beyond -= positive
    losses = np.logaddexp(beyond, 0)
    if options.symmetric:
        losses = total(losses, axis=0) / 2
    share = 1 / len(positive) if options.reduction == "mean" else 1
    inverse = np.exp(np.negative(beyond, out=beyond), out=beyond)
    inverse += 1
    missed = np.divide(share, inverse, out=inverse)
    return losses if options.reduction == "none" else total(losses) * share, missed


def off_sphere(gradient: Any, made: Any, length: Any, over: float) -> Any:
    """The gradient, which is lost, with respect to rows; over `length`, their norms times `over`, they are `made`."""
    along = vecdot(made, gradient)[:, None]
    along *= over * over
    gradient -= made * along
    gradient /= length
    return gradient
