"""Run the cases on every variant, device and dtype that this machine has."""

from __future__ import annotations

import math
import platform
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .model import Case, Outcome, Subject
from .report import Absence, Line, Report, Result, command
from .variants import DTYPES, FRAMEWORKS, Absent, BoundSubject, Toolkit, Variant, load

GROUPS = ("agreement", "numerics", "errors", "options")
DEVICES = ("cpu", "cuda")


class Progress(Protocol):
    """Is told how far the run is."""

    def start(self, what: str, cases: int) -> None: ...

    def advance(self) -> None: ...

    def finish(self, line: Line) -> None: ...


class _Silent:
    def start(self, what: str, cases: int) -> None: ...

    def advance(self) -> None: ...

    def finish(self, line: Line) -> None: ...


@dataclass(frozen=True)
class _Job:
    """One line of the report to be."""

    toolkit: Toolkit
    variant: Variant
    device: str
    dtype: str
    cases: tuple[Case, ...]


def run(
    function: Callable[..., Any] | None = None,
    *,
    frameworks: Iterable[str] | None = None,
    devices: Iterable[str] | None = None,
    groups: Iterable[str] | None = None,
    require: Iterable[str] = (),
    progress: Progress | None = None,
    variants: Iterable[str] | None = None,
    dtypes: Iterable[str] | None = None,
    cases: Iterable[Case] | None = None,
) -> Report:
    """Judge `infonce.info_nce`, or another function with its first six parameters.

    Args:
        function: None for this package's own loss; another function is judged by all groups but "options", on the
            variants that differentiate it by its framework's own means.
        frameworks: of "numpy", "array_api_strict", "torch", "jax", "tensorflow"; None for all.
        devices: of "cpu" and "cuda"; None for all that are there.
        groups: of "agreement", "numerics", "errors", "options"; None for all.
        require: frameworks whose absence makes the run fail.
        progress: is told of each line and case.
        variants: names of variants, such as "torch:compile"; None for all.
        dtypes: of "float64", "float32", "float16", "bfloat16"; None for all.
        cases: the cases to choose from; None for `infonce.conformance.cases()`.

    Raises:
        ValueError: a name that is none of these.
    """
    require = tuple(require)
    asked = _names("framework", frameworks, tuple(FRAMEWORKS))
    _names("framework", require, tuple(FRAMEWORKS))
    on, within = _names("device", devices, DEVICES), _names("group", groups, GROUPS)
    having = _names("dtype", dtypes, DTYPES)
    wanted = None if variants is None else tuple(variants)
    if wanted is not None:
        _names("framework", {name.partition(":")[0] for name in wanted}, tuple(FRAMEWORKS))
    if function is not None and "options" in (groups or ()):
        raise ValueError("the group 'options' is of infonce's own options: it judges no other function")
    if cases is None:
        from .cases import all_cases

        cases = all_cases()
    ...
