"""The loss of a small batch in a compiled graph, where Dynamo does not look inside.

It guards each Python object that it meets: a few hundred looks before each call, as dear as the loss itself.
"""

from __future__ import annotations

import torch
from torch import Tensor

from infonce.problem import Inputs, Options

from ._autodiff import Loss
from ._operator import names


@torch.compiler.allow_in_graph  # type: ignore[untyped-decorator]
def loss(
    reduction: str, normalize: bool, wanted: str, query: Tensor, positive_key: Tensor, temperature: Tensor
) -> Tensor:
    """The loss without options, differentiable with respect to `wanted`."""
    options, inputs = Options(reduction, normalize=normalize), Inputs(query, positive_key, temperature=temperature)
    found: tuple[Tensor, ...] = Loss.apply(options, names(wanted), *inputs)  # type: ignore[no-untyped-call]
    return found[0]
