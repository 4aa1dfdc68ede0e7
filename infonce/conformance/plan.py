"""Which cases run on which variant, device and dtype of this machine, and what is absent."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .model import Case, Outcome
from .report import Absence, Result, command
from .variants import DTYPES, FRAMEWORKS, Absent, BoundSubject, Toolkit, Variant, load

GROUPS = ("agreement", "numerics", "errors", "options")
DEVICES = ("cpu", "cuda")


@dataclass(frozen=True)
class Wanted:
    """What was asked for, by name; None stands for all."""

    frameworks: Collection[str] | None = None
    devices: Collection[str] | None = None
    groups: Collection[str] | None = None
    variants: Collection[str] | None = None
    dtypes: Collection[str] | None = None

    def check(self) -> None:
        """Raise ValueError for a name that there is not; a variant's name is known once its framework is loaded."""
        known("framework", self.frameworks or (), FRAMEWORKS)
        known("framework", [variant.partition(":")[0] for variant in self.variants or ()], FRAMEWORKS)
        known("device", self.devices or (), DEVICES)
        known("group", self.groups or (), GROUPS)
        known("dtype", self.dtypes or (), DTYPES)

    def of_frameworks(self) -> list[str]:
        """The frameworks to load."""
        named = None if self.variants is None else {variant.partition(":")[0] for variant in self.variants}
        return [name for name in FRAMEWORKS if chosen(name, self.frameworks) and chosen(name, named)]


def known(kind: str, asked: Iterable[str], names: Iterable[str]) -> None:
    names = tuple(names)
    for name in asked:
        if name not in names:
            raise ValueError(f"unknown {kind} {name!r}; there are {', '.join(names)}")


def chosen(name: str, asked: Collection[str] | None) -> bool:
    return asked is None or name in asked


@dataclass(frozen=True)
class Job:
    """The cases of one variant on one device in one dtype."""

    function: Callable[..., Any]
    target: str | None  # None: the package's own losses
    toolkit: Toolkit
    variant: Variant
    device: str
    dtype: str
    cases: tuple[Case, ...]

    def judge(self, case: Case) -> Result:
        """What becomes of one case; an exception is a failure."""
        by_row = any(program.keywords.get("reduction") == "none" for program in case.programs)
        subject = self._value_only if self.variant.own and by_row else self._subject
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                outcome = case.judge(subject)
        except Exception as error:
            outcome = Outcome(math.inf, (f"raised {type(error).__name__}: {_gist(error)}",))
        repeat = command(self.target, self.variant.name, self.device, self.dtype, case.name)
        given = dict.fromkeys(name for program in case.programs for name in program.given)
        return Result(case.name, case.group, outcome, repeat, tuple(given))

    @cached_property
    def _subject(self) -> BoundSubject:
        return self._bound(differentiable=True)

    @cached_property
    def _value_only(self) -> BoundSubject:
        return self._bound(differentiable=False)

    def _bound(self, *, differentiable: bool) -> BoundSubject:
        device = self.toolkit.devices()[self.device]
        tensor_cores = self.device == "cuda" and self.dtype == "bfloat16"
        given = self.function, self.toolkit, self.variant, device, self.dtype
        return BoundSubject(*given, differentiable=differentiable, tensor_cores=tensor_cores)


def _gist(error: Exception) -> str:
    """What the exception says: its first and last lines, since compilers put pages between the two."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 4:
        lines = [*lines[:2], "...", *lines[-2:]]
    return " | ".join(line if len(line) <= 200 else line[:200] + " ..." for line in lines)


@dataclass
class Plan:
    """The jobs, what is absent, and what the machine has."""

    jobs: list[Job] = field(default_factory=list)
    absences: list[Absence] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    devices: dict[str, str] = field(default_factory=dict)


def plan(
    function: Callable[..., Any] | None, wanted: Wanted, cases: Sequence[Case], require: Collection[str] = ()
) -> Plan:
    """What `wanted` comes to on this machine."""
    wanted.check()
    known("framework", require, FRAMEWORKS)
    import infonce

    target = None if function in (None, infonce.info_nce) else name_of(function)
    if target and "options" in (wanted.groups or ()):
        raise ValueError("the group 'options' is of infonce's own options and losses: it cannot judge another function")
    cases = [case for case in cases if chosen(case.group, wanted.groups) and not (target and case.group == "options")]
    found = Plan()
    loaded: dict[str, Toolkit] = {}
    for name in FRAMEWORKS:
        if name not in wanted.of_frameworks() and name not in require:
            continue
        try:
            loaded[name] = load(name)
        except Absent as absent:
            found.absences.append(Absence(name, str(absent), name in require))
            continue
        found.versions[name] = loaded[name].version()
    for name in wanted.of_frameworks():
        if name in loaded:
            _add_framework(found, name, loaded[name], function or infonce.info_nce, target, wanted, cases)
    return found


def _add_framework(
    found: Plan,
    name: str,
    toolkit: Toolkit,
    function: Callable[..., Any],
    target: str | None,
    wanted: Wanted,
    cases: Sequence[Case],
) -> None:
    lacking, variants = toolkit.lacking(), toolkit.variants()
    asked = [variant for variant in wanted.variants or () if variant.partition(":")[0] == name]
    known("variant", asked, [variant.name for variant in variants])
    devices = [device for device in toolkit.devices() if chosen(device, wanted.devices)]
    dtypes = [dtype for dtype in DTYPES if chosen(dtype, wanted.dtypes) and dtype not in lacking]
    absent = {entry: lacking[entry] for entry in (*DEVICES, *DTYPES) if entry in lacking}
    absent |= {device: "it has no such device" for device in wanted.devices or () if device not in toolkit.devices()}
    for entry, reason in absent.items():
        if chosen(entry, wanted.devices if entry in DEVICES else wanted.dtypes):
            found.absences.append(Absence(f"{name} {entry}", lacking.get(entry, reason)))
    found.devices |= {f"{name} on {device}": toolkit.device_name(device) for device in devices if device != "cpu"}
    for variant in variants:
        if not chosen(variant.name, wanted.variants):
            continue
        alone = "its gradients are those of infonce.value_and_grad" if variant.own else variant.alone
        if reason := variant.absent or (alone if target else ""):
            found.absences.append(Absence(variant.name, reason))
            continue
        own = [dtype for dtype in dtypes if dtype in variant.dtypes]
        for device in devices:
            for dtype in own:
                if these := _select(cases, variant, dtype, own):
                    found.jobs.append(Job(function, target, toolkit, variant, device, dtype, these))


def _select(cases: Sequence[Case], variant: Variant, dtype: str, dtypes: Sequence[str]) -> tuple[Case, ...]:
    """The cases of a variant in one of its dtypes. Bad arguments are judged once, where calls are plain."""
    these = [
        case
        for case in cases
        if dtype in case.dtypes
        and (case.compiled or not variant.compiled)
        and (case.group != "errors" or (variant.plain and dtype == next(d for d in dtypes if d in case.dtypes)))
    ]
    if variant.limit is not None:  # one for each program first
        first = {case.programs: case for case in reversed(these)}
        these.sort(key=lambda case: first[case.programs] is not case)
    return tuple(these[: variant.limit])


def name_of(function: Callable[..., Any]) -> str:
    """The function as --target takes it."""
    return f"{function.__module__}:{function.__qualname__}"
