"""What a run found, and how it is written: a table, JSON, JUnit XML."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .model import Outcome

SHOWN = 3  # failures printed for each line; the files hold all


@dataclass(frozen=True)
class Result:
    """A case's name and group, what became of it, the command that repeats it, and what it judges."""

    case: str
    group: str
    outcome: Outcome
    command: str
    given: tuple[str, ...] = ()  # the losses and options that the case is about


@dataclass(frozen=True)
class Line:
    """The results of one variant on one device in one dtype."""

    variant: str
    device: str
    dtype: str
    results: tuple[Result, ...]
    seconds: float

    @property
    def failures(self) -> tuple[Result, ...]:
        return tuple(result for result in self.results if not result.outcome.passed)

    @property
    def error(self) -> float:
        """The worst error in units of the tolerance."""
        return max((result.outcome.error for result in self.results), default=0.0)

    @property
    def by_option(self) -> dict[str, float]:
        """The worst error of each loss and option."""
        found: dict[str, float] = {}
        for result in self.results:
            for name in result.given:
                found[name] = max(found.get(name, 0.0), result.outcome.error)
        return found

    def __str__(self) -> str:
        passed = len(self.results) - len(self.failures)
        what = f"{self.variant} on {self.device} in {self.dtype}"
        return f"{what}: {passed} of {len(self.results)} cases passed, worst error {_number(self.error)}"


@dataclass(frozen=True)
class Absence:
    """What did not run, and why; `required` makes the run fail."""

    what: str
    reason: str
    required: bool = False


@dataclass(frozen=True)
class Report:
    """All that a run found. `versions` and `devices` say on what."""

    lines: tuple[Line, ...]
    absences: tuple[Absence, ...]
    versions: Mapping[str, str]
    devices: Mapping[str, str]
    target: str

    @property
    def passed(self) -> bool:
        """Whether something ran, all of it passed, and nothing that was required is missing."""
        ran = any(line.results for line in self.lines)
        return ran and not any(line.failures for line in self.lines) and not self.missing

    @property
    def missing(self) -> tuple[Absence, ...]:
        return tuple(absence for absence in self.absences if absence.required)

    @property
    def groups(self) -> Mapping[str, tuple[int, int]]:
        """For each group of cases, how many failed of how many."""
        found: dict[str, tuple[int, int]] = {}
        for line in self.lines:
            for result in line.results:
                failed, count = found.get(result.group, (0, 0))
                found[result.group] = failed + (not result.outcome.passed), count + 1
        return found

    @property
    def verdict(self) -> str:
        """One sentence on the whole run."""
        count = sum(len(line.results) for line in self.lines)
        failed = sum(len(line.failures) for line in self.lines)
        if not count:
            return "FAILED: no case ran"
        found = [f"{failed} of {count} cases failed"] if failed else []
        found += [f"{absence.what} is required and absent" for absence in self.missing]
        return f"FAILED: {'; '.join(found)}" if found else f"passed: all {count} cases"


def _number(error: float) -> str:
    return f"{error:.2g}" if math.isfinite(error) else str(error)


def show(report: Report, console: Console) -> None:
    """The table, the failures with the line that repeats each, what is absent, and the verdict."""
    title = f"infonce conformance of {report.target}"
    table = Table("variant", "device", "dtype", title=title, box=box.SIMPLE_HEAD, padding=0, collapse_padding=True)
    for heading in ("cases", "passed", "failed", "worst error"):
        table.add_column(heading, justify="right")
    for line in report.lines:
        failed = len(line.failures)
        cells = (line.variant, line.device, line.dtype, str(len(line.results)), str(len(line.results) - failed))
        table.add_row(*cells, str(failed or ""), _number(line.error), style="red" if failed else None)
    if report.lines:
        console.print(table)
        console.print("Errors are in units of the tolerance; what is above 1 has failed.")
    for line in report.lines:
        _show_failures(line, console)
    for absence in report.absences:
        style = "red" if absence.required else "yellow"
        console.print(Text(f"absent: {absence.what}: {absence.reason}", style=style), soft_wrap=True)
    about = [f"{name} {version}" for name, version in report.versions.items()]
    about += [f"{name}: {device}" for name, device in report.devices.items()]
    console.print(Text(", ".join(about), style="dim"), soft_wrap=True)
    groups = [f"{failed} of {count} in {group}" for group, (failed, count) in report.groups.items()]
    if groups and not report.passed:
        console.print(f"Failed: {', '.join(groups)}", soft_wrap=True)
    console.print(Text(report.verdict, style="bold green" if report.passed else "bold red"), soft_wrap=True)


