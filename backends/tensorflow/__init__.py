"""The public API, typed for TensorFlow tensors; `InfoNCE` is a Keras layer."""

from tensorflow import Tensor as _Array

import infonce as _infonce
from infonce import MutualInformation, Queue
from infonce import typing as _typing

from ._module import InfoNCE

info_nce: _typing.Loss[_Array] = _infonce.info_nce
metrics: _typing.Metrics[_Array] = _infonce.metrics
mutual_information: _typing.Information[_Array] = _infonce.mutual_information
mutual_information_from_scores: _typing.InformationFromScores[_Array] = _infonce.mutual_information_from_scores
nt_xent: _typing.NTXent[_Array] = _infonce.nt_xent
sup_con: _typing.SupCon[_Array] = _infonce.sup_con
value_and_grad: _typing.ValueAndGrad[_Array] = _infonce.value_and_grad

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
