"""Put the worst error of each option in each framework into docs/conformance.md, between its markers.

infonce conformance --json report.json
python benchmarks/errors.py report.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from table import NAMES

PAGE = Path(__file__).parents[1] / "docs" / "conformance.md"
BEGIN, END = "<!-- errors -->", "<!-- /errors -->"
HEADING = "## The worst errors"
BEFORE = "## From Python and pytest"  # where the section goes when there is none
LEGEND = "In units of the tolerance, in float64 · float32 · half precision; the worst of all cases in"
COLUMNS = {"numpy": "NumPy", "array_api_strict": "array-api-strict", **NAMES}
DTYPES = (("float64",), ("float32",), ("float16", "bfloat16"))


def table(reports: Iterable[Mapping[str, Any]]) -> str:
    """A line for each loss and option, a column for each framework that was judged."""
    worst: dict[tuple[str, str, str], float] = {}
    for line in (line for report in reports for line in report["lines"]):
        framework = line["variant"].partition(":")[0]
        for option, error in line["errors"].items():
            place = option, framework, line["dtype"]
            worst[place] = max(worst.get(place, 0.0), float("inf") if error is None else error)
    frameworks = [name for name in COLUMNS if any(name == framework for _, framework, _ in worst)]
    rows = [["loss or option", *(COLUMNS[name] for name in frameworks)], ["---"] * (1 + len(frameworks))]
    for option in dict.fromkeys(option for option, _, _ in worst):
        rows.append([option, *(cell(worst, option, name) for name in frameworks)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def cell(worst: Mapping[tuple[str, str, str], float], option: str, framework: str) -> str:
    errors = [[worst[key] for dtype in same if (key := (option, framework, dtype)) in worst] for same in DTYPES]
    return " · ".join(f"{max(found):.2g}" if found else "-" for found in errors)


def put_in(page: str, text: str) -> str:
    """The page with `text` between its markers."""
    body = f"{BEGIN}\n{text}\n{END}"
    if BEGIN in page:
        before, _, rest = page.partition(BEGIN)
        return before + body + rest.partition(END)[2]
    before, _, rest = page.partition(BEFORE)
    return f"{before}{HEADING}\n\n{body}\n\n{BEFORE}{rest}"


if __name__ == "__main__":
    found = [json.loads(Path(name).read_text()) for name in sys.argv[1:]]
    judged = dict.fromkeys(f"`{line['variant']}` ({line['device']})" for report in found for line in report["lines"])
    PAGE.write_text(put_in(PAGE.read_text(), f"{LEGEND} {', '.join(judged)}:\n\n{table(found)}"))
