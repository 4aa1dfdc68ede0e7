"""The command line that the scripts share, and the loop over frameworks and cases."""

from __future__ import annotations

import argparse
import importlib
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import _results
from _cases import Case
from _measure import Call, Timing, compare

FRAMEWORKS = ("numpy", "torch", "jax", "tensorflow")
FEWEST_ROUNDS = {"full": 5, "quick": 3, "tiny": 1}


class Contenders(Protocol):
    """What the module of a framework in `contenders` holds."""

    MODES: tuple[str, ...]  # ways of running, such as torch and torch:compile; the first is the usual one
    KINDS: tuple[str, ...]  # of cases

    def calls(self, case: Case, mode: str) -> dict[str, Call]:
        """Ours first, then the others that take part: each computes value and gradient, or the value alone."""
        ...

    def ours(self, case: Case, block_size: int | None = None) -> Any: ...

    def timed(self, case: Case, losses: Mapping[str, Any], *, constants: Iterable[Any] = ()) -> dict[str, Call]:
        """The calls that compute these losses with their gradients; `constants` come after a loss's other arguments."""
        ...


CallsOf = Callable[[Contenders, Case, str], dict[str, Call]]


def parser(description: str | None) -> argparse.ArgumentParser:
    """What every script takes."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--framework", action="append", choices=FRAMEWORKS, help="several may be given; default: all")
    size = made.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="smaller cases, in seconds; written to build/benchmarks")
    size.add_argument("--tiny", action="store_true", help="hardly any work: only to see that it runs")
    made.add_argument("--out", type=Path, help="folder of the CSV file; default: docs/benchmarks for the full form")
    return made


def folder(options: argparse.Namespace) -> Path:
    if options.out is not None:
        return Path(options.out)
    return _results.QUICK_FOLDER if options.quick or options.tiny else _results.FOLDER


def frameworks(options: argparse.Namespace) -> Sequence[str]:
    return tuple(options.framework or FRAMEWORKS)


def each_in_its_process(options: argparse.Namespace) -> bool:
    """Run the script once per framework where several are asked for: their thread pools disturb one another."""
    chosen = frameworks(options)
    if len(chosen) == 1:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        return False
    arguments = without(sys.argv[1:], "--framework")
    for framework in chosen:
        subprocess.run([sys.executable, sys.argv[0], *arguments, "--framework", framework], check=True)
    return True


def without(arguments: list[str], option: str) -> list[str]:
    """The arguments without an option and its value."""
    kept, skip = [], False
    for argument in arguments:
        if not skip and argument.partition("=")[0] != option:
            kept.append(argument)
        skip = argument == option
    return kept


def contenders(framework: str) -> Contenders:
    module: Any = importlib.import_module(f"contenders.{framework}")
    return module  # type: ignore[no-any-return]


def against_contenders(module: Contenders, case: Case, mode: str) -> dict[str, Call]:
    return module.calls(case, mode) if case.kind in module.KINDS else {}


def run_cases(
    subject: str,
    description: str | None,
    cases: Mapping[str, Sequence[str]],
    seconds: Mapping[str, float],
    calls_of: CallsOf = against_contenders,
) -> None:
    """Measure ratios of time: the main program of a script; `cases` and `seconds` are for full, quick and tiny."""
    made = parser(description)
    made.add_argument("--case", action="append", help='such as "one 256 128"; default: all')
    made.add_argument("--seconds", type=float, help="time for each case")
    options = made.parse_args()
    form = "tiny" if options.tiny else "quick" if options.quick else "full"
    chosen = [Case.parse(text) for text in options.case or cases[form]]
    if each_in_its_process(options):
        return
    module = contenders(frameworks(options)[0])
    for case, mode in itertools.product(chosen, module.MODES):
        calls = calls_of(module, case, mode)
        if not calls:
            continue
        timings = compare(calls, options.seconds or seconds[form], FEWEST_ROUNDS[form])
        show(str(case), mode, timings)
        header = _results.header(mode)
        rows = [
            _results.Ratio(*header, subject, str(case), mode, t.ours_ms, t.contender, t.ratio, t.q1, t.q3)
            for t in timings
        ]
        _results.write(folder(options) / f"{subject}.csv", _results.Ratio, rows)


def show(case: str, mode: str, timings: Sequence[Timing]) -> None:
    print(f"{case}, {mode}: {timings[0].ours_ms:.4g} ms", flush=True)
    for t in timings:
        print(f"    {t.ratio:6.3f} ({t.q1:.3f} to {t.q3:.3f}) of {t.contender}", flush=True)
