"""The programs that compiled variants share over all their data sets: twenty-four."""

from __future__ import annotations

from infonce.conformance.model import Loss, Program

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

# The optional arrays and terms, and the losses of several positives: twelve programs that hold every one of them.
NT_XENT: Loss = "nt_xent"
SUP_CON: Loss = "sup_con"

MASK_IDS_WEIGHT = Program(
    "mask-ids-weight-mean", 8, 16, optional=(("mask", "matrix"), ("ids", "shared"), ("weight", "rows"))
)
SMOOTHED = Program(
    *("symmetric-ids-smoothing-margin-sum", 8, 16, None, "scalar"),
    options=(SYMMETRIC, SUM, ("label_smoothing", 0.1), ("margin", 0.2)),
    optional=(("ids", "shared"),),
)
BIASED = Program(
    *("in-batch-and-unpaired-bias-ids-debias-margin", 8, 12, (6,), "scalar"),
    options=(BOTH, ("debias", 0.1), ("margin", 0.1), ("block_size", 3)),
    optional=(("bias", "columns"), ("ids", "shared"), ("negative_ids", "some")),
)
HARD_PAIRED = Program(
    *("paired-mask-weight-hardness-none", 7, 12, (7, 5), "scalar"),
    options=(PAIRED, NONE, ("hardness", 1.0)),
    optional=(("mask", "matrix"), ("weight", "rows")),
)
DECOUPLED = Program(
    *("unpaired-mask-bias-decoupled-rows", 6, 12, (7,), "rows"),
    options=(("decoupled", True),),
    optional=(("mask", "columns"), ("bias", "matrix")),
)
SYMMETRIC_ALL = Program(
    *("symmetric-mask-weight-decoupled-debias-hardness-rows", 9, 12, None, "rows"),
    options=(SYMMETRIC, ("decoupled", True), ("debias", 0.1), ("hardness", 0.5), ("block_size", 4)),
    optional=(("mask", "matrix"), ("weight", "rows")),
)
TWO_VIEWS = Program("two-views-mean", 8, 12, loss=NT_XENT, views=2)
THREE_VIEWS = Program(
    *("three-views-exclude-margin-weight-sum-rows", 5, 12, None, "rows"),
    options=(SUM, ("exclude_positives", True), ("margin", 0.1), ("block_size", 4)),
    loss=NT_XENT,
    views=3,
    optional=(("weight", "rows"),),
)
TWO_VIEWS_HARD = Program(
    *("two-views-ids-decoupled-debias-hardness-none", 7, 12, None, "number"),
    options=(NONE, ("decoupled", True), ("debias", 0.1), ("hardness", 1.0)),
    loss=NT_XENT,
    views=2,
    optional=(("ids", "shared"),),
)
LABELS = Program(
    *("labels-smoothing-weight-mean", 9, 12, None, "scalar"),
    options=(("label_smoothing", 0.1),),
    loss=SUP_CON,
    optional=(("labels", "groups"), ("weight", "rows")),
)
LABELS_IN = Program(
    *("labels-of-views-in-none-rows", 5, 12, None, "rows"),
    options=(NONE, ("form", "in"), ("block_size", 3)),
    loss=SUP_CON,
    views=2,
    optional=(("labels", "groups"),),
)
POSITIVES = Program(
    *("positives-hardness-debias-zero-mean", 8, 12, None, "scalar"),
    options=(("rows_without_positives", "zero"), ("debias", 0.1), ("hardness", 0.5), ("block_size", 4)),
    loss=SUP_CON,
    optional=(("positives", "weights"),),
)

FAMILY = (
    *(MASK_IDS_WEIGHT, SMOOTHED, BIASED, HARD_PAIRED, DECOUPLED, SYMMETRIC_ALL),
    *(TWO_VIEWS, THREE_VIEWS, TWO_VIEWS_HARD, LABELS, LABELS_IN, POSITIVES),
)
