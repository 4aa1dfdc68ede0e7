"""Implementations that get one of the options wrong."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._family import NOTHING, Family


class IdsDropTheOwnPositive(Family):
    """The own positive carries the query's id too, and leaves the denominator with the others."""

    def cross_entropy(self, above: Tensor, lse: Tensor, ids: Tensor | None) -> Tensor:
        return super().cross_entropy(above, lse, ids) if ids is None else above - lse


class IdsInSinglePrecision(Family):
    """Ids above 2^24 become equal."""

    def names(self, ids: Tensor) -> Tensor:
        return ids.to(torch.float32)


class IdsOfTheNegativesIgnored(Family):
    def counting(self, target: Tensor, columns: int, mask: Any, ids: Any, negative_ids: Any, within: bool) -> Tensor:
        return super().counting(target, columns, mask, ids, None, within)


class MaskInverted(Family):
    def masked(self, mask: Tensor) -> Tensor:
        return ~mask


class MaskBeforeTheExplicit(Family):
    """The columns of the mask in another order: the explicit negatives first."""

    def counting(self, target: Tensor, columns: int, mask: Any, ids: Any, negative_ids: Any, within: bool) -> Tensor:
        if mask is not None and within:
            full = mask.expand(len(target), columns)
            mask = torch.cat([full[:, columns - len(target) :], full[:, : columns - len(target)]], dim=1)
        return super().counting(target, columns, mask, ids, negative_ids, within)


class MaskNotTurned(Family):
    """In the key-to-query direction the entry (i, j) of the mask stands for the pair (j, i)."""

    def turned(self, counts: Tensor, target: Tensor) -> Tensor:
        return counts


class MaskForgottenBackwards(Family):
    """The key-to-query direction counts every query."""

    def turned(self, counts: Tensor, target: Tensor) -> Tensor:
        return target.T == 0


class EmptyRowsLeftOut(Family):
    """Rows without a negative do not count in the mean."""

    def reduce(self, loss: Tensor, weight: Any, reduction: str, counted: Tensor, any_negative: Tensor) -> Tensor:
        return super().reduce(loss, weight, reduction, counted & any_negative, any_negative)


