"""`InfoNCE` as a torch module."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Unpack

import torch
from torch import Tensor, nn

from infonce import checks, info_nce
from infonce.module import checked_options, described, keywords
from infonce.typing import LossArrays, LossOptions, NegativeMode, Reduction


class InfoNCE(nn.Module):
    """The options of `info_nce` as a module, called `(query, positive_key, negative_keys=None)`.

    What belongs to one batch is given in the call: `ids`, `negative_ids`, `mask`, `weight` and `bias`, by keyword.

    Args:
        temperature: t, dimensionless, > 0, a number.
        reduction: As in `info_nce`.
        negative_mode: As in `info_nce`.
        learnable_temperature: True makes log(t) the parameter `log_temperature`, a 0-d float32 tensor: t then stays
            positive under any optimiser.
        **options: The keyword-only options of `info_nce` that are no arrays, without `return_metrics`.

    Raises:
        ValueError: A choice or the temperature is wrong.
        TypeError: An option is of the wrong type or unknown.

    Example:
        >>> import torch
        >>> from infonce.torch import InfoNCE
        >>> loss = InfoNCE(temperature=1.0, learnable_temperature=True)
        >>> round(loss(torch.eye(2), torch.eye(2)).item(), 4)  # log(1 + e^-1)
        0.3133
        >>> [name for name, _ in loss.named_parameters()]
        ['log_temperature']
    """

    def __init__(
        self,
        temperature: float = 0.1,
        reduction: Reduction = "mean",
        negative_mode: NegativeMode = "unpaired",
        *,
        learnable_temperature: bool = False,
        **options: Unpack[LossOptions],
    ) -> None:
        super().__init__()
        self.loss_options = checked_options(reduction, negative_mode, options)
        number = checks.temperature_number(temperature, "float32")
        checks.flag("learnable_temperature", learnable_temperature)
        self._number = None if learnable_temperature else number
        if learnable_temperature:
            self.log_temperature = nn.Parameter(torch.tensor(math.log(number), dtype=torch.float32))

    @property
    def temperature(self) -> float | Tensor:
        """t: a number, or exp(log_temperature)."""
        return self.log_temperature.exp() if self._number is None else self._number

    if TYPE_CHECKING:  # nn.Module's own returns Any

        def __call__(
            self,
            query: Tensor,
            positive_key: Tensor,
            negative_keys: Tensor | None = None,
            **arrays: Unpack[LossArrays[Tensor]],
        ) -> Tensor: ...

    def forward(
        self,
        query: Tensor,
        positive_key: Tensor,
        negative_keys: Tensor | None = None,
        **arrays: Unpack[LossArrays[Tensor]],
    ) -> Tensor:
        loss: Tensor = info_nce(query, positive_key, negative_keys, **keywords(self, arrays))
        return loss

    def extra_repr(self) -> str:
        learnable = ", learnable_temperature=True" if self._number is None else ""
        number = math.exp(self.log_temperature.item()) if self._number is None else self._number
        return described(number, self.loss_options) + learnable
