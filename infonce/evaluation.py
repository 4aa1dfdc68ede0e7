"""What people watch beside the loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import checks, measures
from .calls import preparation
from .lookup import backend_of
from .losses import info_nce
from .rows import unit_rows


def metrics(
    query: Any,
    positive_key: Any,
    negative_keys: Any = None,
    temperature: Any = 0.1,
    *,
    negative_mode: str = "unpaired",
    in_batch: bool | None = None,
    normalize: bool = True,
    ids: Any = None,
    negative_ids: Any = None,
    mask: Any = None,
    top_k: Sequence[int] = (5,),
    block_size: int | None = None,
) -> dict[str, Any]:
    r"""Return how well each query finds its key among the candidates, and how the embeddings lie on the sphere.

    Computed in blocks as the loss is, without gradients. What `info_nce(..., return_metrics=True)` gives beside the
    loss is a part of it, for less time.

    .. math:: \text{alignment} = \mathbb{E} |u_i - v_i|^2, \qquad
              \text{uniformity} = \log \mathbb{E}_{i \neq j} e^{-2 |u_i - u_j|^2}

    of the unit rows u of the queries and v of the positive keys; the uniformity is the mean of that of both.

    Args:
        query: As in `info_nce`, and so all others but:
        positive_key: As in `info_nce`.
        negative_keys: As in `info_nce`.
        temperature: As in `info_nce`.
        negative_mode: As in `info_nce`.
        in_batch: As in `info_nce`.
        normalize: As in `info_nce`. Alignment and uniformity are of unit rows in any case.
        ids: As in `info_nce`.
        negative_ids: As in `info_nce`.
        mask: As in `info_nce`.
        top_k: The k of each "top_k": the share of rows whose positive is among the k best candidates.
        block_size: As in `info_nce`.

    Returns:
        A dict of 0-d arrays of the caller's framework, float64 for float64 embeddings, else float32:
        "loss" in nats; "accuracy", the share of rows whose positive has the largest logit; "top_5" and so on;
        "mean_reciprocal_rank"; "positive_similarity" and "negative_similarity", means over all pairs; "log_sum_exp" of
        all candidates' logits, the mean over the rows; "effective_negatives", the mean of 1 / sum_j p_j^2 with the
        softmax p over a row's negatives: from 1 (one hard negative) to their number, 0 without any; "alignment";
        "uniformity", 0 for a single row. A negative with the positive's own logit ranks before it.

    Raises:
        ValueError: As in `info_nce`, or a k is below 1.
        TypeError: As in `info_nce`, or a k is no int.

    References:
        Wang & Isola 2020 (alignment and uniformity), arXiv:2005.10242.

    Example:
        Two orthonormal pairs: each query finds its key, and distinct rows are at squared distance 2.

        >>> import numpy as np
        >>> from infonce import metrics
        >>> found = metrics(np.eye(2), np.eye(2), top_k=(1,))
        >>> [float(np.round(found[name], 4)) for name in ("accuracy", "top_1", "alignment", "uniformity")]
        [1.0, 1.0, 0.0, -4.0]
    """
    if not isinstance(top_k, Sequence):
        raise TypeError(f"top_k must be a sequence of ints; received {top_k!r}.")
    for k in top_k:
        checks.positive_int("each of top_k", k)
    query, positive_key, negative_keys, temperature = map(constant, (query, positive_key, negative_keys, temperature))
    prepare = preparation(info_nce)
    assert prepare is not None
    chosen = {"negative_mode": negative_mode, "in_batch": in_batch, "normalize": normalize, "block_size": block_size}
    arrays = {"ids": ids, "negative_ids": negative_ids, "mask": mask}
    b, options, inputs, *_ = prepare(query, positive_key, negative_keys, temperature, **chosen, **arrays)
    xp = b.xp
    (loss, measured), _ = b.solve(options._replace(measure=True, rank=True), inputs, ())
    *means, rank, effective = measured
    found = {"loss": loss, **dict(zip(measures.NAMES, means, strict=True))}
    one = xp.ones_like(rank)
    for k in top_k:
        found[f"top_{k}"] = xp.mean(xp.where(rank <= int(k), one, 0 * one))
    found["mean_reciprocal_rank"] = xp.mean(one / rank)
    found["effective_negatives"] = effective

    # On the sphere |u - v|^2 = 2 - 2 u.v. With t = 1/4 a row of x against itself gives, decoupled, the logarithm of
    # sum_j exp(4 u_i.u_j - 4) = sum_j exp(-2 |u_i - u_j|^2).
    sphere = options._replace(reduction="none", paired=False, in_batch=True, normalize=True, decoupled=True)
    units, spread = [], []
    for x in (query, positive_key):
        x = xp.astype(x, loss.dtype)
        rows, _ = b.solve(sphere, type(inputs)(x, x, temperature=0.25), ())
        unit = unit_rows(xp, x)[0]
        rows = rows + 4 * xp.sum(unit * unit, axis=-1) - 4  # a zero row has the cosine 0 with itself, too
        n, largest = xp.sum(xp.ones_like(rows)), xp.max(rows, axis=0)
        pairs = xp.maximum(n * (n - 1), xp.ones_like(n))
        several = largest + xp.log(xp.sum(xp.exp(rows - largest))) - xp.log(pairs)
        spread.append(xp.where(n == 1, xp.zeros_like(n), several))
        units.append(unit)
    found["alignment"] = 2 - 2 * xp.mean(xp.sum(units[0] * units[1], axis=-1))
    found["uniformity"] = (spread[0] + spread[1]) / 2
    return found


def constant(x: Any) -> Any:
    """An array as a constant to its framework's autodiff; what is no array is left to the checks."""
    backend = backend_of(x) if checks.is_array(x) else None
    return x if backend is None else backend.stop_gradient(x)
