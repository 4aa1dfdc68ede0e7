"""The options of `info_nce` as an object."""

from __future__ import annotations

from typing import Any, Unpack

from . import checks, family_checks
from .calls import Call, preparation
from .losses import info_nce
from .typing import LossArrays, LossOptions, NegativeMode, Reduction

ARRAYS = tuple(LossArrays.__annotations__)
FAMILY = {"label_smoothing": 0.0, "margin": 0.0, "decoupled": False, "debias": 0.0, "hardness": 0.0}


class InfoNCE:
    """The options of `info_nce`, called on arrays of any framework as `(query, positive_key, negative_keys=None)`.

    What belongs to one batch is given in the call: `ids`, `negative_ids`, `mask`, `weight` and `bias`, by keyword.

    For a temperature that is learned, take the `InfoNCE` of your framework: `infonce.torch.InfoNCE` is an
    `nn.Module`, `infonce.tensorflow.InfoNCE` a Keras layer and `infonce.jax.InfoNCE` a pytree.

    Args:
        temperature: As in `info_nce`.
        reduction: As in `info_nce`.
        negative_mode: As in `info_nce`.
        **options: The keyword-only options of `info_nce` that are no arrays, without `return_metrics`.

    Raises:
        ValueError: A choice or the temperature is wrong.
        TypeError: An option is of the wrong type or unknown.

    Example:
        >>> import numpy as np
        >>> from infonce import InfoNCE
        >>> loss = InfoNCE(temperature=1.0, symmetric=True)
        >>> float(np.round(loss(np.eye(2), np.eye(2)), 4))  # log(1 + e^-1)
        0.3133
    """

    def __init__(
        self,
        temperature: Any = 0.1,
        reduction: Reduction = "mean",
        negative_mode: NegativeMode = "unpaired",
        **options: Unpack[LossOptions],
    ) -> None:
        is_array = checks.is_array(temperature)
        self.temperature = temperature if is_array else checks.temperature_number(temperature, "float64")
        self.loss_options = checked_options(reduction, negative_mode, options)

    def __call__(
        self, query: Any, positive_key: Any, negative_keys: Any = None, **arrays: Unpack[LossArrays[Any]]
    ) -> Any:
        return info_nce(query, positive_key, negative_keys, **keywords(self, arrays))

    def __repr__(self) -> str:
        return f"InfoNCE({described(self.temperature, self.loss_options)})"


def prepare_module(
    module: Any, query: Any, positive_key: Any, negative_keys: Any = None, **arrays: Unpack[LossArrays[Any]]
) -> Call:
    """The checked call of an `InfoNCE` of any framework, for `value_and_grad`."""
    prepare = preparation(info_nce)
    assert prepare is not None
    return prepare(query, positive_key, negative_keys, **keywords(module, arrays))


def keywords(module: Any, arrays: LossArrays[Any]) -> dict[str, Any]:
    """What an `InfoNCE` of any framework hands to `info_nce` beside the embeddings."""
    for name in arrays:
        if name not in ARRAYS:
            raise TypeError(f"a call of InfoNCE takes no {name}; beside the embeddings it takes {', '.join(ARRAYS)}.")
    return {"temperature": module.temperature, **dict(module.loss_options), **arrays}


def checked_options(reduction: str, negative_mode: str, options: LossOptions) -> dict[str, Any]:
    """All options but the temperature, checked as far as they can be without arrays."""
    found: dict[str, Any] = {"reduction": reduction, "negative_mode": negative_mode, **options}
    unknown = sorted(set(options) - set(LossOptions.__annotations__))
    if unknown:
        allowed = ", ".join(LossOptions.__annotations__)
        raise TypeError(f"InfoNCE has no option {', '.join(unknown)}; the options are {allowed}.")
    checks.options(**{name: value for name, value in found.items() if name not in FAMILY})
    family = {name: found.get(name, default) for name, default in FAMILY.items()}
    family_checks.numbers(**family, normalize=options.get("normalize", True))
    return found


def described(temperature: Any, options: dict[str, Any]) -> str:
    """The options as a user would write them."""
    if isinstance(temperature, float):
        temperature = float(f"{temperature:.6g}")  # not the digits that a float32 logarithm leaves
    return ", ".join(f"{name}={value!r}" for name, value in {"temperature": temperature, **options}.items())
