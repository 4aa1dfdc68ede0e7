"""Time and memory on a GPU: PyTorch and JAX in bfloat16, TF32 and float32, in one call of under eight minutes.

    infonce conformance --device cuda --require torch,jax     # first: that the numbers are right there
    python benchmarks/gpu.py                                  # writes docs/benchmarks/gpu.csv and gpu_memory.csv
    python benchmarks/gpu.py --device cpu --quick             # the same code on small cases, in seconds

Ours is compared with the matrix products alone at the same precision, and with the plain formula where it fits. Before
a precision is measured, its loss and gradients are checked against NumPy in float64. What the time does not suffice for
is named and left out.
"""

from __future__ import annotations

import argparse
import functools
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import _results
from _cases import Case
from _command import show, without
from _devices import JAX, Device, Torch
from _measure import Timing, compare
from contenders.numpy import PLAIN

DEVICES: dict[str, Callable[[str], Device]] = {"torch": Torch, "jax": JAX}
PRECISIONS = {"bfloat16": "bfloat16", "tf32": "float32", "float32": "float32"}  # and the dtype of the inputs
TOLERANCE = {"bfloat16": 2e-2, "tf32": 3e-3, "float32": 2e-5}  # |x - reference| / |reference|
CHECKED = {  # of several blocks; in the full form of more logits than are one on a GPU, and of parts of tiles
    "full": ["one 8456 64", "symmetric 8456 64", "nt_xent 4228 64"],
    "quick": ["one 1536 64", "symmetric 1536 64", "nt_xent 768 64"],
}
CASES = {
    "full": [
        "one 8192 256", "one 8192 512", "one 8192 1024",
        "one 32768 256", "one 32768 512", "one 32768 1024", "symmetric 32768 512", "nt_xent 16384 512",
        "one 131072 256", "one 131072 1024",
    ],
    "quick": ["one 1024 32", "symmetric 1024 32", "nt_xent 512 32"],
}  # fmt: skip
FEWEST = 3  # rounds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--framework", choices=DEVICES, help="default: both, each in a process of its own")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--precision", action="append", choices=PRECISIONS, help="several may be given; default: all")
    parser.add_argument("--quick", action="store_true", help="small cases")
    parser.add_argument("--case", action="append", help='such as "one 8192 256"; default: all')
    parser.add_argument("--minutes", type=float, default=7.0, help="for all frameworks together")
    parser.add_argument("--out", type=Path, default=None, help="folder; default: docs/benchmarks for all of CUDA")
    options = parser.parse_args()
    if options.framework is None:
        command = [sys.executable, sys.argv[0], *without(sys.argv[1:], "--minutes")]
        share = str(options.minutes / len(DEVICES))
        return max(subprocess.run([*command, "--framework", name, "--minutes", share]).returncode for name in DEVICES)
    try:
        device = DEVICES[options.framework](options.device)
    except LookupError as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 1
    whole = options.device == "cuda" and not options.quick
    out = options.out or (_results.FOLDER if whole else _results.QUICK_FOLDER)
    form = "quick" if options.quick else "full"
    cases, checked = ([Case.parse(text) for text in texts] for texts in (options.case or CASES[form], CHECKED[form]))
    most = 0.3 if options.quick else float("inf")
    precisions, deadline = options.precision or list(PRECISIONS), time.monotonic() + 60 * options.minutes
    return measure(options.framework, device, precisions, checked, cases, deadline, most, out)


def measure(
    framework: str,
    device: Device,
    precisions: list[str],
    checked: list[Case],
    cases: list[Case],
    deadline: float,
    most: float,
    out: Path,
) -> int:
    """Check and measure, each case for `most` seconds and all until the deadline; return the exit code."""
    failed, left = False, [(precision, case) for precision in precisions for case in cases]
    for precision in precisions:
        dtype = PRECISIONS[precision]
        device.set_precision(precision)
        if not all(right(framework, device, case, precision, dtype) for case in checked):
            failed, left = True, [(p, case) for p, case in left if p != precision]
            continue
        per_entry = 0.0  # seconds of a round of all contenders, by N x M x D
        for case in cases:
            seconds = (deadline - time.monotonic()) / len(left)
            left.pop(0)
            entries = case.rows * case.columns * case.d
            if seconds < 0 or (FEWEST + 2) * per_entry * entries > deadline - time.monotonic():
                print(f"not measured, out of time: {case} {precision}, {framework}", flush=True)
                continue
            timings = measure_case(framework, device, case, precision, min(seconds / 2, most), out)
            round_ms = timings[0].ours_ms * (1 + sum(1 / t.ratio for t in timings))
            per_entry = max(per_entry, round_ms / 1e3 / entries)
    return int(failed)


def right(framework: str, device: Device, case: Case, precision: str, dtype: str) -> bool:
    """Whether our loss and gradients are those of NumPy in float64, as closely as the precision allows."""
    want = reference(device, case, dtype)
    got = [device.to_numpy(x) for x in device.ours(case, dtype)()]
    errors = [float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in zip(got, want, strict=True)]
    passed = max(errors) <= TOLERANCE[precision]  # False for NaN
    verdict = "right" if passed else "WRONG"
    print(f"{case} {precision}, {framework}: {verdict}, relative errors {', '.join(f'{e:.1e}' for e in errors)}")
    return passed


@functools.cache  # of two precisions with the same inputs
def reference(device: Device, case: Case, dtype: str) -> Any:
    return PLAIN[case.kind](*(device.to_numpy(x) for x in device.inputs(case, dtype)))


def measure_case(framework: str, device: Device, case: Case, precision: str, seconds: float, out: Path) -> list[Timing]:
    calls = device.calls(case, PRECISIONS[precision])
    timings = compare(calls, seconds, FEWEST)
    header, name = _results.header(framework, device.name), f"{case} {precision}"
    show(name, framework, timings)
    ratios = [
        _results.Ratio(*header, "gpu", name, framework, t.ours_ms, t.contender, t.ratio, t.q1, t.q3) for t in timings
    ]
    _results.write(out / "gpu.csv", _results.Ratio, ratios)
    peaks = []
    for contender in ("infonce", "plain formula"):
        peak = device.peak(contender, calls[contender]) if contender in calls else None
        if peak is not None:
            print(f"    {peak / 1e6:9.1f} MB beside inputs and gradients: {contender}", flush=True)
            peaks.append(_results.Figure(*header, "gpu memory", name, framework, contender, peak / 1e6, "MB"))
    _results.write(out / "gpu_memory.csv", _results.Figure, peaks)
    return timings


if __name__ == "__main__":
    sys.exit(main())
