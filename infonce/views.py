"""The losses whose rows are scored against each other: `nt_xent` and `sup_con`."""

from __future__ import annotations

from typing import Any

from . import checks, family_checks
from .backend import Backend
from .calls import Call, loss
from .problem import Gradients, Inputs, Options


@loss
def nt_xent(
    *views: Any,
    temperature: Any = 0.5,
    reduction: str = "mean",
    normalize: bool = True,
    ids: Any = None,
    weight: Any = None,
    label_smoothing: float = 0.0,
    margin: float = 0.0,
    decoupled: bool = False,
    debias: float = 0.0,
    hardness: float = 0.0,
    exclude_positives: bool = False,
    block_size: int | None = None,
) -> Call:
    r"""Return the NT-Xent loss of SimCLR: every row of every view is a query, all other rows are its candidates.

    .. math:: L_i = -\frac{1}{V - 1} \sum_{p \in P(i)} \log \frac{e^{s(z_i, z_p) / t}}{\sum_{j \neq i}
              e^{s(z_i, z_j) / t}}, \qquad s(x, y) = \frac{x \cdot y}{|x| |y|}

    over the V N rows of all views; P(i) holds the same sample's rows in the other views. Without options each pair of
    rows is scored once, so that value and gradient take about two matrix products of V N x V N x D.

    Args:
        *views: V >= 2 arrays, each (N, D), floating point, of one framework: row i of each is a view of sample i.
        temperature: t, dimensionless, > 0: a number; a 0-d array, which gets a gradient; or one for each sample, (N,)
            or (N, 1).
        reduction: "mean", "sum", or "none" for the losses of all rows, (V N,), view after view.
        normalize: As in `info_nce`.
        ids: (N,), integers: other samples with the same id leave the denominator.
        weight: (N,), one for each sample: as in `info_nce`.
        label_smoothing: As in `info_nce`.
        margin: As in `info_nce`, of every positive.
        decoupled: The positives leave the denominator.
        debias: As in `info_nce`, with the mean of exp(s / t) over the row's positives.
        hardness: As in `info_nce`.
        exclude_positives: Each positive stands against the row's negatives alone, without the other positives. For two
            views that changes nothing.
        block_size: As in `info_nce`.

    Returns:
        The loss in nats, of the caller's framework and on its device: 0-d, or (V N,). float64 for float64 embeddings,
        float32 for all others.

    Raises:
        ValueError: There are fewer than two views, or a shape, a choice, a device, a number or the temperature is
            wrong.
        TypeError: A view is no dense floating-point array, or the arrays are of several frameworks.

    References:
        Chen et al. 2020, A Simple Framework for Contrastive Learning of Visual Representations, arXiv:2002.05709.
        Yeh et al. 2021 (`decoupled`), arXiv:2110.06848. Chuang et al. 2020 (`debias`), arXiv:2007.00224. Robinson et
        al. 2020 (`hardness`), arXiv:2010.04592.

    Example:
        Two orthonormal samples, each its own second view, at t = 1: log(1 + 2 e^-1) = 0.5514.

        >>> import numpy as np
        >>> from infonce import nt_xent
        >>> float(np.round(nt_xent(np.eye(2), np.eye(2), temperature=1.0), 4))
        0.5514
    """
    checks.options(reduction, "unpaired", normalize=normalize, block_size=block_size)
    family_checks.numbers(label_smoothing, margin, decoupled, debias, hardness, normalize, exclude_positives)
    backend, compute, temperature = checked(checks.views(views), temperature, reduction, {"ids": ids, "weight": weight})
    if backend.shape(views[0])[0] == 1 and len(views) == 2:  # with more, the other positives are candidates
        checks.warn_no_negatives(backend, views[0])

    xp, same = backend.xp, backend.of_one_size(views)
    if len({backend.dtype(view) for view in views}) > 1:
        same = tuple(xp.astype(view, getattr(xp, compute)) for view in same)

    def by_view(found: Gradients) -> Gradients:
        rows = found.pop("query")
        n = backend.size(rows) // len(views)
        parts = (rows[i * n : (i + 1) * n, ...] for i in range(len(views)))
        return {"views": tuple(xp.astype(g, view.dtype) for g, view in zip(parts, views, strict=True)), **found}

    options = Options(
        reduction,
        None if block_size is None else int(block_size),
        normalize,
        checks.bounded(backend, normalize, temperature),
        len(views),
        decoupled=decoupled,
        exclude_positives=exclude_positives,
        label_smoothing=float(label_smoothing),
        margin=float(margin),
        debias=float(debias),
        hardness=float(hardness),
    )
    inputs = Inputs(xp.concat(same, axis=0), temperature=temperature, weight=weight, ids=ids)
    return Call(backend, options, inputs, gradients=by_view)


