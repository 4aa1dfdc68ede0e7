"""The oracle: loss and gradients written plainly from the formula, dense, in NumPy, sharing no code with the engine.

Per row i, with s(q, k) the cosine (or the dot product) and z_ij = s(q_i, k_j) / t_i,

    L_i = -log(exp(z_i+) / sum_j exp(z_ij)) = log(1 + exp(a_i)),   a_i = log sum_{j negative} exp(z_ij) - z_i+
    dL_i/dz_ij = p_ij for a negative,   dL_i/dz_i+ = p_i+ - 1 = -sum_{j negative} p_ij

and the options change that as `_row_losses.py` says. `oracle_views.py` has the losses of several positives.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from infonce.conformance._reference import (
    Reference,
    reduce,
    reshaped_or_summed,
    row_norms,
    summed_to,
    through_unit_rows,
    unit_rows,
)
from infonce.conformance._row_losses import Flags, Floats, Objective, largest, row_losses

__all__ = ["Reference", "info_nce"]


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
    ids: ArrayLike | None = None,
    negative_ids: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    margin: float = 0.0,
    bias: ArrayLike | None = None,
    decoupled: bool = False,
    debias: float = 0.0,
    hardness: float = 0.0,
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
    row_weight = None if weight is None else np.asarray(weight, dtype)
    objective = Objective(
        label_smoothing=label_smoothing, margin=margin, decoupled=decoupled, debias=debias, hardness=hardness
    )

    with np.errstate(all="ignore"):  # infinite and NaN rows are data here, and underflow is meant
        vectors = {name: unit_rows(x)[0] if normalize else x for name, x in raw.items()}
        scores = _scores(vectors, within_batch, paired)
        own = np.arange(rows) if within_batch else np.zeros(rows, int)
        target = (np.arange(scores.shape[1]) == own[:, None]).astype(dtype)
        negatives = _negatives(target, within_batch, ids, negative_ids, mask)
        added = np.zeros_like(scores)
        if bias is not None:
            _columns(added, within_batch)[...] = bias
        turns = 2 if symmetric else 1
        if symmetric:  # rows N.. are those of the keys, without a bias
            scores, target, negatives = (_with_turned(x, rows) for x in (scores, target, negatives))
            added, t = np.concatenate([added, np.zeros_like(added)]), np.tile(t, 2)
        found = row_losses(scores, target, negatives, t, objective, added)
        loss, sensitivity = _over_turns(found.loss, turns) / turns, _over_turns(found.sensitivity, turns) / turns
        reduced = reduce(loss, sensitivity, reduction, row_weight, cotangent)

        each = np.tile(reduced.by_loss, turns)[:, None] / turns
        to_score = _turned_back(each * found.slope / t[:, None], rows)
        terms = _turned_back(np.abs(each) * found.terms / t[:, None], rows)
        gradients = _gradients(vectors, to_score, within_batch, paired)
        if normalize:
            gradients = {name: through_unit_rows(raw[name], g) for name, g in gradients.items()}
        uncancelled = _uncancelled(vectors, terms, within_batch, paired)
        longest = [largest(row_norms(x)) for name, x in vectors.items() if name != "query"]
        reach = largest(row_norms(vectors["query"]) / t[:rows]) * max(longest)
        if not isinstance(temperature, (int, float)):
            per_row = _over_turns(each[:, 0] * found.log_temperature / t, turns)
            gradients["temperature"] = reshaped_or_summed(per_row, np.shape(temperature))
            uncancelled["temperature"] = _over_turns(np.abs(each[:, 0]) * found.log_temperature_terms, turns)
        if weight is not None:
            gradients["weight"], uncancelled["weight"] = reduced.by_weight, reduced.weight_terms
        if bias is not None:
            shape = np.shape(bias)
            gradients["bias"] = summed_to(shape, _columns(each * found.slope, within_batch)[:rows])
            uncancelled["bias"] = summed_to(shape, _columns(np.abs(each) * found.terms, within_batch)[:rows])
    return Reference(reduced.loss, gradients, found.largest_logit, reach, uncancelled, reduced.sensitivity)


def _scores(vectors: dict[str, Floats], within_batch: bool, paired: bool) -> Floats:
    """(N, candidates): the keys of the batch (or the own positive alone), then the explicit negatives."""
    query, positive_key = vectors["query"], vectors["positive_key"]
    parts = [query @ positive_key.T if within_batch else np.sum(query * positive_key, axis=1, keepdims=True)]
    if "negative_keys" in vectors:
        negatives = vectors["negative_keys"]
        parts.append(np.einsum("nd,nkd->nk", query, negatives) if paired else query @ negatives.T)
    return np.concatenate(parts, axis=1)


def _columns(candidates: Any, within_batch: bool) -> Any:
    """The candidates that `mask` and `bias` speak of: without the own positive where it is no key of the batch."""
    return candidates[:, 0 if within_batch else 1 :]


def _negatives(
    target: Floats, within_batch: bool, ids: ArrayLike | None, negative_ids: ArrayLike | None, mask: ArrayLike | None
) -> Flags:
    """Who is a negative of whom: not the own positive, nothing masked, nothing that carries the query's id."""
    rows = len(target)
    negatives: Flags = target == 0
    if mask is not None:
        _columns(negatives, within_batch)[...] &= np.asarray(mask)
    if ids is not None:
        own = np.asarray(ids)[:, None]
        if within_batch:
            negatives[:, :rows] &= own != own.T
        if negative_ids is not None:
            negatives[:, rows if within_batch else 1 :] &= own != np.asarray(negative_ids)
    return negatives


def _with_turned(candidates: Any, rows: int) -> Any:
    """The candidates of each query, then those of each key: all queries, and nothing in explicit negatives' columns."""
    turned = np.zeros_like(candidates)
    turned[:, :rows] = candidates[:, :rows].T
    return np.concatenate([candidates, turned])


def _turned_back(values: Floats, rows: int) -> Floats:
    """By pair (query, candidate): entry (j, i) of key j's row is the same pair as entry (i, j) of query i's."""
    pairs = values[:rows].copy()
    pairs[:, :rows] += values[rows:, :rows].T if len(values) > rows else 0
    return pairs


def _over_turns(values: Floats, turns: int) -> Floats:
    return np.asarray(np.sum(values.reshape(turns, -1), axis=0))


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
    norm = {name: row_norms(x) for name, x in vectors.items()}
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
