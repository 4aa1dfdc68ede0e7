"""Cases of metrics, and the dense formulas."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._frameworks import Framework

Floats = NDArray[np.float64]
Answer = tuple[Any, dict[str, Any]]  # a loss, and metrics by name
UNCOMPILED = ("numpy", "array_api_strict", "torch")  # at home; the others take a second for each new case
DTYPES = (("float64", 3), ("float32", 1), ("float32", None))  # and block sizes
NAMES = ("accuracy", "positive_similarity", "negative_similarity", "log_sum_exp")  # of return_metrics
TOP_K = (1, 2, 3, 50)
N, M, K, D = 7, 5, 3, 4
RNG = np.random.default_rng(3)
QUERY = RNG.normal(size=(N, D))
KEY = 0.5 * QUERY + RNG.normal(size=(N, D))  # some queries find theirs
SHARED: dict[str, Any] = {"negative_keys": RNG.normal(size=(M, D))}
OWN: dict[str, Any] = {"negative_keys": RNG.normal(size=(N, K, D)), "negative_mode": "paired"}
BATCH = {"in_batch": True}
ZERO = KEY * (np.arange(N) % 3 > 0)[:, None]
IDS = np.asarray([0, 0, 1, 2, 3, 4, 0])
SHARED_IDS = {"ids": IDS, "negative_ids": np.arange(M)}
OWN_IDS = {"ids": IDS, "negative_ids": np.arange(N * K).reshape(N, K) % 5}
MASK = RNG.random((N, N + M)) < 0.6
LONELY = (np.arange(N) % 2 > 0)[:, None]  # every other row has no negatives
ROWS = np.linspace(0.1, 0.6, N)  # a temperature of each row

# Arguments of `metrics` beside the pairs, or in place of them.
METRICS: dict[str, dict[str, Any]] = {
    "in-batch": {},
    "unpaired": SHARED,
    "paired": OWN,
    "in-batch and unpaired": SHARED | BATCH,
    "in-batch and paired": OWN | BATCH,
    "dot products": SHARED | BATCH | {"normalize": False, "temperature": np.asarray(0.7)},
    "ids": {"ids": IDS},
    "ids and unpaired": SHARED | SHARED_IDS,
    "ids and both": SHARED | BATCH | SHARED_IDS,
    "ids and paired": OWN | BATCH | OWN_IDS,
    "mask": SHARED | BATCH | {"mask": MASK},
    "mask of columns": OWN | BATCH | {"mask": MASK[1, : N + K], "ids": IDS},
    "temperatures": OWN | BATCH | {"temperature": ROWS},
    "temperatures and mask": {"temperature": ROWS[:, None], "mask": MASK[:, :N]},
    "rows without negatives": SHARED | BATCH | {"mask": LONELY, "temperature": ROWS},
    "no negatives at all": {"ids": np.zeros(N, dtype=np.int64)},
}
# Of `info_nce` only.
BIAS = RNG.normal(size=(N, N + M))
LOSSES: dict[str, dict[str, Any]] = {
    "bias": SHARED | {"bias": BIAS[0, :M]},
    "bias of keys": SHARED | BATCH | {"bias": BIAS[0], "ids": IDS},
    "bias of pairs": SHARED | BATCH | {"bias": BIAS, "mask": MASK, "temperature": ROWS},
    "symmetric": {"symmetric": True},
    "symmetric, all options": SHARED
    | BATCH
    | SHARED_IDS
    | {"symmetric": True, "temperature": ROWS, "bias": BIAS[0], "margin": 0.2, "hardness": 0.5, "mask": MASK},
    "symmetric and smoothed": {"symmetric": True, "label_smoothing": 0.1, "mask": MASK[:, :N]},
    "hardness": SHARED | BATCH | {"hardness": 1.5},
    "hardness and debias": OWN | {"hardness": 0.5, "debias": 0.1, "temperature": ROWS},
    "hardness without negatives": {"hardness": 0.5, "mask": LONELY},
    "debias": SHARED | {"debias": 0.3, "temperature": np.asarray(0.5)},
    "decoupled": OWN | BATCH | {"decoupled": True, "mask": LONELY},
    "smoothed": SHARED | BATCH | {"label_smoothing": 0.2, "ids": IDS},
    "margin": SHARED | BATCH | {"margin": 0.3},
    "weighted sum": OWN | {"weight": np.linspace(0, 1, N), "reduction": "sum"},
}


def reference(
    query: Floats,
    positive_key: Floats,
    negative_keys: Floats | None = None,
    temperature: Any = 0.1,
    *,
    in_batch: bool | None = None,
    normalize: bool = True,
    ids: Any = None,
    negative_ids: Any = None,
    mask: Any = True,
    bias: Any = 0.0,
    margin: float = 0.0,
    **_: Any,  # what changes the loss alone
) -> dict[str, float]:
    """All metrics from their formulas, with the whole matrix of logits; a zero row has the cosine 0 with all others."""
    n, in_batch = len(query), negative_keys is None if in_batch is None else in_batch
    u, v = unit(query), unit(positive_key)
    q, p = (u, v) if normalize else (query, positive_key)
    parts, absent = [], []
    if in_batch:
        parts.append(q @ p.T)
        absent.append(np.eye(n, dtype=bool) if ids is None else ids[:, None] == ids)
    if negative_keys is not None:
        negatives = unit(negative_keys) if normalize else negative_keys
        parts.append(np.einsum("nd,nkd->nk", q, negatives) if negatives.ndim == 3 else q @ negatives.T)
        absent.append(np.broadcast_to(False if negative_ids is None else ids[:, None] == negative_ids, parts[-1].shape))
    s = np.concatenate(parts, axis=1)
    counts = ~np.concatenate(absent, axis=1) & mask
    t, own = np.reshape(temperature, (-1, 1)), np.sum(q * p, axis=1)
    positive = (own[:, None] - margin) / t
    if in_batch:
        positive = positive + np.broadcast_to(bias, s.shape).diagonal()[:, None]
    z = np.where(counts, s / t + bias, -math.inf)
    e = np.exp(z)
    total = np.sum(e, axis=1)
    lse = np.log(total + np.exp(positive[:, 0]))
    rank = 1 + np.sum(z >= positive, axis=1)
    squares = np.sum(e**2, axis=1)
    return {
        "loss": np.mean(lse - positive[:, 0]),
        "accuracy": np.mean(np.max(z, axis=1) < positive[:, 0]),
        "positive_similarity": np.mean(own),
        "negative_similarity": np.mean(s[counts]) if np.any(counts) else 0.0,
        "log_sum_exp": np.mean(lse),
        **{f"top_{k}": np.mean(rank <= k) for k in TOP_K},
        "mean_reciprocal_rank": np.mean(1 / rank),
        "effective_negatives": np.mean(total**2 / np.where(squares == 0, 1, squares)),
        "alignment": np.mean(2 - 2 * np.sum(u * v, axis=1)),
        "uniformity": (uniformity(u) + uniformity(v)) / 2,
    }


def unit(x: Floats) -> Floats:
    length = np.linalg.norm(x, axis=-1, keepdims=True)
    return x / np.where(length == 0, 1, length)


def uniformity(u: Floats) -> float:
    """log E exp(-2 |u_i - u_j|^2) over the pairs of distinct rows."""
    apart = ~np.eye(len(u), dtype=bool)
    return math.log(np.mean(np.exp(-4 + 4 * u @ u.T)[apart])) if len(u) > 1 else 0.0


def arguments(framework: Framework, case: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    """A case's arguments as the framework's own arrays, the floating ones in this dtype."""
    every = {"query": QUERY, "positive_key": KEY, **case}
    return {
        name: framework.array(x, dtype if x.dtype == np.float64 else None) if isinstance(x, np.ndarray) else x
        for name, x in every.items()
    }


def wanted(framework: Framework, given: Mapping[str, Any]) -> dict[str, float]:
    """What the formulas say of the arrays as they were rounded."""
    plain = (bool, int, float, str)
    exact: dict[str, Any] = {name: x if isinstance(x, plain) else framework.values(x) for name, x in given.items()}
    return reference(**{**exact, "mask": np.asarray(exact.get("mask", True), dtype=bool)})


def check(framework: Framework, found: Mapping[str, Any], want: Mapping[str, float], dtype: str) -> None:
    """Names, dtypes and values: Z the largest |logit|, 8e-15 (1 + Z) in float64 and 1e-6 Z in float32."""
    assert found.keys() == want.keys()
    for name, x in found.items():
        what = f"{name} in {framework}"
        assert framework.dtype(x) == ("float64" if dtype == "float64" else "float32"), what
        assert framework.values(x).shape == (), what
        z = 16.0  # that of the cases, and of the uniformity 4
        unit = 8e-15 * (1 + z) if dtype == "float64" else 1e-6 * z
        atol = unit * max(1.0, abs(want[name]))
        np.testing.assert_allclose(framework.values(x), want[name], rtol=0, atol=atol, err_msg=what)


def of_loss(want: Mapping[str, float]) -> dict[str, float]:
    return {name: want[name] for name in NAMES}


def same(framework: Framework, found: Mapping[str, Any], want: Mapping[str, Any]) -> None:
    assert found.keys() == want.keys()
    for name, gradient in want.items():
        np.testing.assert_allclose(
            framework.values(found[name]), framework.values(gradient), rtol=1e-12, atol=1e-13, err_msg=name
        )