def _show_failures(line: Line, console: Console) -> None:
    if not line.failures:
        return
    console.print(Text(f"\n{line.variant} on {line.device} in {line.dtype} fails:", style="bold red"), soft_wrap=True)
    for result in line.failures[:SHOWN]:
        for message in (result.case, *(f"  {message}" for message in result.outcome.messages)):
            console.print(Text(f"  {message}"), soft_wrap=True)
        console.print(Text(f"    {result.command}", style="cyan"), soft_wrap=True)
    if len(line.failures) > SHOWN:
        console.print(f"  ... and {len(line.failures) - SHOWN} more: --json FILE lists them all")


def write_json(report: Report, path: Path) -> None:
    """The whole report as JSON; an error that is no number is null."""
    path.write_text(json.dumps(_json(report), indent=1) + "\n", encoding="utf-8")


def _json(report: Report) -> dict[str, Any]:
    return {
        "target": report.target,
        "passed": report.passed,
        "verdict": report.verdict,
        "groups": {group: {"cases": n, "passed": n - failed} for group, (failed, n) in report.groups.items()},
        "versions": dict(report.versions),
        "devices": dict(report.devices),
        "lines": [
            {
                "variant": line.variant,
                "device": line.device,
                "dtype": line.dtype,
                "cases": len(line.results),
                "passed": len(line.results) - len(line.failures),
                "error": _finite(line.error),
                "errors": {name: _finite(error) for name, error in line.by_option.items()},
                "seconds": round(line.seconds, 3),
                "failures": [
                    {
                        "case": result.case,
                        "error": _finite(result.outcome.error),
                        "messages": list(result.outcome.messages),
                        "command": result.command,
                    }
                    for result in line.failures
                ],
            }
            for line in report.lines
        ],
        "absent": [
            {"what": absence.what, "reason": absence.reason, "required": absence.required}
            for absence in report.absences
        ],
    }


def _finite(error: float) -> float | None:
    return error if math.isfinite(error) else None


def write_junit(report: Report, path: Path) -> None:
    """One test suite for each line and one test for each case; what is absent is skipped, or failed if required."""
    root = ElementTree.Element("testsuites", name="infonce conformance")
    for line in report.lines:
        name = f"{line.variant}.{line.device}.{line.dtype}"
        suite = _suite(root, name, len(line.results), len(line.failures), 0)
        suite.set("time", f"{line.seconds:.3f}")
        for result in line.results:
            test = ElementTree.SubElement(suite, "testcase", classname=name, name=result.case)
            if not result.outcome.passed:
                failure = ElementTree.SubElement(test, "failure", message=_legal(result.outcome.messages[0]))
                failure.text = _legal("\n".join((*result.outcome.messages, result.command)))
    missing = len(report.missing)
    suite = _suite(root, "absent", len(report.absences), missing, len(report.absences) - missing)
    for absence in report.absences:
        test = ElementTree.SubElement(suite, "testcase", classname="absent", name=absence.what)
        ElementTree.SubElement(test, "failure" if absence.required else "skipped", message=_legal(absence.reason))
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _suite(root: ElementTree.Element, name: str, tests: int, failures: int, skipped: int) -> ElementTree.Element:
    counts = {"tests": str(tests), "failures": str(failures), "errors": "0", "skipped": str(skipped)}
    return ElementTree.SubElement(root, "testsuite", {"name": name, **counts})


def _legal(text: str) -> str:
    """Without the control characters that XML cannot hold (messages of frameworks may have them)."""
    return "".join(character for character in text if character >= " " or character in "\n\t")


def command(target: str | None, variant: str, device: str, dtype: str, case: str) -> str:
    """The line to paste that repeats one case."""
    words = ["infonce", "conformance", "--variant", variant, "--device", device, "--dtype", dtype, "--case", case]
    if target:
        words += ["--target", target]
    return shlex.join(words)
