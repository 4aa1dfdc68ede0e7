"""Logits of a row that lie far apart: their exponentials leave the normal numbers, and so do the slopes of tiny losses.

A CPU multiplies subnormal numbers a hundred times slower than others. So where they are not flushed to 0 anyway, the
exponentials next to nothing are 0, and the slopes are multiplied with a power while they are summed.
"""

from __future__ import annotations

from typing import Any

from .arithmetic import Arithmetic
from .frame import bounded, per_row
from .problem import Inputs, Options

NEAR = 2 / 60  # from this temperature on no two cosines over it lie as far apart as the floor below
# Per item size: below the first number exponentials are 0, and the second is just above the first one's exponential.
FLOOR = {4: (-60.0, 1e-26), 8: (-600.0, 1e-260)}


def far_apart(b: Arithmetic, options: Options, inputs: Inputs) -> bool:
    """Whether the logits of a row may lie so far apart that it costs time."""
    if inputs.bias is not None or not options.normalize:
        return b.spreads(0.0)
    return not bounded(options, inputs.temperature) and b.spreads(inputs.temperature)


def lift(b: Arithmetic, options: Options, t: Any, weight: Any, far: bool) -> Any:
    """The power; `t` is the `frame.divisor`, one over which is in what is summed.

    It is 1 where what is summed has no bound of its own: of weights, options and norms that it knows nothing of.
    """
    known = options.normalize and not (options.paired or options.counts or options.margin)
    if not far or not known or per_row(weight) or per_row(t):
        return 1.0
    return 2.0**100 * (min(t, 1.0) if isinstance(t, float) else b.xp.where(t < 1, t, b.xp.ones_like(t)))


def lowered(gradient: Any, power: Any) -> Any:
    """The gradient, which is lost, without the power."""
    if gradient is not None and not (isinstance(power, float) and power == 1):
        gradient /= power
    return gradient
