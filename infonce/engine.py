"""The one computation: value and gradient in one streamed pass, in pure Array API code."""

from __future__ import annotations

from typing import Any

from . import self_similarity
from .backend import Arithmetic
from .block import Sides
from .frame import compute_dtype, off_sphere, reduced, row_weight, rows_per_block, sphere
from .passes import Gradient, one_direction, statistics, two_directions
from .problem import Gradients, Inputs, Options


def solve(
    b: Arithmetic, options: Options, inputs: Inputs, wanted: tuple[str, ...] = (), cotangent: Any = None
) -> tuple[Any, Gradients]:
    """The loss, reduced, and its gradients by parameter name, with respect to the raw inputs.

    `wanted` names the gradients; with none of them the value alone is computed. With reduction "none" the gradients
    are those of sum(cotangent * loss). Loss and gradients are in the compute dtype.
    """
    if options.views:
        return self_similarity.solve(b, options, inputs, wanted, cotangent)
    xp, dtype = b.xp, compute_dtype(b, inputs)
    query, query_norm = sphere(b, inputs.query, dtype, options.normalize)
    positive, positive_norm = sphere(b, inputs.positive_key, dtype, options.normalize)
    negatives, shared, shared_norm = inputs.negative_keys, None, None
    if negatives is not None and b.shape(negatives)[-2] == 0:
        negatives = None
    if negatives is not None and not options.paired:
        shared, shared_norm = sphere(b, negatives, dtype, options.normalize)

    temperature, per_row = inputs.temperature, None
    if not isinstance(temperature, float):
        temperature = xp.astype(temperature, dtype)
        if len(temperature.shape) > 0:
            temperature = per_row = xp.reshape(temperature, (-1, 1))
    sides = Sides(
        query=query / temperature,
        positive=positive,
        batch=positive if options.in_batch and b.shape(positive)[0] != 0 else None,
        shared=shared,
        own=negatives if options.paired else None,
        normalize=options.normalize,
        may_lack=(negatives is None or b.shape(negatives)[-2] is None)
        and (not options.in_batch or b.shape(positive)[0] in (None, 0, 1)),
    )
    block_size = rows_per_block(options, columns(b, options, inputs))
    symmetric = options.symmetric and sides.batch is not None

    if not wanted:
        return reduced(xp, options, value(b, sides, block_size, symmetric, per_row)), {}

    weight = row_weight(b, options, query, cotangent)
    needed = frozenset((*wanted, "query") if "temperature" in wanted else wanted)
    if symmetric:
        g = two_directions(b, sides, block_size, weight, needed, per_row)
    else:
        g = one_direction(b, sides, block_size, weight, needed)

    gradients: Gradients = {}
    if "query" in wanted:
        gradients["query"] = off_sphere(b, g.query / temperature, query, query_norm)
    if "positive_key" in wanted:
        of_positive = g.positive if g.batch is None else g.positive + g.batch
        gradients["positive_key"] = off_sphere(b, of_positive, positive, positive_norm)
    if "negative_keys" in wanted:
        if shared is not None:
            gradients["negative_keys"] = off_sphere(b, g.shared, shared, shared_norm)
        elif g.own is not None:
            gradients["negative_keys"] = g.own
        else:
            gradients["negative_keys"] = xp.astype(xp.zeros_like(inputs.negative_keys), dtype)
    if "temperature" in wanted:
        gradients["temperature"] = of_temperature(xp, g, sides.query, temperature, inputs.temperature)
    return reduced(xp, options, g.loss), gradients


def columns(b: Arithmetic, options: Options, inputs: Inputs) -> int | None:
    """How many numbers a row of the block holds, where that is known: its logits, and its own negatives' unit rows."""
    in_batch = b.shape(inputs.positive_key)[0] if options.in_batch else 0
    more = 0 if inputs.negative_keys is None else b.shape(inputs.negative_keys)[-2]
    if in_batch is None or more is None:
        return None
    return in_batch + more * (b.shape(inputs.negative_keys)[-1] or 1 if options.paired else 1)


def value(b: Arithmetic, sides: Sides, block_size: int, symmetric: bool, temperature: Any) -> Any:
    """The loss of every row, (N, 1), by one product."""
    found = statistics(b, sides, block_size, symmetric, temperature)
    loss = b.softplus(found.rows - found.positive)[0]
    if symmetric:
        of_keys = b.softplus(b.xp.matrix_transpose(found.columns) - found.positive)[0]
        loss = 0.5 * (loss + of_keys)
    return loss


def of_temperature(xp: Any, g: Gradient, query: Any, temperature: Any, given: Any) -> Any:
    """dL/dt = -(1/t) sum_j z_ij dL/dz_ij per row, which is q . dL/dq: no visit to the logits."""
    moment = xp.sum(query * g.query, axis=-1, keepdims=True)
    if g.row_logits is not None:
        moment = moment - g.row_logits + xp.matrix_transpose(g.key_logits)
    if len(given.shape) == 0:
        return -xp.sum(moment) / temperature
    moment = -moment / temperature
    return xp.squeeze(moment, axis=-1) if len(given.shape) == 1 else moment
