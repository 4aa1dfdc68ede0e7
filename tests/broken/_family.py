"""Every option and loss, dense and by autograd in PyTorch; one method for each step that can go wrong.

It checks no argument, and is meant for float64: exponentials are not shifted where an option has none.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from infonce.conformance.variants import BoundSubject, load

NOTHING = -1e30  # the log-sum-exp of no candidates, finite so that its gradient is 0


class Family:
    """`info_nce`, `nt_xent` and `sup_con` with the parameters of the package's own."""

    def subject(self) -> BoundSubject:
        """Judged as PyTorch's plain calls are."""
        toolkit = load("torch")
        others: Any = {"nt_xent": self.nt_xent, "sup_con": self.sup_con}
        device = toolkit.devices()["cpu"]
        return BoundSubject(self.info_nce, toolkit, toolkit.variants()[0], device, "float64", others=others)

    # The losses.

    def info_nce(
        self,
        query: Tensor,
        positive_key: Tensor,
        negative_keys: Tensor | None = None,
        temperature: Any = 0.1,
        reduction: str = "mean",
        negative_mode: str = "unpaired",
        *,
        symmetric: bool = False,
        normalize: bool = True,
        in_batch: bool | None = None,
        ids: Tensor | None = None,
        negative_ids: Tensor | None = None,
        mask: Tensor | None = None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        block_size: int | None = None,
        **terms: Any,
    ) -> Tensor:
        n, within = len(query), negative_keys is None if in_batch is None else in_batch
        q, k = (self.unit(x) if normalize else x for x in (query, positive_key))
        # Without in-batch keys the own positive is the first column.
        parts = [q @ k.T if within else (q * k).sum(1, keepdim=True)]
        if negative_keys is not None:
            keys = self.unit(negative_keys) if normalize else negative_keys
            parts.append(torch.einsum("nd,nkd->nk", q, keys) if negative_mode == "paired" else q @ keys.T)
        scores = torch.cat(parts, dim=1)
        target = torch.zeros_like(scores)
        target[range(n), range(n) if within else 0] = 1
        counts = self.counting(target, scores.shape[1] - (not within), mask, ids, negative_ids, within)
        shift = self.shifts(torch.zeros_like(scores), target, bias, within)
        t = torch.as_tensor(temperature, dtype=scores.dtype).reshape(-1).expand(n)
        loss, any_negative = self.rows(scores, t, target, counts, shift, ids=ids, **terms)
        if symmetric:
            back = self.turned(counts[:, :n], target[:, :n])
            other, _ = self.rows(scores[:, :n].T, t, target[:, :n], back, torch.zeros(n, n), ids=ids, **terms)
            loss = (loss + other) / 2
        return self.reduce(loss, weight, reduction, torch.ones_like(any_negative), any_negative)

    def nt_xent(
        self,
        *views: Tensor,
        temperature: Any = 0.5,
        reduction: str = "mean",
        normalize: bool = True,
        ids: Tensor | None = None,
        weight: Tensor | None = None,
        block_size: int | None = None,
        **terms: Any,
    ) -> Tensor:
        v, n = len(views), len(views[0])
        sample = torch.arange(n).repeat(v)
        names = sample if ids is None else ids.repeat(v)
        same = sample[:, None] == sample[None]
        left = (names[:, None] == names[None]) & ~same
        t = self.per_view_major_row(torch.as_tensor(temperature, dtype=views[0].dtype).reshape(-1).expand(n), v)
        weight = None if weight is None else weight.repeat(v)
        return self.family(torch.cat(views), same, left, t, weight, reduction, normalize, **terms)

    def sup_con(
        self,
        embeddings: Tensor,
        labels: Tensor | None = None,
        temperature: Any = 0.1,
        reduction: str = "mean",
        *,
        positives: Tensor | None = None,
        normalize: bool = True,
        weight: Tensor | None = None,
        block_size: int | None = None,
        **terms: Any,
    ) -> Tensor:
        n, v = len(embeddings), embeddings.shape[1] if embeddings.ndim == 3 else 1
        if labels is not None:
            names = self.per_row_of_samples(labels, v)
            positives = names[:, None] == names[None]
        assert positives is not None
        t = torch.as_tensor(temperature, dtype=embeddings.dtype).reshape(-1).expand(n).repeat_interleave(v)
        weight = None if weight is None else weight.repeat_interleave(v)
        none_left = torch.zeros(n * v, n * v, dtype=torch.bool)
        x = embeddings.reshape(n * v, -1)
        loss = self.family(x, self.given(positives), none_left, t, weight, reduction, normalize, **terms)
        return loss.reshape(embeddings.shape[:-1]) if reduction == "none" else loss

    def family(
        self,
        x: Tensor,
        positives: Tensor,
        left: Tensor,
        t: Tensor,
        weight: Tensor | None,
        reduction: str,
        normalize: bool,
        rows_without_positives: str = "ignore",
        **terms: Any,
    ) -> Tensor:
        """Rows against each other: positives by weight, what has left, and negatives all the rest."""
        u, itself = self.unit(x) if normalize else x, torch.eye(len(x), dtype=torch.bool)
        given = positives.to(x.dtype).masked_fill(itself, 0)
        target = self.normalised(given)
        counts = self.others((target == 0) & ~left, itself)
        loss, any_negative = self.rows(u @ u.T, t, target, counts, torch.zeros_like(target), **terms)
        counted = (target > 0).any(1) | (rows_without_positives == "zero")
        return self.reduce(loss, weight, reduction, self.counted(counted), any_negative)

    # The steps.

    def unit(self, x: Tensor) -> Tensor:
        zero = (x == 0).all(-1, keepdim=True)
        safe = torch.where(zero, torch.ones_like(x), x)
        return torch.where(zero, torch.zeros_like(x), safe / safe.norm(dim=-1, keepdim=True))

    def counting(self, target: Tensor, columns: int, mask: Any, ids: Any, negative_ids: Any, within: bool) -> Tensor:
        """Which entries are negatives."""
        n = len(target)
        counts = torch.ones(n, columns, dtype=torch.bool)
        if mask is not None:
            counts = counts & self.masked(mask)
        if ids is not None and within:
            counts[:, :n] &= self.names(ids)[:, None] != self.names(ids)[None]
        if negative_ids is not None:
            counts[:, n * within :] &= self.names(ids)[:, None] != self.names(negative_ids)
        if not within:
            counts = torch.cat([counts[:, :1], counts], dim=1)
        return counts & (target == 0)

    def masked(self, mask: Tensor) -> Tensor:
        return mask

    def names(self, ids: Tensor) -> Tensor:
        return ids

    def turned(self, counts: Tensor, target: Tensor) -> Tensor:
        return counts.T

    def shifts(self, shift: Tensor, target: Tensor, bias: Tensor | None, within: bool) -> Tensor:
        """The bias of each entry; the own positive has one where it is a column of the batch."""
        if bias is None:
            return shift
        own = shift[:, :0] if within else shift[:, :1]
        return torch.cat([own, bias.expand(len(shift), shift.shape[1] - own.shape[1])], dim=1)

    def per_view_major_row(self, of_samples: Tensor, views: int) -> Tensor:
        return of_samples.repeat(views)

    def per_row_of_samples(self, labels: Tensor, views: int) -> Tensor:
        return labels.repeat_interleave(views)

    def given(self, positives: Tensor) -> Tensor:
        return positives

    def normalised(self, weights: Tensor) -> Tensor:
        total = weights.sum(1, keepdim=True)
        return weights / torch.where(total == 0, torch.ones_like(total), total)

    def others(self, counts: Tensor, itself: Tensor) -> Tensor:
        return counts & ~itself

    def counted(self, counted: Tensor) -> Tensor:
        return counted

    def rows(
        self,
        scores: Tensor,
        t: Tensor,
        target: Tensor,
        negative: Tensor,
        shift: Tensor,
        ids: Tensor | None = None,
        *,
        form: str = "out",
        exclude_positives: bool = False,
        label_smoothing: float = 0.0,
        margin: float = 0.0,
        decoupled: bool = False,
        debias: float = 0.0,
        hardness: float = 0.0,
    ) -> tuple[Tensor, Tensor]:
        """The loss of each row, and whether it has negatives."""
        positive, some = target > 0, negative.any(1)
        single = self.single(positive)
        z = self.with_margin(scores, margin, positive, t) + shift
        inside = self.log_sum_exp(z + torch.where(positive, target, 1).log(), positive)
        outside = (target * z).sum(1)
        lse = outside if single else self.log_sum_exp(z, positive)
        above = self.harder(z, negative, hardness) if hardness else self.log_sum_exp(z, negative)
        if debias:
            above = self.debiased(above, self.count(negative), inside, debias, t)
        above = torch.where(some, above, NOTHING)
        aim = self.aim(form, outside, inside)
        if exclude_positives:
            loss = (target * torch.logaddexp(above[:, None] - z, torch.zeros_like(z))).sum(1)
        elif decoupled:
            loss = self.decoupled(above, aim, some)
        else:
            loss = self.cross_entropy(above, lse, ids) + (0 if single else lse - aim)
        if label_smoothing:
            loss = loss + label_smoothing * (outside - self.mean_of_candidates(z, positive, negative))
        return torch.where(positive.any(1), loss, 0), some

    def single(self, positive: Tensor) -> bool:
        """Whether lse and aim are the same, and must not leave the rounding of their gradients."""
        return bool((positive.sum(1) <= 1).all())

    def with_margin(self, scores: Tensor, margin: float, positive: Tensor, t: Tensor) -> Tensor:
        return (scores - margin * positive.to(scores.dtype)) / t[:, None]

    def log_sum_exp(self, z: Tensor, where: Tensor) -> Tensor:
        return torch.logsumexp(torch.where(where, z, NOTHING), dim=1)

    def count(self, negative: Tensor) -> Tensor:
        return negative.sum(1).clamp(min=1).to(torch.float64)

    def harder(self, z: Tensor, negative: Tensor, beta: float) -> Tensor:
        weight = self.log_sum_exp(beta * z, negative)
        return self.count(negative).log() + self.log_sum_exp((1 + beta) * z, negative) - weight

    def debiased(self, above: Tensor, count: Tensor, inside: Tensor, tau: float, t: Tensor) -> Tensor:
        mean = (above.exp() / count - tau * inside.exp()) / (1 - tau)
        return (count * self.at_least(mean, (-1 / t).exp())).log()

    def at_least(self, mean: Tensor, least: Tensor) -> Tensor:
        return torch.maximum(mean, least)

    def aim(self, form: str, outside: Tensor, inside: Tensor) -> Tensor:
        return outside if form == "out" else inside

    def decoupled(self, above: Tensor, aim: Tensor, some: Tensor) -> Tensor:
        return torch.where(some, above - aim, 0)

    def cross_entropy(self, above: Tensor, lse: Tensor, ids: Tensor | None) -> Tensor:
        return torch.logaddexp(above - lse, torch.zeros_like(lse))

    def mean_of_candidates(self, z: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        candidates = positive | negative
        return (z * candidates).sum(1) / candidates.sum(1).clamp(min=1)

    def reduce(
        self, loss: Tensor, weight: Tensor | None, reduction: str, counted: Tensor, any_negative: Tensor
    ) -> Tensor:
        w = torch.ones_like(loss) if weight is None else weight
        if reduction != "mean":
            return w * loss if reduction == "none" else (w * loss).sum()
        total = (w * counted).sum()
        mean = (w * counted * loss).sum() / torch.where(total == 0, torch.ones_like(total), total)
        return torch.where(total == 0, torch.zeros_like(mean), mean)
