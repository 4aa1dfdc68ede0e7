"""The command line: `infonce conformance`."""

from __future__ import annotations

import argparse
import fnmatch
import importlib
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

from .cases import all_cases
from .model import Case
from .plan import DEVICES, GROUPS
from .report import Line, show, write_json, write_junit
from .runner import Progress, run
from .variants import DTYPES, FRAMEWORKS

DESCRIPTION = """\
Judge an InfoNCE loss against a float64 oracle: value, every gradient, dtype, shape, device and framework, on every
framework, device and dtype of this machine. The exit code is 0 only when something ran, all of it passed and nothing
required is absent; it is 1 otherwise, and 2 for a wrong command line."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The `infonce` command; returns its exit code."""
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    return code


def _run(arguments: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(prog="infonce", description="InfoNCE losses for every framework.")
    parser.add_argument("--version", action="version", version=f"infonce-xp {version('infonce-xp')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    conformance = commands.add_parser("conformance", help="judge a loss on this machine", description=DESCRIPTION)
    _add_options(conformance)
    given = parser.parse_args(arguments)
    for file in (given.json, given.junit):
        if file and not file.absolute().parent.is_dir():
            conformance.error(f"{file}: there is no folder {file.absolute().parent}")
    _quiet_frameworks()
    try:
        cases = _cases(given.case)
        function = None if given.target is None else _function(given.target)
    except ValueError as error:
        conformance.error(str(error))
    if given.list:
        print("\n".join(case.name for case in cases if given.group is None or case.group in given.group))
        return 0
    console = Console()
    try:
        with _progress(console) as progress:
            report = run(
                function,
                frameworks=given.framework,
                devices=given.device,
                groups=given.group,
                require=given.require or (),
                progress=progress,
                variants=given.variant,
                dtypes=given.dtype,
                cases=cases,
            )
    except ValueError as error:
        conformance.error(str(error))
    show(report, console)
    if given.json:
        write_json(report, given.json)
    if given.junit:
        write_junit(report, given.junit)
    return 0 if report.passed else 1


def _add_options(parser: argparse.ArgumentParser) -> None:
    for option, known, of in (
        ("--framework", FRAMEWORKS, "frameworks"),
        ("--device", DEVICES, "devices"),
        ("--dtype", DTYPES, "dtypes"),
        ("--group", GROUPS, "groups of cases"),
    ):
        parser.add_argument(option, action=_Names, known=tuple(known), help=f"only these {of}: {', '.join(known)}")
    parser.add_argument("--variant", action=_Names, help="only these variants, such as torch:compile")
    parser.add_argument("--case", action="append", help="only this case, or those that match this pattern")
    help_ = "frameworks whose absence is a failure"
    parser.add_argument("--require", action=_Names, known=tuple(FRAMEWORKS), help=help_)
    help_ = "judge this function instead of infonce.info_nce; it takes the same first six parameters"
    parser.add_argument("--target", metavar="MODULE:FUNCTION", help=help_)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the report as JSON")
    parser.add_argument("--junit", metavar="FILE", type=Path, help="write the report as JUnit XML")
    parser.add_argument("--list", action="store_true", help="print the names of the cases and run nothing")


class _Names(argparse.Action):
    """A list of names, separated by commas or given by repeating the option."""

    def __init__(self, *, known: tuple[str, ...] = (), **options: Any) -> None:
        super().__init__(metavar="NAME[,NAME]", **options)
        self.known = known

    def __call__(self, parser: argparse.ArgumentParser, given: argparse.Namespace, values: Any, _: Any = None) -> None:
        names = [name for name in values.split(",") if name]
        for name in names:
            if self.known and name not in self.known:
                parser.error(f"{self.option_strings[0]}: there is no {name!r}; choose from {', '.join(self.known)}")
        setattr(given, self.dest, [*(getattr(given, self.dest) or []), *names])


def _cases(patterns: list[str] | None) -> tuple[Case, ...]:
    cases = all_cases()
    if patterns is None:
        return cases
    chosen = {pattern: {case.name for case in cases if _matches(case, pattern)} for pattern in patterns}
    for pattern, names in chosen.items():
        if not names:
            raise ValueError(f"--case: no case is named {pattern!r} or matches it; --list prints their names")
    return tuple(case for case in cases if any(case.name in names for names in chosen.values()))


def _matches(case: Case, pattern: str) -> bool:
    return case.name == pattern or fnmatch.fnmatchcase(case.name, pattern)


def _function(target: str) -> Callable[..., Any]:
    """The function that --target names, also from a module in the current directory."""
    module, _, path = target.partition(":")
    if not module or not path:
        raise ValueError(f"--target: {target!r} is not of the form package.module:function")
    sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"--target: {target!r} cannot be imported: {error}") from error
    finally:
        sys.path.remove(os.getcwd())
    if not callable(found):
        raise ValueError(f"--target: {target!r} is a {type(found).__name__}, not a function")
    return found  # type: ignore[no-any-return]


def _quiet_frameworks() -> None:
    """Keep the frameworks from writing into the table, and from taking all of a GPU's memory for themselves."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


@contextmanager
def _progress(console: Console) -> Iterator[Progress]:
    """A bar on a terminal; elsewhere a plain line for each variant when it is done."""
    if not console.is_terminal:
        yield _Plain()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with RichProgress(*columns, console=console, transient=True) as bar:
        yield _Bar(bar)


class _Bar:
    def __init__(self, bar: RichProgress) -> None:
        self._bar = bar
        self._task = bar.add_task("loading the frameworks", total=None)

    def start(self, what: str, cases: int) -> None:
        self._bar.reset(self._task, description=what, total=cases)

    def advance(self) -> None:
        self._bar.advance(self._task)

    def finish(self, line: Line) -> None:
        pass


class _Plain:
    def start(self, what: str, cases: int) -> None:
        pass

    def advance(self) -> None:
        pass

    def finish(self, line: Line) -> None:
        print(line, flush=True)
