"""Cases of the product of halves and their exponentials, for the kernels of both frameworks, and the formulas.

All that a kernel may find at the edges of its tiles: they are 16 rows by 32 columns in most cases.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Case(NamedTuple):
    rows: int
    columns: int
    depth: int
    first_row: int
    large: bool = False  # tiles as on a device
    period: int | None = None  # of a row's own entries
    size: float = 2.0  # of the logits
    nan: tuple[str, int] | None = None  # of "rows", "keys"; which
    zero: int | None = None  # a row whose embedding and factor are 0
    group: int = 2
    programs: int = 1


CASES = {
    "no-negatives": Case(8, 8, 8, 0, period=32),
    "few": Case(3, 8, 8, 1),
    "one-tile": Case(16, 32, 16, 0),
    "less-than-a-tile": Case(15, 24, 8, 9),
    "more-than-a-tile": Case(17, 40, 24, 3),
    "tiles": Case(48, 96, 48, 0),
    "tiles-middle": Case(48, 96, 48, 20),
    "tiles-end": Case(48, 96, 48, 48),
    "square": Case(96, 96, 32, 0),
    "part-of-the-last": Case(50, 104, 40, 0),
    "part-of-the-last-middle": Case(50, 104, 40, 33),
    "part-of-the-last-end": Case(50, 104, 40, 54),
    "positives-at-an-edge": Case(16, 64, 16, 31),
    "groups": Case(83, 88, 16, 0, group=3),
    "more-programs": Case(83, 88, 16, 0, programs=3),
    "large-tiles": Case(128, 256, 128, 100, large=True),
    "part-of-large-tiles": Case(130, 304, 104, 170, large=True),
    "period": Case(48, 96, 16, 0, period=48),
    "period-middle": Case(48, 96, 16, 48, period=32),
    "period-of-a-tile": Case(96, 96, 16, 0, period=32),
    "odd-period": Case(33, 104, 16, 66, period=33),
    "period-of-large-tiles": Case(260, 520, 64, 260, large=True, period=260),
    "forty": Case(40, 72, 24, 10, size=40.0),
    "zero-row": Case(20, 40, 16, 5, zero=17),
    "nan-in-a-row": Case(20, 72, 16, 40, nan=("rows", 3)),
    "nan-in-a-positive": Case(1, 40, 16, 5, nan=("keys", 5)),
    "nan-in-a-key": Case(20, 40, 16, 5, nan=("keys", 30)),
}


class Given(NamedTuple):
    """Arrays of float32."""

    rows: Any  # as bfloat16 holds them
    row_factor: Any
    keys: Any
    column_factor: Any
    row_weight: Any
    column_weight: Any
    own: Any


def inputs(case: Case) -> Given:
    """Rows and keys that bfloat16 holds, and factors that make their products logits of at most the case's size."""
    random = np.random.default_rng(case[:4])
    rows, keys = (as_bfloat16(random.standard_normal((n, case.depth))) for n in (case.rows, case.columns))
    r, c = (random.uniform(0.5, 2, (n, 1)).astype("f4") for n in (case.rows, case.columns))
    if case.zero is not None:
        rows[case.zero], r[case.zero] = 0, 0
    r *= case.size / np.abs((rows.astype("f8") @ keys.astype("f8").T) * r * c.T).max()
    weights = (random.standard_normal(shape).astype("f4") for shape in ((case.rows, 1), (1, case.columns)))
    own = random.standard_normal((case.rows, 1)).astype("f4")
    return Given(rows, r, keys, c, *weights, own)


def as_bfloat16(x: Any) -> Any:
    """float32 without the digits that bfloat16 does not hold."""
    return (x.astype("f4").view(np.uint32) & 0xFFFF0000).view("f4")


def with_nan(case: Case, given: Given) -> tuple[Given, Any]:
    """The case's arrays, and which entries of the product are lost."""
    lost = np.zeros((case.rows, case.columns), bool)
    if case.nan is None:
        return given, lost
    kind, i = case.nan
    (given.rows if kind == "rows" else given.keys)[i, -1] = np.nan
    lost[(i, slice(None)) if kind == "rows" else (slice(None), i)] = True
    return given, lost


