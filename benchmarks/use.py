"""What using the package costs beside its arithmetic: import, first call, compilation, eager calls.

    python benchmarks/use.py --framework torch

Written to use.csv: the time of `import infonce` beyond NumPy's own; the first call in torch beyond later ones; for
small to large batches the time to compile and the size of the graph, neither of which should grow; the number of
compilations for all these batches, and for five temperatures; and an eager call in JAX at N = 32.
"""

from __future__ import annotations

import functools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from _programs import PROGRAMS

import _results
from _command import folder, frameworks, parser

TEMPERATURES = (0.5, 0.4, 0.3, 0.2, 0.1)


class Effort(NamedTuple):
    sizes: Sequence[int]  # batches
    repeats: int  # of calls and of processes


EFFORT = {
    "full": Effort((64, 512, 1024, 4096, 16384), 15),
    "quick": Effort((64, 2048), 3),
    "tiny": Effort((16, 600), 1),
}


class Found(NamedTuple):
    case: str
    what: str
    value: float
    unit: str


IMPORT = """
import time
import numpy
start = time.perf_counter()
import infonce
print(time.perf_counter() - start)
"""

# A loss of torch's own comes before, so that autograd's threads are there.
FIRST_CALL = """
import statistics, time, torch, infonce
query, key = (torch.randn(32, 128, requires_grad=True) for _ in range(2))
torch.nn.functional.cross_entropy(query @ key.T, torch.arange(32)).backward()
seconds = []
for _ in range(20):
    start = time.perf_counter()
    infonce.info_nce(query, key).backward()
    seconds.append(time.perf_counter() - start)
print(seconds[0] - statistics.median(seconds[1:]))
"""


def main() -> None:
    options = parser(__doc__).parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    effort = EFFORT["tiny" if options.tiny else "quick" if options.quick else "full"]
    for framework in frameworks(options):
        header, rows = _results.header(framework), []
        for case, what, value, unit in figures(framework, effort):
            print(f"{framework}, {case}, {what}: {value:.4g} {unit}", flush=True)
            rows.append(_results.Figure(*header, "use", case, framework, what, value, unit))
        _results.write(folder(options) / "use.csv", _results.Figure, rows)


def figures(framework: str, effort: Effort) -> Iterator[Found]:
    if framework == "numpy":
        yield Found("import infonce", "beyond numpy", median_of_processes(IMPORT, effort.repeats), "ms")
        return
    if framework == "torch":
        yield Found("first call", "beyond later calls", median_of_processes(FIRST_CALL, effort.repeats), "ms")
    if framework == "jax":
        yield from eager_calls_in_jax(effort.repeats)
    yield from compilation(framework, effort.sizes)


def median_of_processes(code: str, processes: int) -> float:
    """The median, in milliseconds, of the seconds that each process prints."""
    command = [sys.executable, "-c", code]
    printed = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(processes)]
    return 1e3 * statistics.median(map(float, printed))


def compilation(framework: str, sizes: Sequence[int]) -> Iterator[Found]:
    program = PROGRAMS[framework]
    program()(sizes[0], TEMPERATURES[0])  # loads the compiler
    for n in sizes:
        fresh = program()
        step = functools.partial(fresh, n, TEMPERATURES[0])
        first, later = milliseconds(step), milliseconds(step)
        yield Found(f"N = {n}", "compile", first - later, "ms")
        yield Found(f"N = {n}", "graph", sum(fresh.graphs), "operations")
    fresh = program()
    for n in sizes:
        fresh(n, TEMPERATURES[0])
    yield Found(f"{len(sizes)} batch sizes", "compilations", len(fresh.graphs), "")
    fresh = program()
    for temperature in TEMPERATURES:
        fresh(sizes[0], temperature)
    yield Found(f"{len(TEMPERATURES)} temperatures", "compilations", len(fresh.graphs), "")


def eager_calls_in_jax(repeats: int) -> Iterator[Found]:
    import jax

    import infonce

    def median(function: Callable[..., Any]) -> float:
        jax.block_until_ready(function(*inputs))
        return statistics.median(milliseconds(lambda: jax.block_until_ready(function(*inputs))) for _ in range(repeats))

    inputs = [jax.random.normal(jax.random.key(i), (32, 128)) for i in range(2)]
    yield Found("eager call, N = 32", "value", median(infonce.info_nce), "ms")
    yield Found("eager call, N = 32", "jax.value_and_grad", median(jax.value_and_grad(infonce.info_nce, (0, 1))), "ms")


def milliseconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - start)


if __name__ == "__main__":
    main()
