"""Cases of the oracle's own tests."""

from __future__ import annotations

from typing import Any

import numpy as np

ROWS = 4
MODES: dict[str, tuple[tuple[int, ...] | None, dict[str, Any]]] = {
    "in-batch": (None, {}),
    "unpaired": ((5,), {}),
    "paired": ((ROWS, 3), {"negative_mode": "paired"}),
    "in-batch-unpaired": ((5,), {"in_batch": True}),
    "in-batch-paired": ((ROWS, 3), {"in_batch": True, "negative_mode": "paired"}),
    "symmetric": (None, {"symmetric": True}),
    "symmetric-unpaired": ((5,), {"in_batch": True, "symmetric": True}),
    "symmetric-paired": ((ROWS, 3), {"in_batch": True, "symmetric": True, "negative_mode": "paired"}),
}
TEMPERATURES = {"number": 0.3, "scalar": np.asarray(0.3), "rows": np.array([0.2, 0.5, 0.3, 0.9])}
COTANGENT = np.array([0.7, -1.3, 0.0, 2.0])
ARRAYS = ("weight", "bias")  # options that have a gradient
OPTIONS: dict[str, tuple[str, ...]] = {  # names of what `option` makes
    "ids": ("ids",),
    "mask": ("mask",),
    "mask-columns": ("mask-columns",),
    "weight": ("weight",),
    "smoothing": ("label_smoothing",),
    "margin": ("margin",),
    "bias": ("bias",),
    "bias-rows": ("bias-rows",),
    "bias-one-row": ("bias-one-row",),
    "decoupled": ("decoupled",),
    "debias": ("debias",),
    "debias-clamped": ("debias-clamped",),
    "hardness": ("hardness",),
    "all-but-smoothing": ("ids", "mask", "weight", "margin", "bias", "decoupled", "debias", "hardness"),
    "all-with-smoothing": ("ids", "mask-columns", "weight", "margin", "bias-rows", "label_smoothing"),
}


def draw(mode: str, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    negatives = MODES[mode][0]
    arrays: dict[str, Any] = {"query": rng.normal(size=(ROWS, 3)), "positive_key": rng.normal(size=(ROWS, 3))}
    if negatives is not None:
        arrays["negative_keys"] = rng.normal(size=(*negatives, 3))
    return arrays


def option(name: str, mode: str, rng: np.random.Generator) -> dict[str, Any]:
    """An option's keywords, its arrays drawn for the mode's columns."""
    negatives, options = MODES[mode]
    columns = (ROWS if options.get("in_batch", negatives is None) else 0) + (negatives[-1] if negatives else 0)
    shapes = {"columns": (columns,), "rows": (ROWS, columns), "one-row": (1, columns)}
    kind, _, shape = name.partition("-")
    if kind == "ids":
        ids: dict[str, Any] = {"ids": np.array([7, 3, 7, 1])}
        return ids if negatives is None else ids | {"negative_ids": rng.integers(0, 8, negatives)}
    if kind == "mask":
        mask = rng.random(shapes[shape or "rows"]) < 0.7
        return {"mask": mask if shape else mask & (np.arange(ROWS) != 1)[:, None]}  # nothing is left to row 1
    if kind == "bias":
        return {"bias": rng.normal(size=shapes[shape or "columns"])}
    if kind == "debias":
        return {"debias": 0.45 if shape else 0.05}
    if kind == "weight":
        return {"weight": rng.uniform(0.2, 2, ROWS)}
    return {name: {"label_smoothing": 0.2, "margin": 0.15, "decoupled": True, "hardness": 0.7}[name]}
