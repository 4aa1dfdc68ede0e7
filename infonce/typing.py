"""The public functions' types for one framework's arrays: each `infonce.<framework>` binds them to its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, TypedDict, TypeVar, Unpack

Array = TypeVar("Array")
Reduction = Literal["mean", "sum", "none"]
NegativeMode = Literal["unpaired", "paired"]


class LossOptions(TypedDict, total=False):
    """The keyword-only options of `info_nce`, which says what they mean."""

    symmetric: bool
    normalize: bool
    in_batch: bool | None
    block_size: int | None


class Loss(Protocol[Array]):
    """`info_nce` on the arrays of one framework."""

    def __call__(
        self,
        query: Array,
        positive_key: Array,
        negative_keys: Array | None = None,
        temperature: float | Array = 0.1,
        reduction: Reduction = "mean",
        negative_mode: NegativeMode = "unpaired",
        **options: Unpack[LossOptions],
    ) -> Array: ...


class NTXent(Protocol[Array]):
    """`nt_xent` on the arrays of one framework."""

    def __call__(
        self,
        *views: Array,
        temperature: float | Array = 0.5,
        reduction: Reduction = "mean",
        normalize: bool = True,
        block_size: int | None = None,
    ) -> Array: ...


class ValueAndGrad(Protocol[Array]):
    """`value_and_grad` on the arrays of one framework."""

    def __call__(self, fn: Callable[..., Any]) -> Callable[..., tuple[Array, dict[str, Array]]]: ...
