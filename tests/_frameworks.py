"""The frameworks as these tests use them: arrays in, float64 out, by the toolkits of the conformance suite."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infonce.conformance.variants._load import FRAMEWORKS, load

NAMES = tuple(FRAMEWORKS)
AUTODIFF = ("torch", "jax", "tensorflow")
EPS = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}


class Framework:
    """One framework by its name, on the CPU, with 64-bit types."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.toolkit = load(name)
        self.device = self.toolkit.devices()["cpu"]

    def array(self, values: Any, dtype: str | None = None) -> Any:
        """A copy as an array of the framework; without a dtype in that of `values`."""
        return self.toolkit.to_array(np.array(values, order="C"), dtype, self.device)

    def ones(self, *shape: int, dtype: str = "float64") -> Any:
        return self.array(np.ones(shape), dtype)

    def values(self, array: Any) -> NDArray[np.float64]:
        """A copy in float64, of an array of this framework and no other."""
        assert self.toolkit.form(array).framework == self.name, f"a {type(array).__name__} is not of {self.name}"
        return self.toolkit.to_numpy(array)

    def dtype(self, array: Any) -> str:
        return self.toolkit.form(array).dtype

    @contextmanager
    def settings(self) -> Iterator[None]:
        with self.toolkit.settings(self.device):
            yield

    def __repr__(self) -> str:
        return self.name


@functools.cache
def framework(name: str) -> Framework:
    return Framework(name)
