"""The suite that proves that an InfoNCE loss is right, in every framework, device and dtype present."""

from __future__ import annotations

from .cases import all_cases
from .model import Answer, Case, Data, Outcome, Program, Subject
from .report import Absence, Line, Report, Result, show, write_json, write_junit
from .runner import Judgement, Progress, judgements, run

__all__ = [
    "Absence",
    "Answer",
    "Case",
    "Data",
    "Judgement",
    "Line",
    "Outcome",
    "Program",
    "Progress",
    "Report",
    "Result",
    "Subject",
    "all_cases",
    "judgements",
    "run",
    "show",
    "write_json",
    "write_junit",
]
