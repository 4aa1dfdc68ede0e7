"""What `sup_con`, and `nt_xent` with the options that they share, refuse, and in which words."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from infonce import nt_xent, sup_con, value_and_grad

from ._frameworks import Framework

FEATURES = 4
LABELS = np.array([3, -1, 3, 7, 3, -1, 5])


def embeddings_of(framework: Framework, *shape: int) -> Any:
    return framework.array(np.random.default_rng(1).normal(size=(*shape, FEATURES)))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"form": "both"}, ValueError, r"form must be one of 'out', 'in'; received 'both'"),
        ({"rows_without_positives": "drop"}, ValueError, r"rows_without_positives must be one of .*'ignore', 'zero'"),
        ({"reduction": "avg"}, ValueError, r"reduction must be one of 'none', 'mean', 'sum'; received 'avg'"),
        ({"temperature": 0.0}, ValueError, "temperature must be positive"),
        ({"normalize": 1}, TypeError, "normalize must be True or False; received 1"),
        ({"block_size": 0}, ValueError, "block_size must be at least 1"),
        ({"label_smoothing": 1.0}, ValueError, "label_smoothing must be at least 0 and less than 1; received 1.0"),
        ({"label_smoothing": -0.1}, ValueError, "label_smoothing must be .*received -0.1"),
        ({"label_smoothing": "0.1"}, TypeError, "label_smoothing must be a number; received '0.1'"),
        ({"debias": 1}, ValueError, "debias must be at least 0 and less than 1; received 1"),
        ({"hardness": -1.0}, ValueError, "hardness must be .*received -1.0"),
        ({"hardness": math.inf}, ValueError, "hardness must be .*received inf"),
        ({"margin": math.nan}, ValueError, "margin must be finite; received nan"),
        ({"decoupled": 1}, TypeError, "decoupled must be True or False; received 1"),
        ({"exclude_positives": None}, TypeError, "exclude_positives must be True or False; received None"),
        ({"label_smoothing": 0.1, "decoupled": True}, ValueError, "label_smoothing and decoupled exclude each other"),
        ({"label_smoothing": 0.1, "debias": 0.1}, ValueError, "label_smoothing and debias exclude each other"),
        ({"label_smoothing": 0.1, "hardness": 1.0}, ValueError, "label_smoothing and hardness exclude each other"),
        (
            {"label_smoothing": 0.1, "exclude_positives": True},
            ValueError,
            "exclude_positives and label_smoothing exclude",
        ),
        ({"exclude_positives": True, "decoupled": True}, ValueError, "exclude_positives and decoupled exclude each"),
        ({"normalize": False, "debias": 0.1}, ValueError, "debias needs cosine"),
        ({"normalize": False, "hardness": 0.1}, ValueError, "hardness needs cosine"),
    ],
    ids=str,
)
def test_options_that_are_wrong(
    framework: Framework, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    x, labels = embeddings_of(framework, 7), framework.array(LABELS)
    with pytest.raises(error, match=words):
        sup_con(x, labels, **options)
    if options.keys().isdisjoint({"form", "rows_without_positives"}):
        with pytest.raises(error, match=words):
            nt_xent(x, x, **options)


def test_form_in_leaves_no_positive_to_exclude(framework: Framework) -> None:
    with pytest.raises(ValueError, match="exclude_positives"):
        sup_con(embeddings_of(framework, 7), framework.array(LABELS), form="in", exclude_positives=True)


def test_labels_or_positives_and_not_both(framework: Framework) -> None:
    x, labels = embeddings_of(framework, 7), framework.array(LABELS)
    for options in ({}, {"labels": labels, "positives": framework.array(np.ones((7, 7)))}):
        with pytest.raises(ValueError, match=r"labels.*positives"):
            sup_con(x, **options)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("labels", np.zeros(6, dtype=np.int64), ValueError),
        ("labels", np.zeros((7, 1), dtype=np.int64), ValueError),
        ("labels", np.zeros(7), TypeError),
        ("labels", np.zeros(7, dtype=bool), TypeError),
        ("positives", np.ones((7, 6)), ValueError),
        ("positives", np.ones(7), ValueError),
        ("positives", np.ones((7, 7), dtype=np.int64), TypeError),
        ("weight", np.ones(6), ValueError),
        ("weight", np.ones((7, 1)), ValueError),
        ("weight", np.ones(7, dtype=np.int64), TypeError),
        ("temperature", np.ones(6), ValueError),
    ],
    ids=lambda x: f"{x.shape}-{x.dtype}" if isinstance(x, np.ndarray) else str(x),
)
def test_arrays_that_do_not_fit(framework: Framework, name: str, value: NDArray[Any], error: type[Exception]) -> None:
    arrays = {name: framework.array(value)}
    if name not in ("labels", "positives"):
        arrays["labels"] = framework.array(LABELS)
    words = rf"{name} must .*received" if error is TypeError else rf"{name} must .*received shape \({len(value)}"
    with pytest.raises(error, match=words):
        sup_con(embeddings_of(framework, 7), **arrays)


def test_positives_by_row_of_several_views(framework: Framework) -> None:
    with pytest.raises(ValueError, match=r"positives must .*\(14, 14\).*received shape \(7, 7\)"):
        sup_con(embeddings_of(framework, 7, 2), positives=framework.array(np.ones((7, 7))))


@pytest.mark.parametrize("shape", [(), (2, 2, 2)])
def test_embeddings_of_other_dimensions(framework: Framework, shape: tuple[int, ...]) -> None:
    labels = framework.array(np.zeros(shape[:1] or 4, dtype=np.int64))
    with pytest.raises(ValueError, match=r"embeddings must have 2 dimensions, \(N, D\), or 3, \(N, V, D\).*received"):
        sup_con(embeddings_of(framework, *shape), labels)


def test_arrays_of_another_framework_are_refused() -> None:
    with pytest.raises(TypeError, match=r"torch.*numpy|numpy.*torch"):
        sup_con(torch.ones(7, 3), LABELS)
    with pytest.raises(TypeError, match=r"torch.*numpy|numpy.*torch"):
        nt_xent(torch.ones(7, 3), torch.ones(7, 3), ids=np.arange(7))


@pytest.mark.parametrize("name", ["ids", "weight", "temperature"])
def test_per_sample_arrays_of_nt_xent_that_do_not_fit(framework: Framework, name: str) -> None:
    views = [embeddings_of(framework, 7), embeddings_of(framework, 7)]
    wrong = np.arange(14) if name == "ids" else np.ones(14)  # one for each row is not one for each sample
    with pytest.raises(ValueError, match=rf"{name} must .*received shape \(14,\)"):
        nt_xent(*views, **{name: framework.array(wrong)})


def test_no_gradient_by_value_and_grad_for_one_loss_per_row(framework: Framework) -> None:
    with pytest.raises(ValueError, match='reduction must be "mean" or "sum"; received "none"'):
        value_and_grad(sup_con)(embeddings_of(framework, 7), framework.array(LABELS), reduction="none")
