"""What the peers compute, each written densely from its own formula, in PyTorch and without a line of this package.

A function takes the arrays of docs/conventions.md by their names there, and has the name of the page's call.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

PEERS: dict[str, Callable[..., Tensor]] = {}


def peer(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    PEERS[function.__name__] = function
    return function


def unit(x: Tensor) -> Tensor:
    return normalize(x, dim=-1)


def first(logits: Tensor) -> Tensor:
    """The cross-entropy of rows whose first entry is the positive."""
    return cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))


def diagonal(logits: Tensor) -> Tensor:
    """The cross-entropy of rows whose positives lie on the diagonal."""
    return cross_entropy(logits, torch.arange(len(logits)))


def off_diagonal(square: Tensor) -> Tensor:
    n = len(square)
    return square[~torch.eye(n, dtype=torch.bool)].reshape(n, n - 1)


def own_logits(query: Tensor, key: Tensor) -> Tensor:
    return (query * key).sum(-1, keepdim=True)


# One positive among explicit negatives, or among the other keys of the batch.


@peer
def info_nce_pytorch(q: Tensor, k: Tensor) -> Tensor:
    return diagonal(unit(q) @ unit(k).T / 0.1)


@peer
def info_nce_pytorch_unpaired(q: Tensor, k: Tensor, shared: Tensor) -> Tensor:
    return first(torch.cat([own_logits(unit(q), unit(k)), unit(q) @ unit(shared).T], 1) / 0.1)


@peer
def info_nce_pytorch_paired(q: Tensor, k: Tensor, own: Tensor) -> Tensor:
    negatives = torch.einsum("nd,nkd->nk", unit(q), unit(own))
    return first(torch.cat([own_logits(unit(q), unit(k)), negatives], 1) / 0.1)


@peer
def cpc(q: Tensor, k: Tensor) -> Tensor:
    return diagonal(q @ k.T)


@peer
def moco(q: Tensor, k: Tensor, shared: Tensor) -> Tensor:
    return first(torch.cat([own_logits(unit(q), unit(k)), unit(q) @ unit(shared).T], 1) / 0.07)


@peer
def moco_v3(q: Tensor, k: Tensor, other_q: Tensor, other_k: Tensor) -> Tensor:
    t = 0.2
    terms = [diagonal(unit(x) @ unit(y).T / t) * (2 * t) for x, y in ((q, k), (other_q, other_k))]
    return torch.stack(terms).sum()


@peer
def lightly_memory_bank(q: Tensor, k: Tensor, shared: Tensor) -> Tensor:
    return first(torch.cat([own_logits(unit(q), unit(k)), unit(q) @ unit(shared).T], 1) / 0.5)


@peer
def mnrl(q: Tensor, k: Tensor) -> Tensor:
    return diagonal(20 * unit(q) @ unit(k).T)


@peer
def mnrl_negatives(q: Tensor, k: Tensor, pooled: Tensor) -> Tensor:
    return diagonal(20 * unit(q) @ unit(torch.cat([k, pooled])).T)


@peer
def mnrl_symmetric(q: Tensor, k: Tensor, pooled: Tensor) -> Tensor:
    scores = 20 * unit(q) @ unit(torch.cat([k, pooled])).T
    return (diagonal(scores) + diagonal(scores[:, : len(q)].T)) / 2


@peer
def clip(unit_q: Tensor, unit_k: Tensor) -> Tensor:
    scale = 1 / 0.07
    return (diagonal(scale * unit_q @ unit_k.T) + diagonal(scale * unit_k @ unit_q.T)) / 2


# Both views are anchors.


def simclr_terms(q: Tensor, k: Tensor, t: float) -> Tensor:
    """The two views' losses: the other view's rows, then the own view's, without the anchor itself."""
    a, b = unit(q), unit(k)
    terms = [diagonal(torch.cat([x @ y.T, off_diagonal(x @ x.T)], 1) / t) for x, y in ((a, b), (b, a))]
    return torch.stack(terms)


@peer
def lightly_ntxent(q: Tensor, k: Tensor) -> Tensor:
    return simclr_terms(q, k, 0.5).mean()


@peer
def simclr(q: Tensor, k: Tensor) -> Tensor:
    return simclr_terms(q, k, 0.05).sum()


