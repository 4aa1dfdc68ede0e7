"""The words of the suite: programs, data, answers, cases and their outcomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Group = Literal["agreement", "numerics", "errors", "options"]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Program:
    """What is compiled once: shapes, options and the form of the temperature; no data."""

    name: str
    rows: int
    features: int
    negatives: tuple[int, ...] | None = None  # (M,) unpaired, (N, K) paired; the feature size is appended
    temperature: Literal["number", "scalar", "rows"] = "scalar"  # a Python float, a 0-d array, an (N,) array
    options: tuple[tuple[str, Any], ...] = ()  # every keyword but temperature, e.g. (("negative_mode", "paired"),)

    @property
    def keywords(self) -> dict[str, Any]:
        return dict(self.options)


@dataclass(frozen=True)
class Data:
    """The arrays of one call, in float64; a subject rounds them to its dtype before use."""

    query: Array
    positive_key: Array
    negative_keys: Array | None
    temperature: float | Array
    cotangent: Array | None = None  # (N,) for reduction="none": the gradient is that of sum(cotangent * loss)


@dataclass(frozen=True)
class Answer:
    """What a call gave: loss and gradients by parameter name as float64, and what was wrong with their form.

    `gradients` holds "query", "positive_key", "negative_keys" and "temperature" where those are arrays, and is
    empty for variants that compute the value alone. `remarks` names every wrong dtype, shape, device or framework.
    """

    loss: Array
    gradients: Mapping[str, Array]
    remarks: tuple[str, ...] = ()


class Subject(Protocol):
    """A function under test, bound to one backend variant, device and dtype."""

    dtype: str  # "float64", "float32", "float16", "bfloat16"
    differentiable: bool  # False: it computes the value alone, and `Answer.gradients` is empty

    def __call__(self, program: Program, data: Data) -> Answer: ...

    def round(self, data: Data) -> Data:
        """The same data as the subject sees it: rounded to its dtype, as float64."""
        ...

    def raw(self, *arguments: Any, **options: Any) -> Any:
        """Call the function itself on arguments whose NumPy arrays become the variant's own (for bad inputs).

        Only exact `numpy.ndarray`s are converted, their own dtype kept; instances of its subclasses (masked arrays),
        lists, numbers and strings are handed over as they are.
        """
        ...


@dataclass(frozen=True)
class Outcome:
    """`error` is the worst error in units of the tolerance (passed: <= 1); `messages` say what failed."""

    error: float = 0.0
    messages: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.messages


@dataclass(frozen=True)
class Case:
    """One judgement. `programs` are all those that `judge` will call, so that a variant can choose its cases."""

    name: str  # unique, speaking: "agreement/in-batch-mean/normal-t0.1-3"
    group: Group
    programs: tuple[Program, ...]
    judge: Callable[[Subject], Outcome] = field(compare=False)
    dtypes: tuple[str, ...] = ("float64", "float32")
    compiled: bool = True  # False: its programs are too many or too odd for the compiled variants
