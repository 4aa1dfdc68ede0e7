"""Draw time and memory against the batch size from docs/benchmarks/*.csv into docs/benchmarks.svg.

    python benchmarks/picture.py

One direction at D = 128, on logarithmic axes. The limits drawn in: for time the matrix products alone (the faster of at
once and in blocks), for memory one logit matrix, which every formula that is not streamed holds at least once.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib as mpl
from table import NAMES

import _results
from _cases import Case
from _command import FRAMEWORKS

KIND, FEATURES = "one", 128
COLORS = dict(zip(FRAMEWORKS, ("#4d77cf", "#ee6c3c", "#8b5cb8", "#d99a00"), strict=True))
STYLES: dict[str, dict[str, Any]] = {
    "infonce": {"linestyle": "-", "marker": "o", "markersize": 4},
    "plain formula": {"linestyle": "--", "marker": "s", "markersize": 4},
    "products": {"linestyle": ":"},
}
LABELS = {"infonce": "infonce", "plain formula": "the plain formula", "products": "limit: the products alone"}

Curves = dict[tuple[str, str], dict[int, float]]  # (framework, contender): N: value


def times(folder: Path) -> Curves:
    """Milliseconds."""
    curves: Curves = defaultdict(dict)
    for row in _results.read(folder / "speed.csv"):
        case, framework = Case.parse(row["case"]), row["framework"]
        if case.kind != KIND or case.d != FEATURES or framework not in FRAMEWORKS:
            continue
        ours = float(row["ours_ms"])
        curves[framework, "infonce"][case.n] = ours
        name = row["contender"].partition(",")[0]
        if name in STYLES and "compiled" not in row["contender"]:
            known = curves[framework, name].get(case.n, float("inf"))
            curves[framework, name][case.n] = min(known, ours / float(row["ratio"]))
    return curves


def peaks(folder: Path) -> Curves:
    """Megabytes."""
    curves: Curves = defaultdict(dict)
    for row in _results.read(folder / "memory.csv"):
        case = Case.parse(row["case"])
        if case.kind == KIND and case.d == FEATURES and row["unit"] == "MB":
            curves[row["framework"], row["contender"]][case.n] = float(row["value"])
    return curves


def draw(folder: Path, target: Path) -> None:
    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "infonce"  # the same file from the same numbers
    from matplotlib import pyplot
    from matplotlib.lines import Line2D

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
    for axes, curves, title in (
        (left, times(folder), "value and gradient, ms"),
        (right, peaks(folder), "peak above inputs and gradients, MB"),
    ):
        for (framework, contender), points in sorted(curves.items()):
            n = sorted(points)
            axes.plot(n, [points[i] for i in n], color=COLORS[framework], linewidth=1.5, **STYLES[contender])
        axes.set(xscale="log", yscale="log", xlabel=f"batch size N (D = {FEATURES})", title=title)
        axes.set_xscale("log", base=2)
        axes.grid(which="major", alpha=0.25)
    sizes = sorted({n for points in peaks(folder).values() for n in points})
    right.plot(sizes, [4 * n * n / 1e6 for n in sizes], color="0.5", linewidth=1)
    handles = [Line2D([], [], color=COLORS[name], linewidth=3, label=NAMES[name]) for name in FRAMEWORKS]
    handles += [Line2D([], [], color="0.2", label=LABELS[name], **style) for name, style in STYLES.items()]
    handles.append(Line2D([], [], color="0.5", linewidth=1, label="one logit matrix"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, metadata={"Date": None})
    pyplot.close(figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=_results.FOLDER, help="of the CSV files")
    parser.add_argument("--out", type=Path, default=_results.FOLDER.with_suffix(".svg"))
    options = parser.parse_args()
    draw(options.folder, options.out)
