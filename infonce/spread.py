"""Logits of a row that lie far apart: their exponentials leave the normal numbers, and so do the slopes of tiny losses.

A CPU multiplies subnormal numbers a hundred times slower than others. So where they are not flushed to 0 anyway, the
exponentials next to nothing are 0, and the slopes are multiplied with a power while they are summed.
"""

from __future__ import annotations

from typing import Any

from .backend import Arithmetic
from .frame import bounded, per_row
from .problem import Inputs, Options


def spreads(b: Arithmetic, options: Options, inputs: Inputs) -> bool:
    """Whether the logits may lie `far` apart: `Arithmetic.spreads`."""
    if bounded(options, inputs.temperature):
        return False
    return inputs.bias is not None or b.spreads(inputs.temperature if options.normalize else 0.0)


def lift(options: Options, t: Any, weight: Any, far: bool) -> Any:
    """The power, 1 where the sums might overflow; `t` is the `frame.divisor`, one over which is in what is summed."""
    if not far or per_row(weight) or per_row(t) or options.paired or options.counts or not options.normalize:
        return 1.0
    return 2.0**100 * t


def lowered(gradient: Any, power: Any) -> Any:
    """The gradient without it."""
    unchanged = gradient is None or (isinstance(power, float) and power == 1)
    return gradient if unchanged else gradient / power
