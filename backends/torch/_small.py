"""The losses without options of a small batch on the CPU, each in a row of torch calls.

Which calls come here is `infonce.small`. The way to the sphere and back is not the arithmetic's: that takes 5 % longer.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from infonce import small
from infonce.arithmetic import Arithmetic
from infonce.problem import Inputs, Options

from ._products import product

# Rows times given lengths over their norms, and the way back, in one operation each, by all threads.
weight_norm = torch._weight_norm_interface
weight_norm_backward = torch.ops.aten._weight_norm_interface_backward.default
SAFE = 1e-15  # norms between this and its inverse: no square that matters left float32's range
NATS = math.log(2.0)  # to a bit: exp2, the exponential of logits in bits, is up to three times as fast as exp


def applies(b: Arithmetic, options: Options, inputs: Inputs, gradients: bool) -> bool:
    """Whether `solve` may answer a call of plain tensors on the CPU."""
    return small.applies(b, options, inputs, gradients) and all(x is None or x.is_contiguous() for x in inputs[:2])


def solve(
    b: Arithmetic,
    options: Options,
    inputs: Inputs,
    wanted: tuple[str, ...],
    cotangent: Tensor | None = None,
    kept: tuple[Tensor, ...] = (),
) -> tuple[Any, ...] | None:
    """As `_operator.run`; None where a row's norm is extreme."""
    if options.views:
        return two_views(b, options, inputs, wanted, cotangent)
    query, key, t = inputs.query, inputs.positive_key, inputs.temperature
    length = query.new_full((query.shape[0], 1), (t * NATS) ** -0.5)  # both sides share the temperature; logits in bits
    (q, q_norm), (k, k_norm) = weight_norm(query, length), weight_norm(key, length)
    if extreme(q_norm) or extreme(k_norm):
        return None
    if kept:
        loss, (z, slope) = None, kept
    else:
        z = product(q, k.t())
        own = z.diagonal().unsqueeze_(1)
        positive = own.clone()
        own.fill_(-math.inf)
        total = z.exp2_().sum(1, True)
        if options.symmetric:
            total = torch.cat((total, z.sum(0).unsqueeze_(1)), 1)  # a column for each direction
        loss, beyond = closed_form(options, total, positive)
        late = options.reduction == "none" and cotangent is None
        if not wanted or (late and options.symmetric):
            return (loss,)
        missed = beyond.sigmoid_()
        if not options.symmetric:
            torch.neg(total, out=own)
            slope = missed.div_(total)
            if late:
                return loss, z, slope
    weight = weight_of(options, z, cotangent)
    if options.symmetric:
        missed.mul_(weight / 2)
        slopes = (missed / total).t().contiguous()
        p = b.times_sum(z, slopes[:1].t(), slopes[1:])
        torch.sum(missed, 1, True, out=own).neg_()
    else:
        p = z * (slope * weight) if kept else z.mul_(slope.mul_(weight))
    gradients = []
    if "query" in wanted:
        gradients.append(weight_norm_backward(product(p, k), query, length, q_norm, 0)[0])
    if "positive_key" in wanted:
        gradients.append(weight_norm_backward(product(p.t(), q).contiguous(), key, length, k_norm, 0)[0])
    return loss, *gradients


def two_views(
    b: Arithmetic, options: Options, inputs: Inputs, wanted: tuple[str, ...], cotangent: Tensor | None
) -> tuple[Any, ...] | None:
    """`solve` for the rows of two views against each other."""
    rows = inputs.query
    length = rows.new_full((rows.shape[0], 1), (inputs.temperature * NATS) ** -0.5)
    x, norm = weight_norm(rows, length)
    if extreme(norm):
        return None
    z, samples = product(x, x.t()), rows.shape[0] // 2
    partners = z.diagonal(samples), z.diagonal(-samples)
    positive = torch.cat(partners).unsqueeze_(1)
    b.mask_samples(z, samples, 2)
    total = z.exp2_().sum(1, True)
    loss, beyond = closed_form(options, total, positive)
    if not wanted or (options.reduction == "none" and cotangent is None):
        return (loss,)
    missed = beyond.sigmoid_().mul_(weight_of(options, z, cotangent))
    slope = missed / total
    b.times_sum(z, slope, slope.t())
    of_pair = (missed[:samples] + missed[samples:]).neg_().squeeze_(1)
    for own in partners:
        own.copy_(of_pair)
    return loss, weight_norm_backward(product(z, x), rows, length, norm, 0)[0]


def extreme(norm: Tensor) -> bool:
    smallest, largest = norm.aminmax()
    return not (smallest.item() > SAFE and largest.item() < 1 / SAFE)


def closed_form(options: Options, total: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    """The reduced loss, and what it is softplus of, in each direction."""
    beyond = total.log().sub_(positive, alpha=NATS)
    losses = softplus(beyond, 1.0, 60.0)
    losses = losses.mean(1, True) if options.symmetric else losses
    loss = losses.squeeze(1) if options.reduction == "none" else getattr(losses, options.reduction)()
    return loss, beyond


def weight_of(options: Options, z: Tensor, cotangent: Tensor | None) -> Any:
    """dL/dL_i, over the bits of a nat."""
    if cotangent is not None:
        return cotangent.unsqueeze(1) * NATS
    return NATS / z.shape[0] if options.reduction == "mean" else NATS
