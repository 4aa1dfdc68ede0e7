"""Sizes at which contenders take part, and the blocks of the products alone."""

from __future__ import annotations

import os

from _cases import Case

METRIC_LEARNING_ROWS = 256  # its time and memory grow with the cube
OPTAX_ROWS = 1024  # its NT-Xent asked for 70 GB at 4,096
BLOCK = 512
COPIES = 4  # of the logit matrix in float32, that a plain formula holds with its gradient


def dense_fits(case: Case, memory: int | None = None) -> bool:
    """Whether the plain formula fits into half of the memory (in bytes; None: this machine's)."""
    if memory is None:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return COPIES * 4 * case.rows * case.columns <= memory // 2


def rows_of_products(case: Case, block: int = BLOCK, memory: int | None = None) -> dict[str, int]:
    """Names of the products alone, and how many rows each multiplies at a time."""
    ways = {}
    if dense_fits(case, memory):
        ways["products"] = case.rows
    if case.rows > block:
        ways["products, in blocks"] = block
    return ways
