"""Lower bounds on the mutual information from the samples of an evaluation: InfoNCE, NWJ and what lies between.

With z+ the positive's score, A the log-sum-exp of a row's n negatives, and m = exp(A) / n, a row gives, in nats,

    alpha = 1 (InfoNCE)    log(n + 1) - softplus(A - z+)
    alpha < 1 (I_alpha)    1 + z+ - log(alpha m+ + 1 - alpha) - m / (alpha m + 1 - alpha)
    alpha = 0 (NWJ)        1 + z+ - m

I_alpha's last term is an expectation under the product of the marginals, for which a row has its n negatives and no
more: the bound counts n candidates. In the term before, these are the positive and n - 1 of the negatives:
m+ = (exp(z+) + (n - 1) m) / n is the mean over which one is left out, and by Jensen's inequality it only lowers the
bound. For alpha = 1 the last term is 1 whatever the samples are: it needs none, and all n + 1 are candidates.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, Generic, NamedTuple

from . import checks, rows
from .backend import Backend
from .losses import info_nce
from .typing import Array


class MutualInformation(NamedTuple, Generic[Array]):
    """A lower bound on the mutual information, in nats: 0-d arrays of the caller's framework.

    Example:
        Two orthonormal pairs at t = 1: log 2 - log(1 + e^-1) = 0.3799, of log 2 = 0.6931 at most.

        >>> import numpy as np
        >>> from infonce import mutual_information
        >>> found = mutual_information(np.eye(2), np.eye(2), temperature=1.0)
        >>> [float(np.round(x, 4)) for x in (found.estimate, found.ceiling)]
        [0.3799, 0.6931]
        >>> bool(found.saturated)  # less than half a nat below the ceiling
        True
    """

    estimate: Array  # the mean over the rows; it may be negative
    ceiling: Array  # no estimate can exceed it, whatever the critic and the data
    standard_error: Array  # of the mean, as if rows were independent; infinite for one row
    saturated: Array  # whether the estimate is within half a nat of the ceiling: take more candidates


def mutual_information(
    query: Any,
    positive_key: Any,
    negative_keys: Any = None,
    temperature: Any = 0.1,
    *,
    normalize: bool = True,
    alpha: float = 1.0,
    negative_mode: str = "unpaired",
    in_batch: bool | None = None,
    block_size: int | None = None,
) -> MutualInformation[Any]:
    r"""Return a lower bound on the mutual information of queries and keys, by the critic s(q, k) / t of `info_nce`.

    .. math:: I(Q; K) \ge \log(n + 1) - \mathbb{E}[L] \quad (\alpha = 1), \qquad n = \text{negatives of a row}

    The pairs must be independent draws that the encoders were not trained on, and the negatives independent draws of
    keys: on training pairs the estimate is worthless. It is computed as the loss is, in blocks of rows.

    Args:
        query: (N, D), floating point, of any framework.
        positive_key: (N, D); row i belongs to query i.
        negative_keys: As in `info_nce`: None, (M, D), or (N, K, D) with `negative_mode="paired"`.
        temperature: As in `info_nce`. For alpha < 1 the critic has to be the log density ratio itself, and not only up
            to a term for each query.
        normalize: As in `info_nce`.
        alpha: 1 is InfoNCE: low variance, never above log(n + 1). 0 is NWJ: without a ceiling, of a variance that grows
            with exp(I). Between: I_alpha, never above 1 + log(n / alpha).
        negative_mode: As in `info_nce`.
        in_batch: As in `info_nce`.
        block_size: As in `info_nce`.

    Returns:
        `estimate`, `ceiling`, `standard_error` and `saturated`, 0-d, in nats. float64 for float64 embeddings, else
        float32. The estimate is never clipped: below 0 it says that the critic is poor. It is as differentiable as
        the loss.

    Raises:
        ValueError: alpha is outside [0, 1], there are no negatives, or as in `info_nce`.
        TypeError: As in `info_nce`.

    References:
        van den Oord et al. 2018 (InfoNCE), arXiv:1807.03748. Poole et al. 2019 (I_alpha), arXiv:1905.06922. Nguyen et
        al. 2008 (NWJ), arXiv:0809.0853.

    Example:
        Two orthonormal pairs at t = 1: log 2 - log(1 + e^-1) = 0.6931 - 0.3133.

        >>> import numpy as np
        >>> from infonce import mutual_information
        >>> found = mutual_information(np.eye(2), np.eye(2), temperature=1.0)
        >>> float(np.round(found.estimate, 4))
        0.3799
    """
    alpha = _alpha(alpha)
    b = _backend_of_pairs(query, positive_key, negative_keys, negative_mode, in_batch)
    over = info_nce(  # A - z+
        query,
        positive_key,
        negative_keys,
        temperature,
        "none",
        negative_mode,
        normalize=normalize,
        in_batch=in_batch,
        decoupled=True,
        block_size=block_size,
    )
    own = _own_scores(b.xp, query, positive_key, temperature, normalize, over)
    candidates = _count(b.xp, positive_key[:, :1], over) if in_batch or negative_keys is None else 1
    if negative_keys is not None:
        explicit = negative_keys[:1, :, :1] if negative_mode == "paired" else negative_keys[:, :1]
        candidates = candidates + _count(b.xp, explicit, over)
    return _estimate(b, own, own + over, candidates - 1, alpha)


def mutual_information_from_scores(
    scores: Any, positive: str = "diagonal", alpha: float = 1.0
) -> MutualInformation[Any]:
    """Return a lower bound on the mutual information from the scores of any critic.

    The same estimate as `mutual_information`, which says what it asks of the samples: row i holds the scores of one
    query with its own key and with n others.

    Args:
        scores: (N, N), the pairs' own scores on the diagonal; or (N, 1 + n) with `positive="first"`, in the first
            column. Floating point, of any framework; -inf, "this cannot be a pair", is allowed.
        positive: "diagonal" or "first": where each row's own score stands.
        alpha: As in `mutual_information`. The best scores are log p(x, y) / (p(x) p(y)) for every alpha; for alpha = 1
            a term for each row makes no difference.

    Returns:
        `estimate`, `ceiling`, `standard_error` and `saturated`, 0-d, in nats. float64 for float64 scores, else float32.
        The framework's autodiff goes through.

    Raises:
        ValueError: alpha is outside [0, 1], or the shape leaves no negatives or does not fit `positive`.
        TypeError: `scores` is no dense floating-point array, or alpha no number.

    References:
        Poole et al. 2019, arXiv:1905.06922. Their f of NWJ is these scores plus 1.

    Example:
        One fair coin seen twice, I = log 2, in four independent pairs: heads, heads, tails, tails. The best critic
        gives log 2 to equal faces; in each row one of the three negatives is equal too: log 4 - log 2.

        >>> import numpy as np
        >>> from infonce import mutual_information_from_scores
        >>> faces = np.asarray([0, 0, 1, 1])
        >>> scores = np.where(faces[:, None] == faces, np.log(2), -np.inf)
        >>> float(np.round(mutual_information_from_scores(scores).estimate, 4))
        0.6931
    """
    alpha = _alpha(alpha)
    checks.choice("positive", positive, ("diagonal", "first"))
    b = checks.find_backend({"scores": scores})
    xp, dtype = b.xp, checks.floating(b, "scores", scores)
    _scores_fit(b.shape(scores), positive)
    z = xp.astype(scores, xp.float64 if dtype == "float64" else xp.float32)
    if positive == "first":
        own, z = z[:, 0], z[:, 1:]
        n = _count(xp, z[:1, :], z)
    else:
        i = b.indices(z, b.size(z))
        diagonal = i == xp.matrix_transpose(i)
        own = xp.sum(xp.where(diagonal, z, xp.zeros_like(z)), axis=-1)
        z = xp.where(diagonal, xp.full_like(z, -math.inf), z)
        n = _count(xp, z[:1, :], z) - 1
    return _estimate(b, own, _log_sum_exp(xp, z), n, alpha)


def _backend_of_pairs(
    query: Any, positive_key: Any, negative_keys: Any, negative_mode: object, in_batch: object
) -> Backend:
    """Their backend; ValueError without negatives, where a loss is 0 but a bound says nothing."""
    checks.choice("negative_mode", negative_mode, ("unpaired", "paired"))
    arrays = {"query": query, "positive_key": positive_key}
    if negative_keys is not None:
        arrays["negative_keys"] = negative_keys
    b = checks.find_backend(arrays)
    checks.embeddings(b, arrays, negative_mode == "paired", "mean")
    if not checks.has_negatives(b, positive_key, negative_keys, bool(in_batch) or negative_keys is None):
        raise ValueError(
            "mutual information needs at least one negative in each row; received positive_key of shape "
            f"{checks.shown(b.shape(positive_key))}. Pass more than one row, or negative_keys."
        )
    return b


def _own_scores(xp: Any, query: Any, positive_key: Any, temperature: Any, normalize: bool, like: Any) -> Any:
    """z+ of each row, (N,)."""
    query, positive_key = (xp.astype(x, like.dtype) for x in (query, positive_key))
    if normalize:
        query, positive_key = (rows.unit_rows(xp, x)[0] for x in (query, positive_key))
    own = xp.sum(query * positive_key, axis=-1)
    if checks.is_array(temperature):
        temperature = xp.astype(temperature, like.dtype)
        return own / (xp.squeeze(temperature, axis=-1) if len(temperature.shape) == 2 else temperature)
    return own / float(temperature)


def _estimate(b: Backend, positive: Any, lse: Any, n: Any, alpha: float) -> MutualInformation[Any]:
    """The mean over the rows: their positives' scores and log-sum-exp over n negatives, (N,)."""
    xp = b.xp
    values = _bounds(b, positive, lse, n, alpha)
    estimate = xp.mean(values)
    count, one = _count(xp, values, values), xp.ones_like(estimate)
    deviations = values - xp.where(estimate == -math.inf, 0 * one, estimate)
    variance = xp.sum(deviations * deviations) / xp.maximum(count * (count - 1), one)
    standard_error = xp.where(count == 1, math.inf * one, xp.sqrt(variance))
    ceiling = xp.log(n + 1) if alpha == 1 else xp.log(n) + 1 - _log(alpha)
    return MutualInformation(estimate, ceiling, standard_error, estimate > ceiling - 0.5)