@loss
def sup_con(
    embeddings: Any,
    labels: Any = None,
    temperature: Any = 0.1,
    reduction: str = "mean",
    *,
    form: str = "out",
    positives: Any = None,
    rows_without_positives: str = "ignore",
    normalize: bool = True,
    weight: Any = None,
    label_smoothing: float = 0.0,
    margin: float = 0.0,
    decoupled: bool = False,
    debias: float = 0.0,
    hardness: float = 0.0,
    exclude_positives: bool = False,
    block_size: int | None = None,
) -> Call:
    r"""Return the supervised contrastive loss: a row's positives are the other rows of its label.

    .. math:: L^{out}_i = -\frac{1}{|P(i)|} \sum_{p \in P(i)} \log \frac{e^{s(z_i, z_p) / t}}{\sum_{j \neq i}
              e^{s(z_i, z_j) / t}}, \qquad L^{in}_i = -\log \frac{1}{|P(i)|} \sum_{p \in P(i)}
              \frac{e^{s(z_i, z_p) / t}}{\sum_{j \neq i} e^{s(z_i, z_j) / t}}

    with the cosine s. Labels are compared block by block: nothing of size R x R is held, R the number of rows.

    Args:
        embeddings: (N, D), or (N, V, D) with V views of each sample, which share its label; floating point, of any
            framework. The R rows are those of sample 1, then those of sample 2 and so on.
        labels: (N,), integers.
        temperature: t, dimensionless, > 0: a number; a 0-d array, which gets a gradient; or one for each sample, (N,)
            or (N, 1).
        reduction: "mean", "sum", or "none" for the losses of all rows, (N,) or (N, V).
        form: "out": the mean over the positives is taken outside the logarithm, "in": inside.
        positives: Instead of labels: (R, R), booleans or weights >= 0; row i holds row i's positives, in any relation,
            for example of several labels. The diagonal is ignored.
        rows_without_positives: Their loss is 0. "ignore": they are left out of the mean. "zero": they are counted.
        normalize: As in `info_nce`.
        weight: (N,), one for each sample: as in `info_nce`.
        label_smoothing: As in `info_nce`.
        margin: As in `info_nce`, of every positive.
        decoupled: The positives leave the denominator.
        debias: As in `info_nce`, with the mean of exp(s / t) over the row's positives.
        hardness: As in `info_nce`.
        exclude_positives: Each positive stands against the row's negatives alone, without the other positives.
        block_size: As in `info_nce`.

    Returns:
        The loss in nats, of the caller's framework and on its device: 0-d, (N,) or (N, V). float64 for float64
        embeddings, float32 for all others.

    Raises:
        ValueError: A shape, a choice, a device, a number or the temperature is wrong, or both or neither of `labels`
            and `positives` are given.
        TypeError: An argument is no dense array of the right kind, or the arrays are of several frameworks.

    References:
        Khosla et al. 2020, Supervised Contrastive Learning, arXiv:2004.11362.

    Example:
        Two pairs of equal rows, orthogonal to each other, at t = 1: log(1 + 2 e^-1) = 0.5514.

        >>> import numpy as np
        >>> from infonce import sup_con
        >>> rows = np.repeat(np.eye(2), 2, axis=0)
        >>> float(np.round(sup_con(rows, np.array([0, 0, 1, 1]), temperature=1.0), 4))
        0.5514
    """
    checks.options(reduction, "unpaired", normalize=normalize, block_size=block_size)
    checks.choice("form", form, ("out", "in"))
    checks.choice("rows_without_positives", rows_without_positives, ("ignore", "zero"))
    family_checks.numbers(label_smoothing, margin, decoupled, debias, hardness, normalize, exclude_positives)
    family_checks.positives_fit(labels, positives, form, exclude_positives)
    others = {"labels": labels, "positives": positives, "weight": weight}
    backend, _, temperature = checked({"embeddings": embeddings}, temperature, reduction, others)
    xp, shape = backend.xp, backend.shape(embeddings)
    views = 1 if len(shape) == 2 else shape[1]
    assert views is not None
    rows = embeddings if len(shape) == 2 else xp.reshape(embeddings, (-1, shape[-1]))

    def by_view(x: Any) -> Any:
        return xp.reshape(x, (-1, views)) if reduction == "none" and len(shape) == 3 else x

    def as_given(found: Gradients) -> Gradients:
        g = found.pop("query")
        return {"embeddings": g if len(shape) == 2 else xp.reshape(g, (-1, *shape[1:])), **found}

    options = Options(
        reduction,
        None if block_size is None else int(block_size),
        normalize,
        checks.bounded(backend, normalize, temperature),
        views,
        decoupled=decoupled,
        exclude_positives=exclude_positives,
        inside=form == "in",
        skip_lonely=rows_without_positives == "ignore",
        label_smoothing=float(label_smoothing),
        margin=float(margin),
        debias=float(debias),
        hardness=float(hardness),
    )
    relation = labels if positives is None else positives
    inputs = Inputs(rows, temperature=temperature, weight=weight, positives=relation)
    return Call(backend, options, inputs, by_view, as_given)


def checked(
    arrays: dict[str, Any], temperature: Any, reduction: str, others: dict[str, Any]
) -> tuple[Backend, str, Any]:
    """The backend, the dtype to compute in and the temperature, after all arrays have been checked."""
    others = {name: x for name, x in others.items() if x is not None}
    first, x = next(iter(arrays.items()))
    is_array = checks.is_array(temperature)
    every = {**arrays, **others, **({"temperature": temperature} if is_array else {})}
    b = checks.find_backend(every)
    compute = checks.embeddings(b, arrays, False, reduction)
    rows = b.shape(x)[0]
    if is_array:
        checks.temperature_array(b, temperature, x, first)
    else:
        temperature = checks.temperature_number(temperature, compute, b.knows_numbers())
    for name, other in others.items():
        checks.same_device(b, (first, x), (name, other))
        if name == "weight":
            family_checks.rows_of_numbers(b, name, other, first, rows)
        elif name == "positives":
            family_checks.positives(b, other, b.shape(x))
        else:
            family_checks.integers(b, name, other)
            family_checks.vector(b, name, other, first, rows)
    return b, compute, temperature
