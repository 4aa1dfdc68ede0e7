"""Recipes of the optional arrays, by parameter name and kind: weights, biases, ids, masks, labels."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from infonce.conformance.model import Data, Program

Recipe = Callable[[np.random.Generator, Program], NDArray[np.generic]]

FAR = 2**30  # ids from here on are different integers that float32 cannot tell apart


def add(data: Data, program: Program, rng: np.random.Generator) -> Data:
    """The data with the program's optional arrays."""
    return data.but(**{name: RECIPES[name][kind](rng, program) for name, kind in program.optional})


def _some_weights(rng: np.random.Generator, program: Program) -> NDArray[np.float64]:
    weight = rng.uniform(0.5, 2, size=program.rows)
    weight[program.rows // 2] = 0
    return weight


def _shared_ids(rng: np.random.Generator, program: Program) -> NDArray[np.int64]:
    """Some ids once, some several times."""
    return FAR + rng.integers(0, program.rows, size=program.rows)


def _negative_ids(rng: np.random.Generator, program: Program) -> NDArray[np.int64]:
    """Some of them ids that the queries may have."""
    assert program.negatives is not None
    return FAR + rng.integers(0, 2 * program.rows, size=program.negatives)


def _random_mask(*shape: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Most candidates count, the last one in any case, so that no row is left without."""
    mask = rng.uniform(size=shape) < 0.7
    mask[..., -1] = True
    return mask


def _empty_rows(rng: np.random.Generator, program: Program) -> NDArray[np.bool_]:
    """The first three rows, a block of them say, have no candidate but their positive; nor has the last."""
    mask = _random_mask(program.rows, program.columns, rng=rng)
    mask[:3], mask[-1] = False, False
    return mask


def _grouped_labels(rng: np.random.Generator, program: Program) -> NDArray[np.int64]:
    """Groups of several sizes, one of them of a single sample."""
    labels = rng.integers(0, max(2, program.rows // 3), size=program.rows)
    labels[0] = -5
    return labels


def _random_positives(rng: np.random.Generator, program: Program) -> NDArray[np.float64]:
    """Weights that every dtype holds exactly, rows that differ from columns, and a row that has none."""
    count = math.prod(program.anchors)
    weights = 0.25 * rng.integers(1, 8, size=(count, count)) * (rng.uniform(size=(count, count)) < 0.4)
    weights[np.arange(1, count), np.arange(count - 1)] = 0.5  # every row but the first has a positive
    weights[0] = np.arange(count) == 0  # its own entry, which does not count
    return np.asarray(weights)


RECIPES: dict[str, dict[str, Recipe]] = {
    "weight": {
        "rows": _some_weights,
        "ones": lambda _, program: np.ones(program.rows),
        "zeros": lambda _, program: np.zeros(program.rows),
    },
    "bias": {
        "zeros": lambda _, program: np.zeros(program.columns),
        "columns": lambda rng, program: rng.normal(size=program.columns),
        "row": lambda rng, program: rng.normal(size=(1, program.columns)),
        "matrix": lambda rng, program: rng.normal(size=(program.rows, program.columns)),
    },
    "ids": {
        "shared": _shared_ids,
        "distinct": lambda rng, program: FAR + rng.permutation(program.rows),
        "equal": lambda _, program: np.full(program.rows, FAR),
    },
    "negative_ids": {"some": _negative_ids},
    "mask": {
        "columns": lambda rng, program: _random_mask(program.columns, rng=rng),
        "row": lambda rng, program: _random_mask(1, program.columns, rng=rng),
        "matrix": lambda rng, program: _random_mask(program.rows, program.columns, rng=rng),
        "empty-rows": _empty_rows,
        "nothing": lambda _, program: np.zeros(program.columns, bool),
    },
    "labels": {
        "groups": _grouped_labels,
        "distinct": lambda rng, program: FAR + rng.permutation(program.rows),
        "equal": lambda _, program: np.full(program.rows, FAR),
    },
    "positives": {
        "weights": _random_positives,
        "mask": lambda rng, program: _random_positives(rng, program) > 0,
    },
}
