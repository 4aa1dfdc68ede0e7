"""The one computation: value and gradient in one streamed pass, in pure Array API code."""

from __future__ import annotations

from typing import Any

from . import measures, passes, plain, self_similarity, several, two_directions
from .arithmetic import Arithmetic
from .block import Sides
from .frame import (
    bounded,
    column,
    compute_dtype,
    divisor,
    of_weight,
    off_sphere,
    per_row,
    reduced,
    row_weight,
    rows_per_block,
    sphere,
    temperature_gradient,
)
from .halves import of_halves
from .passes import Gradient
from .problem import Gradients, Inputs, Kept, Options
from .spread import far_apart

Unit = tuple[Any, Any]  # rows as they are multiplied, and the way back from them


def solve(
    b: Arithmetic,
    options: Options,
    inputs: Inputs,
    wanted: tuple[str, ...] = (),
    cotangent: Any = None,
    kept: Kept | None = None,
) -> tuple[Any, Gradients, tuple[Any, ...]]:
    """The loss, reduced, its gradients by parameter name, with respect to the raw inputs, and `measures.NAMES`.

    `wanted` names the gradients; with none of them the value alone is computed. With reduction "none" the gradients
    are those of sum(cotangent * loss): without a cotangent, what is returned in their place, often nothing, may be
    `kept` for the call with it, whose loss is None then. Loss and gradients are in the compute dtype.
    """
    if plain.applies(b, options, inputs):
        return *plain.solve(b, options, inputs, wanted, cotangent, kept), ()
    if options.reduction == "none" and cotangent is None:
        wanted = ()
    if options.views:
        rows = self_similarity if self_similarity.symmetric(options, inputs) else several
        return *rows.solve(b, options, inputs, wanted, cotangent), ()
    sides, units = sides_of(b, options, inputs)
    weight = None if inputs.weight is None else column(b, inputs.weight, sides.query.dtype)
    route = two_directions if options.symmetric and sides.batch is not None else passes
    keeps = route is two_directions and sides.bounded and bool(wanted)
    n, fused = b.shape(inputs.query)[0], of_halves(sides.fused, sides.halves)
    block_size = rows_per_block(b, options, n, columns(b, options, inputs), kept=keeps, fused=fused)
    if not wanted:
        loss, measured = route.value(b, options, sides, block_size)
        return reduced(b, options, loss, weight), {}, measures.means(b, sides, measured)

    w = row_weight(b, options, sides.query, weight, cotangent)
    needed = frozenset((*wanted, "query") if "temperature" in wanted else wanted)
    g = route.gradient(b, options, sides, block_size, w, needed)
    loss = reduced(b, options, g.loss, weight)
    gradients = gathered(b, inputs, sides, units, g, wanted)
    if "weight" in wanted:
        gradients["weight"] = b.xp.squeeze(of_weight(b, options, g.loss, loss, weight, cotangent), axis=-1)
    return loss, gradients, measures.means(b, sides, g.measured)


