"""What a backend is: how the arrays of a framework are recognised, and how the engine runs on them."""

from __future__ import annotations

from typing import Any, Protocol

from .arithmetic import Arithmetic
from .problem import Gradients, Inputs, Options


class Backend(Arithmetic, Protocol):
    """One framework: how its arrays are recognised, and how the engine runs on them."""

    @property
    def name(self) -> str: ...

    def owns(self, x: object) -> bool:
        """Whether `x` is a dense array of this framework."""
        ...

    def device(self, x: Any) -> Any:
        """What can be compared and shown."""
        ...

    def compiling(self, x: Any) -> bool:
        """Whether a graph is being built, in which nothing can be said."""
        ...

    def knows_numbers(self) -> bool:
        """Whether a Python number is one: torch.compile makes it a symbol, whose value cannot be looked at."""
        ...

    def solve(self, options: Options, inputs: Inputs, wanted: tuple[str, ...]) -> tuple[Any, Gradients]:
        """The loss and the gradients of `wanted`, each in its input's dtype, without autodiff."""
        ...

    def loss(self, options: Options, inputs: Inputs) -> Any:
        """The loss, attached to the framework's autodiff."""
        ...
