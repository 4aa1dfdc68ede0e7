"""The public API, typed for JAX arrays; `InfoNCE` is a pytree."""

from jax import Array as _Array

import infonce as _infonce
from infonce.typing import Loss as _Loss
from infonce.typing import NTXent as _NTXent
from infonce.typing import ValueAndGrad as _ValueAndGrad

from ._module import InfoNCE

info_nce: _Loss[_Array] = _infonce.info_nce
nt_xent: _NTXent[_Array] = _infonce.nt_xent
value_and_grad: _ValueAndGrad[_Array] = _infonce.value_and_grad

__all__ = ["InfoNCE", "info_nce", "nt_xent", "value_and_grad"]
