"""The oracle of the losses with several positives per row, as plain and dense as `oracle.py`.

Every row is scored against all others of one batch, z_ij = s(x_i, x_j) / t_i, and its positives are given by weights
that are normalised to add up to 1; the formulas are those of `_row_losses.py`. NT-Xent of V views is the supervised
loss of the stacked views with the sample's index as label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infonce.conformance._reference import (
    Reference,
    reduce,
    reshaped_or_summed,
    row_norms,
    through_unit_rows,
    unit_rows,
)
from infonce.conformance._row_losses import Flags, Floats, Objective, largest, row_losses

__all__ = ["nt_xent", "sup_con"]


def nt_xent(
    views: Sequence[ArrayLike],
    temperature: ArrayLike = 0.5,
    reduction: str = "mean",
    normalize: bool = True,
    ids: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    margin: float = 0.0,
    decoupled: bool = False,
    debias: float = 0.0,
    hardness: float = 0.0,
    exclude_positives: bool = False,
    cotangent: ArrayLike | None = None,
    dtype: type[np.floating] = np.float64,
) -> Reference:
    """The loss and all gradients, those of the views as "view 1", "view 2", ...; for reduction none as in `info_nce`.

    The rows are all views', view after view; `ids`, `weight` and `temperature` are per sample.
    """
    x = np.concatenate([np.asarray(view, dtype) for view in views])
    samples = np.tile(np.arange(len(x) // len(views)), len(views))
    same = samples[:, None] == samples
    known = samples if ids is None else np.asarray(ids)[samples]
    objective = Objective(
        exclude_positives=exclude_positives,
        label_smoothing=label_smoothing,
        margin=margin,
        decoupled=decoupled,
        debias=debias,
        hardness=hardness,
    )
    batch = Batch(x, samples, positives=same, negatives=~same & (known[:, None] != known))
    found = _contrasted(batch, objective, temperature, reduction, normalize, weight, cotangent)
    by_view = {f"view {i + 1}": g for i, g in enumerate(np.split(found.gradients.pop("rows"), len(views)))}
    sizes = {f"view {i + 1}": g for i, g in enumerate(np.split(found.uncancelled.pop("rows"), len(views)))}
    return replace(found, gradients=by_view | found.gradients, uncancelled=sizes | found.uncancelled)


def sup_con(
    embeddings: ArrayLike,
    labels: ArrayLike | None = None,
    temperature: ArrayLike = 0.1,
    reduction: str = "mean",
    *,
    form: str = "out",
    positives: ArrayLike | None = None,
    rows_without_positives: str = "ignore",
    normalize: bool = True,
    weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    margin: float = 0.0,
    decoupled: bool = False,
    debias: float = 0.0,
    hardness: float = 0.0,
    exclude_positives: bool = False,
    cotangent: ArrayLike | None = None,
    dtype: type[np.floating] = np.float64,
) -> Reference:
    """The loss and all gradients of (N, D) or (N, V, D) embeddings; for reduction none as in `info_nce`.

    The rows are the samples' views, sample after sample; `labels`, `weight` and `temperature` are per sample,
    `positives` is by row: row i's positives in its row i.
    """
    x = np.asarray(embeddings, dtype)
    shape, x = x.shape, x.reshape(-1, x.shape[-1])
    samples = np.repeat(np.arange(shape[0]), shape[1] if len(shape) == 3 else 1)
    if labels is not None:
        by_row = np.asarray(labels)[samples]
        positives = by_row[:, None] == by_row
    given = np.asarray(positives, dtype)
    objective = Objective(
        form=form,
        exclude_positives=exclude_positives,
        label_smoothing=label_smoothing,
        margin=margin,
        decoupled=decoupled,
        debias=debias,
        hardness=hardness,
    )
    batch = Batch(x, samples, given, negatives=given == 0, ignore=rows_without_positives == "ignore")
    found = _contrasted(batch, objective, temperature, reduction, normalize, weight, cotangent)
    gradients, sizes = found.gradients, found.uncancelled
    if reduction == "none":
        found = replace(found, loss=found.loss.reshape(shape[:-1]), sensitivity=found.sensitivity.reshape(shape[:-1]))
    return replace(
        found,
        gradients={"embeddings": gradients.pop("rows").reshape(shape)} | gradients,
        uncancelled={"embeddings": sizes.pop("rows").reshape(shape[:-1])} | sizes,
    )


@dataclass(frozen=True)
class Batch:
    """Rows (R, D), the sample of each, and who is whose: weights > 0 are positives; a row is neither of itself."""

    x: Floats
    samples: NDArray[np.int_]
    positives: NDArray[Any]
    negatives: Flags
    ignore: bool = False  # rows without a positive are left out of the mean


def _contrasted(
    batch: Batch,
    objective: Objective,
    temperature: ArrayLike,
    reduction: str,
    normalize: bool,
    weight: ArrayLike | None,
    cotangent: ArrayLike | None,
) -> Reference:
    """Every row against all others; the gradient with respect to the rows is called "rows"."""
    x, samples, dtype = batch.x, batch.samples, batch.x.dtype
    count = int(np.max(samples, initial=-1)) + 1
    t = np.broadcast_to(np.asarray(temperature, dtype).reshape(-1), (count,))[samples]
    per_row = None if weight is None else np.asarray(weight, dtype)[samples]
    others = ~np.eye(len(x), dtype=bool)
    target = batch.positives * others.astype(dtype)
    counted = np.any(target > 0, axis=1) if batch.ignore else None

    def by_sample(values: Floats) -> Floats:
        return np.asarray((np.arange(count)[:, None] == samples).astype(dtype) @ values)

    with np.errstate(all="ignore"):  # infinite and NaN rows are data here, and underflow is meant
        target = target / np.where(np.any(target > 0, axis=1), np.sum(target, axis=1), 1)[:, None]
        u = unit_rows(x)[0] if normalize else x
        found = row_losses(u @ u.T, target, batch.negatives & others, t, objective)
        reduced = reduce(found.loss, found.sensitivity, reduction, per_row, cotangent, counted)

        # Both rows of a pair move with its score.
        to_score = reduced.by_loss[:, None] * found.slope / t[:, None]
        toward = (to_score + to_score.T) @ u
        terms = np.abs(reduced.by_loss)[:, None] * found.terms / t[:, None]
        norms = row_norms(u)
        gradients = {"rows": through_unit_rows(x, toward) if normalize else toward}
        uncancelled = {"rows": norms * ((terms + terms.T) @ norms)}
        if not isinstance(temperature, (int, float)):
            of_samples = by_sample(reduced.by_loss * found.log_temperature / t)
            gradients["temperature"] = reshaped_or_summed(of_samples, np.shape(temperature))
            uncancelled["temperature"] = by_sample(np.abs(reduced.by_loss) * found.log_temperature_terms)
        if weight is not None:
            gradients["weight"], uncancelled["weight"] = by_sample(reduced.by_weight), by_sample(reduced.weight_terms)
        reach = largest(norms / t) * largest(norms)
    return Reference(reduced.loss, gradients, found.largest_logit, reach, uncancelled, reduced.sensitivity)
