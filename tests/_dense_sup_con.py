"""`sup_con` and the options of `nt_xent`, row by row from their formulas in PyTorch: gradients are by its autograd."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus


def row_loss(
    negatives: Tensor,
    positives: Tensor,
    share: Tensor,
    temperature: Tensor,
    *,
    form: str = "out",
    label_smoothing: float = 0.0,
    decoupled: bool = False,
    debias: float = 0.0,
    hardness: float = 0.0,
    exclude_positives: bool = False,
) -> Tensor:
    """The loss of a row from the logits of its candidates; `share` holds the positives' weights, which add up to 1."""
    outside = (share * positives).sum()
    inside = (share * positives.exp()).sum().log()
    aim = inside if form == "in" else outside
    n = len(negatives)
    if n == 0:
        a = torch.tensor(-math.inf, dtype=torch.float64)
    else:
        mean = negatives.exp().mean()
        if hardness:
            mean = ((1 + hardness) * negatives).exp().sum() / (hardness * negatives).exp().sum()
        if debias:
            mean = torch.maximum((mean - debias * inside.exp()) / (1 - debias), torch.exp(-1 / temperature))
        a = (n * mean).log()

    if exclude_positives:
        loss = (share * softplus(a - positives)).sum()
    elif decoupled:
        loss = a - aim if n else 0 * aim
    else:
        loss = torch.logaddexp(a, positives.logsumexp(0)) - aim
    if label_smoothing:
        loss = loss + label_smoothing * (outside - torch.cat([negatives, positives]).mean())
    return loss


def rows_loss(
    x: Tensor,
    positives: Tensor,
    temperature: Tensor,
    *,
    normalize: bool = True,
    margin: float = 0.0,
    left_out: Tensor | None = None,
    **options: Any,
) -> Tensor:
    """The loss of each of the rows (R, D), 0 without positives; `positives` are weights (R, R), `left_out` booleans."""
    u = x / x.norm(dim=1, keepdim=True) if normalize else x
    losses = []
    for i in range(len(x)):
        others = torch.arange(len(x)) != i
        positive = others & (positives[i] > 0)
        negative = others & ~positive
        if left_out is not None:
            negative &= ~left_out[i]
        if not positive.any():
            losses.append(0 * u[i].sum())
            continue
        share = positives[i][positive] / positives[i][positive].sum()
        scores, t = u @ u[i], temperature[i]
        losses.append(row_loss(scores[negative] / t, (scores[positive] - margin) / t, share, t, **options))
    return torch.stack(losses)


def reduce(losses: Tensor, weight: Tensor | None, reduction: str, counted: Tensor | None = None) -> Tensor:
    weight = torch.ones_like(losses) if weight is None else weight
    if reduction == "none":
        return weight * losses
    if reduction == "sum":
        return (weight * losses).sum()
    total = (weight if counted is None else weight * counted).sum()
    return (weight * losses).sum() / total if total else 0 * losses.sum()


def sup_con(
    embeddings: Tensor,
    labels: Tensor | None = None,
    temperature: Tensor | float = 0.1,
    reduction: str = "mean",
    *,
    positives: Tensor | None = None,
    rows_without_positives: str = "ignore",
    weight: Tensor | None = None,
    **options: Any,
) -> Tensor:
    shape = embeddings.shape[:-1]
    views = shape[1] if len(shape) == 2 else 1
    x = embeddings.reshape(-1, embeddings.shape[-1])
    t = torch.as_tensor(temperature, dtype=torch.float64).expand(shape[0]).repeat_interleave(views)
    weight = None if weight is None else weight.repeat_interleave(views)
    if positives is None:
        assert labels is not None
        by_row = labels.repeat_interleave(views)
        positives = by_row[:, None] == by_row
    positives = positives.to(torch.float64) * (1 - torch.eye(len(x), dtype=torch.float64))
    losses = rows_loss(x, positives, t, **options)
    counted = (positives > 0).any(1).to(torch.float64) if rows_without_positives == "ignore" else None
    found = reduce(losses, weight, reduction, counted)
    return found.reshape(shape) if reduction == "none" else found


def nt_xent(
    *views: Tensor,
    temperature: Tensor | float = 0.5,
    reduction: str = "mean",
    ids: Tensor | None = None,
    weight: Tensor | None = None,
    **options: Any,
) -> Tensor:
    samples = torch.arange(len(views[0])).repeat(len(views))
    positives = (samples[:, None] == samples).to(torch.float64)
    t = torch.as_tensor(temperature, dtype=torch.float64).expand(len(views[0]))[samples]
    known = None if ids is None else ids[samples]
    left_out = None if known is None else known[:, None] == known
    losses = rows_loss(torch.cat(views), positives, t, left_out=left_out, **options)
    return reduce(losses, None if weight is None else weight[samples], reduction)


def gradients(loss: Tensor, leaves: Sequence[Tensor], cotangent: Tensor | None = None) -> tuple[Tensor, ...]:
    """Those of sum(cotangent * loss); 0 for a leaf that the loss does not depend on."""
    scalar = loss if cotangent is None else (cotangent * loss).sum()
    return torch.autograd.grad(scalar, leaves, allow_unused=True, materialize_grads=True)
