"""Put what docs/benchmarks/*.csv say into the README, between its markers.

python benchmarks/table.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import _results
from _cases import KINDS, Case
from _command import FRAMEWORKS

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- benchmarks -->", "<!-- /benchmarks -->"
HEADING = "## Speed"
BEFORE = "## License"  # where the section goes when there is none

NAMES = {"numpy": "NumPy", "torch": "PyTorch", "jax": "JAX", "tensorflow": "TensorFlow"}
TIMES = [
    "one 32 128", "one 256 128", "one 1024 128", "one 4096 512", "one 8192 256", "symmetric 1024 128",
    "symmetric 4096 512", "nt_xent 256 128", "nt_xent 4096 128", "value 4096 512", "none 4096 512",
    "low 4096 128", "queue 256x65536 128",
]  # fmt: skip
PEAKS = [f"{kind} {n} 128" for kind in ("one", "symmetric", "nt_xent") for n in (4096, 32768, 65536)]

Rows = Sequence[dict[str, str]]
Cell = Callable[[Rows], str]


def section(folder: Path) -> str:
    """The tables of times and of memory, with what was measured where; empty when nothing is measured."""
    times = [row for name in ("speed", "nt_xent") for row in _results.read(folder / f"{name}.csv")]
    times = [row for row in times if row["case"] in TIMES]
    peaks = [row for row in _results.read(folder / "memory.csv") if row["case"] in PEAKS and row["unit"] == "MB"]
    parts = []
    if times:
        legend = (
            "Time of value and gradient in float32, normalisation included; then its ratio to the fastest other way "
            "(peers and the plain formula), and to the matrix products alone (below 1: faster)."
        )
        parts += [legend, table(TIMES, times, time_cell)]
    if peaks:
        legend = "Peak memory above inputs and gradients, and that of the plain formula where it fits:"
        parts += [legend, table(PEAKS, peaks, peak_cell)]
    if parts:
        parts.append(origin([*times, *peaks]))
    gpu = _results.read(folder / "gpu.csv")
    if gpu:
        legend = (
            "On a GPU, value and gradient: time, its ratio to the plain formula where that fits, and to the matrix "
            "products alone at the same precision; a cell with nothing else than - was not measured:"
        )
        parts += [legend, gpu_table(gpu), origin(gpu)]
    return "\n\n".join(parts)


def table(cases: Iterable[str], rows: Rows, cell: Cell) -> str:
    """A line for each measured case, a column for each framework."""
    lines = [head([NAMES[name] for name in FRAMEWORKS])]
    for text in cases:
        of_case = [row for row in rows if row["case"] == text]
        if of_case:
            cells = [cell([row for row in of_case if row["framework"] == name]) for name in FRAMEWORKS]
            lines.append(line(text, cells))
    return "\n".join(lines)


def gpu_table(rows: Rows) -> str:
    """A line for each case, a column for each framework and precision: "one 8192 256 bfloat16" is a case there."""
    columns = list(dict.fromkeys((row["framework"], row["case"].rpartition(" ")[2]) for row in rows))
    lines = [head([f"{NAMES[framework]} {precision}" for framework, precision in columns])]
    for text in dict.fromkeys(row["case"].rpartition(" ")[0] for row in rows):
        of_case = [row for row in rows if row["case"].rpartition(" ")[0] == text]
        cells = [
            time_cell([row for row in of_case if (row["framework"], row["case"].rpartition(" ")[2]) == column])
            for column in columns
        ]
        lines.append(line(text, cells))
    return "\n".join(lines)


def head(columns: Sequence[str]) -> str:
    names, rules = ["loss", "N", "D", *columns], ["---", "---:", "---:", *["---"] * len(columns)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (names, rules))


def line(text: str, cells: Sequence[str]) -> str:
    case = Case.parse(text)
    n = f"{case.n:,}" + (f" x {case.m:,}" if case.m != case.n else "")
    return f"| {' | '.join([KINDS[case.kind][0], n, str(case.d), *cells])} |"


def time_cell(rows: Rows) -> str:
    if not rows:
        return "-"
    ratios = {row["contender"]: float(row["ratio"]) for row in rows}
    products = [ratio for name, ratio in ratios.items() if name.startswith("products")]
    others = [ratio for name, ratio in ratios.items() if not name.startswith(("products", "infonce"))]
    ms = float(rows[0]["ours_ms"])
    return " · ".join([f"{ms:.3g} ms" if ms < 1000 else f"{ms / 1000:.3g} s", largest(others), largest(products)])


def largest(ratios: Sequence[float]) -> str:
    """The ratio to the fastest of several."""
    return f"{max(ratios):.2f}" if ratios else "-"


def peak_cell(rows: Rows) -> str:
    found = {row["contender"]: float(row["value"]) for row in rows}
    if "infonce" not in found:
        return "-"
    plain = f" ({megabytes(found['plain formula'])})" if "plain formula" in found else ""
    return megabytes(found["infonce"]) + plain


def megabytes(value: float) -> str:
    return f"{value:.0f} MB" if value < 1000 else f"{value / 1000:.1f} GB"


def origin(rows: Rows) -> str:
    """When, where and with which versions."""
    days, devices = sorted({row["date"] for row in rows}), sorted({row["device"] for row in rows})
    versions = sorted({version for row in rows for version in row["versions"].split("; ")})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return f"{when}; {' / '.join(devices)}; {', '.join(versions)}."


def put_in(page: str, text: str) -> str:
    """The page with `text` between its markers; without markers they go to the end of its section on speed."""
    body = f"{BEGIN}\n{text}\n{END}"
    if BEGIN in page:
        before, _, rest = page.partition(BEGIN)
        return before + body + rest.partition(END)[2]
    if HEADING not in page:
        before, _, rest = page.partition(BEFORE)
        return f"{before}{HEADING}\n\n{body}\n\n{BEFORE}{rest}"
    before, _, rest = page.partition(HEADING)
    inside, next_heading, after = rest.partition("\n## ")
    return f"{before}{HEADING}{inside.rstrip()}\n\n{body}\n{next_heading}{after}"


if __name__ == "__main__":
    README.write_text(put_in(README.read_text(), section(_results.FOLDER)))
