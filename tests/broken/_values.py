"""Implementations whose loss is wrong, and their gradient with it."""

from __future__ import annotations

from typing import Any

import numpy as np

from infonce.conformance.data import round_to

from ._correct import Correct


class WrongMask(Correct):
    """The first candidate counts as every query's positive."""

    def positive_columns(self, rows: Any, within: bool) -> Any:
        return np.zeros_like(rows)


class PositiveCountedTwice(Correct):
    """The positive stays among the negatives."""

    def negatives(self, logits: Any, positive: Any) -> Any:
        return logits


class OneCandidateMore(Correct):
    """log(N + 1): a candidate of logit 0 that nobody gave."""

    def cross_entropy(self, logits: Any, positive: Any) -> tuple[Any, Any]:
        loss, slope = super().cross_entropy(np.concatenate([logits, 0 * logits[:, :1]], axis=1), positive)
        return loss, slope[:, :-1]


class EqualKeysDropped(Correct):
    """A negative with the positive's logit is taken for the positive."""

    def negatives(self, logits: Any, positive: Any) -> Any:
        own = np.take_along_axis(logits, positive[:, None], axis=1)
        return np.where(logits == own, -np.inf, logits)


class NoMaxShift(Correct):
    def shift(self, logits: Any) -> Any:
        return np.zeros_like(logits[:, :1])


class ShiftOfTheBlock(Correct):
    """One maximum for the block: rows far below it underflow."""

    def shift(self, logits: Any) -> Any:
        return np.full_like(logits[:, :1], np.max(super().shift(logits), initial=-np.inf))


class LogSumExpMinusPositive(Correct):
    """p - 1 and lse - z cancel where the loss is tiny."""

    def cross_entropy(self, logits: Any, positive: Any) -> tuple[Any, Any]:
        shift = self.shift(logits)
        powers = np.exp(logits - shift)
        total = np.sum(powers, axis=1, keepdims=True)
        slope = powers / total
        own = np.take_along_axis(logits, positive[:, None], axis=1)
        np.put_along_axis(slope, positive[:, None], np.take_along_axis(slope, positive[:, None], axis=1) - 1, axis=1)
        return (np.log(total) + shift - own)[:, 0], slope


class HalfSums(Correct):
    """The denominator summed in float16."""

    def cross_entropy(self, logits: Any, positive: Any) -> tuple[Any, Any]:
        negatives = self.negatives(logits, positive)
        shift = self.shift(negatives)
        total = np.sum(np.exp(negatives - shift).astype(np.float16), axis=1, keepdims=True).astype(self.work)
        a = np.log(total) + shift - np.take_along_axis(logits, positive[:, None], axis=1)
        return np.logaddexp(0, a)[:, 0], super().cross_entropy(logits, positive)[1]


class HalfLogits(Correct):
    """Logits rounded to bfloat16."""

    def logits(self, vectors: Any, rows: Any, t: Any, within: bool, paired: bool) -> Any:
        return round_to("bfloat16", super().logits(vectors, rows, t, within, paired)).astype(self.work)


class HalfUnitRows(Correct):
    """Unit rows rounded to the dtype of the inputs."""

    def unit(self, given: Any, x: Any) -> Any:
        return round_to(self.dtype, super().unit(given, x)).astype(self.work)


class SingleForDouble(Correct):
    """float64 inputs computed in float32."""

    def logits(self, vectors: Any, rows: Any, t: Any, within: bool, paired: bool) -> Any:
        return super().logits(vectors, rows, t, within, paired).astype(np.float32).astype(self.work)


class TimesTheTemperature(Correct):
    def logits(self, vectors: Any, rows: Any, t: Any, within: bool, paired: bool) -> Any:
        return super().logits(vectors, rows, 1 / t, within, paired)


class MeanTemperature(Correct):
    """One temperature for all rows, their mean."""

    def both_directions(self, vectors: Any, t: Any, weight: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        mean = np.full_like(t, np.mean(t)) if t.size else t
        return super().both_directions(vectors, mean, weight, options)


class EpsilonInTheNorm(Correct):
    def norm(self, x: Any) -> tuple[Any, Any]:
        scale, size = super().norm(x)
        return scale, size + self.work(1e-6) / scale


class NormOfRawSquares(Correct):
    """Squares overflow for long rows and underflow for short ones."""

    def norm(self, x: Any) -> tuple[Any, Any]:
        size = np.sqrt(np.sum(x * x, axis=-1, keepdims=True))
        return np.ones_like(size), np.where(size == 0, self.work(1), size)


class ClampedNorm(Correct):
    """max(norm, 1e-12): a zero row gets a gradient of 1e12."""

    def norm(self, x: Any) -> tuple[Any, Any]:
        size = np.sqrt(np.sum(x * x, axis=-1, keepdims=True))
        return np.ones_like(size), np.maximum(size, self.work(1e-12))

    def through_unit(self, x: Any, gradient: Any) -> Any:
        _, size = self.norm(x)
        u = x / size
        return (gradient - u * np.sum(u * gradient, axis=-1, keepdims=True)) / size


class ZeroRowsDivided(Correct):
    """0 / 0 for a zero row."""

    def norm(self, x: Any) -> tuple[Any, Any]:
        scale = np.max(np.abs(x), axis=-1, keepdims=True, initial=0)
        return scale, np.linalg.norm(x / scale, axis=-1, keepdims=True)


class NormalizeIgnored(Correct):
    def compute(self, arrays: Any, temperature: Any, options: dict[str, Any], cotangent: Any) -> Any:
        return super().compute(arrays, temperature, options | {"normalize": True}, cotangent)


class SymmetricForgotten(Correct):
    def both_directions(self, vectors: Any, t: Any, weight: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return self.direction(vectors, t, weight, options)


class SymmetricSummed(Correct):
    """Both directions added up, as some do, not averaged."""

    def both_directions(self, vectors: Any, t: Any, weight: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        factor = 2 if options["symmetric"] else 1
        loss, gradients = super().both_directions(vectors, t, factor * weight, options)
        return factor * loss, gradients


class TemperatureOfTheOther(Correct):
    """In the key-to-query direction the temperatures are taken in another order."""

    def direction(self, vectors: Any, t: Any, weight: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        turned = options["symmetric"] and vectors.keys() == {"query", "positive_key"}
        return super().direction(vectors, t[::-1] if turned else t, weight, options)


class InBatchIgnored(Correct):
    """With explicit negatives the batch's own are never used."""

    def within_batch(self, explicit: bool, in_batch: bool | None) -> bool:
        return not explicit


class InBatchAlways(Correct):
    """Explicit negatives join the batch's own, unasked."""

    def within_batch(self, explicit: bool, in_batch: bool | None) -> bool:
        return True


class NegativesOfTheNextRow(Correct):
    """Paired negatives shifted by one row."""

    def both_directions(self, vectors: Any, t: Any, weight: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if "negative_keys" not in vectors or options["negative_mode"] == "unpaired":
            return super().both_directions(vectors, t, weight, options)
        turned = vectors | {"negative_keys": np.roll(vectors["negative_keys"], 1, axis=0)}
        loss, gradients = super().both_directions(turned, t, weight, options)
        return loss, gradients | {"negative_keys": np.roll(gradients["negative_keys"], -1, axis=0)}
