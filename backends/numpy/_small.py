"""The losses without options of a small batch, each in a row of NumPy calls.

Which calls come here is `infonce.small`. Of reductions the ufuncs' own are called, without the methods around them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from infonce import small
from infonce.problem import Gradients, Inputs, Options

from ._arithmetic import KEY, QUERY, NumPyArithmetic, own_entries

total = np.add.reduce


def applies(b: NumPyArithmetic, options: Options, inputs: Inputs, gradients: bool) -> bool:
    """Whether `solve` may answer a call: of arrays, and no subclass."""
    return small.applies(b, options, inputs, gradients) and all(x is None or type(x) is np.ndarray for x in inputs[:2])


def solve(b: NumPyArithmetic, options: Options, inputs: Inputs, wanted: tuple[str, ...]) -> tuple[Any, Gradients]:
    """As `Backend.solve`."""
    if options.views:
        return two_views(b, options, inputs, wanted)
    query, key = inputs.query, inputs.positive_key
    q, q_back = b.unit_rows(query, query.dtype, inputs.temperature, part=QUERY)
    k, k_back = b.unit_rows(key, key.dtype, part=KEY)
    z = b.scores(q, k)
    own = own_entries(z, 0)
    positive = own.copy()
    own[...] = -math.inf
    sums = total(np.exp(z, out=z), axis=1)
    if options.symmetric:
        sums = np.stack([sums, b.column_sums(z)[0]])  # a row for each direction
    loss, missed = closed_form(b, options, sums, positive)
    if not wanted:
        return loss, {}
    # Of one direction the slopes stay out of the block: they multiply its few thin factors.
    scale = None
    if options.symmetric:
        missed /= 2
        by_row, by_column = missed / sums
        b.times_sum(z, by_row[:, None], by_column)
        own[...] = -total(missed, axis=0)
    else:
        own[...] = -sums
        scale = (missed / sums)[:, None]
    found: Gradients = dict.fromkeys(wanted)  # in their order
    if "query" in wanted:
        gradient = z @ k
        if scale is not None:
            gradient *= scale
        found["query"] = b.through_unit_rows(gradient, q, q_back)
    if "positive_key" in wanted:
        if scale is not None:
            q *= scale  # which nobody needs any more
        found["positive_key"] = b.through_unit_rows(z.T @ q, k, k_back)
    return loss, found


def two_views(b: NumPyArithmetic, options: Options, inputs: Inputs, wanted: tuple[str, ...]) -> tuple[Any, Gradients]:
    """`solve` for the rows of two views against each other."""
    rows, back = b.unit_rows(inputs.query, inputs.query.dtype, math.sqrt(inputs.temperature), part=QUERY)
    z, samples = b.scores(rows, rows), len(rows) // 2
    partners = own_entries(z[:samples], samples), own_entries(z[samples:], 0)
    positive = np.concatenate(partners)
    b.mask_samples(z, samples, 2)
    sums = total(np.exp(z, out=z), axis=1)
    loss, missed = closed_form(b, options, sums, positive)
    if not wanted:
        return loss, {}
    slope = missed / sums
    b.times_sum(z, slope[:, None], slope)
    for own in partners:
        own[...] = -missed[:samples] - missed[samples:]
    return loss, {"query": b.through_unit_rows(z @ rows, rows, back)}


def closed_form(b: NumPyArithmetic, options: Options, sums: Any, positive: Any) -> tuple[Any, Any]:
    """The reduced loss, and its slope with respect to the log-sum-exps, in each direction."""
    losses, missed = b.softplus(np.log(sums) - positive)
    if options.symmetric:
        losses = total(losses, axis=0) / 2
    if options.reduction == "none":
        return losses, missed
    share = 1 / len(positive) if options.reduction == "mean" else 1
    return total(losses) * share, missed * share
