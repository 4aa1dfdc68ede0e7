"""One loss of the family per row, from a dense matrix of scores: value, slopes, and the sizes of what is added up.

With t the row's temperature, z_ij = (s_ij - margin at the positives) / t + b_ij, and T_ij the row's positives (weights
that add up to 1; a single 1 in `info_nce`), written lse+ for the positives' log-sum-exp and mean+ for sum_j T_ij z_ij:

    A = log sum_{j negative} exp(z_ij)
    hardness     A = log n + log sum_neg exp((1 + beta) z) - log sum_neg exp(beta z)            arXiv:2010.04592
    debias       A = log(n max((exp(A) / n - tau sum_j T_ij exp(z_ij)) / (1 - tau), exp(-1 / t)))  arXiv:2007.00224
    out          L = (lse+ - mean+) + log(1 + exp(A - lse+))                                    arXiv:2004.11362
    in           L = (lse+ - log sum_j T_ij exp(z_ij)) + log(1 + exp(A - lse+))
    exclude      L = sum_j T_ij log(1 + exp(A - z_ij))
    decoupled    L = A - mean+, or A - log sum_j T_ij exp(z_ij)                                 arXiv:2110.06848
    smoothing    L + eps (mean+ - mean of all candidates' z)

so that neither a loss of 1e-30 nor its gradient cancels away: one positive has lse+ = mean+ exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]  # float64, or float32 where that is asked for
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Objective:
    """Which loss of the family."""

    form: str = "out"
    exclude_positives: bool = False
    label_smoothing: float = 0.0
    margin: float = 0.0
    decoupled: bool = False
    debias: float = 0.0
    hardness: float = 0.0


class RowLosses(NamedTuple):
    """The losses (R,), their derivatives, and the sizes that rounding errors are measured against.

    `terms` are the slopes if nothing in them cancelled, times the row's condition: how much the error of a logit grows
    on its way to A (1 but for debias and hardness). `sensitivity` is half of sum_j |dL/dz_ij|, without it.
    """

    loss: Floats
    slope: Floats  # dL/dz, (R, C)
    log_temperature: Floats  # t dL/dt, (R,)
    terms: Floats
    log_temperature_terms: Floats
    sensitivity: Floats
    largest_logit: float


class Above(NamedTuple):
    """A, what the positives are compared with, and its derivatives."""

    value: Floats
    slope: Floats
    terms: Floats
    log_temperature: Floats  # t dA/dt that does not come through the logits
    condition: Floats


def row_losses(
    scores: Floats,
    target: Floats,
    negatives: Flags,
    temperature: Floats,
    objective: Objective,
    bias: Floats | float = 0.0,
) -> RowLosses:
    """The loss of each row of `scores` (R, C), whose positives are where `target` is above 0; it is 0 without any."""
    positive = target > 0
    scaled = (scores - objective.margin * positive.astype(scores.dtype)) / temperature[:, None]
    logits = scaled + bias
    all_positives, softmax = _log_sum_exp(logits, positive)
    inside, inside_softmax = _log_sum_exp(logits + np.log(target), positive)
    outside = np.sum(np.where(positive, target * logits, 0), axis=1)
    above = _above(logits, negatives, temperature, inside, inside_softmax, objective)

    aim, aim_slope = (outside, target) if objective.form == "out" else (inside, inside_softmax)
    if objective.exclude_positives:
        missed = np.where(positive, target * _sigmoid(above.value[:, None] - logits), 0)
        loss = np.sum(np.where(positive, target * _softplus(above.value[:, None] - logits), 0), axis=1)
        by_above, slope, terms = np.sum(missed, axis=1), -missed, missed
    elif objective.decoupled:
        loss, by_above = above.value - aim, np.ones_like(aim)
        slope, terms = -aim_slope, aim_slope
    else:
        by_above = _sigmoid(above.value - all_positives)
        loss = (all_positives - aim) + _softplus(above.value - all_positives)
        rest, missed = softmax - aim_slope, by_above[:, None] * softmax
        several = np.sum(positive, axis=1, keepdims=True) > 1  # the rest of a single positive is 0 without rounding
        slope, terms = rest - missed, np.where(several, softmax + aim_slope, 0) + missed
    slope = slope + by_above[:, None] * above.slope
    terms = terms + by_above[:, None] * above.terms
    if objective.label_smoothing:
        uniform = _uniform(positive | negatives, logits.dtype)
        loss = loss + objective.label_smoothing * (outside - np.sum(np.where(uniform > 0, uniform * logits, 0), axis=1))
        slope = slope + objective.label_smoothing * (target - uniform)
        terms = terms + objective.label_smoothing * (target + uniform)

    empty = ~np.any(positive, axis=1) | (objective.decoupled & ~np.any(negatives, axis=1))
    loss, by_above = np.where(empty, 0, loss), np.where(empty, 0, by_above)
    slope, terms = np.where(empty[:, None], 0, slope), np.where(empty[:, None], 0, terms)
    direct = by_above * above.log_temperature
    sized = terms * above.condition[:, None]
    return RowLosses(
        loss=loss,
        slope=slope,
        log_temperature=direct - np.sum(slope * scaled, axis=1),
        terms=sized,
        log_temperature_terms=direct + np.sum(np.abs(sized * scaled), axis=1),
        sensitivity=np.sum(terms, axis=1) / 2,
        largest_logit=largest(logits),
    )


def _above(
    logits: Floats, negatives: Flags, temperature: Floats, inside: Floats, inside_softmax: Floats, objective: Objective
) -> Above:
    """A: the negatives' log-sum-exp, as hardness and debias change it; -inf without negatives."""
    count = np.sum(negatives, axis=1, dtype=logits.dtype)
    value, slope = _log_sum_exp(logits, negatives)
    terms, beta, tau = slope, objective.hardness, objective.debias
    if beta:
        tilted, tilted_softmax = _log_sum_exp((1 + beta) * logits, negatives)
        by_weight, weight_softmax = _log_sum_exp(beta * logits, negatives)
        value = np.log(count) + tilted - by_weight
        slope = (1 + beta) * tilted_softmax - beta * weight_softmax
        terms = (1 + beta) * tilted_softmax + beta * weight_softmax
    condition = np.full_like(value, 1 + 2 * beta)
    direct = np.zeros_like(value)
    if tau:
        mean = value - np.log(count)
        gap = math.log(tau) + inside - mean  # of the false negatives' expected part below the negatives' mean
        remaining = -np.expm1(gap)
        corrected, floor = mean + np.log(remaining) - math.log1p(-tau), -1 / temperature
        free = (gap < 0) & (corrected > floor)
        value = np.log(count) + np.where(free, corrected, floor)
        # exp(A) / n = (x - y) / (1 - tau): d log(x - y) = x / (x - y) d log x - y / (x - y) d log y
        gain, loss = np.where(free, 1 / remaining, 0), np.where(free, 1 / np.expm1(-gap), 0)
        slope = gain[:, None] * slope - loss[:, None] * inside_softmax
        terms = gain[:, None] * terms + loss[:, None] * inside_softmax
        direct = np.where(free, 0, -floor)
        condition = np.where(free, (gain + loss) * condition, 1)
    some = count > 0
    return Above(
        np.where(some, value, -np.inf),
        np.where(some[:, None], slope, 0),
        np.where(some[:, None], terms, 0),
        np.where(some, direct, 0),
        np.where(some, condition, 1),
    )


