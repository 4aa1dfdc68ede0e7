"""What a variant is, and what each framework's module offers."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..model import Program

DTYPES = ("float64", "float32", "float16", "bfloat16")

Arrays = Sequence[Any]
# (arrays, temperature where that is a Python number, cotangent where the loss is one per row) to the loss and one
# gradient for each array, or none.
Step = Callable[[Arrays, float | None, Any], tuple[Any, Sequence[Any]]]


@dataclass(frozen=True)
class Task:
    """The function under test and how it is called: what a compiler compiles once, and its data come as arguments."""

    function: Callable[..., Any]
    program: Program

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that are arrays, in the order in which `__call__` takes them."""
        negative_keys = () if self.program.negatives is None else ("negative_keys",)
        temperature = () if self.program.temperature == "number" else ("temperature",)
        return ("query", "positive_key", *negative_keys, *temperature)

    @property
    def keywords(self) -> dict[str, Any]:
        return self.program.keywords

    @property
    def by_row(self) -> bool:
        """Whether the loss is one per row."""
        return self.keywords.get("reduction") == "none"

    @property
    def per_row(self) -> tuple[bool, ...]:
        """For each array, whether its first axis counts the queries."""
        rows = {
            "query": True,
            "positive_key": True,
            "negative_keys": self.keywords.get("negative_mode") == "paired",
            "temperature": self.program.temperature == "rows",
        }
        return tuple(rows[name] for name in self.names)

    def arguments(self, number: float | None, arrays: Arrays) -> tuple[Any, ...]:
        """The function's first four parameters, by position: so that a drop-in's order is judged too."""
        query, positive_key, *rest = arrays
        negative_keys = None if self.program.negatives is None else rest.pop(0)
        return query, positive_key, negative_keys, number if not rest else rest[0]

    def __call__(self, number: float | None, *arrays: Any) -> Any:
        return self.function(*self.arguments(number, arrays), **self.keywords)


def values(task: Task) -> Step:
    """The loss alone."""
    return lambda arrays, number, cotangent: (task(number, *arrays), ())


def own_gradients(task: Task) -> Step:
    """The loss and the gradients of `infonce.value_and_grad`, which has none for reduction="none"."""
    if task.by_row:
        return values(task)
    import infonce

    value_and_grad = infonce.value_and_grad(task.function)

    def step(arrays: Arrays, number: float | None, cotangent: Any) -> tuple[Any, Arrays]:
        loss, gradients = value_and_grad(*task.arguments(number, arrays), **task.keywords)
        if set(gradients) != set(task.names):
            raise AssertionError(f"gradients are of {sorted(gradients)}, but should be of {sorted(task.names)}")
        return loss, [gradients[name] for name in task.names]

    return step


class Form(NamedTuple):
    """What an array is, beside its values; a foreign object has framework "", and its type's name as dtype."""

    framework: str
    dtype: str
    shape: tuple[int, ...]
    device: str


@dataclass(frozen=True)
class Variant:
    """One way in which a framework's users call the loss."""

    name: str
    build: Callable[[Task], Step]
    dtypes: tuple[str, ...] = DTYPES
    plain: bool = False  # the framework's ordinary way: calls with bad arguments are judged here
    compiled: bool = False  # runs only the cases whose few programs are worth compiling
    limit: int | None = None  # runs only so many cases, spread over all of them
    differentiable: bool = True
    own: bool = False  # its gradients are those of infonce.value_and_grad, which has none for reduction="none"
    alone: str = ""  # why it judges no other function than infonce's
    settings: Callable[[], AbstractContextManager[Any]] = nullcontext
    prepare: Callable[[Any], Any] = lambda array: array  # what becomes of each input array
    absent: str = ""  # why it cannot run here


class Toolkit(Protocol):
    """What each framework's module offers."""

    def version(self) -> str: ...

    def devices(self) -> Mapping[str, Any]:
        """The framework's devices by the suite's names for them: "cpu" and, when present, "cuda"."""
        ...

    def device_name(self, name: str) -> str:
        """What stands behind one of the names of `devices`."""
        ...

    def settings(self, device: Any) -> AbstractContextManager[Any]:
        """64-bit types and full float32 products, for as long as it lasts."""
        ...

    def lacking(self) -> Mapping[str, str]:
        """The dtypes and devices that are not there, each with the reason."""
        ...

    def to_array(self, values: NDArray[Any], dtype: str | None, device: Any) -> Any:
        """A copy in the framework's own array; with a dtype, rounded from float64 (halves: by way of float32)."""
        ...

    def to_numpy(self, array: Any) -> NDArray[np.float64]:
        """A copy in float64."""
        ...

    def form(self, array: Any) -> Form: ...

    def forget(self) -> None:
        """Drop what the framework has compiled: thousands of programs exhaust memory maps, and XLA then crashes."""
        ...

    def variants(self) -> tuple[Variant, ...]: ...


def loss_dtype(dtype: str) -> str:
    """The dtype of the loss of inputs of that dtype: never less than float32."""
    return "float64" if dtype == "float64" else "float32"


def place(values: NDArray[np.float64]) -> int:
    """0 or 1, by the bytes of the data: where it lies in a stack of two, so that both places come to be judged."""
    return zlib.crc32(values.tobytes()) % 2
