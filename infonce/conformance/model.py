"""The words of the suite: programs, data, answers, cases and their outcomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Group = Literal["agreement", "numerics", "errors", "options"]
Loss = Literal["info_nce", "nt_xent", "sup_con"]
Array = NDArray[np.float64]

WITH_GRADIENT = ("weight", "bias")  # the optional arrays, apart from the temperature
WITHOUT_GRADIENT = ("ids", "negative_ids", "mask", "labels", "positives")


@dataclass(frozen=True)
class Program:
    """What is compiled once: the loss, shapes, options and the form of each optional array; no data."""

    name: str
    rows: int  # N: queries, or samples
    features: int
    negatives: tuple[int, ...] | None = None  # (M,) unpaired, (N, K) paired; the feature size is appended
    temperature: Literal["number", "scalar", "rows"] = "scalar"  # a Python float, a 0-d array, an (N,) array
    options: tuple[tuple[str, Any], ...] = ()  # every keyword that is no array, e.g. (("negative_mode", "paired"),)
    loss: Loss = "info_nce"
    views: int = 0  # V of nt_xent, and of sup_con on (N, V, D); 0 on (N, D)
    optional: tuple[tuple[str, str], ...] = ()  # optional arrays, each with its recipe, e.g. (("mask", "columns"),)

    @property
    def keywords(self) -> dict[str, Any]:
        return dict(self.options)

    @property
    def embeddings(self) -> tuple[str, ...]:
        """The arrays whose rows are scored."""
        if self.loss == "nt_xent":
            return tuple(f"view {v + 1}" for v in range(self.views))
        if self.loss == "sup_con":
            return ("embeddings",)
        return ("query", "positive_key") if self.negatives is None else ("query", "positive_key", "negative_keys")

    @property
    def differentiable(self) -> tuple[str, ...]:
        """The arrays that have gradients: embeddings, temperature, weight and bias."""
        temperature = () if self.temperature == "number" else ("temperature",)
        return (*self.embeddings, *temperature, *(name for name, _ in self.optional if name in WITH_GRADIENT))

    @property
    def fixed(self) -> tuple[str, ...]:
        """The arrays that have none: ids, masks, labels."""
        return tuple(name for name, _ in self.optional if name not in WITH_GRADIENT)

    @property
    def columns(self) -> int:
        """How many candidates `mask` and `bias` of info_nce speak of: the batch's keys, then the explicit ones."""
        in_batch = self.keywords.get("in_batch")
        within = self.negatives is None if in_batch is None else in_batch
        return self.rows * bool(within) + (0 if self.negatives is None else self.negatives[-1])

    @property
    def anchors(self) -> tuple[int, ...]:
        """The shape of the losses of all rows, which reduction none returns."""
        if self.loss == "nt_xent":
            return (self.views * self.rows,)
        return (self.rows, self.views) if self.loss == "sup_con" and self.views else (self.rows,)

    @property
    def given(self) -> tuple[str, ...]:
        """The loss, and by name what changes its formula."""
        plain = ("reduction", "negative_mode", "in_batch", "block_size")
        options = [name for name, value in self.options if name not in plain and value is not (name == "normalize")]
        by_row = ["temperature by row"] if self.temperature == "rows" else []
        return (self.loss, *options, *(name for name, _ in self.optional), *by_row)

    @property
    def by_row(self) -> bool:
        return self.keywords.get("reduction") == "none"


@dataclass(frozen=True)
class Data:
    """The arrays of one call by name, in float64; a subject rounds them to its dtype before use."""

    arrays: Mapping[str, Array]  # embeddings, and where given weight and bias
    temperature: float | Array
    fixed: Mapping[str, NDArray[Any]] = field(default_factory=dict)  # ids, negative_ids, mask, labels, positives
    cotangent: Array | None = None  # for reduction="none": the gradient is that of sum(cotangent * loss)

    @property
    def query(self) -> Array:
        return self.arrays["query"]

    @property
    def positive_key(self) -> Array:
        return self.arrays["positive_key"]

    @property
    def negative_keys(self) -> Array | None:
        return self.arrays.get("negative_keys")

    def but(self, **changes: NDArray[Any] | None) -> Data:
        """The same with arrays of that name added or exchanged; None takes one away."""
        arrays, fixed = dict(self.arrays), dict(self.fixed)
        for name, x in changes.items():
            part = fixed if name in WITHOUT_GRADIENT else arrays
            part.pop(name, None)
            if x is not None:
                part[name] = x
        return replace(self, arrays=arrays, fixed=fixed)


def pairs(
    query: Array,
    positive_key: Array,
    negative_keys: Array | None,
    temperature: float | Array,
    cotangent: Array | None = None,
) -> Data:
    """The data of an `info_nce` without optional arrays."""
    arrays = {"query": query, "positive_key": positive_key}
    if negative_keys is not None:
        arrays["negative_keys"] = negative_keys
    return Data(arrays, temperature, cotangent=cotangent)


@dataclass(frozen=True)
class Answer:
    """What a call gave: loss and gradients by parameter name as float64, and what was wrong with their form.

    `gradients` holds those of `Program.differentiable` ("query", "view 1", "temperature", ...), and is empty for
    variants that compute the value alone. `remarks` names every wrong dtype, shape, device or framework.
    """

    loss: Array
    gradients: Mapping[str, Array]
    remarks: tuple[str, ...] = ()


class Subject(Protocol):
    """The losses under test, bound to one backend variant, device and dtype."""

    dtype: str  # "float64", "float32", "float16", "bfloat16"
    tensor_cores: bool  # whether half precision is multiplied as such, and summed in float32
    differentiable: bool  # False: it computes the value alone, and `Answer.gradients` is empty

    def __call__(self, program: Program, data: Data) -> Answer: ...

    def round(self, data: Data) -> Data:
        """The same data as the subject sees it: rounded to its dtype, as float64."""
        ...

    def raw(self, *arguments: Any, loss: Loss = "info_nce", **options: Any) -> Any:
        """Call the loss itself on arguments whose NumPy arrays become the variant's own (for bad inputs).

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
