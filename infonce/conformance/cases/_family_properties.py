"""What each option and each loss of several positives must equal: another call, or a function of another call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from infonce.conformance.cases._agreement import draw
from infonce.conformance.cases._judge import related, together
from infonce.conformance.cases._programs import NT_XENT, SUP_CON
from infonce.conformance.model import Array, Case, Data, Outcome, Program, Subject

Judge = Callable[[Subject, Program, Data], Outcome]

NONE, SUM, SYMMETRIC = ("reduction", "none"), ("reduction", "sum"), ("symmetric", True)
SMOOTHED, HARD = (("label_smoothing", 0.1),), (("debias", 0.1), ("hardness", 1.0))
MASKED = (("mask", "columns"),)

IN_BATCH = Program("in-batch", 6, 5, options=(NONE,))
UNPAIRED = Program("unpaired", 6, 5, (7,), options=(NONE,))
PAIRED = Program("paired", 6, 5, (6, 4), options=(("negative_mode", "paired"),))
BOTH = Program("in-batch-unpaired", 6, 5, (4,), options=(("in_batch", True),))
VIEWS = Program("two-views", 5, 6, loss=NT_XENT, views=2)
MORE_VIEWS = Program("three-views", 4, 6, temperature="rows", loss=NT_XENT, views=3)
LABELS = Program("labels", 8, 6, loss=SUP_CON, optional=(("labels", "groups"),))
LABELS_OF_VIEWS = Program("labels-of-views", 4, 6, loss=SUP_CON, views=2, optional=(("labels", "groups"),))
WEIGHTED = Program("positives", 6, 5, loss=SUP_CON, optional=(("positives", "weights"),))


def cases() -> tuple[Case, ...]:
    return tuple(
        Case(f"options/property/{title}", "options", (program,), partial(_run, title, program, judge), compiled=False)
        for title, program, judge in _properties()
    )


def _run(title: str, program: Program, judge: Judge, subject: Subject) -> Outcome:
    return judge(subject, program, subject.round(draw(title, program, "normal", 1.0)))


def _properties() -> Iterator[tuple[str, Program, Judge]]:
    masked = replace(UNPAIRED, optional=MASKED, options=())
    for title, options in {"": (), "-smoothed": SMOOTHED, "-hard-debiased": HARD, "-by-row": (NONE,)}.items():
        yield f"masked-is-removed{title}", replace(masked, options=options), _masked_is_removed
    yield "masked-is-removed-with-bias", replace(masked, optional=(*MASKED, ("bias", "matrix"))), _masked_is_removed
    yield "own-entry-of-the-mask", _optional(IN_BATCH, mask="matrix"), _own_entry
    for program in (IN_BATCH, _with(IN_BATCH, symmetric=True, reduction="mean", label_smoothing=0.1), BOTH, VIEWS):
        distinct = _optional(program, ids="distinct")
        yield f"distinct-ids-{_title(program)}", distinct, partial(_without, ("ids",))
    for program in (IN_BATCH, PAIRED, VIEWS, LABELS, LABELS_OF_VIEWS):
        yield f"weights-of-one-{_title(program)}", _optional(program, weight="ones"), partial(_without, ("weight",))
        yield f"terms-of-zero-{_title(program)}", program, _zero_terms
    for program in (IN_BATCH, BOTH, _with(IN_BATCH, symmetric=True, reduction="sum", label_smoothing=0.1)):
        yield f"ids-as-a-mask-{_title(program)}", _optional(program, ids="shared"), _ids_as_mask
    yield "weight-of-zero-leaves-the-row-out", _optional(PAIRED, weight="rows"), _row_left_out
    for program in (_optional(PAIRED, weight="rows"), _optional(MORE_VIEWS, weight="rows"), LABELS):
        yield f"reductions-{_title(program)}", _with(program, reduction="sum"), _reductions
    for program in (IN_BATCH, UNPAIRED):
        yield f"decoupled-{_title(program)}", _with(program, decoupled=True), _decoupled
        yield f"margin-{_title(program)}", _with(program, margin=0.25), _margin
        yield f"smoothing-is-linear-{_title(program)}", _with(program, label_smoothing=0.2), _smoothing_is_linear
    yield "bias-of-the-negatives", _optional(UNPAIRED, bias="columns"), _bias_of_negatives
    yield "bias-of-all-candidates", _optional(IN_BATCH, bias="columns"), _bias_of_all
    averaged = _with(IN_BATCH, symmetric=True, label_smoothing=0.1)
    yield "symmetric-is-the-average-ids-smoothing", _optional(averaged, ids="shared", weight="rows"), _average
    for program in (VIEWS, MORE_VIEWS):
        yield f"views-are-labels-{_title(program)}", _optional(program, weight="rows"), _views_are_labels
        yield f"views-are-labels-{_title(program)}-hard", _with(program, **dict(HARD)), _views_are_labels
        yield f"views-are-labels-{_title(program)}-excluded", _with(program, exclude_positives=True), _views_are_labels
    yield "one-positive-excludes-no-other", _with(VIEWS, exclude_positives=True), _one_positive
    yield "labels-as-positives", LABELS, _labels_as_positives
    yield "labels-of-views-as-positives", _with(LABELS_OF_VIEWS, form="in"), _labels_as_positives
    yield "samples-of-views-are-rows", LABELS_OF_VIEWS, _views_are_rows
    yield "weights-of-positives-times-a-number", WEIGHTED, _scaled_positives
    yield "rows-without-positives-are-zeros", _with(LABELS, rows_without_positives="zero"), _zeros_counted


def _title(program: Program) -> str:
    return "-".join([program.name, *(name for name, _ in program.options if name in ("symmetric", "hardness"))])


def _with(program: Program, **options: Any) -> Program:
    return replace(program, options=tuple((program.keywords | options).items()))


def _optional(program: Program, **kinds: str) -> Program:
    return replace(program, optional=(*program.optional, *kinds.items()))


def _only(program: Program, *names: str) -> Program:
    """The program with no other optional arrays than these."""
    return replace(program, optional=tuple((name, kind) for name, kind in program.optional if name in names))


def _masked_is_removed(subject: Subject, program: Program, data: Data) -> Outcome:
    """A candidate that the mask takes out may as well not be there; its gradients are 0."""
    kept = np.flatnonzero(data.fixed["mask"])
    width = dict.fromkeys(("negative_keys", "bias"), program.columns)
    assert data.negative_keys is not None
    fewer = data.but(negative_keys=data.negative_keys[kept])
    if "bias" in data.arrays:
        fewer = fewer.but(bias=data.arrays["bias"][:, kept])
    first = subject(replace(_only(program, "bias"), negatives=(len(kept),)), fewer)

    def spread(name: str, gradient: Array) -> Array:
        axis = 0 if name == "negative_keys" else 1
        shape = [*gradient.shape[:axis], width[name], *gradient.shape[axis + 1 :]]
        full = np.zeros(shape)
        full[(slice(None),) * axis + (kept,)] = gradient
        return full

    gradients = {name: spread(name, g) if name in width else g for name, g in first.gradients.items()}
    return related(subject, program, data, first.loss, gradients)


def _own_entry(subject: Subject, program: Program, data: Data) -> Outcome:
    mask = data.fixed["mask"].copy()
    np.fill_diagonal(mask, True)
    first = subject(program, data.but(mask=mask))
    np.fill_diagonal(mask, False)
    return related(subject, program, data.but(mask=mask), first.loss, first.gradients)


def _without(names: tuple[str, ...], subject: Subject, program: Program, data: Data) -> Outcome:
    """These arrays change nothing."""
    left = tuple(name for name, _ in program.optional if name not in names)
    first = subject(_only(program, *left), data.but(**dict.fromkeys(names)))
    return related(subject, program, data, first.loss, first.gradients)


def _zero_terms(subject: Subject, program: Program, data: Data) -> Outcome:
    """Each term at 0 is the plain loss."""
    first = subject(program, data)
    terms = ("hardness", "debias", "margin", "label_smoothing")
    return together(
        related(subject, _with(program, **{term: 0.0}), data, first.loss, first.gradients) for term in terms
    )


def _ids_as_mask(subject: Subject, program: Program, data: Data) -> Outcome:
    """Ids take out what a mask of equal ids does."""
    ids = data.fixed["ids"]
    mask = np.ones((program.rows, program.columns), bool)
    mask[:, : program.rows] = ids[:, None] != ids[None]
    masked = replace(program, optional=(("mask", "matrix"),))
    first = subject(masked, data.but(ids=None, mask=mask))
    return related(subject, program, data, first.loss, first.gradients)


def _row_left_out(subject: Subject, program: Program, data: Data) -> Outcome:
    """The weighted mean of paired rows is that of those whose weight is not 0."""
    rows = np.flatnonzero(data.arrays["weight"])
    arrays = {name: x[rows] for name, x in data.arrays.items()}
    assert program.negatives is not None
    fewer = replace(program, rows=len(rows), negatives=(len(rows), program.negatives[1]))
    first = subject(fewer, replace(data, arrays=arrays))

    def spread(gradient: Array) -> Array:
        full = np.zeros((program.rows, *gradient.shape[1:]))
        full[rows] = gradient
        return full

    found = {name: g for name, g in first.gradients.items() if name != "weight"}
    gradients = {name: spread(g) if name in program.embeddings else g for name, g in found.items()}
    return related(subject, program, data, first.loss, gradients)


def _reductions(subject: Subject, program: Program, data: Data) -> Outcome:
    """The sum is that of the losses by row; the mean is the sum over that of the weights of the rows that count."""
    ones = replace(data, cotangent=np.ones(program.anchors))
    by_row = subject(_with(program, reduction="none"), ones)
    weight = np.ones(program.rows) if "weight" not in data.arrays else data.arrays["weight"]
    if program.loss == "sup_con":
        labels = data.fixed["labels"]
        weight = weight * (np.sum(labels[:, None] == labels[None], axis=1) > 1)
    total = float(np.sum(weight)) * np.size(by_row.loss) / program.rows
    kept = {name: g for name, g in by_row.gradients.items() if name != "weight"}
    means = {name: g / total for name, g in kept.items()}
    loss = float(np.sum(by_row.loss))
    mean = _with(program, reduction="mean")
    return together(
        [
            related(subject, program, data, loss, by_row.gradients),
            related(subject, mean, data, loss / total, means),
        ]
    )


def _plain(subject: Subject, program: Program, data: Data, *options: str) -> Array:
    """The losses by row without these options."""
    kept = tuple((name, value) for name, value in program.options if name not in options)
    return subject(replace(program, options=kept), data).loss


def _decoupled(subject: Subject, program: Program, data: Data) -> Outcome:
    """log(exp(L) - 1), the positive being out of the denominator."""
    loss = _plain(subject, program, data, "decoupled")
    return related(subject, program, data, np.log(np.expm1(loss)))


def _margin(subject: Subject, program: Program, data: Data) -> Outcome:
    """The negatives weigh exp(margin / t) times as much."""
    loss = _plain(subject, program, data, "margin")
    factor = np.exp(program.keywords["margin"] / np.asarray(data.temperature))
    return related(subject, program, data, np.log1p(factor * np.expm1(loss)))


def _smoothing_is_linear(subject: Subject, program: Program, data: Data) -> Outcome:
    plain = _plain(subject, program, data, "label_smoothing")
    half = subject(_with(program, label_smoothing=program.keywords["label_smoothing"] / 2), data).loss
    return related(subject, program, data, 2 * half - plain)


def _bias_of_negatives(subject: Subject, program: Program, data: Data) -> Outcome:
    """A bias of 1 for every explicit negative makes each weigh e times as much; the positive has none."""
    loss = subject(_only(program), data.but(bias=None)).loss
    ones = data.but(bias=np.ones(program.columns))
    return related(subject, program, ones, np.log1p(np.exp(1) * np.expm1(loss)))


def _bias_of_all(subject: Subject, program: Program, data: Data) -> Outcome:
    """In-batch the positive is a column too, so that a bias that all columns share changes nothing."""
    first = subject(_only(program), data.but(bias=None))
    return related(subject, program, data.but(bias=np.full(program.columns, 1.5)), first.loss, first.gradients)


def _average(subject: Subject, program: Program, data: Data) -> Outcome:
    forth_only = _with(program, symmetric=False)
    exchanged = {"query": "positive_key", "positive_key": "query"}
    forth = subject(forth_only, data)
    back = subject(forth_only, data.but(query=data.positive_key, positive_key=data.query))
    gradients = {name: (g + back.gradients[exchanged.get(name, name)]) / 2 for name, g in forth.gradients.items()}
    return related(subject, program, data, (forth.loss + back.loss) / 2, gradients)


def _views_are_labels(subject: Subject, program: Program, data: Data) -> Outcome:
    """nt_xent is sup_con of the stacked views, the sample's index as label."""
    count, rows = program.views, program.rows
    arrays = {"embeddings": np.concatenate([data.arrays[name] for name in program.embeddings])}
    if "weight" in data.arrays:
        arrays["weight"] = np.tile(data.arrays["weight"], count)
    t = data.temperature
    stacked = Data(
        arrays,
        np.tile(t, count) if isinstance(t, np.ndarray) and t.ndim else t,
        {"labels": np.tile(np.arange(rows), count)},
    )
    optional = (("labels", "groups"), *program.optional)
    first = subject(replace(program, rows=count * rows, loss=SUP_CON, views=0, optional=optional), stacked)
    gradients = dict(_unstacked(first.gradients, program))
    return related(subject, program, data, first.loss, gradients)


