"""What `nt_xent` and `sup_con` must equal: each other, or themselves on the same data given otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from infonce.conformance.cases._family_properties import (
    HARD,
    LABELS,
    LABELS_OF_VIEWS,
    MORE_VIEWS,
    VIEWS,
    Judge,
    property_case,
    title_of,
    with_arrays,
    with_options,
)
from infonce.conformance.cases._judge import related
from infonce.conformance.cases._programs import SUP_CON
from infonce.conformance.model import Array, Case, Data, Outcome, Program, Subject

WEIGHTED = Program("positives", 6, 5, loss=SUP_CON, optional=(("positives", "weights"),))


def cases() -> tuple[Case, ...]:
    return tuple(property_case(title, program, judge) for title, program, judge in _properties())


def _properties() -> Iterator[tuple[str, Program, Judge]]:
    for program in (VIEWS, MORE_VIEWS):
        yield f"views-are-labels-{title_of(program)}", with_arrays(program, weight="rows"), _views_are_labels
        yield f"views-are-labels-{title_of(program)}-hard", with_options(program, **dict(HARD)), _views_are_labels
        yield (
            f"views-are-labels-{title_of(program)}-excluded",
            with_options(program, exclude_positives=True),
            _views_are_labels,
        )
    yield "one-positive-excludes-no-other", with_options(VIEWS, exclude_positives=True), _one_positive
    yield "labels-as-positives", LABELS, _labels_as_positives
    yield "labels-of-views-as-positives", with_options(LABELS_OF_VIEWS, form="in"), _labels_as_positives
    yield "samples-of-views-are-rows", LABELS_OF_VIEWS, _views_are_rows
    yield "weights-of-positives-times-a-number", WEIGHTED, _scaled_positives
    yield "rows-without-positives-are-zeros", with_options(LABELS, rows_without_positives="zero"), _zeros_counted


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
    first = subject(with_options(program, exclude_positives=False), data)
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
    first = subject(with_options(program, rows_without_positives="ignore"), data)
    share = float(np.mean(np.sum(_same_label(data.fixed["labels"], 0), axis=1) > 1))
    gradients = {name: share * g for name, g in first.gradients.items()}
    return related(subject, program, data, share * first.loss, gradients)
