"""Cases of the bounds on mutual information, and what each row should give."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infonce import MutualInformation

from ._frameworks import Framework

Floats = NDArray[np.float64]
ALPHAS = (1.0, 0.999, 0.5, 0.01, 0.0)
N, M, K, D = 7, 5, 3, 4
RNG = np.random.default_rng(0)
QUERY, KEY = RNG.normal(size=(2, N, D))
SHARED, OWN = RNG.normal(size=(M, D)), RNG.normal(size=(N, K, D))
# Arrays and options of `mutual_information`.
MODES: dict[str, tuple[tuple[Floats, ...], dict[str, Any]]] = {
    "in-batch": ((QUERY, KEY), {}),
    "unpaired": ((QUERY, KEY, SHARED), {}),
    "paired": ((QUERY, KEY, OWN), {"negative_mode": "paired"}),
    "in-batch and unpaired": ((QUERY, KEY, SHARED), {"in_batch": True}),
    "in-batch and paired": ((QUERY, KEY, OWN), {"in_batch": True, "negative_mode": "paired"}),
}


def rows(scores: Floats, alpha: float) -> Floats:
    """What each row gives, from the formulas in exponentials: the own score first, then n negatives."""
    e = np.exp(scores)
    n = e.shape[1] - 1
    if alpha == 1:
        return np.log(e[:, 0] / e.mean(axis=1))
    m = e[:, 1:].mean(axis=1)
    joint = (e[:, 0] + (n - 1) * m) / n
    return 1 + np.log(e[:, 0] / (alpha * joint + 1 - alpha)) - m / (alpha * m + 1 - alpha)


def check(framework: Framework, found: MutualInformation[Any], values: Floats, ceiling: float, dtype: str) -> None:
    """All four fields, against what each row should give."""
    rtol = 1e-12 if dtype == "float64" else 2e-5
    want = {
        "estimate": values.mean(),
        "ceiling": ceiling,
        "standard_error": values.std(ddof=1) / math.sqrt(len(values)),
        "saturated": float(values.mean() > ceiling - 0.5),
    }
    for name, value in want.items():
        got = getattr(found, name)
        assert framework.dtype(got) == ("bool" if name == "saturated" else dtype), name
        assert framework.values(got).shape == (), name
        np.testing.assert_allclose(framework.values(got), value, rtol=rtol, atol=rtol, err_msg=name)


def ceiling_of(n: int, alpha: float) -> float:
    if alpha == 1:
        return math.log(n + 1)
    return math.inf if alpha == 0 else 1 + math.log(n / alpha)


def first_column(mode: str, temperature: Any, normalize: bool) -> Floats:
    """The scores of every row's candidates, its own first."""
    (query, key, *negatives), options = MODES[mode]
    unit: Callable[[Floats], Floats] = lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True) if normalize else x  # noqa: E731
    query, key = unit(query), unit(key)
    parts = [np.sum(query * key, axis=1, keepdims=True)]
    if not negatives or options.get("in_batch"):
        parts.append((query @ key.T)[~np.eye(N, dtype=bool)].reshape(N, N - 1))
    for x in negatives:
        parts.append(np.einsum("nd,nkd->nk", query, unit(x)) if x.ndim == 3 else query @ unit(x).T)
    return np.concatenate(parts, axis=1) / temperature
