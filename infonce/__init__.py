"""InfoNCE losses with exact gradients: one API for NumPy, PyTorch, JAX, TensorFlow and any Array API library."""

from .gradients import value_and_grad
from .losses import info_nce, nt_xent
from .module import InfoNCE

__all__ = ["InfoNCE", "info_nce", "nt_xent", "value_and_grad"]
