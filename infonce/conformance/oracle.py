"""The oracle: loss and gradients written plainly from the formula, dense, in NumPy, sharing no code with the engine.

Per row i, with s(q, k) the cosine (or the dot product) and z_ij = s(q_i, k_j) / t_i,

    L_i = -log(exp(z_i+) / sum_j exp(z_ij)) = log(1 + exp(a_i)),   a_i = log sum_{j negative} exp(z_ij) - z_i+
    dL_i/dz_ij = p_ij for a negative,   dL_i/dz_i+ = p_i+ - 1 = -sum_{j negative} p_ij

so that neither a loss of 1e-30 nor its gradient cancels away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[Any]  # float64, or float32 where that is asked for


@dataclass(frozen=True)
class Reference:
    """The loss, its gradients by parameter name, and the magnitudes that rounding errors are measured against.

    `uncancelled` holds, per row, what |x_i| * |gradient_i| would be if no two terms of the gradient cancelled;
    for the temperature, per row, sum_j |dL/dz_ij * z_ij|.
    """

    loss: Floats
    gradients: dict[str, Floats]
    largest_logit: float
    largest_reach: float  # the largest |q_i| |k_j| / t_i: what a slope is multiplied with on its way to a gradient
    uncancelled: dict[str, Floats]


def info_nce(
    query: ArrayLike,
    positive_key: ArrayLike,
    negative_keys: ArrayLike | None = None,
    temperature: ArrayLike = 0.1,
    reduction: str = "mean",
    negative_mode: str = "unpaired",
    *,
    symmetric: bool = False,
    normalize: bool = True,
    in_batch: bool | None = None,
    cotangent: ArrayLike | None = None,
    dtype: type[np.floating] = np.float64,
) -> Reference:
    """The loss and all gradients; for reduction none those of sum(cotangent * loss), ones by default.

    `dtype` is the precision of all arithmetic: float32 shows what the formula itself loses there.
    """
    raw = {"query": np.asarray(query, dtype), "positive_key": np.asarray(positive_key, dtype)}
    if negative_keys is not None:
        raw["negative_keys"] = np.asarray(negative_keys, dtype)
    rows, paired = len(raw["query"]), negative_mode == "paired"
    within_batch = negative_keys is None if in_batch is None else in_batch
    t = np.broadcast_to(np.asarray(temperature, dtype).reshape(-1), (rows,))
    weight = _row_weights(rows, reduction, cotangent, dtype)

    with np.errstate(all="ignore"):  # infinite and NaN rows are data here, and underflow is meant
        vectors = {name: _unit_rows(x)[0] if normalize else x for name, x in raw.items()}
        scores = _scores(vectors, within_batch, paired)
        positive = np.arange(rows) if within_batch else np.zeros(rows, int)
        loss, slope = _cross_entropy(scores / t[:, None], positive)
        largest = _largest(scores / t[:, None])
        if symmetric:
            turned = vectors["positive_key"] @ vectors["query"].T / t[:, None]  # row i: key i against all queries
            turned_loss, turned_slope = _cross_entropy(turned, positive)
            loss, largest = (loss + turned_loss) / 2, max(largest, _largest(turned))
            # Both directions share the scores: entry (i, j) of the one is entry (j, i) of the other.
            by_logit = [(slope / 2, scores / t[:, None]), (turned_slope / 2, turned)]
            to_score = weight[:, None] * slope / t[:, None] / 2
            to_score[:, :rows] += (weight[:, None] * turned_slope / t[:, None] / 2).T
        else:
            by_logit = [(slope, scores / t[:, None])]
            to_score = weight[:, None] * slope / t[:, None]

        gradients = _gradients(vectors, to_score, within_batch, paired)
        if normalize:
            gradients = {name: _through_unit_rows(raw[name], g) for name, g in gradients.items()}
        longest = [_largest(_norm(x)) for name, x in vectors.items() if name != "query"]
        reach = _largest(_norm(vectors["query"]) / t) * max(longest)
        uncancelled = _uncancelled(vectors, np.abs(to_score), within_batch, paired)
        if not isinstance(temperature, (int, float)):
            terms = [weight[:, None] * g * z for g, z in by_logit]
            per_row = -sum(np.sum(term, axis=1) for term in terms) / t
            shape = np.shape(temperature)
            gradients["temperature"] = np.sum(per_row) if per_row.size != np.size(temperature) else per_row
            gradients["temperature"] = np.reshape(gradients["temperature"], shape)
            uncancelled["temperature"] = np.asarray(sum(np.sum(np.abs(term), axis=1) for term in terms))
    reduced = {"none": loss, "mean": np.mean(loss), "sum": np.sum(loss)}[reduction]
    return Reference(np.asarray(reduced), gradients, largest, reach, uncancelled)


def _largest(values: Floats) -> float:
    return float(np.max(np.abs(values), initial=0.0, where=np.isfinite(values)))


def _row_weights(rows: int, reduction: str, cotangent: ArrayLike | None, dtype: type[np.floating]) -> Floats:
    """What each row's loss contributes to the number that is differentiated."""
    if reduction == "none" and cotangent is not None:
        return np.asarray(cotangent, dtype)
    return np.full(rows, 1 / rows if reduction == "mean" else 1, dtype)


