"""The Triton kernel, run by Triton's interpreter on the CPU, against the formulas in float64.

This module run as a program checks all cases. With NumPy 2.4 the interpreter needs Triton 3.7; GPUs do with less.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from infonce.torch._kernel import CLOSED_ROWS, NARROWEST, PARTS, WIDEST, available, closed_form, softmax_block

from ._interpreted import interpreted, needs_triton

pytestmark = pytest.mark.xdist_group("torch_kernel")  # one worker takes them all: the cases run once
LOWEST = np.float32(-8.5e37)
GUARD = 7.0  # in the rows around those at hand


class Case(NamedTuple):
    rows: int
    columns: int
    first_row: int | None
    bounded: bool
    row_factor: bool = True
    column_factor: bool = True
    out: str | None = "float32"  # None: in place
    size: float = 2.0  # of the logits
    nan: tuple[int, int] | None = None  # row, column


SHAPES = {
    "no-negatives": (1, 1, 0),
    "few": (3, 5, 1),
    "one-tile": (3, NARROWEST, 4),
    "part-of-a-tile": (4, 1001, 0),
    "widest-tile": (2, WIDEST, WIDEST - 2),
    "tiles": (3, 3 * WIDEST, 2 * WIDEST - 1),
    "one-more": (2, WIDEST + 1, WIDEST - 1),
    "part-of-the-last": (2, 2 * WIDEST + 777, 2 * WIDEST + 3),
    "positive-in-the-first": (2, 2 * WIDEST + 777, 17),
    "no-positive": (2, WIDEST + 777, None),
    "no-positive-one-column": (2, 1, None),
}
CASES = {
    **{f"{k}-{'bounded' if b else 'maximum'}": Case(*s, bounded=b) for k, s in SHAPES.items() for b in (True, False)},
    **{
        f"factors-{r:d}{c:d}-{'bounded' if b else 'maximum'}": Case(3, 200, 9, b, r, c, None)
        for r in (True, False)
        for c in (True, False)
        for b in (True, False)
    },
    **{
        f"{out or 'in-place'}-{'bounded' if b else 'maximum'}": Case(2, WIDEST + 300, 1000, b, out=out)
        for out in ("bfloat16", "float16", None)
        for b in (True, False)
    },
    "forty-bounded": Case(3, 300, 2, True, size=40.0),
    "ten-thousand": Case(3, WIDEST + 300, 100, False, size=1e4),
    "ten-thousand-in-place": Case(3, 300, 2, False, out=None, size=1e4),
    **{
        f"nan-{where}-{'bounded' if b else 'maximum'}": Case(4, WIDEST + 300, 100, b, nan=(2, column))
        for where, column in {"first-tile": 5, "positive": 102, "last-tile": WIDEST + 299}.items()
        for b in (True, False)
    },
}


def inputs(case: Case) -> tuple[Any, Any, Any]:
    """Scores of logits of the case's size, all of one sign in the last row, and the factors."""
    random = np.random.default_rng([case.rows, case.columns])
    z = case.size * random.uniform(-1, 1, (case.rows, case.columns))
    z[-1] = -np.abs(z[-1])
    r = random.uniform(0.5, 2, (case.rows, 1)).astype("f4") if case.row_factor else None
    c = random.uniform(0.5, 2, (1, case.columns)).astype("f4") if case.column_factor else None
    scores = z / (1 if r is None else r) / (1 if c is None else c)
    return scores.astype("f4"), r, c


def expected(case: Case) -> tuple[Any, Any, Any, Any]:
    """p, total, m and the positives, an entry at a time."""
    scores, r, c = (None if x is None else x.astype("f8") for x in inputs(case))
    p, total, m, positive = scores.copy(), *np.zeros((3, case.rows, 1))
    for i, row in enumerate(scores):
        z = row * (1 if r is None else r[i]) * (1 if c is None else c[0])
        own = None if case.first_row is None else case.first_row + i
        negatives = [z[j] for j in range(case.columns) if j != own]
        m[i] = 0 if case.bounded else max(negatives, default=LOWEST)
        total[i] = sum(np.exp(negatives - m[i]))
        p[i] = np.exp(z - m[i], where=np.arange(case.columns) != own, out=np.zeros_like(z))
        if own is not None:
            p[i, own], positive[i] = -total[i, 0], z[own]
    return p, total, m, positive


