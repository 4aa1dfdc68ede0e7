"""The same MLP encoder in four frameworks; digits.py trains whichever is asked for.

tanh, not ReLU: at a ReLU's kink a rounding error changes a gradient by a finite step, and the runs would drift apart.
"""

from __future__ import annotations

from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float32]

MOMENTUM = 0.9


class Encoder(Protocol):
    """What digits.py needs of a framework: NumPy arrays in, NumPy arrays out."""

    def step(self, view_a: FloatArray, view_b: FloatArray) -> float:
        """Take one step of gradient descent with momentum on two (N, 64) views; return the loss before it."""

    def encode(self, images: FloatArray) -> FloatArray:
        """Return the (N, 128) features of (N, 64) images: the layer below the projection."""
