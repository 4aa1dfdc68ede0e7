"""The backend of PyTorch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from infonce.problem import Gradients, Inputs, Options

from ._arithmetic import TorchArithmetic
from ._autodiff import answer, attached
from ._operator import compute, measured


class TorchBackend(TorchArithmetic):
    name = "torch"

    def owns(self, x: object) -> bool:
        return isinstance(x, Tensor) and x.layout is torch.strided

    def device(self, x: Tensor) -> torch.device:
        return x.device

    def compiling(self, x: Tensor) -> bool:
        return torch.compiler.is_compiling()

    def knows_numbers(self) -> bool:
        return not torch.compiler.is_compiling()

    def solve(self, options: Options, inputs: Inputs, wanted: tuple[str, ...]) -> tuple[Any, Gradients]:
        outputs = compute(options, inputs, wanted)
        gradients = outputs[1 + measured(options) :]
        return answer(options, outputs), {
            n: g.to(getattr(inputs, n).dtype) for n, g in zip(wanted, gradients, strict=True)
        }

    def loss(self, options: Options, inputs: Inputs) -> Any:
        return attached(options, inputs)


BACKEND = TorchBackend(in_place=True)
