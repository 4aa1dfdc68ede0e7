"""What the engine is given: the arrays of one call and its static options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

Gradients = dict[str, Any]  # a gradient by parameter name


class Inputs(NamedTuple):
    """The arrays of one call; those that may carry a gradient are named as the caller named them."""

    query: Any  # (N, D)
    positive_key: Any = None  # (N, D)
    negative_keys: Any = None  # (M, D), or (N, K, D) when paired
    temperature: Any = 0.1  # a Python float, a 0-d array, (N,) or (N, 1)


@dataclass(frozen=True)
class Options:
    """What is known without looking at any array: hashable, so that compilers can key on it."""

    reduction: str = "mean"
    paired: bool = False
    in_batch: bool = True
    symmetric: bool = False
    normalize: bool = True
    block_size: int | None = None
    views: int = 0  # of `query`, stacked: NT-Xent; 0: query against keys
