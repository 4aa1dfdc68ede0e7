"""Implementations whose loss is right and whose gradient is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

from infonce.conformance.data import round_to

from ._correct import Correct


class GradientOffByAFactor(Correct):
    def round_gradient(self, gradient: Any) -> Any:
        return super().round_gradient(1.001 * gradient)


class GradientRoundedTwice(Correct):
    """The gradient saved in float16 before the cotangent is known."""

    def weights(self, rows: int, reduction: str, cotangent: Any) -> Any:
        return super().weights(rows, reduction, cotangent) / 64  # what a small cotangent leaves of it

    def round_gradient(self, gradient: Any) -> Any:
        return 64 * round_to("float16", gradient)


class NoTemperatureGradient(Correct):
    def temperature_slope(self, slope: Any, logits: Any, positive: Any, t: Any) -> Any:
        return np.zeros_like(t)


class TemperatureGradientOfTheNegatives(Correct):
    """The positive's share of the temperature's gradient is forgotten."""

    def temperature_slope(self, slope: Any, logits: Any, positive: Any, t: Any) -> Any:
        slope = slope.copy()
        np.put_along_axis(slope, positive[:, None], 0, axis=1)
        return super().temperature_slope(slope, logits, positive, t)


class NoProjection(Correct):
    """The norm treated as a constant."""

    def through_unit(self, x: Any, gradient: Any) -> Any:
        scale, size = self.norm(x)
        return gradient / size / scale


class MeanInTheValueAlone(Correct):
    """The value is the mean's, the gradient the sum's."""

    def weights(self, rows: int, reduction: str, cotangent: Any) -> Any:
        return super().weights(rows, "sum" if reduction == "mean" else reduction, cotangent)


class CotangentIgnored(Correct):
    def weights(self, rows: int, reduction: str, cotangent: Any) -> Any:
        return super().weights(rows, reduction, None)


class FirstCotangentForAll(Correct):
    """A gradient made in the forward pass cannot know each row's cotangent."""

    def weights(self, rows: int, reduction: str, cotangent: Any) -> Any:
        weight = super().weights(rows, reduction, cotangent)
        return np.full_like(weight, weight[0]) if weight.size else weight


class KeysGradientOfThePositivesAlone(Correct):
    """What a key receives as the others' negative is lost."""

    def add_gradients(self, gradients: Any, vectors: Any, rows: Any, slope: Any, within: bool) -> None:
        before = gradients["positive_key"].copy()
        super().add_gradients(gradients, vectors, rows, slope, within)
        if within:
            gradients["positive_key"] = before
            before[rows] += slope[np.arange(len(rows)), rows][:, None] * vectors["query"][rows]


class NoGradientForNegatives(Correct):
    def add_gradients(self, gradients: Any, vectors: Any, rows: Any, slope: Any, within: bool) -> None:
        super().add_gradients(gradients, vectors, rows, slope, within)
        if "negative_keys" in gradients:
            gradients["negative_keys"][...] = 0
