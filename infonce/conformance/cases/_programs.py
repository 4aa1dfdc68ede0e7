"""The twelve programs that compiled variants share over all their data sets."""

from __future__ import annotations

from infonce.conformance.model import Program

NONE, SUM, PAIRED = ("reduction", "none"), ("reduction", "sum"), ("negative_mode", "paired")
BOTH, SYMMETRIC, DOT = ("in_batch", True), ("symmetric", True), ("normalize", False)

IN_BATCH_MEAN = Program("in-batch-mean", 8, 16)
IN_BATCH_NONE = Program("in-batch-none", 8, 16, options=(NONE,))
UNPAIRED_MEAN = Program("unpaired-mean", 6, 16, (10,), "number")
UNPAIRED_SUM = Program("unpaired-sum", 6, 16, (10,), options=(SUM,))
PAIRED_MEAN = Program("paired-mean", 7, 12, (7, 5), options=(PAIRED,))
PAIRED_NONE = Program("paired-none", 7, 12, (7, 5), "number", options=(PAIRED, NONE))

# The first six parameters alone: any drop-in implementation has these.
PLAIN = (IN_BATCH_MEAN, IN_BATCH_NONE, UNPAIRED_MEAN, UNPAIRED_SUM, PAIRED_MEAN, PAIRED_NONE)

SYMMETRIC_MEAN = Program("symmetric-mean", 8, 16, options=(SYMMETRIC,))
SYMMETRIC_ROWS = Program("symmetric-none-rows", 7, 12, temperature="rows", options=(SYMMETRIC, NONE, ("block_size", 3)))
DOT_MEAN = Program("dot-mean", 8, 12, options=(DOT, ("block_size", 3)))
BOTH_UNPAIRED = Program("in-batch-and-unpaired-sum", 10, 16, (6,), options=(BOTH, SUM, ("block_size", 4)))
BOTH_PAIRED = Program("in-batch-and-paired-none-rows", 6, 12, (6, 4), "rows", options=(BOTH, PAIRED, NONE))
SYMMETRIC_DOT = Program(
    "symmetric-dot-and-unpaired-rows", 9, 12, (4,), "rows", options=(BOTH, SYMMETRIC, DOT, ("block_size", 5))
)

OPTIONS = (SYMMETRIC_MEAN, SYMMETRIC_ROWS, DOT_MEAN, BOTH_UNPAIRED, BOTH_PAIRED, SYMMETRIC_DOT)
