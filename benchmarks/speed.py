"""Time of `info_nce` against its peers, the plain formula, and the matrix products alone.

    python benchmarks/speed.py --framework torch --case "one 256 128"

Every figure is ours over theirs, each run once a round: the median of the rounds and their quartiles.
A case is named kind, rows, features. Kinds: one (direction), value (only), none (reduction), low (temperature),
symmetric, queue (constant keys), step (of training a small network). float32, normalisation included, value and
gradient unless said otherwise.
"""

from __future__ import annotations

from _command import run_cases

CASES = {
    "full": [
        "one 32 128", "one 256 128", "one 1024 128", "one 4096 512", "one 8192 256", "one 4096 128", "one 16384 128",
        "value 256 128", "value 4096 512", "value 8192 256",
        "none 256 128", "none 4096 512", "low 4096 128",
        "symmetric 256 128", "symmetric 1024 128", "symmetric 4096 512", "symmetric 8192 256",
        "queue 256x65536 128", "queue 4096 512",
        "step 32 128", "step 1024 128",
    ],
    "quick": ["one 32 128", "one 256 128", "one 1024 128", "one 2048 256", "value 1024 128", "symmetric 1024 128"],
    "tiny": ["one 8 4", "value 8 4"],
}  # fmt: skip

if __name__ == "__main__":
    run_cases("speed", __doc__, CASES, seconds={"full": 20.0, "quick": 0.5, "tiny": 0.0})
