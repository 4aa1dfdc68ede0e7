"""The examples run in every framework, learn something, and agree."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
FRAMEWORKS = ["numpy", "torch", "jax", "tensorflow"]

# One worker runs them all, so that each run is made once.
pytestmark = pytest.mark.xdist_group("examples")


@functools.cache
def digits(framework: str) -> dict[str, float]:
    """The accuracies that digits.py prints."""
    command = [sys.executable, "-W", "error", "digits.py", "--framework", framework]
    done = subprocess.run(command, cwd=EXAMPLES, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {name: float(value) for name, value in re.findall(r"^  (raw|learned).* (\S+)$", done.stdout, re.MULTILINE)}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_digits_learns_more_than_the_pixels_show(framework: str) -> None:
    accuracy = digits(framework)
    assert 0.85 < accuracy["raw"] < 0.92
    assert accuracy["learned"] > accuracy["raw"] + 0.03


def test_digits_agree_across_frameworks() -> None:
    learned = [digits(framework)["learned"] for framework in FRAMEWORKS]
    assert max(learned) - min(learned) <= 0.01
