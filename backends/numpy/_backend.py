"""The backend of NumPy, and the one of every other library that follows the Array API standard."""

from __future__ import annotations

import functools
from typing import Any

import array_api_compat
import numpy as np

from infonce.engine import solve
from infonce.problem import Gradients, Inputs, Options

from . import _small
from ._arithmetic import ArrayAPIArithmetic, NumPyArithmetic


class ArrayAPIBackend(ArrayAPIArithmetic):
    """Any Array API library: gradients come from `value_and_grad` alone."""

    def __init__(self, xp: Any, name: str) -> None:
        super().__init__(xp)
        self.name = name

    def owns(self, x: object) -> bool:
        return array_api_compat.is_array_api_obj(x)

    def device(self, x: Any) -> str:
        return str(array_api_compat.device(x))

    def compiling(self, x: Any) -> bool:
        return False

    def knows_numbers(self) -> bool:
        return True

    def solve(self, options: Options, inputs: Inputs, wanted: tuple[str, ...]) -> tuple[Any, Gradients]:
        return self.solve_with(self.run(), options, inputs, wanted)

    def solve_with(
        self, b: ArrayAPIArithmetic, options: Options, inputs: Inputs, wanted: tuple[str, ...]
    ) -> tuple[Any, Gradients]:
        loss, gradients, measures = solve(b, options, inputs, wanted)
        loss = (loss, measures) if options.measure else loss
        return loss, {name: self.as_given(g, getattr(inputs, name)) for name, g in gradients.items()}

    def as_given(self, gradient: Any, x: Any) -> Any:
        """The gradient with respect to `x`, in its dtype, and of its subclass."""
        return self.xp.astype(gradient, x.dtype, copy=False)

    def run(self) -> ArrayAPIArithmetic:
        """What one run of the engine computes with."""
        return self

    def loss(self, options: Options, inputs: Inputs) -> Any:
        return self.solve(options, inputs, ())[0]


class NumPyBackend(ArrayAPIBackend):
    """NumPy, whose plain dense arrays alone are taken."""

    def owns(self, x: object) -> bool:
        return isinstance(x, np.ndarray) and not isinstance(x, np.ma.MaskedArray | np.matrix)

    def run(self) -> NumPyArithmetic:
        return NumPyArithmetic(np)

    def solve(self, options: Options, inputs: Inputs, wanted: tuple[str, ...]) -> tuple[Any, Gradients]:
        # An exponential that underflows, or a NaN of the caller's, is no event here.
        with np.errstate(all="ignore"), self.run() as b:
            if _small.applies(b, options, inputs, bool(wanted)):
                return _small.solve(b, options, inputs, wanted)
            return self.solve_with(b, options, inputs, wanted)

    def as_given(self, gradient: Any, x: Any) -> Any:
        gradient = np.asarray(gradient, x.dtype)
        return gradient if type(x) is np.ndarray else x.__array_wrap__(gradient)


BACKEND = NumPyBackend(np, "numpy")


@functools.cache
def array_api_backend(xp: Any) -> ArrayAPIBackend:
    """The backend of another Array API namespace."""
    return ArrayAPIBackend(xp, xp.__name__.removeprefix("array_api_compat.").partition(".")[0])