def decoupled(q: Tensor, k: Tensor, negatives: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Minus the positive, plus what `negatives` makes of the logits within the view and across the views."""
    t, a, b = 0.1, unit(q), unit(k)
    rows = [
        negatives(off_diagonal(x @ x.T / t), off_diagonal(x @ y.T / t)) - (x * y).sum(1) / t
        for x, y in ((a, b), (b, a))
    ]
    return torch.cat(rows).mean()


@peer
def lightly_dcl(q: Tensor, k: Tensor) -> Tensor:
    return decoupled(q, k, lambda within, across: torch.logsumexp(torch.cat([within, across], 1), 1))


@peer
def lightly_dcl_two_sums(q: Tensor, k: Tensor) -> Tensor:
    return decoupled(q, k, lambda within, across: torch.logsumexp(within, 1) + torch.logsumexp(across, 1))


def corrected(q: Tensor, k: Tensor, tau_plus: float, beta: float, t: float = 0.5) -> tuple[Tensor, Tensor, float]:
    """exp(z+) of each row, the authors' sum over its negatives, and the least that they allow it to be."""
    n = len(q)
    out = torch.cat([unit(q), unit(k)])
    scores = torch.exp(out @ out.T / t)
    place = torch.arange(2 * n)
    neg = scores[(place[:, None] - place) % n != 0].reshape(2 * n, 2 * n - 2)
    pos = torch.exp((out * out.roll(n, 0)).sum(1) / t)
    importance = neg**beta
    weighted = (importance * neg).sum(1) / importance.mean(1)
    count = 2 * n - 2
    return pos, (weighted - tau_plus * count * pos) / (1 - tau_plus), count * math.exp(-1 / t)


def reweighted(q: Tensor, k: Tensor, tau_plus: float, beta: float) -> Tensor:
    """-log(pos / (pos + Ng)) in exponentials; beta = 0 is the debiased loss."""
    pos, ng, least = corrected(q, k, tau_plus, beta)
    return -torch.log(pos / (pos + torch.clamp(ng, min=least))).mean()


@peer
def hcl(q: Tensor, k: Tensor) -> Tensor:
    return reweighted(q, k, 0.1, 1.0)


@peer
def debiased(q: Tensor, k: Tensor) -> Tensor:
    return reweighted(q, k, 0.1, 0.0)


# Several positives by label.


def pair_terms(x: Tensor, labels: Tensor, t: float) -> Tensor:
    """One term for each (anchor, positive): that positive against the anchor's negatives."""
    z = unit(x) @ unit(x).T / t
    terms = []
    for anchor, row in enumerate(z):
        negatives = row[labels != labels[anchor]]
        for positive in (labels == labels[anchor]).nonzero().flatten():
            if positive != anchor:
                terms.append(torch.logsumexp(torch.cat([row[positive][None], negatives]), 0) - row[positive])
    return torch.stack(terms)


@peer
def pair_ntxent(q: Tensor, k: Tensor) -> Tensor:
    return pair_terms(torch.cat([q, k]), torch.arange(len(q)).repeat(2), 0.07).mean()


@peer
def pair_ntxent_classes(q: Tensor, classes: Tensor) -> Tensor:
    return pair_terms(q, classes, 0.07).mean()


def supervised(x: Tensor, labels: Tensor, t: float) -> Tensor:
    """For each row with a positive: minus the mean, over its positives, of their log-probability among all others."""
    z = x @ x.T / t
    rows = []
    for anchor, row in enumerate(z):
        other = torch.arange(len(x)) != anchor
        positives = other & (labels == labels[anchor])
        if positives.any():
            rows.append(torch.logsumexp(row[other], 0) - row[positives].mean())
    return torch.stack(rows)


@peer
def pml_supcon(q: Tensor, labels: Tensor) -> Tensor:
    return supervised(unit(q), labels, 0.1).mean()


@peer
def pml_supcon_classes(q: Tensor, classes: Tensor) -> Tensor:
    return supervised(unit(q), classes, 0.1).mean()


@peer
def supcontrast(views: Tensor, labels: Tensor) -> Tensor:
    t, base = 0.1, 0.07
    return t / base * supervised(torch.cat(views.unbind(1)), labels.repeat(views.shape[1]), t).mean()


@peer
def supcontrast_lonely(unit_q: Tensor, classes: Tensor) -> Tensor:
    t, base = 0.1, 0.07
    return t / base * supervised(unit_q, classes, t).sum() / len(unit_q)


@peer
def supcontrast_without_labels(unit_q: Tensor, unit_k: Tensor) -> Tensor:
    return supervised(torch.cat([unit_q, unit_k]), torch.arange(len(unit_q)).repeat(2), 0.07).mean()
