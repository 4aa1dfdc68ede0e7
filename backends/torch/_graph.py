"""The loss of a small batch in a compiled graph, where Dynamo does not look inside.

It would guard each Python object that it meets there: at N = 32 checking the guards takes a sixth of every call.
"""

from __future__ import annotations

import torch
from torch import Tensor

from infonce.problem import Inputs, Options

from ._autodiff import Loss
from ._operator import compute


@torch.compiler.allow_in_graph  # type: ignore[untyped-decorator]
def loss(
    reduction: str, normalize: bool, wanted: tuple[str, ...], query: Tensor, positive_key: Tensor, temperature: Tensor
) -> Tensor:
    """The loss, differentiable with respect to `wanted`, of a call that `_operator.is_small`: without other options."""
    options, inputs = Options(reduction, normalize=normalize), Inputs(query, positive_key, temperature=temperature)
    if not wanted:
        return compute(options, inputs, ())[0]
    found: tuple[Tensor, ...] = Loss.apply(options, wanted, *inputs)  # type: ignore[no-untyped-call]
    return found[0]