def differences(case: Case) -> list[str]:
    """What the kernel gives and the formulas do not."""
    scores, r, c = (None if x is None else torch.from_numpy(x) for x in inputs(case))
    if case.nan:
        scores[case.nan] = torch.nan
    held = torch.full((case.rows + 2, case.columns), GUARD)
    held[1:-1] = scores
    target = held
    if case.out is not None:
        target = torch.full(held.shape, GUARD, dtype=getattr(torch, case.out))
    given = None if case.out is None else target[1:-1]
    got = softmax_block(held[1:-1], r, c, case.first_row, case.bounded, given)

    found = []
    if got[0].data_ptr() != target[1:-1].data_ptr() or any(x.dtype != torch.float32 for x in got[1:]):
        found.append("p is not where it should be, or a column is not float32")
    kept = given is None or held[1:-1].nan_to_num().equal(scores.nan_to_num())
    if not kept or not (target[[0, -1]] == GUARD).all():
        found.append("the scores, or the rows around the block, were written over")
    rounding = 1e-6 * (1 + case.size)  # of the logit, in float32
    for name, x, want in zip(("p", "total", "m", "positive"), got, expected(case), strict=True):
        kind = torch.finfo(x.dtype)
        # The interpreter cuts bfloat16 off, where a GPU rounds to the nearest.
        relative = rounding + {torch.float32: 0, torch.float16: kind.eps / 2, torch.bfloat16: kind.eps}[x.dtype]
        least = case.size * 1e-6 if name in ("m", "positive") else max(kind.smallest_normal * kind.eps, 1e-37)
        values = x.double().numpy()
        if case.nan:
            values, want = (np.delete(y, case.nan[0], 0) for y in (values, want))
        wrong = ~(np.abs(values - want) <= least + relative * np.abs(want))  # NaN is wrong
        if values.shape != want.shape or wrong.any():
            i = tuple(np.argwhere(wrong)[0])
            found.append(f"{name}{list(map(int, i))} = {values[i]}, but should be {want[i]}; {wrong.sum()} are wrong")
    if case.nan and not got[1][case.nan[0]].isnan().all():
        found.append(f"total[{case.nan[0]}] = {got[1][case.nan[0]].item()}, but should be NaN")
    return found


class Closing(NamedTuple):
    """Rows whose losses range from e^-80 to 80."""

    rows: int
    parts: int
    maxima: bool = False
    out: str | None = None
    nan: int | None = None  # a row


CLOSINGS = {
    "one-row": Closing(1, 1),
    "rows": Closing(CLOSED_ROWS + 3, 2),
    "parts": Closing(5, PARTS, out="bfloat16"),
    "more-parts": Closing(2 * CLOSED_ROWS, PARTS + 1, out="float32"),
    "maxima": Closing(CLOSED_ROWS - 1, 1, maxima=True),
    "all": Closing(CLOSED_ROWS + 7, 2 * PARTS + 3, maxima=True, out="bfloat16"),
    "nan": Closing(6, 3, out="bfloat16", nan=4),
    "nan-beside-maxima": Closing(6, 3, maxima=True, nan=0),
}


def closing_differences(case: Closing) -> list[str]:
    """What the kernel that ends a block gives and the formulas do not."""
    random = np.random.default_rng([case.rows, case.parts])
    parts = random.uniform(0.1, 2, (case.parts, case.rows)).astype("f4")
    m = random.uniform(-3, 3, (case.rows, 1)).astype("f4") if case.maxima else None
    positive = np.linspace(-80, 80, case.rows, dtype="f4")[:, None]
    if case.nan is not None:
        parts[-1, case.nan] = np.nan
    out = None if case.out is None else torch.full((case.rows, case.rows + 5), GUARD, dtype=getattr(torch, case.out))
    given = (None if x is None else torch.from_numpy(x) for x in (parts, m, positive))
    loss, slope = (x.double().numpy() for x in closed_form(*given, out, 2))

    total = np.sum(parts, axis=0, dtype="f8")[:, None]
    beyond = np.log(total) + (0 if m is None else m.astype("f8")) - positive.astype("f8")
    with np.errstate(invalid="ignore"):  # NaN
        want = {"loss": np.logaddexp(0, beyond), "slope": 1 / (1 + np.exp(-beyond)) / total}
    found = []
    for name, x in (("loss", loss), ("slope", slope)):
        wrong = ~(np.abs(x - want[name]) <= 1e-6 * (1 + np.abs(beyond)) * np.abs(want[name]) + 1e-37)
        if case.nan is not None:
            wrong[case.nan] = not np.isnan(x[case.nan])
        if x.shape != (case.rows, 1) or wrong.any():
            found.append(f"{name} = {x[wrong].tolist()}, but should be {want[name][wrong].tolist()}")
    if out is not None:
        written = torch.full_like(out, GUARD)
        written.diagonal(2).copy_(-torch.from_numpy(total[:, 0]))
        away = torch.from_numpy(np.isnan(total))
        # The interpreter cuts bfloat16 off, where a GPU rounds to the nearest.
        near = torch.isclose(out, written, rtol=torch.finfo(out.dtype).eps + 1e-6, atol=0) | (away & out.isnan())
        found += [] if near.all() else [f"p = {out.tolist()}, but should be {written.tolist()}"]
    return found


@pytest.fixture(scope="module")
def wrong() -> dict[str, list[str]]:
    return interpreted(__name__)


@needs_triton
@pytest.mark.parametrize("name", [*CASES, *CLOSINGS])
def test_kernel_is_the_formula(name: str, wrong: dict[str, list[str]]) -> None:
    assert wrong[name] == []


def test_kernel_needs_a_gpu_and_triton() -> None:
    assert not available(torch.device("cpu"))
    code = "import sys; sys.modules['triton'] = None; import torch; from infonce.torch._kernel import available; "
    code += "import infonce.torch; print(available(torch.device('cuda')))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("first_row", [-1, 4])
def test_positives_outside_the_block_are_refused(first_row: int) -> None:
    with pytest.raises(AssertionError):
        softmax_block(torch.zeros(2, 5), None, None, first_row, True, None)
    with pytest.raises(AssertionError):
        closed_form(torch.ones(1, 2), None, torch.zeros(2, 1), torch.zeros(2, 5), first_row)


if __name__ == "__main__":
    found = {name: differences(case) for name, case in CASES.items()}
    json.dump(found | {name: closing_differences(case) for name, case in CLOSINGS.items()}, sys.stdout)