def _log_sum_exp(logits: Floats, where: Flags) -> tuple[Floats, Floats]:
    """log sum exp over the entries that `where` marks and their softmax; -inf and 0 in a row without any."""
    marked = np.where(where, logits, -np.inf)
    highest = np.max(marked, axis=1, keepdims=True, initial=-np.inf)
    exponentials = np.exp(marked - np.where(highest == -np.inf, 0, highest))
    total = np.sum(exponentials, axis=1, keepdims=True)
    return (highest + np.log(total))[:, 0], np.where(total == 0, 0, exponentials / total)


def _uniform(where: Flags, dtype: np.dtype[Any]) -> Floats:
    return np.asarray(where / np.maximum(np.sum(where, axis=1, keepdims=True, dtype=dtype), 1))


def _softplus(a: Floats) -> Floats:
    return np.asarray(np.maximum(a, 0) + np.log1p(np.exp(-np.abs(a))))


def _sigmoid(a: Floats) -> Floats:
    """1 / (1 + exp(-a)), without overflow on either side."""
    return np.asarray(np.where(a > 0, 1, np.exp(np.minimum(a, 0))) / (1 + np.exp(-np.abs(a))))


def largest(values: Floats) -> float:
    """The largest finite magnitude."""
    return float(np.max(np.abs(values), initial=0.0, where=np.isfinite(values)))
