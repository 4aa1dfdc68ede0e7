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
# gradient for each of the arrays that have one (they come first), or none.
Step = Callable[[Arrays, float | None, Any], tuple[Any, Sequence[Any]]]


@dataclass(frozen=True)
class Task:
    """The function under test and how it is called: what a compiler compiles once, and its data come as arguments."""

    function: Callable[..., Any]
    program: Program

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that are differentiated: `__call__` takes them first, and then the `fixed` ones."""
        return self.program.differentiable

    @property
    def fixed(self) -> tuple[str, ...]:
        return self.program.fixed

    @property
    def keywords(self) -> dict[str, Any]:
        return self.program.keywords

    @property
    def by_row(self) -> bool:
        """Whether the loss is one per row."""
        return self.program.by_row

    @property
    def per_row(self) -> tuple[bool, ...]:
        """For each array, whether its first axis counts the queries or samples."""
        paired = self.keywords.get("negative_mode") == "paired"
        shared = {
            *(() if paired else ("negative_keys", "negative_ids")),
            *(() if self.program.temperature == "rows" else ("temperature",)),
            *(name for name, kind in self.program.optional if name in ("mask", "bias") and kind in ("columns", "row")),
        }
        return tuple(name not in shared for name in (*self.names, *self.fixed))

    def arguments(self, number: float | None, arrays: Arrays) -> tuple[list[Any], dict[str, Any]]:
        """The first four parameters of `info_nce` by position, so that a drop-in's order is judged too; the views of
        `nt_xent`, the first two of `sup_con`; all others by name."""
        named: dict[str, Any] = dict(zip((*self.names, *self.fixed), arrays, strict=True))
        if number is not None:
            named["temperature"] = number
        first = {
            "info_nce": ("query", "positive_key", "negative_keys", "temperature"),
            "nt_xent": self.program.embeddings,
            "sup_con": ("embeddings", "labels"),
        }
        positional = [named.pop(name, None) for name in first[self.program.loss]]
        return positional, self.keywords | named

    def __call__(self, number: float | None, *arrays: Any) -> Any:
        positional, named = self.arguments(number, arrays)
        return self.function(*positional, **named)


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
        positional, named = task.arguments(number, arrays)
        loss, gradients = value_and_grad(*positional, **named)
        if task.program.loss == "nt_xent":
            views = gradients.pop("views")
            gradients |= dict(zip(task.program.embeddings, views, strict=True))
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
