"""The backend of JAX."""

from __future__ import annotations

from typing import Any

import jax
from jax import Array

from infonce.problem import Gradients, Inputs, Options

from ._arithmetic import JAXArithmetic
from ._autodiff import attached, value_and_gradients


class JAXBackend(JAXArithmetic):
    name = "jax"

    def owns(self, x: object) -> bool:
        return isinstance(x, jax.Array)  # tracers too

    def device(self, x: Array) -> str:
        return ""  # JAX itself moves uncommitted arrays, and names the devices of those it may not move

    def compiling(self, x: Array) -> bool:
        return isinstance(x, jax.core.Tracer)

    def knows_numbers(self) -> bool:
        return True

    def solve(self, options: Options, inputs: Inputs, wanted: tuple[str, ...]) -> tuple[Any, Gradients]:
        loss, gradients = value_and_gradients(options, inputs, wanted)
        return loss, gradients

    def loss(self, options: Options, inputs: Inputs) -> Any:
        return attached(options, inputs)


BACKEND = JAXBackend()
