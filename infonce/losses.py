"""What users call: check, then hand to the engine."""

from __future__ import annotations

from typing import Any

from . import checks, family_checks, measures
from .backend import Backend
from .calls import Call, loss, same
from .checks import bounded
from .problem import Inputs, Options


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
    ids: Any = None,
    negative_ids: Any = None,
    mask: Any = None,
    weight: Any = None,
    label_smoothing: float = 0.0,
    margin: float = 0.0,
    bias: Any = None,
    decoupled: bool = False,
    debias: float = 0.0,
    hardness: float = 0.0,
    return_metrics: bool = False,
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
            (N, 1). Only numbers are checked, never the values of an array.
        reduction: "mean", "sum", or "none" for the losses of the rows, (N,).
        negative_mode: "unpaired" or "paired"; see `negative_keys`.
        symmetric: The mean of the query-to-key and the key-to-query loss, as in CLIP. Explicit negatives act in the
            query-to-key direction only; each row brings its own temperature in both.
        normalize: False leaves out the norms: s(q, k) = q . k. Logits must then fit the dtype's range.
        in_batch: Whether the other rows of `positive_key` are negatives. None: exactly when there are no explicit
            ones. True: together with them.
        ids: (N,), integers, one for each pair (JAX cuts 64 bits to 32 unless x64 is on): a key of the batch that
            carries the query's id, and is not its own positive, is a false negative and leaves the denominator.
        negative_ids: The same for explicit negatives, (M,) or (N, K). Without it all of those count.
        mask: Booleans that broadcast to (N, columns), True for what counts; the columns are the batch's keys where they
            are candidates, then the explicit negatives, so that (M,) masks a queue. The positive's own entry is
            ignored. A row that is left without negatives has loss 0 and gradient 0, and is counted.
        weight: (N,), w_i: "none" gives w_i L_i, "sum" their sum, "mean" their sum over that of w_i, 0 where that is 0.
            It gets a gradient.
        label_smoothing: eps in [0, 1): the target gives eps / C to each of the C remaining candidates, the positive
            included, and 1 - eps to the positive beside.
        margin: Subtracted from the positive's similarity.
        bias: Added to the logits in the query-to-key direction, (columns,) or (N, columns), -inf allowed: minus the
            logarithm of how often each key is sampled corrects for that. Of the batch's keys it belongs to the
            positives too. It gets a gradient.
        decoupled: The positive leaves the denominator (DCL): L_i = log sum_j exp(z_ij) - z_i+.
        debias: tau in [0, 1), the chance that a negative is of the query's class: the sum over n negatives becomes
            n max((their mean of exp(z) - tau exp(z_i+)) / (1 - tau), exp(-1/t)).
        hardness: beta >= 0: the mean over the negatives weights each with exp(beta z); the gradient goes through the
            weights too.
        return_metrics: True: the result is `(loss, metrics)`, a dict of 0-d arrays without gradient from the same
            pass: "accuracy" (rows whose positive has the largest logit), "positive_similarity",
            "negative_similarity" and "log_sum_exp" of the logits of all candidates, all in the query-to-key direction;
            the margin lowers the positive's logit and not its similarity.
            See `metrics` for more.
        block_size: How many rows are visited at a time; None chooses from the shapes. It changes the memory and the
            time, and the result by rounding only.

    Returns:
        The loss in nats, of the caller's framework and on its device: 0-d, or (N,). float64 for float64 embeddings,
        float32 for all others, half precision included.

    Raises:
        ValueError: A shape, a choice, a device, a number or a temperature is wrong, or options exclude each other:
            `label_smoothing` with `decoupled`, `debias` or `hardness`; the last two with `normalize=False`.
        TypeError: An argument is no dense floating-point array, or the arrays are of several frameworks.

    References:
        van den Oord et al. 2018, Representation Learning with Contrastive Predictive Coding, arXiv:1807.03748.
        Radford et al. 2021 (CLIP, `symmetric`), arXiv:2103.00020. He et al. 2019 (MoCo, queues), arXiv:1911.05722.
        Yeh et al. 2021 (`decoupled`), arXiv:2110.06848. Chuang et al. 2020 (`debias`), arXiv:2007.00224. Robinson et
        al. 2020 (`hardness`), arXiv:2010.04592.

    Example:
        Two orthonormal pairs at t = 1 have the loss log(1 + e^-1) = 0.3133:

        >>> import numpy as np
        >>> from infonce import info_nce
        >>> float(np.round(info_nce(np.eye(2), np.eye(2), temperature=1.0), 4))
        0.3133
    """
    checks.options(reduction, negative_mode, symmetric, normalize, in_batch, block_size)
    family_checks.numbers(label_smoothing, margin, decoupled, debias, hardness, normalize)
    checks.flag("return_metrics", return_metrics)
    paired = negative_mode == "paired"
    if in_batch is None:
        in_batch = negative_keys is None
    checks.negatives_fit(negative_keys is not None, paired, in_batch, symmetric)

    arrays = {"query": query, "positive_key": positive_key}
    if negative_keys is not None:
        arrays["negative_keys"] = negative_keys
    others = {"ids": ids, "negative_ids": negative_ids, "mask": mask, "weight": weight, "bias": bias}
    others = {name: x for name, x in others.items() if x is not None}
    is_array = checks.is_array(temperature)
    backend = checks.find_backend(
        {**arrays, **others, "temperature": temperature} if is_array else {**arrays, **others}
    )
    compute = checks.embeddings(backend, arrays, paired, reduction)
    if is_array:
        checks.temperature_array(backend, temperature, query)
    else:
        temperature = checks.temperature_number(temperature, compute, backend.knows_numbers())
    if others:
        check_others(backend, query, positive_key if in_batch else None, negative_keys, others)
    if not checks.has_negatives(backend, positive_key, negative_keys, in_batch):
        checks.warn_no_negatives(backend, query)

    options = Options(
        reduction,
        None if block_size is None else int(block_size),
        normalize,
        bounded(backend, normalize, temperature),
        symmetric=symmetric,
        paired=paired,
        in_batch=in_batch,
        decoupled=decoupled,
        measure=return_metrics,
        label_smoothing=float(label_smoothing),
        margin=float(margin),
        debias=float(debias),
        hardness=float(hardness),
    )
    inputs = Inputs(query, positive_key, negative_keys, temperature, bias, weight, ids, negative_ids, mask)
    return Call(backend, options, inputs, with_names if return_metrics else same)


def with_names(answer: tuple[Any, tuple[Any, ...]]) -> tuple[Any, dict[str, Any]]:
    """The loss, and what was measured by name."""
    return answer[0], dict(zip(measures.NAMES, answer[1], strict=True))


def check_others(b: Backend, query: Any, batch: Any, negatives: Any, arrays: dict[str, Any]) -> None:
    """Check the arrays beside the embeddings: dtypes, shapes and devices."""
    rows = b.shape(query)[0]
    sizes = [b.shape(x)[axis] for x, axis in ((batch, 0), (negatives, -2)) if x is not None]
    columns = None if None in sizes else sum(size for size in sizes if size is not None)
    for name, x in arrays.items():
        checks.same_device(b, ("query", query), (name, x))
        if name == "ids":
            family_checks.integers(b, name, x)
            family_checks.vector(b, name, x, "query", rows)
        elif name == "negative_ids":
            family_checks.negative_ids(b, x, arrays.get("ids"), negatives)
        elif name == "weight":
            family_checks.rows_of_numbers(b, name, x, "query", rows)
        elif name == "mask":
            family_checks.booleans(b, name, x)
            family_checks.over_columns(b, name, x, rows, columns, broadcast=True)
        else:
            checks.floating(b, name, x)
            family_checks.over_columns(b, name, x, rows, columns, broadcast=False)
