"""Points at which losses are differentiated, and how many products JAX takes for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

N, M, D = 4, 3, 3
T = 0.4
RNG = np.random.default_rng(0)

# Points by name: where the loss is smooth and its parts are not (maxima that are shared, x = 0 in the softplus).
POINTS: dict[str, dict[str, Any]] = {
    "random": {"arrays": [*RNG.normal(size=(2, N, D))]},
    "all rows equal": {"arrays": [np.ones((N, D)), np.ones((N, D))]},
    "one-hot rows": {"arrays": [np.eye(D), np.eye(D)[::-1]]},
    "symmetric": {"arrays": [*RNG.normal(size=(2, N, D))], "symmetric": True},
    "symmetric, all rows equal": {"arrays": [np.ones((N, D)), np.ones((N, D))], "symmetric": True},
    "unpaired": {"arrays": [*RNG.normal(size=(2, N, D)), RNG.normal(size=(M, D))], "reduction": "sum"},
    "paired": {"arrays": [*RNG.normal(size=(2, N, D)), RNG.normal(size=(N, M, D))], "negative_mode": "paired"},
    # One negative as near as the positive: softplus(0), whose two branches meet.
    "one negative, x = 0": {"arrays": [np.ones((1, D)), np.eye(D)[:1], np.eye(D)[1:2]]},
    "blocks": {"arrays": [*RNG.normal(size=(2, 3, D))], "block_size": 2, "normalize": False},
    "losses of rows": {"arrays": [*RNG.normal(size=(2, N, D))], "reduction": "none"},
}
VIEWS: dict[str, dict[str, Any]] = {
    "random": {"arrays": [*RNG.normal(size=(2, N, D))]},
    "all rows equal": {"arrays": [np.ones((N, D)), np.ones((N, D))]},
    "three one-hot views": {"arrays": [np.eye(D), np.eye(D), np.eye(D)[::-1]]},
    "blocks": {"arrays": [*RNG.normal(size=(3, 2, D))], "block_size": 4},
}


def products(jax: Any, fn: Callable[..., Any], *arguments: Any) -> int:
    """How many matrix products `fn` takes, those of its inner functions included."""

    def count(jaxpr: Any) -> int:
        inner = 0
        for equation in jaxpr.eqns:
            inner += equation.primitive.name == "dot_general"
            inner += sum(count(sub) for value in equation.params.values() for sub in subjaxprs(value))
        return inner

    def subjaxprs(value: Any) -> Iterator[Any]:
        for entry in value if isinstance(value, tuple | list) else (value,):
            found = getattr(entry, "jaxpr", entry)
            if hasattr(found, "eqns"):
                yield found

    return count(jax.make_jaxpr(fn)(*arguments).jaxpr)
