"""Triton's interpreter: kernels on the CPU, in a process and from a folder of its own.

Triton looks once, when it is imported, at whether to interpret. Its compiler cannot be loaded into a process that holds
TensorFlow's, and torch loads it wherever it finds it: so it is kept beside the environment, where `make` puts it.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(sys.prefix) / "triton"
needs_triton = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="no Triton for this platform"
)


def interpreted(module: str) -> dict[str, list[str]]:
    """What is wrong in each of the cases that a module of tests checks when it is run as a program."""
    assert (FOLDER / "triton").is_dir(), 'Triton is missing: "make install" puts it there'
    settings = {**os.environ, "PYTHONPATH": str(FOLDER), "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", "-m", module]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=root, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found
