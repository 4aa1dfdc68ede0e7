"""InfoNCE losses with exact gradients: one API for NumPy, PyTorch, JAX, TensorFlow and any Array API library."""

from .gradients import value_and_grad
from .losses import info_nce
from .module import InfoNCE
from .views import nt_xent, sup_con

__all__ = ["InfoNCE", "info_nce", "nt_xent", "sup_con", "value_and_grad"]
