"""The losses in arithmetic of 60 digits, as the papers write them: exponentials and logarithms, no trick at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mpmath
import numpy as np
import pytest

from infonce.conformance.oracle import Reference
from infonce.conformance.tolerance import loss_tolerance

DIGITS = 60


def dot(a: Any, b: Any) -> Any:
    return mpmath.fsum(x * y for x, y in zip(a, b, strict=True))


def cosine(a: Any, b: Any) -> Any:
    size = mpmath.sqrt(dot(a, a) * dot(b, b))
    return dot(a, b) / size if size else mpmath.mpf(0)


def to_mp(x: Any) -> Any:
    return np.vectorize(mpmath.mpf, otypes=[object])(np.asarray(x))


def row_loss(
    positives: Sequence[tuple[Any, Any]],
    negatives: Sequence[Any],
    t: Any,
    form: str = "out",
    exclude_positives: bool = False,
    label_smoothing: float = 0.0,
    decoupled: bool = False,
    debias: float = 0.0,
    hardness: float = 0.0,
) -> Any:
    """One row's loss from (logit, weight) of its positives, the weights adding up to 1, and its negatives' logits."""
    if not positives or (decoupled and not negatives):
        return mpmath.mpf(0)
    n = len(negatives)
    below = mpmath.fsum(mpmath.exp(z) for z in negatives)
    if hardness and n:
        weights = [mpmath.exp(hardness * z) for z in negatives]
        below = (
            mpmath.fsum(w * mpmath.exp(z) for w, z in zip(weights, negatives, strict=True)) * n / mpmath.fsum(weights)
        )
    inside = mpmath.fsum(w * mpmath.exp(z) for z, w in positives)
    if debias and n:
        below = n * max((below / n - debias * inside) / (1 - debias), mpmath.exp(-1 / t))
    every = below + (0 if decoupled else mpmath.fsum(mpmath.exp(z) for z, _ in positives))
    candidates = [z for z, _ in positives] + list(negatives)
    if exclude_positives:
        loss = mpmath.fsum(-w * mpmath.log(mpmath.exp(z) / (mpmath.exp(z) + below)) for z, w in positives)
    elif form == "in":
        loss = -mpmath.log(inside / every)
    else:  # cross-entropy with the smoothed targets
        targets = [(1 - label_smoothing) * w for _, w in positives] + [0] * n
        targets = [target + mpmath.mpf(label_smoothing) / len(candidates) for target in targets]
        return -mpmath.fsum(p * mpmath.log(mpmath.exp(z) / every) for p, z in zip(targets, candidates, strict=True))
    smoothed = mpmath.fsum(w * z for z, w in positives) - mpmath.fsum(candidates) / len(candidates)
    return loss + label_smoothing * smoothed


def reduced(
    losses: Sequence[Any], reduction: str, weights: Sequence[Any], counted: Sequence[bool] | None = None
) -> Any:
    weighted = [w * loss for w, loss in zip(weights, losses, strict=True)]
    if reduction == "none":
        return np.array(weighted, dtype=object)
    if reduction == "sum":
        return mpmath.fsum(weighted)
    counted = [True] * len(losses) if counted is None else counted
    total = mpmath.fsum(w for w, counts in zip(weights, counted, strict=True) if counts)
    return mpmath.fsum(x for x, counts in zip(weighted, counted, strict=True) if counts) / total if total else total


def assert_right(
    found: Reference, formula: Callable[[Mapping[str, Any]], Any], arrays: Mapping[str, Any], cotangent: Any = None
) -> None:
    """Value, and every gradient along random directions of all its entries at once.

    d/dh at h = 1e-20 errs by 1e-40. What is allowed is what the oracle's float64 logits carry: see `tolerance.py`.
    """
    exact = {name: to_mp(x) for name, x in arrays.items()}
    want = np.asarray(formula(exact), dtype=float)
    assert found.loss.shape == want.shape
    z, eps = found.largest_logit, 2.0**-52
    assert np.all(np.abs(found.loss - want) <= loss_tolerance(want, z, 1, "float64", found.sensitivity))

    def scalar(values: Mapping[str, Any]) -> Any:
        return np.sum(formula(values) * (1 if cotangent is None else to_mp(cotangent)))

    assert set(found.gradients) == set(found.uncancelled) == set(arrays)
    for name, x in arrays.items():
        gradient, terms = found.gradients[name], np.abs(found.uncancelled[name])
        assert gradient.shape == np.shape(x), name
        if name not in ("temperature", "weight", "bias"):
            terms = (terms / np.linalg.norm(x, axis=-1))[..., None]
        elif name == "temperature":
            terms = np.reshape(terms if terms.size == np.size(x) else np.sum(terms), np.shape(x)) / np.abs(x)
        for seed in range(2):
            direction = np.random.default_rng(seed).normal(size=np.shape(x))
            step = mpmath.mpf(10) ** -20 * to_mp(direction)
            slope = (scalar({**exact, name: exact[name] + step}) - scalar({**exact, name: exact[name] - step})) / 2
            allowed = 8 * (1 + z) * eps * float(np.sum(terms * np.abs(direction)))
            along = float(np.sum(gradient * direction))
            assert along == pytest.approx(float(slope * mpmath.mpf(10) ** 20), rel=0, abs=allowed), name
