"""What the engine is given: the arrays of one call and its static options."""

from __future__ import annotations

from typing import Any, NamedTuple

Gradients = dict[str, Any]  # a gradient by parameter name
Kept = dict[str, Any]  # what a call with a cotangent need not compute again


class Inputs(NamedTuple):
    """The arrays of one call, named as the caller named them. `columns` are the batch's keys, then the negatives."""

    query: Any  # (N, D); for rows against each other (R, D)
    positive_key: Any = None  # (N, D)
    negative_keys: Any = None  # (M, D), or (N, K, D) when paired
    temperature: Any = 0.1  # a Python float, a 0-d array, (N,) or (N, 1)
    bias: Any = None  # (columns,), or (1 or N, columns)
    weight: Any = None  # (N,)
    # None of these has a gradient.
    ids: Any = None  # (N,), integers
    negative_ids: Any = None  # (M,) or (N, K), integers
    mask: Any = None  # whatever broadcasts to (N, columns), booleans
    positives: Any = None  # labels (N,), or the weights of row i's positives in row i, (R, R)

    @property
    def arrays(self) -> tuple[str, ...]:
        """Those that may carry a gradient: the temperature where it is no number."""
        given = zip(DIFFERENTIABLE, self, strict=False)
        return tuple(name for name, x in given if x is not None and not isinstance(x, float))


DIFFERENTIABLE = Inputs._fields[:6]


class Options(NamedTuple):
    """What is known without looking at any array: hashable, so that compilers can key on it."""

    reduction: str = "mean"
    block_size: int | None = None
    normalize: bool = True
    bounded: bool = False  # whether |z| <= 40 was known when the call was checked: compilers see no number
    views: int = 0  # of each sample, among the rows of `query`, which are scored against each other; 0: against keys
    symmetric: bool = False
    in_batch: bool = True
    # What `without_options` is without, each false or 0 by default:
    paired: bool = False
    decoupled: bool = False
    exclude_positives: bool = False
    inside: bool = False  # several positives are averaged inside the logarithm
    skip_lonely: bool = False  # rows without a positive are left out of the mean
    measure: bool = False  # what `return_metrics` gives comes with the loss
    rank: bool = False  # and with it what only `metrics` gives
    label_smoothing: float = 0.0
    margin: float = 0.0
    debias: float = 0.0
    hardness: float = 0.0

    @property
    def powers(self) -> tuple[float, ...]:
        """c of the statistics log sum_j exp(c z_ij) over the negatives j."""
        return (1 + self.hardness, self.hardness) if self.hardness else (1.0,)

    @property
    def counts(self) -> bool:
        """Whether the number of remaining negatives enters the loss."""
        return bool(self.label_smoothing or self.debias or self.hardness)


COMMON = Options._fields.index("paired")  # so many fields are


def without_options(options: Options, inputs: Inputs) -> bool:
    """Whether it is the loss of one direction, of both or of views, of nothing but embeddings and a temperature."""
    if inputs.negative_keys is not None or inputs.mask is not None or inputs.ids is not None:
        return False
    if inputs.bias is not None or inputs.weight is not None or inputs.positives is not None:
        return False
    return options.in_batch and not any(options[COMMON:])
