"""`InfoNCE` as a pytree."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Unpack

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import GetAttrKey

from infonce import checks, info_nce
from infonce.module import checked_options, described, keywords
from infonce.typing import LossArrays, LossOptions, NegativeMode, Reduction


@jax.tree_util.register_pytree_with_keys_class
@dataclass(frozen=True, init=False, repr=False)
class InfoNCE:
    """The options of `info_nce` as a pytree, called `(query, positive_key, negative_keys=None)`.

    What belongs to one batch is given in the call: `ids`, `negative_ids`, `mask`, `weight` and `bias`, by keyword.

    Args:
        temperature: t, dimensionless, > 0, a number.
        reduction: As in `info_nce`.
        negative_mode: As in `info_nce`.
        learnable_temperature: True makes log(t) the only leaf, `log_temperature`, a 0-d float32 array: t then stays
            positive under any optimiser. Otherwise there is no leaf, and t is static.
        **options: The keyword-only options of `info_nce` that are no arrays, without `return_metrics`.

    Raises:
        ValueError: A choice or the temperature is wrong.
        TypeError: An option is of the wrong type or unknown.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from infonce.jax import InfoNCE
        >>> loss = InfoNCE(temperature=1.0, learnable_temperature=True)
        >>> round(float(loss(jnp.eye(2), jnp.eye(2))), 4)  # log(1 + e^-1)
        0.3133
        >>> len(jax.tree.leaves(loss)), len(jax.tree.leaves(InfoNCE(temperature=1.0)))
        (1, 0)
    """

    log_temperature: Array | None
    number: float | None
    loss_options: tuple[tuple[str, Any], ...]

    def __init__(
        self,
        temperature: float = 0.1,
        reduction: Reduction = "mean",
        negative_mode: NegativeMode = "unpaired",
        *,
        learnable_temperature: bool = False,
        **options: Unpack[LossOptions],
    ) -> None:
        number = checks.temperature_number(temperature, "float32")
        checks.flag("learnable_temperature", learnable_temperature)
        log_temperature = jnp.asarray(math.log(number), jnp.float32) if learnable_temperature else None
        checked = tuple(checked_options(reduction, negative_mode, options).items())
        self._set(log_temperature, None if learnable_temperature else number, checked)

    def _set(self, log_temperature: Any, number: float | None, options: tuple[tuple[str, Any], ...]) -> None:
        object.__setattr__(self, "log_temperature", log_temperature)
        object.__setattr__(self, "number", number)
        object.__setattr__(self, "loss_options", options)

    @property
    def temperature(self) -> Any:
        """t: a number, or exp(log_temperature)."""
        return self.number if self.log_temperature is None else jnp.exp(self.log_temperature)

    def __call__(
        self,
        query: Array,
        positive_key: Array,
        negative_keys: Array | None = None,
        **arrays: Unpack[LossArrays[Array]],
    ) -> Array:
        loss: Array = info_nce(query, positive_key, negative_keys, **keywords(self, arrays))
        return loss

    def __repr__(self) -> str:
        if self.log_temperature is None:
            return f"InfoNCE({described(self.number, dict(self.loss_options))})"
        # The leaf may be anything while a tree is mapped, so it is shown as it is.
        options = described(None, dict(self.loss_options)).removeprefix("temperature=None, ")
        return f"InfoNCE(log_temperature={self.log_temperature!r}, {options}, learnable_temperature=True)"

    def tree_flatten_with_keys(self) -> tuple[Any, Any]:
        return [(GetAttrKey("log_temperature"), self.log_temperature)], (self.number, self.loss_options)

    @classmethod
    def tree_unflatten(cls, static: tuple[Any, Any], leaves: Any) -> InfoNCE:
        self = object.__new__(cls)
        (log_temperature,), (number, options) = leaves, static
        self._set(log_temperature, number, options)
        return self
