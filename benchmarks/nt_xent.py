"""Time of `nt_xent` against pytorch-metric-learning, optax.ntxent, the plain formula, and the products alone.

    python benchmarks/nt_xent.py --framework torch --case "nt_xent 256 128"

N samples in two views are 2 N rows, and the products are the three of the 2 N x 2 N problem; the symmetry of its logit
matrix spares about one of them. pytorch-metric-learning takes part up to N = 256: its cost grows with the cube.
"""

from __future__ import annotations

from _command import run_cases

CASES = {
    "full": ["nt_xent 32 128", "nt_xent 256 128", "nt_xent 1024 128", "nt_xent 4096 128", "nt_xent 4096 512"],
    "quick": ["nt_xent 256 128", "nt_xent 1024 128"],
    "tiny": ["nt_xent 8 4"],
}

if __name__ == "__main__":
    run_cases("nt_xent", __doc__, CASES, seconds={"full": 20.0, "quick": 0.5, "tiny": 0.0})
