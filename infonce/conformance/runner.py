"""Run the cases on every variant, device and dtype that this machine has."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .cases import all_cases
from .model import Case
from .plan import Job, Wanted, name_of, plan
from .report import Line, Report, Result


class Progress(Protocol):
    """Is told how far the run is."""

    def start(self, what: str, cases: int) -> None: ...

    def advance(self) -> None: ...

    def finish(self, line: Line) -> None: ...


class Silent:
    """Progress that nobody watches."""

    def start(self, what: str, cases: int) -> None: ...

    def advance(self) -> None: ...

    def finish(self, line: Line) -> None: ...


def run(
    function: Callable[..., Any] | None = None,
    *,
    frameworks: Collection[str] | None = None,
    devices: Collection[str] | None = None,
    groups: Collection[str] | None = None,
    require: Collection[str] = (),
    progress: Progress | None = None,
    variants: Collection[str] | None = None,
    dtypes: Collection[str] | None = None,
    cases: Iterable[Case] | None = None,
) -> Report:
    """Judge this package's losses, or another function as an `info_nce` of the first six parameters.

    Args:
        function: None for this package's own losses. Another function is judged by all groups but "options", and by
            the variants that take gradients from its framework.
        frameworks: of "numpy", "array_api_strict", "torch", "jax", "tensorflow"; None for all.
        devices: of "cpu" and "cuda"; None for all that are there.
        groups: of "agreement", "numerics", "errors", "options"; None for all.
        require: frameworks whose absence makes the run fail.
        progress: is told of each line and case.
        variants: names of variants, such as "torch:compile"; None for all.
        dtypes: of "float64", "float32", "float16", "bfloat16"; None for all.
        cases: the cases to choose from; None for `all_cases()`.

    Returns:
        The report; `report.passed` tells whether something ran, all of it passed and nothing required is absent.

    Raises:
        ValueError: for a name that is none of these.
    """
    progress = progress or Silent()
    wanted = Wanted(frameworks, devices, groups, variants, dtypes)
    planned = plan(function, wanted, tuple(all_cases() if cases is None else cases), require)
    lines = []
    while planned.jobs:
        job = planned.jobs.pop(0)  # when it is done nothing holds on to what it compiled
        progress.start(f"{job.variant.name} on {job.device} in {job.dtype}", len(job.cases))
        lines.append(_line(job, progress))
        progress.finish(lines[-1])
    versions = {"python": platform.python_version(), "numpy": np.__version__} | planned.versions
    target = "infonce:info_nce" if function is None else name_of(function)
    return Report(tuple(lines), tuple(planned.absences), versions, planned.devices, target)


def _line(job: Job, progress: Progress) -> Line:
    results, start = [], time.perf_counter()
    for case in job.cases:
        results.append(job.judge(case))
        progress.advance()
    job.toolkit.forget()
    return Line(job.variant.name, job.device, job.dtype, tuple(results), time.perf_counter() - start)


@dataclass(frozen=True)
class Judgement:
    """One case on one variant, device and dtype: what a test of your own calls."""

    job: Job
    case: Case

    def __str__(self) -> str:
        return f"{self.job.variant.name}-{self.job.device}-{self.job.dtype}-{self.case.name}"

    def check(self) -> None:
        """Raise AssertionError with all that is wrong and the line to paste that repeats it."""
        result: Result = self.job.judge(self.case)
        if not result.outcome.passed:
            raise AssertionError("\n".join((*result.outcome.messages, result.command)))


def judgements(
    function: Callable[..., Any] | None = None,
    *,
    frameworks: Collection[str],
    devices: Collection[str] | None = None,
    groups: Collection[str] | None = None,
    variants: Collection[str] | None = None,
    dtypes: Collection[str] | None = None,
    cases: Iterable[Case] | None = None,
) -> list[Judgement]:
    """What `run` would judge, one by one; a framework that is absent raises ImportError.

    Example:
        A test of your own loss, in a file that pytest collects::

            @pytest.mark.parametrize("judgement", judgements(my_loss, frameworks=["torch"]), ids=str)
            def test_conformance(judgement):
                judgement.check()
    """
    wanted = Wanted(frameworks, devices, groups, variants, dtypes)
    planned = plan(function, wanted, tuple(all_cases() if cases is None else cases), require=frameworks)
    for absence in planned.absences:
        if absence.required:
            raise ImportError(f"{absence.what}: {absence.reason}")
    return [Judgement(job, case) for job in planned.jobs for case in job.cases]
