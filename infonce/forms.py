"""The closed forms: the loss of a row as a function of its statistics, and the slopes with respect to each of them.

With A the log-sum-exp over the negatives, and z_+ the positive's logit,

    L = softplus(A - z_+),    P = sigmoid(A - z_+),    dL/dA = P,    dL/dz_+ = -P:

nothing cancels, however small the loss. Of several positives with weights t_p (that sum to 1), the positives' own
log-sum-exp takes z_+'s place there, and L gains the difference of that and of sum_p t_p z_p (or of
log sum_p t_p exp(z_p), the average inside the logarithm).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .arithmetic import Arithmetic
from .problem import Options

LOWEST = -8.5e37  # a quarter of float32's range: below every logit that can be told apart, and safe to subtract


def nonzero(xp: Any, total: Any) -> Any:
    """`total`, with 1 in place of 0: not a maximum, whose derivative is shared out at a tie."""
    return xp.where(total == 0, xp.ones_like(total), total)


def log_of(xp: Any, total: Any) -> Any:
    """log(total), LOWEST for 0, the sum of nothing."""
    return xp.where(total == 0, xp.full_like(total, LOWEST), xp.log(nonzero(xp, total)))


def exp_minus(xp: Any, lse: Any) -> Any:
    """exp(-lse) of bounded logits; of LOWEST, where there is no candidate, any finite number."""
    return xp.exp(-xp.maximum(lse, xp.full_like(lse, -80.0)))


class Statistics(NamedTuple):
    """What the losses are closed forms of: columns (B, 1)."""

    positive: Any  # the positive's logit; of several sum_p t_p z_p
    lse: list[Any]  # log sum_j exp(c z_j) over the negatives for each of Options.powers; LOWEST where there is none
    count: Any = None  # the number of remaining negatives, as a floating number, where Options.counts
    total: Any = None  # the sum of their logits, where labels are smoothed
    # Of several positives:
    lse_positive: Any = None  # log sum_p exp(z_p)
    lse_weighted: Any = None  # log sum_p t_p exp(z_p)
    positives: Any = None  # how many
    total_positive: Any = None  # sum_p z_p


class Slopes(NamedTuple):
    """dL/d(statistic); None where it is 0."""

    positive: Any
    lse: list[Any]
    total: Any = None
    temperature: Any = None  # beside what reaches the temperature through the logits
    lse_positive: Any = None
    lse_weighted: Any = None


class Negatives(NamedTuple):
    """A, the logarithm of what stands for the negatives in the denominator, and its slopes."""

    value: Any
    lse: list[Any] | None  # None: 1
    weighted: Any = None  # with respect to log sum_p t_p exp(z_p)
    temperature: Any = None


def negatives(b: Arithmetic, options: Options, s: Statistics, temperature: Any) -> Negatives:
    """A: their log-sum-exp, weighted by hardness (arXiv:2010.04592), then debiased (arXiv:2007.00224)."""
    if not (options.hardness or options.debias):
        return Negatives(s.lse[0], None)
    xp, present = b.xp, s.count > 0
    one = xp.ones_like(s.count)
    log_n = xp.log(xp.where(present, s.count, one))
    # The mean of exp(z) over the negatives, weighted by exp(beta z).
    mean = s.lse[0] - (s.lse[1] if options.hardness else log_n)
    slopes = [one, -one] if options.hardness else [one]
    of_weighted = of_temperature = None
    if options.debias:
        tau = options.debias
        weighted = s.positive if s.lse_weighted is None else s.lse_weighted
        mean = xp.where(present, mean, xp.zeros_like(mean))
        # log((exp(mean) - tau exp(weighted)) / (1 - tau)), where the logarithm's argument is positive.
        ratio = tau * xp.exp(xp.where(mean - weighted > -80, weighted - mean, one * 80))
        inside = ratio < 1
        left = 1 - xp.where(inside, ratio, one / 2)
        corrected = mean + xp.log(left / (1 - tau))
        least = -one / temperature
        above = inside & (corrected > least)
        mean = xp.where(above, corrected, least)
        zero = xp.zeros_like(one)
        slope = xp.where(above, one / left, zero)
        slopes = [x * slope for x in slopes]
        of_weighted = xp.where(above, one - one / left, zero)
        of_temperature = xp.where(above | ~present, zero, one / (temperature * temperature))
    value = xp.where(present, log_n + mean, xp.full_like(mean, LOWEST))
    return Negatives(value, slopes, of_weighted, of_temperature)


def loss(b: Arithmetic, options: Options, s: Statistics, temperature: Any) -> tuple[Any, Slopes]:
    """The loss of each row, (B, 1), and its slopes."""
    xp, n = b.xp, negatives(b, options, s, temperature)
    several = s.lse_positive is not None
    if options.decoupled:
        absent, zero = n.value <= LOWEST, xp.zeros_like(n.value)
        missed = xp.where(absent, zero, xp.ones_like(zero))
        target = s.lse_weighted if options.inside else s.positive
        value, of_target, of_lse_positive = xp.where(absent, zero, n.value - target), -missed, None
    else:
        target = s.lse_positive if several else s.positive
        value, missed = b.softplus(n.value - target)
        of_target, of_lse_positive = -missed, None
        if several:
            # Of a single positive the difference of the two is 0, and its slopes would cancel.
            alone, one = s.positives == 1, xp.ones_like(missed)
            of_target, of_lse_positive = xp.where(alone, -missed, -one), xp.where(alone, 0 * missed, one - missed)
            value = value + (s.lse_positive - (s.lse_weighted if options.inside else s.positive))
    of_weighted = of_target if options.inside else None
    of_positive = None if options.inside else of_target
    if n.weighted is not None:
        if several:
            of_weighted = missed * n.weighted + (0 if of_weighted is None else of_weighted)
        else:
            of_positive = of_positive + missed * n.weighted
    of_total = None
    if options.label_smoothing:
        candidates = s.count + (nonzero(xp, s.positives) if several else 1)
        share = options.label_smoothing / candidates
        of_total = -share
        all_logits = s.total + (s.total_positive if several else s.positive)
        value = value + (options.label_smoothing * s.positive - share * all_logits)
        of_positive = (0 if of_positive is None else of_positive) + options.label_smoothing
        if not several:
            of_positive = of_positive - share
    lse = [missed] if n.lse is None else [missed * x for x in n.lse]
    of_temperature = None if n.temperature is None else missed * n.temperature
    return value, Slopes(of_positive, lse, of_total, of_temperature, of_lse_positive, of_weighted)