def _unit_rows(x: Floats) -> tuple[Floats, Floats, Floats]:
    """x / |x| with the norm in two factors (largest entry, norm of the rest): squares of 1e30 overflow float32."""
    largest = np.max(np.abs(x), axis=-1, keepdims=True)
    scale = np.where(largest == 0, 1, largest)  # a zero row stays zero: cosine 0 with everything
    norm = np.sqrt(np.sum((x / scale) ** 2, axis=-1, keepdims=True))
    norm = np.where(largest == 0, 1, norm)
    return x / scale / norm, scale, norm


def _through_unit_rows(x: Floats, gradient: Floats) -> Floats:
    """The gradient with respect to x of a function of u = x / |x|: (g - u (u . g)) / |x|, and 0 for a zero row."""
    u, scale, norm = _unit_rows(x)
    tangent = gradient - u * np.sum(u * gradient, axis=-1, keepdims=True)
    zero = np.all(x == 0, axis=-1, keepdims=True)
    return np.where(zero, 0, tangent / norm / scale)


def _scores(vectors: dict[str, Floats], within_batch: bool, paired: bool) -> Floats:
    """(N, candidates): the keys of the batch (or the own positive alone), then the explicit negatives."""
    query, positive_key = vectors["query"], vectors["positive_key"]
    parts = [query @ positive_key.T if within_batch else np.sum(query * positive_key, axis=1, keepdims=True)]
    if "negative_keys" in vectors:
        negatives = vectors["negative_keys"]
        parts.append(np.einsum("nd,nkd->nk", query, negatives) if paired else query @ negatives.T)
    return np.concatenate(parts, axis=1)


def _cross_entropy(logits: Floats, positive: NDArray[np.int_]) -> tuple[Floats, Floats]:
    """The loss of each row and its gradient with respect to the logits."""
    rows = np.arange(len(logits))
    negatives = logits.copy()
    negatives[rows, positive] = -np.inf
    if logits.shape[1] <= 1:  # no negatives: log(1) = 0
        return np.zeros_like(logits[:, 0]), np.zeros_like(logits)
    largest = np.max(negatives, axis=1, keepdims=True)
    exponentials = np.exp(negatives - largest)
    total = np.sum(exponentials, axis=1, keepdims=True)
    a = largest[:, 0] + np.log(total[:, 0]) - logits[rows, positive]
    loss = np.maximum(a, 0) + np.log1p(np.exp(-np.abs(a)))
    # Probability that the positive is missed, sigmoid(a), without overflow on either side.
    missed = np.where(a > 0, 1, np.exp(np.minimum(a, 0))) / (1 + np.exp(-np.abs(a)))
    slope = exponentials / total * missed[:, None]
    slope[rows, positive] = -np.sum(slope, axis=1)
    return loss, slope


def _gradients(vectors: dict[str, Floats], to_score: Floats, within_batch: bool, paired: bool) -> dict[str, Floats]:
    """The gradients with respect to the vectors that entered the scores."""
    query, positive_key = vectors["query"], vectors["positive_key"]
    width = len(query) if within_batch else 1
    first, rest = to_score[:, :width], to_score[:, width:]
    gradients = {
        "query": first @ positive_key if within_batch else first * positive_key,
        "positive_key": first.T @ query if within_batch else first * query,
    }
    if "negative_keys" in vectors:
        negatives = vectors["negative_keys"]
        gradients["query"] = gradients["query"] + (
            np.einsum("nk,nkd->nd", rest, negatives) if paired else rest @ negatives
        )
        gradients["negative_keys"] = rest[:, :, None] * query[:, None, :] if paired else rest.T @ query
    return gradients


def _uncancelled(vectors: dict[str, Floats], to_score: Floats, within_batch: bool, paired: bool) -> dict[str, Floats]:
    """Per row sum |dL/ds_ij| |q_i| |k_j|: the bound of |x_i| |gradient_i| that cancellation cannot lower."""
    norm = {name: _norm(x) for name, x in vectors.items()}
    width = len(norm["query"]) if within_batch else 1
    own = norm["positive_key"][None, :] if within_batch else norm["positive_key"][:, None]
    first = to_score[:, :width] * norm["query"][:, None] * own
    sums = {"query": np.sum(first, axis=1), "positive_key": np.sum(first, axis=0 if within_batch else 1)}
    if "negative_keys" in vectors:
        negatives = norm["negative_keys"] if paired else norm["negative_keys"][None, :]
        rest = to_score[:, width:] * norm["query"][:, None] * negatives
        sums["query"] = sums["query"] + np.sum(rest, axis=1)
        sums["negative_keys"] = rest if paired else np.sum(rest, axis=0)
    return sums


def _norm(x: Floats) -> Floats:
    """The norms of rows of any magnitude."""
    _, scale, norm = _unit_rows(x)
    return np.where(np.all(x == 0, axis=-1), 0, (scale * norm)[..., 0])