class SmoothingOverMaskedColumns(Family):
    def mean_of_candidates(self, z: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return z.mean(1)


class SmoothingOverTheNegatives(Family):
    """Without the positive's share."""

    def mean_of_candidates(self, z: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return super().mean_of_candidates(z, torch.zeros_like(positive), negative)


class MarginOnAllLogits(Family):
    def with_margin(self, scores: Tensor, margin: float, positive: Tensor, t: Tensor) -> Tensor:
        return super().with_margin(scores, margin, torch.ones_like(positive), t)


class MarginOnTheLogit(Family):
    """Subtracted after the division by the temperature."""

    def with_margin(self, scores: Tensor, margin: float, positive: Tensor, t: Tensor) -> Tensor:
        return scores / t[:, None] - margin * positive.to(scores.dtype)


class BiasNotOnThePositive(Family):
    def shifts(self, shift: Tensor, target: Tensor, bias: Tensor | None, within: bool) -> Tensor:
        return super().shifts(shift, target, bias, within) * (1 - target)


class BiasDividedByTheTemperature(Family):
    def rows(self, *arguments: Any, **terms: Any) -> Any:
        scores, t, target, negative, shift = arguments
        return super().rows(scores, t, target, negative, shift / t[:, None], **terms)


class NoGradientForTheBias(Family):
    def shifts(self, shift: Tensor, target: Tensor, bias: Tensor | None, within: bool) -> Tensor:
        held = None if bias is None else bias.detach() + 0 * bias
        return super().shifts(shift, target, held, within)


class PositiveStaysInTheDecoupled(Family):
    def decoupled(self, above: Tensor, aim: Tensor, some: Tensor) -> Tensor:
        return torch.logaddexp(above, aim) - aim


class DecoupledWithoutNegatives(Family):
    """A row without negatives gets the log of nothing."""

    def decoupled(self, above: Tensor, aim: Tensor, some: Tensor) -> Tensor:
        return torch.where(some, above, NOTHING) - aim


class DebiasWithoutTheClamp(Family):
    def at_least(self, mean: Tensor, least: Tensor) -> Tensor:
        return mean


class DebiasClampedAtZero(Family):
    def at_least(self, mean: Tensor, least: Tensor) -> Tensor:
        return mean.clamp(min=1e-12)


class DebiasFloorWithoutTemperature(Family):
    """The floor's own gradient with respect to the temperature is forgotten."""

    def at_least(self, mean: Tensor, least: Tensor) -> Tensor:
        return super().at_least(mean, least.detach())


class DebiasOrHardness(Family):
    """Together only debias acts."""

    def rows(self, *arguments: Any, debias: float = 0.0, hardness: float = 0.0, **terms: Any) -> Any:
        return super().rows(*arguments, debias=debias, hardness=0.0 if debias else hardness, **terms)


class MaskedColumnsCounted(Family):
    """The number of negatives of debias and hardness is that of all columns."""

    def count(self, negative: Tensor) -> Tensor:
        return super().count(torch.ones_like(negative)) - 1


class HardnessDetached(Family):
    """The weights of the negatives held constant."""

    def harder(self, z: Tensor, negative: Tensor, beta: float) -> Tensor:
        share = torch.softmax(torch.where(negative, beta * z, NOTHING), dim=1).detach()
        return self.count(negative).log() + self.log_sum_exp(z + share.log().clamp(min=NOTHING), negative)


class HardnessWithoutTheCount(Family):
    """Weights that add up to 1 and not to the number of negatives."""

    def harder(self, z: Tensor, negative: Tensor, beta: float) -> Tensor:
        return super().harder(z, negative, beta) - self.count(negative).log()


class WeightNotNormalised(Family):
    """The mean of the weighted losses."""

    def reduce(self, loss: Tensor, weight: Any, reduction: str, counted: Tensor, any_negative: Tensor) -> Tensor:
        if weight is None or reduction != "mean":
            return super().reduce(loss, weight, reduction, counted, any_negative)
        return super().reduce(weight * loss, None, reduction, counted, any_negative)


class WeightConstantInTheMean(Family):
    """The sum of the weights has no gradient."""

    def reduce(self, loss: Tensor, weight: Any, reduction: str, counted: Tensor, any_negative: Tensor) -> Tensor:
        if weight is None or reduction != "mean":
            return super().reduce(loss, weight, reduction, counted, any_negative)
        summed = super().reduce(loss, weight, "sum", counted, any_negative)
        total: Tensor = (weight * counted).sum()
        return summed / total.detach().clamp(min=1e-300)


class AllRowsCounted(Family):
    """sup_con divides by the number of all rows."""

    def counted(self, counted: Tensor) -> Tensor:
        return torch.ones_like(counted)


class OwnRowIsACandidate(Family):
    def others(self, counts: Tensor, itself: Tensor) -> Tensor:
        return counts | itself


class MeanInsideTheLog(Family):
    """Both forms of sup_con are the inner one."""

    def aim(self, form: str, outside: Tensor, inside: Tensor) -> Tensor:
        return inside


class MeanOutsideTheLog(Family):
    def aim(self, form: str, outside: Tensor, inside: Tensor) -> Tensor:
        return outside


class PositivesByColumns(Family):
    def given(self, positives: Tensor) -> Tensor:
        return positives.T


class WeightsOfPositivesIgnored(Family):
    def given(self, positives: Tensor) -> Tensor:
        return positives > 0


class PositivesAddedUp(Family):
    """The sum over the positives in the place of their mean."""

    def normalised(self, weights: Tensor) -> Tensor:
        return (weights > 0).to(weights.dtype)


class PositivesNotExcluded(Family):
    """Every positive stands against all candidates, whatever `exclude_positives` says."""

    def rows(self, *arguments: Any, exclude_positives: bool = False, **terms: Any) -> Any:
        return super().rows(*arguments, **terms)


class LabelsOfTheNextSample(Family):
    """The rows of (N, V, D) taken view by view."""

    def per_row_of_samples(self, labels: Tensor, views: int) -> Tensor:
        return labels.repeat(views)


class TemperatureOfTheNextSample(Family):
    """The temperatures of samples as if the views of a sample came one after the other."""

    def per_view_major_row(self, of_samples: Tensor, views: int) -> Tensor:
        return of_samples.repeat_interleave(views)


class SinglePositiveCancels(Family):
    """The slope of a row's only positive is the difference of two numbers near 1."""

    def single(self, positive: Tensor) -> bool:
        return False
