"""The public API, typed for NumPy arrays."""

from typing import Any as _Any

import numpy as _np

import infonce as _infonce
from infonce import InfoNCE
from infonce.typing import Loss as _Loss
from infonce.typing import NTXent as _NTXent
from infonce.typing import ValueAndGrad as _ValueAndGrad

info_nce: _Loss[_np.typing.NDArray[_Any]] = _infonce.info_nce
nt_xent: _NTXent[_np.typing.NDArray[_Any]] = _infonce.nt_xent
value_and_grad: _ValueAndGrad[_np.typing.NDArray[_Any]] = _infonce.value_and_grad

__all__ = ["InfoNCE", "info_nce", "nt_xent", "value_and_grad"]