def sides_of(b: Arithmetic, options: Options, inputs: Inputs) -> tuple[Sides, dict[str, Unit]]:
    """The two sides of the logit matrix, and the unit rows of each input that has some."""
    xp, dtype, paired = b.xp, compute_dtype(b, inputs), options.paired
    names = ["query", "positive_key"]
    negatives = inputs.negative_keys
    if negatives is not None and b.shape(negatives)[-2] == 0:
        negatives = None
    if negatives is not None and not paired:
        names.append("negative_keys")
    temperature = divisor(b, inputs.temperature, dtype)
    over = {"query": temperature}
    units = {name: sphere(b, getattr(inputs, name), dtype, options.normalize, over.get(name)) for name in names}
    (query, _), (positive, _) = units["query"], units["positive_key"]
    batch = positive if options.in_batch and b.shape(positive)[0] != 0 else None
    explicit = negatives is not None and b.shape(negatives)[-2] is not None
    ids = negative_ids = mask = bias = None
    if inputs.ids is not None:
        ids = xp.reshape(inputs.ids, (-1, 1))
    if inputs.negative_ids is not None and negatives is not None:
        negative_ids = as_matrix(xp, inputs.negative_ids)
    if batch is not None or negatives is not None:
        mask = None if inputs.mask is None else as_matrix(xp, inputs.mask)
        bias = None if inputs.bias is None else xp.astype(as_matrix(xp, inputs.bias), dtype)
    sides = Sides(
        query=query,
        positive=positive,
        batch=batch,
        shared=units["negative_keys"][0] if "negative_keys" in units else None,
        own=negatives if paired else None,
        temperature=temperature,
        normalize=options.normalize,
        margin=options.margin,
        may_lack=(
            ids is not None
            or mask is not None
            or bias is not None  # of -inf
            or (not explicit and (not options.in_batch or b.shape(positive)[0] in (None, 0, 1)))
        ),
        bounded=bounded(options, inputs.temperature) and bias is None and not options.counts,
        by_row=(
            *(True, True, paired and negatives is not None, ids is not None, paired and negative_ids is not None),
            *(x is not None and b.shape(x)[0] != 1 for x in (mask, bias)),
            per_row(temperature),
        ),
        ids=ids,
        key_ids=None if ids is None else xp.matrix_transpose(ids),
        negative_ids=negative_ids,
        mask=mask,
        bias=bias,
        far=far_apart(b, options, inputs),
    )
    half = b.half_products(*(getattr(inputs, name) for name in names))
    made = {name: b.halved(getattr(inputs, name), *units[name], half, options.normalize) for name in names}
    fused = None
    if options.symmetric and not options.measure and sides.bounded and sides.plain:
        fused = b.fused(made["query"], made["positive_key"])
    if fused is not None:
        made = {name: fused.prepared(rows) for name, rows in made.items()}
    if half is not None or fused is not None:
        of_negatives = made.get("negative_keys")
        sides = sides._replace(
            halves=made["query"], half_batch=made["positive_key"], half_shared=of_negatives, fused=fused
        )
    return sides, units


def as_matrix(xp: Any, x: Any) -> Any:
    """An array of up to two dimensions with those in front that are missing."""
    for _ in range(2 - len(x.shape)):
        x = xp.expand_dims(x, axis=0)
    return x


def columns(b: Arithmetic, options: Options, inputs: Inputs) -> int | None:
    """How many numbers a row of the block holds, where that is known: its logits, and its own negatives' unit rows."""
    in_batch = b.shape(inputs.positive_key)[0] if options.in_batch else 0
    more = 0 if inputs.negative_keys is None else b.shape(inputs.negative_keys)[-2]
    if in_batch is None or more is None:
        return None
    return in_batch + more * (b.shape(inputs.negative_keys)[-1] or 1 if options.paired else 1)


def gathered(
    b: Arithmetic, inputs: Inputs, sides: Sides, units: dict[str, Unit], g: Gradient, wanted: tuple[str, ...]
) -> Gradients:
    """The gradients with respect to the raw inputs, those of the weights apart."""
    xp = b.xp
    found: Gradients = dict.fromkeys(name for name in wanted if name != "weight")  # in their order
    if "temperature" in wanted:  # before the way back, which may write over the gradient
        along = xp.sum(sides.query * g.query, axis=-1, keepdims=True)
        found["temperature"] = temperature_gradient(b, along, sides.temperature, inputs.temperature, g.temperature)
    if "query" in wanted:
        found["query"] = off_sphere(b, g.query, *units["query"], sides.normalize)
    if "positive_key" in wanted:
        found["positive_key"] = off_sphere(
            b, g.positive if g.batch is None else g.batch, *units["positive_key"], sides.normalize
        )
    if "negative_keys" in wanted:
        if g.shared is not None:
            found["negative_keys"] = off_sphere(b, g.shared, *units["negative_keys"], sides.normalize)
        else:
            found["negative_keys"] = g.own
    if "bias" in wanted:
        found["bias"] = g.bias if g.bias is None or len(inputs.bias.shape) == 2 else xp.squeeze(g.bias, axis=0)
    absent = [name for name, gradient in found.items() if gradient is None]
    for name in absent:  # no candidate at all
        found[name] = xp.astype(xp.zeros_like(getattr(inputs, name)), sides.query.dtype)
    return found