def expected(case: Case) -> dict[str, Any]:
    """What each function returns, an entry at a time."""
    given = inputs(case)
    rows, r, keys, c, a, b, value = (x.astype("f8") for x in given)
    shape = case.rows, case.columns
    e, positive, own, w = np.zeros(shape), np.zeros((case.rows, 1)), np.zeros(shape, bool), np.zeros(shape)
    for i, j in np.ndindex(shape):
        z = np.sum(rows[i] * keys[j]) * r[i, 0] * c[j, 0]
        ahead = j - case.first_row - i
        own[i, j] = ahead == 0 if case.period is None else ahead % case.period == 0
        e[i, j] = 0 if own[i, j] else np.exp(z)
        w[i, j] = e[i, j] * (a[i, 0] + b[0, j])
        if ahead == 0:
            positive[i] = z
    total, of_columns = e.sum(axis=1, keepdims=True), e.sum(axis=0, keepdims=True)
    found = {"total": total, "total alone": total, "columns": of_columns}
    found["weighted"] = np.where(own, 0 if case.period else value, w)
    if case.period is None:
        sigmoid = total / (total + np.exp(positive))
        found |= {"p": np.where(own, -total, e), "loss": np.log1p(total * np.exp(-positive)), "slope": sigmoid / total}
        found["positive"] = positive
    return found


def differences(
    case: Case, got: dict[str, Any], dtypes: dict[str, str], lost: Any, of_rows: str = "bfloat16"
) -> list[str]:
    """What a kernel gave, in float64, and the formulas do not; `dtypes` are those that it gave, for rows `of_rows`."""
    want = expected(case)
    found = [] if got.keys() == want.keys() else [f"given are {list(got)}, expected {list(want)}"]
    for name, values in got.items():
        stored = name in ("p", "weighted")
        if dtypes[name] != (of_rows if stored else "float32"):
            found.append(f"{name} is of {dtypes[name]}")
        # Triton's interpreter cuts bfloat16 off, where a GPU rounds to the nearest.
        relative = 1e-6 * (1 + case.size) + (2**-7 if dtypes[name] == "bfloat16" else 0)
        least = case.size * 1e-6 if "positive" in name else 1e-37
        away = lost
        if not stored:
            away = lost.any(axis=0 if name == "columns" else 1).reshape(values.shape)
        elif name == "p":
            away = lost | lost.any(axis=1, keepdims=True)
        wrong = ~(np.abs(values - want[name]) <= least + relative * np.abs(want[name])) & ~away  # NaN is wrong
        if values.shape != want[name].shape or wrong.any():
            i = tuple(np.argwhere(wrong)[0])
            found.append(f"{name}{list(map(int, i))} = {values[i]}, but should be {want[name][i]}; {wrong.sum()} wrong")
        if name not in ("p", "weighted", "positive") and not np.isnan(values[away]).all():
            found.append(f"{name} = {values[away].tolist()}, but should be NaN")
    return found


def by(kernels: Any, case: Case, rows: Any, keys: Any, row: Any, column: Any, own: Any) -> dict[str, Any]:
    """What the functions of `infonce.halves.Fused` make of the case's arrays, by the names of `expected`."""
    total, of_columns, positive = kernels.totals(rows, keys, case.first_row, case.period, columns=True)
    alone = kernels.totals(rows, keys, case.first_row, case.period, columns=False)
    assert alone[1] is None
    assert (positive is None) == (case.period is not None)
    found = {"total": total, "total alone": alone[0], "columns": of_columns}
    at_own = None if case.period else own
    found["weighted"] = kernels.weighted(rows, keys, case.first_row, row, column, at_own, case.period)
    if case.period is None:
        names = "p", "loss", "slope"
        found |= dict(zip(names, kernels.exponentials(rows, keys, case.first_row), strict=True))
        found["positive"] = positive
    return found
