"""Peak memory above the inputs and the gradients, in megabytes (10^6 bytes), against the batch size.

    python benchmarks/memory.py --framework torch --case "one 65536 128"

Each figure comes from a process of its own: the resident set's peak during one call (value and gradient), less what was
resident before it, less the gradients. Freed memory goes back to the system at once (MALLOC_MMAP_THRESHOLD_), so
what a warm-up left behind cannot hide a peak. JAX compiles and `tf.function` traces before. The plain formula takes
part where it fits. The call's own time is written down too. Linux only.
"""

from __future__ import annotations

import gc
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import _results
from _cases import Case
from _command import contenders, folder, frameworks, parser

CASES = {
    "full": [f"{kind} {n} 128" for kind in ("one", "symmetric", "nt_xent") for n in (1024, 4096, 16384, 32768, 65536)],
    "quick": ["one 4096 128"],
    "tiny": ["one 64 4"],
}
CONTENDERS = ("infonce", "plain formula")
RETURN_FREED = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
WARM_UP = "64 8"


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--case", action="append", help='such as "one 4096 128"; default: all')
    made.add_argument("--contender", choices=CONTENDERS, help="measure this one here, and print it as JSON")
    options = made.parse_args()
    form = "tiny" if options.tiny else "quick" if options.quick else "full"
    cases = options.case or CASES[form]
    if options.contender is not None:
        print(json.dumps(measured(frameworks(options)[0], Case.parse(cases[0]), options.contender)))
        return
    for framework in frameworks(options):
        for case in cases:
            found = {name: in_a_process(framework, case, name) for name in CONTENDERS}
            rows = []
            for name, figures in found.items():
                print(f"{case}, {framework}, {name}: " + (", ".join(f"{v:.4g} {u}" for u, v in figures.items()) or "-"))
                rows += [row(framework, case, name, value, unit) for unit, value in figures.items()]
            _results.write(folder(options) / "memory.csv", _results.Figure, rows)


def row(framework: str, case: str, contender: str, value: float, unit: str) -> _results.Figure:
    return _results.Figure(*_results.header(framework), "memory", case, framework, contender, value, unit)


def in_a_process(framework: str, case: str, contender: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--framework", framework, "--case", case, "--contender", contender]
    environment = {**os.environ, **RETURN_FREED, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measured(framework: str, case: Case, contender: str) -> dict[str, float]:
    """The figures of one contender by unit; none where it cannot take part."""
    module = contenders(framework)
    mode = module.MODES[0]
    call = module.calls(case, mode).get(contender)
    if call is None:
        return {}
    module.calls(Case.parse(f"{case.kind} {WARM_UP}"), mode)[contender]()  # starts threads, loads kernels
    if hasattr(call, "compile"):
        call.compile()
    gc.collect()
    before = forget_peak()
    start = time.perf_counter()
    results = call()
    seconds = time.perf_counter() - start
    gradients = sum(x.nbytes if hasattr(x, "nbytes") else x.numpy().nbytes for x in results)
    return {"MB": (resident("VmHWM") - before - gradients) / 1e6, "s": seconds}


def forget_peak() -> int:
    """Make the peak what is resident now, and return it, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return resident("VmRSS")


def resident(field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return 1024 * int(found[1])


if __name__ == "__main__":
    main()