def _unstacked(gradients: Mapping[str, Array], program: Program) -> Iterator[tuple[str, Array]]:
    for name, g in gradients.items():
        if name == "embeddings":
            yield from zip(program.embeddings, np.split(g, program.views), strict=True)
        else:
            yield name, np.sum(g.reshape(program.views, -1), axis=0) if g.ndim else g


def _one_positive(subject: Subject, program: Program, data: Data) -> Outcome:
    """With two views there is no other positive to exclude."""
    first = subject(_with(program, exclude_positives=False), data)
    return related(subject, program, data, first.loss, first.gradients)


def _same_label(labels: Any, views: int) -> Any:
    of_rows = np.repeat(labels, max(views, 1))
    return of_rows[:, None] == of_rows[None]


def _labels_as_positives(subject: Subject, program: Program, data: Data) -> Outcome:
    positives = _same_label(data.fixed["labels"], program.views)
    spelt = replace(program, optional=(("positives", "mask"),))
    first = subject(spelt, data.but(labels=None, positives=positives))
    return related(subject, program, data, first.loss, first.gradients)


def _views_are_rows(subject: Subject, program: Program, data: Data) -> Outcome:
    """(N, V, D) is (N V, D) with each label repeated."""
    embeddings = data.arrays["embeddings"]
    shape = (program.rows * program.views, program.features)
    rows = data.but(embeddings=embeddings.reshape(shape), labels=np.repeat(data.fixed["labels"], program.views))
    first = subject(replace(program, rows=shape[0], views=0), rows)
    gradients = {name: g.reshape(embeddings.shape) if g.ndim == 2 else g for name, g in first.gradients.items()}
    return related(subject, program, data, first.loss, gradients)


def _scaled_positives(subject: Subject, program: Program, data: Data) -> Outcome:
    """Only the ratios of a row's weights count, and what stands on the diagonal does not."""
    first = subject(program, data)
    scaled = data.fixed["positives"] * 2.0 ** np.arange(program.rows)[:, None]
    np.fill_diagonal(scaled, 3)
    return related(subject, program, data.but(positives=scaled), first.loss, first.gradients)


def _zeros_counted(subject: Subject, program: Program, data: Data) -> Outcome:
    """The mean over all rows, with zeros for those without a positive."""
    first = subject(_with(program, rows_without_positives="ignore"), data)
    share = float(np.mean(np.sum(_same_label(data.fixed["labels"], 0), axis=1) > 1))
    gradients = {name: share * g for name, g in first.gradients.items()}
    return related(subject, program, data, share * first.loss, gradients)
