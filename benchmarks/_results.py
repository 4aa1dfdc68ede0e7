"""Results as CSV: every line tells when, where and with which versions it was taken."""

from __future__ import annotations

import csv
import os
import platform
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "docs" / "benchmarks"  # what the full form measured
QUICK_FOLDER = Path(__file__).parents[1] / "build" / "benchmarks"

PACKAGES = {
    "numpy": ["numpy"],
    "torch": ["torch", "info-nce-pytorch", "pytorch-metric-learning"],
    "jax": ["jax", "optax"],
    "tensorflow": ["tensorflow"],
}


@dataclass(frozen=True)
class Ratio:
    """Time of ours over time of a contender."""

    date: str
    device: str
    versions: str
    subject: str
    case: str
    framework: str
    ours_ms: float
    contender: str
    ratio: float
    q1: float
    q3: float


@dataclass(frozen=True)
class Figure:
    """One number that is no ratio: a peak of memory, a count, a time."""

    date: str
    device: str
    versions: str
    subject: str
    case: str
    framework: str
    contender: str
    value: float
    unit: str


Row = Ratio | Figure


def header(framework: str, device: str | None = None) -> tuple[str, str, str]:
    """Date, device and versions of what is measured now."""
    return date.today().isoformat(), device or cpu(), versions(framework)


def cpu() -> str:
    """The processor's name, the number of cores that this process may use, and whether Linux tells of AVX-512."""
    try:
        info = Path("/proc/cpuinfo").read_text()
    except OSError:
        info = ""
    found = re.search(r"^model name\s*: (.*)$", info, re.MULTILINE)
    name = found[1] if found else platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores{', AVX-512' if 'avx512f' in info else ''}"


def versions(framework: str) -> str:
    """The versions that matter to a framework's results, such as "python 3.11.2; infonce-xp 0.1.0; torch 2.13.0"."""
    names = ["infonce-xp", *PACKAGES[framework.partition(":")[0]]]
    return "; ".join([f"python {platform.python_version()}", *(f"{name} {_version(name)}" for name in names)])


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, kind: type[Row], rows: Iterable[Row]) -> None:
    """Put `rows` into the file, in place of those of the same subject, case and framework."""
    new = [{name: _text(value) for name, value in asdict(row).items()} for row in rows]
    replaced = {_key(row) for row in new}
    old = [row for row in read(path) if _key(row) not in replaced]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(kind)], lineterminator="\n")
        writer.writeheader()
        writer.writerows([*old, *new])


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _key(row: dict[str, str]) -> tuple[str, str, str]:
    return row["subject"], row["case"], row["framework"]
