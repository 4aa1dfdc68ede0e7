"""The public functions' types for one framework's arrays: each `infonce.<framework>` binds them to its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypedDict, TypeVar, Unpack, overload

if TYPE_CHECKING:
    from .bounds import MutualInformation

Array = TypeVar("Array")
Reduction = Literal["mean", "sum", "none"]
NegativeMode = Literal["unpaired", "paired"]


class LossOptions(TypedDict, total=False):
    """The keyword-only options of `info_nce` that are no arrays; it says what they mean."""

    symmetric: bool
    normalize: bool
    in_batch: bool | None
    label_smoothing: float
    margin: float
    decoupled: bool
    debias: float
    hardness: float
    block_size: int | None


class LossArrays(TypedDict, Generic[Array], total=False):
    """The keyword-only arrays of `info_nce`, which are of one batch."""

    ids: Array | None
    negative_ids: Array | None
    mask: Array | None
    weight: Array | None
    bias: Array | None


class LossKeywords(LossOptions, LossArrays[Array], total=False):
    """Both; `return_metrics` changes what comes back, and is told apart in `Loss`."""


class Loss(Protocol[Array]):
    """`info_nce` on the arrays of one framework."""

    @overload
    def __call__(
        self,
        query: Array,
        positive_key: Array,
        negative_keys: Array | None = None,
        temperature: float | Array = 0.1,
        reduction: Reduction = "mean",
        negative_mode: NegativeMode = "unpaired",
        *,
        return_metrics: Literal[False] = False,
        **keywords: Unpack[LossKeywords[Array]],
    ) -> Array: ...

    @overload
    def __call__(
        self,
        query: Array,
        positive_key: Array,
        negative_keys: Array | None = None,
        temperature: float | Array = 0.1,
        reduction: Reduction = "mean",
        negative_mode: NegativeMode = "unpaired",
        *,
        return_metrics: Literal[True],
        **keywords: Unpack[LossKeywords[Array]],
    ) -> tuple[Array, dict[str, Array]]: ...


class NTXent(Protocol[Array]):
    """`nt_xent` on the arrays of one framework."""

    def __call__(
        self,
        *views: Array,
        temperature: float | Array = 0.5,
        reduction: Reduction = "mean",
        normalize: bool = True,
        ids: Array | None = None,
        weight: Array | None = None,
        label_smoothing: float = 0.0,
        margin: float = 0.0,
        decoupled: bool = False,
        debias: float = 0.0,
        hardness: float = 0.0,
        exclude_positives: bool = False,
        block_size: int | None = None,
    ) -> Array: ...


class SupCon(Protocol[Array]):
    """`sup_con` on the arrays of one framework."""

    def __call__(
        self,
        embeddings: Array,
        labels: Array | None = None,
        temperature: float | Array = 0.1,
        reduction: Reduction = "mean",
        *,
        form: Literal["out", "in"] = "out",
        positives: Array | None = None,
        rows_without_positives: Literal["ignore", "zero"] = "ignore",
        normalize: bool = True,
        weight: Array | None = None,
        label_smoothing: float = 0.0,
        margin: float = 0.0,
        decoupled: bool = False,
        debias: float = 0.0,
        hardness: float = 0.0,
        exclude_positives: bool = False,
        block_size: int | None = None,
    ) -> Array: ...


class Metrics(Protocol[Array]):
    """`metrics` on the arrays of one framework."""

    def __call__(
        self,
        query: Array,
        positive_key: Array,
        negative_keys: Array | None = None,
        temperature: float | Array = 0.1,
        *,
        negative_mode: NegativeMode = "unpaired",
        in_batch: bool | None = None,
        normalize: bool = True,
        ids: Array | None = None,
        negative_ids: Array | None = None,
        mask: Array | None = None,
        top_k: Sequence[int] = (5,),
        block_size: int | None = None,
    ) -> dict[str, Array]: ...


class Information(Protocol[Array]):
    """`mutual_information` on the arrays of one framework."""

    def __call__(
        self,
        query: Array,
        positive_key: Array,
        negative_keys: Array | None = None,
        temperature: float | Array = 0.1,
        *,
        normalize: bool = True,
        alpha: float = 1.0,
        negative_mode: NegativeMode = "unpaired",
        in_batch: bool | None = None,
        block_size: int | None = None,
    ) -> MutualInformation[Array]: ...


class InformationFromScores(Protocol[Array]):
    """`mutual_information_from_scores` on the arrays of one framework."""

    def __call__(
        self, scores: Array, positive: Literal["diagonal", "first"] = "diagonal", alpha: float = 1.0
    ) -> MutualInformation[Array]: ...


class ValueAndGrad(Protocol[Array]):
    """`value_and_grad` on the arrays of one framework."""

    def __call__(self, fn: Callable[..., Any]) -> Differentiated[Array]: ...


class Differentiated(Protocol[Array]):
    """What `value_and_grad` returns: a function of the arguments of the loss."""

    @overload
    def __call__(
        self, *arguments: Any, return_metrics: Literal[False] = False, **keywords: Any
    ) -> tuple[Array, dict[str, Array]]: ...

    @overload
    def __call__(
        self, *arguments: Any, return_metrics: Literal[True], **keywords: Any
    ) -> tuple[tuple[Array, dict[str, Array]], dict[str, Array]]: ...
