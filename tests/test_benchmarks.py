"""The benchmarks run, their contenders compute the same, and the README says what was measured. No time is judged."""

from __future__ import annotations

import csv
import importlib
import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "benchmarks"
FRAMEWORKS = ["numpy", "torch", "jax", "tensorflow"]
RATIO = ["date", "device", "versions", "subject", "case", "framework", "ours_ms", "contender", "ratio", "q1", "q3"]
FIGURE = ["date", "device", "versions", "subject", "case", "framework", "contender", "value", "unit"]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Imports a module of the benchmarks, as its scripts do."""
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module


def run(script: str, out: Path, *arguments: str) -> None:
    command = [sys.executable, str(FOLDER / script), *arguments, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"


def rows_of(path: Path, columns: list[str]) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    assert reader.fieldnames == columns
    assert all(value != "" for row in rows for name, value in row.items() if name != "unit")
    return rows


@pytest.mark.parametrize("script", ["speed", "nt_xent", "block_size", "options"])
def test_ratios_are_written_for_every_framework(script: str, tmp_path: Path) -> None:
    run(f"{script}.py", tmp_path, "--tiny")
    rows = rows_of(tmp_path / f"{script}.csv", RATIO)
    assert {row["framework"].partition(":")[0] for row in rows} == set(FRAMEWORKS)
    assert {row["subject"] for row in rows} == {script}
    for row in rows:
        assert 0 < float(row["q1"]) <= float(row["ratio"]) <= float(row["q3"])
        assert f"{row['framework'].partition(':')[0]} " in row["versions"]


def test_memory_is_written(tmp_path: Path) -> None:
    run("memory.py", tmp_path, "--tiny", "--framework", "numpy", "--framework", "jax")
    rows = rows_of(tmp_path / "memory.csv", FIGURE)
    found = {(row["framework"], row["contender"], row["unit"]) for row in rows}
    contenders = ("infonce", "plain formula")
    assert found == {(f, c, u) for f in ("numpy", "jax") for c in contenders for u in ("MB", "s")}


def test_memory_sees_a_matrix(tmp_path: Path) -> None:
    run("memory.py", tmp_path, "--framework", "numpy", "--case", "one 2048 8")
    rows = rows_of(tmp_path / "memory.csv", FIGURE)
    megabytes = {row["contender"]: float(row["value"]) for row in rows if row["unit"] == "MB"}
    whole = 4 * 2048**2 / 1e6
    assert whole <= megabytes["plain formula"] < 2 * whole
    assert 0 < megabytes["infonce"] < whole


def test_cost_of_use_is_written_for_every_framework(tmp_path: Path) -> None:
    run("use.py", tmp_path, "--tiny")
    rows = rows_of(tmp_path / "use.csv", FIGURE)
    assert {row["framework"] for row in rows} == set(FRAMEWORKS)
    graphs = {(row["framework"], row["case"]) for row in rows if row["contender"] == "graph"}
    assert graphs == {(f, f"N = {n}") for f in FRAMEWORKS[1:] for n in (16, 600)}


def test_gpu_runs_on_the_cpu(tmp_path: Path) -> None:
    run("gpu.py", tmp_path, "--device", "cpu", "--quick", "--case", "one 600 8", "--case", "symmetric 16 8")
    found = {(row["framework"], row["case"]) for row in rows_of(tmp_path / "gpu.csv", RATIO)}
    cases = {f"{case} {p}" for case in ("one 600 8", "symmetric 16 8") for p in ("bfloat16", "tf32", "float32")}
    assert found == {(framework, case) for framework in ("torch", "jax") for case in cases}
    assert {row["framework"] for row in rows_of(tmp_path / "gpu_memory.csv", FIGURE)} == {"jax"}


# What torch.compile does by itself.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit.*is deprecated:DeprecationWarning")
@pytest.mark.parametrize("kind", ["one", "value", "none", "symmetric", "queue", "step", "nt_xent"])
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_contenders_agree(framework: str, kind: str, module: Callable[[str], Any]) -> None:
    case = module("_cases").Case.parse(f"{kind} 12x20 4" if kind == "queue" else f"{kind} 12 4")
    contenders = module(f"contenders.{framework}")
    if kind not in contenders.KINDS:
        assert (framework, kind) in {("numpy", "none"), ("numpy", "queue"), *((f, "step") for f in FRAMEWORKS)}
        return
    for mode in contenders.MODES:
        calls = contenders.calls(case, mode)
        results = {name: call() for name, call in calls.items() if not name.startswith("products")}
        assert not results or next(iter(results)) == "infonce"
        assert len(results) != 1, "nothing to compare with"
        for name, result in results.items():
            assert len(result) == (3 if kind == "step" else 1 + case.wanted)
            for got, want in zip(result, results["infonce"], strict=True):
                np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6, err_msg=f"{name}, {mode}")


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_products_in_blocks_are_the_products(framework: str, module: Callable[[str], Any]) -> None:
    case = module("_cases").Case.parse("one 1024 4")
    calls = module(f"contenders.{framework}").calls(case, framework)
    query, key = case.sides()
    logits = query @ key.T
    for name in ("products", "products, in blocks"):
        got = sorted(float(np.sum(np.abs(np.asarray(x)))) for x in calls[name]())
        want = sorted(float(np.sum(np.abs(x))) for x in (logits @ key, logits.T @ query))
        np.testing.assert_allclose(got, want, rtol=1e-4, err_msg=name)


def test_contenders_take_turns_and_ratios_are_of_pairs(
    module: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    measure, calls = module("_measure"), []
    seconds = {"ours": iter([1.0, 2.0, 4.0, 6.0]), "theirs": iter([1.0, 4.0, 4.0, 3.0])}  # the first warms up

    def sample(call: Callable[[], str], repeats: int) -> float:
        calls.append(call())
        return next(seconds[calls[-1]])

    monkeypatch.setattr(measure, "sample", sample)
    (timing,) = measure.compare({"ours": lambda: "ours", "theirs": lambda: "theirs"}, seconds=0, fewest=3)
    assert [set(calls[i : i + 2]) for i in range(0, 8, 2)] == [{"ours", "theirs"}] * 4
    assert (timing.contender, timing.ours_ms) == ("theirs", 4000)
    assert (timing.q1, timing.ratio, timing.q3) == (0.75, 1.0, 1.5)  # of 2/4, 4/4, 6/3


def test_each_round_has_an_order_of_its_own(module: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    measure, called = module("_measure"), []
    monkeypatch.setattr(measure, "sample", lambda call, repeats: called.append(call()) or 1.0)
    measure.compare({name: lambda name=name: name for name in "abc"}, seconds=0, fewest=50)
    rounds = {tuple(called[i : i + 3]) for i in range(3, len(called), 3)}
    assert rounds == set(itertools.permutations("abc"))


def test_new_results_replace_those_of_the_same_case(module: Callable[[str], Any], tmp_path: Path) -> None:
    results = module("_results")

    def row(case: str, contender: str, value: float) -> Any:
        return results.Figure("2020-01-01", "a device", "a version", "use", case, "numpy", contender, value, "ms")

    path = tmp_path / "use.csv"
    results.write(path, results.Figure, [row("a", "old", 1.0), row("b", "kept", 2.0)])
    results.write(path, results.Figure, [row("a", "new", 3.0)])
    found = [(r["case"], r["contender"], r["value"]) for r in rows_of(path, FIGURE)]
    assert found == [("b", "kept", "2"), ("a", "new", "3")]


def test_picture_is_drawn_the_same_from_the_same_numbers(tmp_path: Path) -> None:
    for script in ("speed.py", "memory.py"):
        run(script, tmp_path, "--framework", "numpy", "--case", "one 32 128")
    for name in ("a.svg", "b.svg"):
        command = [sys.executable, str(FOLDER / "picture.py"), "--folder", str(tmp_path), "--out", str(tmp_path / name)]
        subprocess.run(command, check=True)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.svg").read_text().startswith("<?xml")


def test_readme_says_what_the_results_say(module: Callable[[str], Any]) -> None:
    table, readme = module("table"), (ROOT / "README.md").read_text()
    assert table.BEGIN in readme
    assert table.put_in(readme, table.section(ROOT / "docs" / "benchmarks")) == readme


def test_table_holds_time_ratios_and_memory(module: Callable[[str], Any], tmp_path: Path) -> None:
    table, results = module("table"), module("_results")
    at = ("2020-01-01", "a device", "numpy 2; python 3")
    contenders = {"plain formula": 0.5, "a peer": 0.75, "products": 1.25, "products, in blocks": 1.5}
    ratios = [results.Ratio(*at, "speed", "one 32 128", "numpy", 12.3, *x, 0.0, 9.0) for x in contenders.items()]
    results.write(tmp_path / "speed.csv", results.Ratio, ratios)
    peaks = [("infonce", 25.4), ("plain formula", 1234.0)]
    figures = [results.Figure(*at, "memory", "one 4096 128", "jax", *x, "MB") for x in peaks]
    results.write(tmp_path / "memory.csv", results.Figure, figures)
    lines = table.section(tmp_path).splitlines()
    assert "| one direction | 32 | 128 | 12.3 ms · 0.75 · 1.50 | - | - | - |" in lines
    assert "| one direction | 4,096 | 128 | - | - | 25 MB (1.2 GB) | - |" in lines
    assert lines[-1] == "2020-01-01; a device; numpy 2, python 3."
    gpu = [("bfloat16", "plain formula", 0.5), ("bfloat16", "products, in blocks", 1.25), ("tf32", "products", 2.0)]
    ratios = [results.Ratio(*at, "gpu", f"one 8192 256 {p}", "torch", 2.0, *x, 0.0, 9.0) for p, *x in gpu]
    results.write(tmp_path / "gpu.csv", results.Ratio, ratios)
    lines = table.section(tmp_path).splitlines()
    assert "| loss | N | D | PyTorch bfloat16 | PyTorch tf32 |" in lines
    assert "| one direction | 8,192 | 256 | 2 ms · 0.50 · 1.25 | 2 ms · - · 2.00 |" in lines


def test_table_of_errors_holds_the_worst_of_each_option(module: Callable[[str], Any], tmp_path: Path) -> None:
    from infonce import conformance
    from infonce.conformance.cases import all_cases
    from infonce.conformance.report import write_json

    names = ("options/alone/decoupled/paired", "options/alone/mask-row/paired", "options/alone/bias-row/paired")
    cases = [case for case in all_cases() if case.name in names]
    assert len(cases) == len(names)
    report = conformance.run(cases=cases, variants=["numpy", "numpy:readonly", "torch"])
    write_json(report, tmp_path / "report.json")
    errors, results = module("errors"), [(line, result) for line in report.lines for result in line.results]

    def worst(case: str, framework: str, dtype: str) -> str:
        found = [
            result.outcome.error
            for line, result in results
            if case in result.case and line.variant.partition(":")[0] == framework and line.dtype == dtype
        ]
        return f"{max(found):.2g}"

    lines = errors.table([json.loads((tmp_path / "report.json").read_text())]).splitlines()
    assert lines[0] == "| loss or option | NumPy | PyTorch |"
    for option, case in {"info_nce": "", "decoupled": "decoupled", "mask": "mask-row", "bias": "bias-row"}.items():
        cells = [f"{worst(case, name, 'float64')} · {worst(case, name, 'float32')} · -" for name in FRAMEWORKS[:2]]
        assert f"| {option} | {' | '.join(cells)} |" in lines
    once = errors.put_in(f"a\n\n{errors.BEFORE}\n", "T")
    assert once == f"a\n\n{errors.HEADING}\n\n{errors.BEGIN}\nT\n{errors.END}\n\n{errors.BEFORE}\n"
    assert errors.put_in(once.replace("\nT\n", "\nold\n"), "T") == once


def test_markers_go_to_the_end_of_the_section_on_speed(module: Callable[[str], Any]) -> None:
    put_in = module("table").put_in
    body = "<!-- benchmarks -->\nT\n<!-- /benchmarks -->"
    assert put_in("## Speed\n\nFast.\n\n## License\n", "T") == f"## Speed\n\nFast.\n\n{body}\n\n## License\n"
    assert put_in("## A\n\n## License\n", "T") == f"## A\n\n## Speed\n\n{body}\n\n## License\n"
    assert put_in(body.replace("T", "old"), "T") == body
