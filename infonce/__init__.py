"""InfoNCE losses with exact gradients: one API for NumPy, PyTorch, JAX, TensorFlow and any Array API library."""

from .bounds import MutualInformation, mutual_information, mutual_information_from_scores
from .evaluation import metrics
from .gradients import value_and_grad
from .losses import info_nce
from .module import InfoNCE
from .queue import Queue
from .views import nt_xent, sup_con

__all__ = [
    "InfoNCE",
    "MutualInformation",
    "Queue",
    "info_nce",
    "metrics",
    "mutual_information",
    "mutual_information_from_scores",
    "nt_xent",
    "sup_con",
    "value_and_grad",
]
