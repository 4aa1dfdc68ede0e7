"""The in-batch loss without options of a small batch on the CPU: `infonce.plain` in a row of torch calls.

So short a computation is as long as the Python around it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear, softplus

from infonce import plain
from infonce.backend import Arithmetic
from infonce.problem import Inputs, Options

# Rows times given lengths over their norms, and the way back, in one operation each, by all threads.
weight_norm = torch._weight_norm_interface
weight_norm_backward = torch.ops.aten._weight_norm_interface_backward.default
SAFE = 1e-15  # norms between this and its inverse: no square that matters left float32's range
NATS = math.log(2.0)  # to a bit: exp2, the exponential of logits in bits, is up to three times as fast as exp


def applies(b: Arithmetic, options: Options, inputs: Inputs, wanted: tuple[str, ...]) -> bool:
    """Whether `solve` may answer a call of plain tensors on the CPU."""
    if not plain.small(b, options, inputs, wanted):
        return False
    return bool(inputs.query.is_contiguous() and inputs.positive_key.is_contiguous())


def solve(
    b: Arithmetic,
    options: Options,
    inputs: Inputs,
    wanted: tuple[str, ...],
    cotangent: Tensor | None = None,
    kept: tuple[Tensor, ...] = (),
) -> tuple[Any, ...] | None:
    """As `_operator.run`; None where a row's norm is extreme."""
    query, key, t = inputs.query, inputs.positive_key, inputs.temperature
    rows, symmetric = query.shape[0], options.symmetric
    length = query.new_full((rows, 1), (t * NATS) ** -0.5)  # both sides share the temperature; logits in bits
    (q, q_norm), (k, k_norm) = weight_norm(query, length), weight_norm(key, length)
    for norm in (q_norm, k_norm):
        smallest, largest = norm.aminmax()
        if not (smallest.item() > SAFE and largest.item() < 1 / SAFE):
            return None
    if kept:
        loss, (z, slope) = None, kept
    else:
        z = linear(q, k)
        own = z.diagonal().unsqueeze_(1)
        positive = own.clone()
        own.fill_(-math.inf)
        total = z.exp2_().sum(1, True)
        if symmetric:
            total = torch.cat((total, z.sum(0).unsqueeze_(1)), 1)  # a column for each direction
        beyond = total.log().sub_(positive, alpha=NATS)
        losses = softplus(beyond, 1.0, 60.0)
        losses = losses.mean(1, True) if symmetric else losses
        loss = losses.squeeze(1) if options.reduction == "none" else getattr(losses, options.reduction)()
        late = options.reduction == "none" and cotangent is None
        if not wanted or (late and symmetric):
            return (loss,)
        missed = beyond.sigmoid_()
        if not symmetric:
            torch.neg(total, out=own)
            slope = missed.div_(total)
            if late:
                return loss, z, slope
    weight: Any = NATS / rows if options.reduction == "mean" else NATS
    if cotangent is not None:
        weight = cotangent.unsqueeze(1) * NATS
    if symmetric:
        missed.mul_(weight / 2)
        slopes = (missed / total).t().contiguous()
        p = b.times_sum(z, slopes[:1].t(), slopes[1:])
        torch.sum(missed, 1, True, out=own).neg_()
    else:
        p = z * (slope * weight) if kept else z.mul_(slope.mul_(weight))
    gradients = []
    if "query" in wanted:
        gradients.append(weight_norm_backward(torch.mm(p, k), query, length, q_norm, 0)[0])
    if "positive_key" in wanted:
        gradients.append(weight_norm_backward(torch.mm(p.t(), q), key, length, k_norm, 0)[0])
    return loss, *gradients
