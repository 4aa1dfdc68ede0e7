"""InfoNCE losses with exact gradients: one API for NumPy, PyTorch, JAX, TensorFlow and any Array API library."""

from .gradients import value_and_grad
from .losses import info_nce
from .module import InfoNCE

__all__ = ["InfoNCE", "info_nce", "value_and_grad"]