def _bounds(b: Backend, positive: Any, lse: Any, n: Any, alpha: float) -> Any:
    """What each row gives, (N,): the formulas at the head of this module."""
    xp = b.xp
    impossible = positive == -math.inf  # to the critic; it was wrong
    z = xp.where(impossible, xp.zeros_like(positive), positive)
    if alpha == 1:
        value = xp.log(n + 1) - b.softplus(lse - z)[0]
    else:
        log_n, one = xp.log(n), xp.ones_like(n)
        log_others = xp.where(n > 1, xp.log(xp.maximum(n - 1, one)), -math.inf * one)
        log_m, log_m_joint = lse - log_n, z + b.softplus(lse - log_n + log_others - z)[0] - log_n
        value = 1 + z - _log_mixed(b, log_m_joint, alpha) - xp.exp(log_m - _log_mixed(b, log_m, alpha))
    return xp.where(impossible, positive, value)


def _log_mixed(b: Backend, log_m: Any, alpha: float) -> Any:
    """log(alpha m + 1 - alpha)."""
    rest = math.log1p(-alpha)
    return rest + b.softplus(log_m + (_log(alpha) - rest))[0]


def _log(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf


def _log_sum_exp(xp: Any, z: Any) -> Any:
    """Of each row, (N,): -inf, with gradient 0, where all of it is."""
    largest = xp.max(z, axis=-1, keepdims=True)
    nothing = largest == -math.inf
    largest = xp.where(nothing, xp.zeros_like(largest), largest)
    total = xp.sum(xp.exp(z - largest), axis=-1, keepdims=True)
    found = largest + xp.log(xp.where(nothing, xp.ones_like(total), total))
    return xp.squeeze(xp.where(nothing, xp.full_like(found, -math.inf), found), axis=-1)


def _count(xp: Any, x: Any, like: Any) -> Any:
    """How many entries x has, as an array: compilers may not know it yet."""
    return xp.sum(xp.astype(xp.ones_like(x), like.dtype))


def _alpha(alpha: object) -> float:
    if isinstance(alpha, bool) or not isinstance(alpha, Real):
        raise TypeError(f"alpha must be a number from 0 (NWJ) to 1 (InfoNCE); received {alpha!r}.")
    number = float(alpha)
    if not 0 <= number <= 1:
        raise ValueError(f"alpha must lie between 0 (NWJ) and 1 (InfoNCE); received {alpha!r}.")
    return number


def _scores_fit(shape: checks.Shape, positive: str) -> None:
    form = "(N, N)" if positive == "diagonal" else "(N, 1 + n)"
    if len(shape) != 2:
        raise ValueError(f"scores must have 2 dimensions, {form}; received shape {checks.shown(shape)}.")
    rows, columns = shape
    if positive == "diagonal" and None not in shape and rows != columns:
        raise ValueError(
            f'positive="diagonal" needs scores of shape (N, N); received shape {checks.shown(shape)}. '
            'For others put the own scores in the first column and pass positive="first".'
        )
    if rows == 0 or columns in (0, 1):
        raise ValueError(
            f"scores must have at least one row and one negative in it, {form}; received shape {checks.shown(shape)}."
        )
