"""The public API, typed for PyTorch tensors; `InfoNCE` is an `nn.Module`."""

from torch import Tensor as _Tensor

import infonce as _infonce
from infonce.typing import Loss as _Loss
from infonce.typing import NTXent as _NTXent
from infonce.typing import ValueAndGrad as _ValueAndGrad

from ._module import InfoNCE

info_nce: _Loss[_Tensor] = _infonce.info_nce
nt_xent: _NTXent[_Tensor] = _infonce.nt_xent
value_and_grad: _ValueAndGrad[_Tensor] = _infonce.value_and_grad

__all__ = ["InfoNCE", "info_nce", "nt_xent", "value_and_grad"]
