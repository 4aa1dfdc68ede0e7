"""Times of several contenders, taken in rounds, and their ratios round by round."""

from __future__ import annotations

import gc
import math
import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Call = Callable[[], Any]  # returns when the result is there

SHORTEST = 2e-3  # seconds: shorter calls are repeated until a sample takes this long
FEWEST, MOST = 5, 500  # rounds


@dataclass(frozen=True)
class Timing:
    """The first contender against another: the median of the ratios of a round's samples, and their quartiles."""

    contender: str
    ours_ms: float
    ratio: float
    q1: float
    q3: float


def compare(calls: Mapping[str, Call], seconds: float, fewest: int = FEWEST) -> list[Timing]:
    """Time the contenders in rounds for about `seconds`; the first is compared with each other one, round by round."""
    samples = interleaved(calls, seconds, fewest)
    (_, ours), *others = samples.items()
    timings = []
    for name, theirs in others:
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        q1, median, q3 = (float(x) for x in np.quantile(ratios, [0.25, 0.5, 0.75]))
        timings.append(Timing(name, 1e3 * statistics.median(ours), median, q1, q3))
    return timings


def interleaved(calls: Mapping[str, Call], seconds: float, fewest: int = FEWEST) -> dict[str, list[float]]:
    """Seconds per call of each contender, one sample a round.

    Each round is in an order of its own: what a contender leaves in the caches would always slow the same one down.
    """
    repeats = {}
    for name, call in calls.items():
        call()  # compiles, allocates, starts threads
        repeats[name] = max(1, math.ceil(SHORTEST / sample(call, 1)))
    samples: dict[str, list[float]] = {name: [] for name in calls}
    order, shuffled = list(calls), random.Random(0)
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        for done in range(MOST):
            if done >= fewest and time.perf_counter() - start >= seconds:
                break
            shuffled.shuffle(order)
            for name in order:
                samples[name].append(sample(calls[name], repeats[name]))
    finally:
        gc.enable()
    return samples


def sample(call: Call, repeats: int) -> float:
    """Seconds per call."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats
