"""What the correct implementation refuses, and how it says so."""

from __future__ import annotations

import warnings
from numbers import Real
from typing import Any

import numpy as np

NAMES = ("query", "positive_key", "negative_keys")


def check(arrays: dict[str, Any], temperature: Any, options: dict[str, Any]) -> None:
    """Raise what the reference asks for; warn where there are no negatives."""
    reduction, mode = options["reduction"], options["negative_mode"]
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"reduction must be 'none', 'mean' or 'sum'; received {reduction!r}")
    if mode not in ("unpaired", "paired"):
        raise ValueError(f"negative_mode must be 'unpaired' or 'paired'; received {mode!r}")
    for name in ("symmetric", "normalize", "in_batch"):
        if not isinstance(options[name], bool | None):
            raise TypeError(f"{name} must be a bool; received {options[name]!r}")
    block_size = options["block_size"]
    if isinstance(block_size, bool) or not isinstance(block_size, int | None):
        raise TypeError(f"block_size must be an int; received {block_size!r}")
    if block_size is not None and block_size < 1:
        raise ValueError(f"block_size must be at least 1; received {block_size}")
    paired, explicit = mode == "paired", "negative_keys" in arrays
    if paired and not explicit:
        raise ValueError("negative_mode='paired' needs negative_keys")
    if options["in_batch"] is False and not explicit:
        raise ValueError("in_batch=False needs negative_keys")
    if options["symmetric"] and explicit and not options["in_batch"]:
        raise ValueError("symmetric with negative_keys needs in_batch=True")
    for name, x in arrays.items():
        _array(name, x, paired and name == "negative_keys")
    _sizes({name: x.shape for name, x in arrays.items()}, paired, reduction)
    rows = len(arrays["query"])
    _temperature(temperature, rows, arrays["query"].dtype)
    within = options["in_batch"] or not explicit
    if rows > 0 and (not within or rows == 1) and (not explicit or arrays["negative_keys"].shape[-2] == 0):
        warnings.warn("there are no negatives: the loss is 0", stacklevel=3)


def _array(name: str, x: Any, own: bool) -> None:
    if not isinstance(x, np.ndarray) or isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a dense NumPy array; received {type(x).__name__}")
    if x.dtype.kind != "f":
        raise TypeError(f"{name} must be floating; received {x.dtype}: cast to float")
    form = "(N, K, D)" if own else "(M, D)" if name == "negative_keys" else "(N, D)"
    if x.ndim != form.count(",") + 1:
        raise ValueError(f"{name} must be of shape {form}, by negative_mode paired or not; received {x.shape}")
    if x.shape[-1] == 0:
        raise ValueError(f"{name} must have a feature; received {x.shape}")


def _sizes(shapes: dict[str, tuple[int, ...]], paired: bool, reduction: str) -> None:
    query = shapes["query"]
    for name, shape in shapes.items():
        per_row = name == "positive_key" or paired
        if shape[-1] != query[-1] or (per_row and shape[0] != query[0]):
            raise ValueError(f"query and {name} differ in rows or features: {query} and {shape}")
    if query[0] == 0 and reduction == "mean":
        raise ValueError(f"the mean of no rows is undefined; query is {query}")


def _temperature(temperature: Any, rows: int, dtype: np.dtype[Any]) -> None:
    if isinstance(temperature, np.ndarray):
        if temperature.dtype.kind != "f":
            raise TypeError(f"temperature must be floating; received {temperature.dtype}")
        if temperature.shape not in ((), (rows,), (rows, 1)):
            raise ValueError(f"temperature must be of shape (), (N,) or (N, 1); received {temperature.shape}")
        return
    if isinstance(temperature, bool) or not isinstance(temperature, Real):
        raise TypeError(f"temperature must be a number or an array; received {temperature!r}")
    if not np.finfo(dtype).tiny <= temperature < np.inf:
        raise ValueError(f"temperature must be positive, finite and normal; received {temperature}")
