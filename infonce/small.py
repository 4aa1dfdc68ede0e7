"""Small batches, whose time is the Python around the computation: a backend may have a shorter way for them."""

from __future__ import annotations

from .arithmetic import Arithmetic
from .frame import FULL
from .problem import Inputs, Options, without_options
from .rows import LEAST


def applies(b: Arithmetic, options: Options, inputs: Inputs, gradients: bool) -> bool:
    """Whether it is the loss without options of a single block of bounded logits, and the embeddings of one dtype.

    Of one direction, of both, or of two views. The block is as large as the engine's: of both and of views it may be
    larger where its exponentials serve `gradients`.
    """
    t, views = inputs.temperature, options.views
    if not (isinstance(t, float) and FULL <= t < 1 / LEAST and options.normalize):
        return False
    if views not in (0, 2) or not without_options(options, inputs):
        return False
    dtype, rows, blocks = b.dtype(inputs.query), b.shape(inputs.query)[0], b.blocks()
    if dtype not in ("float32", "float64") or not (views or dtype == b.dtype(inputs.positive_key)):
        return False
    most = blocks.whole
    if gradients and (views or options.symmetric):
        most = blocks.pairs if views else blocks.kept
    return rows is not None and max(1, views) < rows <= (options.block_size or rows) and rows * rows <= most
