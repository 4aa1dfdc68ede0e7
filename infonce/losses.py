"""What users call: check, then hand to the engine."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec

from . import checks
from .backend import Backend
from .problem import Inputs, Options

P = ParamSpec("P")


class Call(NamedTuple):
    """A checked call, ready for the engine."""

    backend: Backend
    options: Options
    inputs: Inputs
    views: tuple[Any, ...] = ()  # as they were given, where `inputs.query` stacks them


def loss(prepare: Callable[P, Call]) -> Callable[P, Any]:
    """Make a loss of the function that checks its arguments; `preparation` finds that one again."""

    @functools.wraps(prepare)
    def compute(*arguments: P.args, **keywords: P.kwargs) -> Any:
        call = prepare(*arguments, **keywords)
        return call.backend.loss(call.options, call.inputs)

    prepare.loss = compute  # type: ignore[attr-defined]
    return compute


def preparation(fn: Any) -> Callable[..., Call] | None:
    """The checking half of one of the losses below; None for any other function, a wrapper of a loss included."""
    prepare = getattr(fn, "__wrapped__", None)
    return prepare if getattr(prepare, "loss", None) is fn else None


@loss
def info_nce(
    query: Any,
    positive_key: Any,
    negative_keys: Any = None,
    temperature: Any = 0.1,
    reduction: str = "mean",
    negative_mode: str = "unpaired",
    *,
    symmetric: bool = False,
    normalize: bool = True,
    in_batch: bool | None = None,
    block_size: int | None = None,
) -> Call:
    r"""Return the InfoNCE loss: the cross-entropy of finding each query's positive key among the candidates.

    .. math:: L_i = -\log \frac{e^{s(q_i, p_i) / t}}{e^{s(q_i, p_i) / t} + \sum_{j \in \text{negatives of } i}
              e^{s(q_i, k_j) / t}}, \qquad s(q, k) = \frac{q \cdot k}{|q| |k|}

    The gradient is exact and comes with the value in one pass that never holds the whole logit matrix.

    Args:
        query: (N, D), floating point, of any framework.
        positive_key: (N, D); row i is the positive of query i.
        negative_keys: None: the other rows of `positive_key` are the negatives. (M, D): candidates that all queries
            share. (N, K, D) with `negative_mode="paired"`: each query's own.
        temperature: t, dimensionless, > 0: a number; a 0-d array, which gets a gradient; or one value per row, (N,) or
            (N, 1). Only numbers are checked: the value of an array is never read.
        reduction: "mean", "sum", or "none" for the losses of the rows, (N,).
        negative_mode: "unpaired" or "paired"; see `negative_keys`.
        symmetric: The mean of the query-to-key and the key-to-query loss, as in CLIP. Explicit negatives act in the
            query-to-key direction only; each row brings its own temperature in both.
        normalize: False leaves out the norms: s(q, k) = q . k. Logits must then fit the dtype's range.
        in_batch: Whether the other rows of `positive_key` are negatives. None: exactly when there are no explicit
            ones. True: together with them.
        block_size: How many rows are visited at a time; None chooses from the shapes. It changes the memory and the
            time, and the result by rounding only.

    Returns:
        The loss in nats, of the caller's framework and on its device: 0-d, or (N,). float64 for float64 embeddings,
        float32 for all others, half precision included.

    Raises:
        ValueError: A shape, a choice, a device or a temperature is wrong.
        TypeError: An argument is no dense floating-point array, or the arrays are of several frameworks.

    References:
        van den Oord et al. 2018, Representation Learning with Contrastive Predictive Coding, arXiv:1807.03748.
        Radford et al. 2021 (CLIP, `symmetric`), arXiv:2103.00020. He et al. 2019 (MoCo, queues), arXiv:1911.05722.

    Example:
        Two orthonormal pairs at t = 1 have the loss log(1 + e^-1) = 0.3133:

        >>> import numpy as np
        >>> from infonce import info_nce
        >>> float(np.round(info_nce(np.eye(2), np.eye(2), temperature=1.0), 4))
        0.3133
    """
    checks.options(reduction, negative_mode, symmetric, normalize, in_batch, block_size)
    paired = negative_mode == "paired"
    if in_batch is None:
        in_batch = negative_keys is None
    checks.negatives_fit(negative_keys is not None, paired, in_batch, symmetric)

    arrays = {"query": query, "positive_key": positive_key}
    if negative_keys is not None:
        arrays["negative_keys"] = negative_keys
    is_array = checks.is_array(temperature)
    backend = checks.find_backend({**arrays, "temperature": temperature} if is_array else arrays)
    compute = checks.embeddings(backend, arrays, paired, reduction)
    if is_array:
        checks.temperature_array(backend, temperature, query)
    else:
        temperature = checks.temperature_number(temperature, compute, backend.knows_numbers())
    if not checks.has_negatives(backend, positive_key, negative_keys, in_batch):
        checks.warn_no_negatives(backend, query)

    options = Options(
        reduction, paired, in_batch, symmetric, normalize, None if block_size is None else int(block_size)
    )
    return Call(backend, options, Inputs(query, positive_key, negative_keys, temperature))


@loss
def nt_xent(
    *views: Any,
    temperature: Any = 0.5,
    reduction: str = "mean",
    normalize: bool = True,
    block_size: int | None = None,
) -> Call:
    r"""Return the NT-Xent loss of SimCLR: every row of every view is a query, all other rows are its candidates.

    .. math:: L_i = -\frac{1}{V - 1} \sum_{p \in P(i)} \log \frac{e^{s(z_i, z_p) / t}}{\sum_{j \neq i}
              e^{s(z_i, z_j) / t}}, \qquad s(x, y) = \frac{x \cdot y}{|x| |y|}

    over the V N rows of all views; P(i) holds the same sample's rows in the other views. Each pair of rows is scored
    once, so that value and gradient take about two matrix products of V N x V N x D.

    Args:
        *views: V >= 2 arrays, each (N, D), floating point, of one framework: row i of each is a view of sample i.
        temperature: t, dimensionless, > 0: a number, or a 0-d array, which gets a gradient.
        reduction: "mean", "sum", or "none" for the losses of all rows, (V N,), view after view.
        normalize: As in `info_nce`.
        block_size: As in `info_nce`.

    Returns:
        The loss in nats, of the caller's framework and on its device: 0-d, or (V N,). float64 for float64 embeddings,
        float32 for all others.

    Raises:
        ValueError: There are fewer than two views, or a shape, a choice, a device or the temperature is wrong.
        TypeError: A view is no dense floating-point array, or the arrays are of several frameworks.

    References:
        Chen et al. 2020, A Simple Framework for Contrastive Learning of Visual Representations, arXiv:2002.05709.

    Example:
        Two orthonormal samples, each its own second view, at t = 1: log(1 + 2 e^-1) = 0.5514.

        >>> import numpy as np
        >>> from infonce import nt_xent
        >>> float(np.round(nt_xent(np.eye(2), np.eye(2), temperature=1.0), 4))
        0.5514
    """
    checks.options(reduction, "unpaired", normalize=normalize, block_size=block_size)
    arrays = checks.views(views)
    is_array = checks.is_array(temperature)
    backend = checks.find_backend({**arrays, "temperature": temperature} if is_array else arrays)
    compute = checks.embeddings(backend, arrays, False, reduction)
    if is_array:
        checks.temperature_scalar(backend, temperature)
    else:
        temperature = checks.temperature_number(temperature, compute, backend.knows_numbers(), "()")
    if backend.shape(views[0])[0] == 1 and len(views) == 2:  # with more, the other positives are candidates
        checks.warn_no_negatives(backend, views[0])

    xp, given = backend.xp, views
    if len({backend.dtype(view) for view in views}) > 1:
        views = tuple(xp.astype(view, getattr(xp, compute)) for view in views)
    block_size = None if block_size is None else int(block_size)
    options = Options(reduction, normalize=normalize, block_size=block_size, views=len(views))
    return Call(backend, options, Inputs(xp.concat(views, axis=0), temperature=temperature), given)
