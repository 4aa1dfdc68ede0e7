"""The default number of rows visited at a time, against other choices: time of the default over time of each.

    python benchmarks/block_size.py --framework torch --case "one 4096 512"

No ratio should be above 1.05: the default is within 5 % of the best block.
"""

from __future__ import annotations

from _cases import Case
from _command import Contenders, run_cases
from _measure import Call

SIZES = (64, 128, 256, 512, 1024, 2048, 4096)
CASES = {
    "full": [
        "one 1024 128", "one 4096 128", "one 4096 512", "one 8192 256", "one 32768 128", "queue 256x65536 128",
        "symmetric 4096 512", "nt_xent 4096 128",
    ],
    "quick": ["one 2048 128"],
    "tiny": ["one 80 4"],
}  # fmt: skip


def other_blocks(module: Contenders, case: Case, mode: str) -> dict[str, Call]:
    """Ours with the default, and with every other block of no more than all rows; in a framework's first mode."""
    if mode != module.MODES[0] or case.kind not in module.KINDS:
        return {}
    sizes = [size for size in SIZES if size <= case.rows]
    losses = {f"block_size={size}": module.ours(case, size) for size in sizes}
    return module.timed(case, {"infonce": module.ours(case), **losses})


if __name__ == "__main__":
    run_cases("block_size", __doc__, CASES, {"full": 20.0, "quick": 0.5, "tiny": 0.0}, other_blocks)
