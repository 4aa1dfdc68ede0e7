"""Cases that are judged in no time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from infonce.conformance import Case, Outcome, Program, Report, Subject, run
from infonce.conformance.model import pairs

PROGRAM = Program("tiny", 3, 2)
BY_ROW = Program("tiny-none", 3, 2, options=(("reduction", "none"),))
RNG = np.random.default_rng(0)
DATA = pairs(RNG.normal(size=(3, 2)), RNG.normal(size=(3, 2)), None, np.asarray(0.5))


def passes(subject: Subject) -> Outcome:
    return Outcome(0.25)


def fails(subject: Subject) -> Outcome:
    return Outcome(7.0, ("loss = 1.0, but should be 2.0 [info_nce(...)]",))


def raises(subject: Subject) -> Outcome:
    raise RuntimeError("\n\n".join(("what", "where", *(f"frame {number}" for number in range(50)), "cause", "fix")))


def case(judge: Callable[[Subject], Outcome] = passes, name: str = "agreement/fake/one", **fields: Any) -> Case:
    return Case(name, fields.pop("group", "agreement"), fields.pop("programs", (PROGRAM,)), judge, **fields)


def only(report: Report) -> Any:
    (line,) = report.lines
    return line


def on_numpy(*cases: Case, **options: Any) -> Report:
    return run(variants=["numpy"], dtypes=["float64"], cases=cases, **options)


def some_loss(query: Any, positive_key: Any, negative_keys: Any = None, temperature: Any = 0.1) -> Any:
    return ((query - positive_key) ** 2).mean() / temperature
