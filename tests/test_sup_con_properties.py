"""`sup_con`: how positives can be given, rows without them, and what must hold for any input."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from infonce import nt_xent, sup_con, value_and_grad

from ._frameworks import Framework

pytestmark = pytest.mark.filterwarnings("ignore:there are no negatives:UserWarning")

FEATURES = 4
LABELS = np.array([3, -1, 3, 7, 3, -1, 5])  # of 7 samples; two are alone


# How the positives can be given.


def embeddings_of(framework: Framework, *shape: int) -> Any:
    return framework.array(np.random.default_rng(1).normal(size=(*shape, FEATURES)))


def number(framework: Framework, loss: Any) -> float:
    return float(framework.values(loss))


@pytest.mark.parametrize(
    ("count", "options"), [(2, {}), (3, {"margin": 0.1, "debias": 0.1}), (3, {"exclude_positives": True})], ids=str
)
def test_nt_xent_is_sup_con_of_the_stacked_views(framework: Framework, count: int, options: dict[str, Any]) -> None:
    views = np.random.default_rng(2).normal(size=(count, 5, FEATURES))
    arrays = [framework.array(view) for view in views]
    loss, gradients = value_and_grad(nt_xent)(*arrays, temperature=0.2, **options)
    stacked, samples = framework.array(np.concatenate(views)), framework.array(np.tile(np.arange(5), count))
    other, found = value_and_grad(sup_con)(stacked, samples, 0.2, **options)
    assert number(framework, loss) == pytest.approx(number(framework, other), rel=1e-13)
    of_views = np.concatenate([framework.values(g) for g in gradients["views"]])
    np.testing.assert_allclose(of_views, framework.values(found["embeddings"]), rtol=0, atol=1e-14)


def test_views_of_a_sample_are_rows_with_its_label(framework: Framework) -> None:
    embeddings = np.random.default_rng(2).normal(size=(7, 3, FEATURES))
    rows = framework.array(embeddings.reshape(21, FEATURES))
    flat = sup_con(rows, framework.array(np.repeat(LABELS, 3)), reduction="none")
    by_view = sup_con(framework.array(embeddings), framework.array(LABELS), reduction="none")
    assert framework.values(by_view).shape == (7, 3)
    np.testing.assert_allclose(framework.values(by_view).reshape(-1), framework.values(flat), rtol=1e-13)


def test_labels_are_the_matrix_of_equal_labels(framework: Framework) -> None:
    x, labels = embeddings_of(framework, 7), framework.array(LABELS)
    by_label = framework.values(sup_con(x, labels, reduction="none"))
    same = LABELS[:, None] == LABELS
    for matrix in (same, same & ~np.eye(7, dtype=bool), same.astype(np.float64), 2.5 * same):
        got = sup_con(x, positives=framework.array(matrix), reduction="none")
        np.testing.assert_allclose(framework.values(got), by_label, rtol=1e-13)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8])
def test_labels_are_any_integers(framework: Framework, dtype: type[np.integer[Any]]) -> None:
    x, highest = embeddings_of(framework, 7), np.iinfo(dtype).max
    far = np.array([highest, 0, highest, highest - 1, highest, 0, 9], dtype=dtype)  # 2^63 - 1 and the one below differ
    got = sup_con(x, framework.array(far), reduction="none")
    want = sup_con(x, framework.array(LABELS), reduction="none")
    np.testing.assert_allclose(framework.values(got), framework.values(want), rtol=1e-14)


def test_smaller_weights_of_positives_count_less(framework: Framework) -> None:
    x = embeddings_of(framework, 4)
    both, first = np.zeros((4, 4)), np.zeros((4, 4))
    both[0], first[0] = [0, 1, 1, 0], [0, 1, 0, 0]
    nearly = np.where(both > 0, [[1, 1, 1e-12, 1]], 0)
    z = framework.values(x)
    z = z / np.linalg.norm(z, axis=1, keepdims=True) @ z[0] / np.linalg.norm(z[0]) / 0.1
    want = np.logaddexp.reduce(z[1:]) - z[1]  # the third row stays in the denominator, as long as it is a positive
    assert number(framework, sup_con(x, positives=framework.array(nearly))) == pytest.approx(want, rel=1e-10)
    assert number(framework, sup_con(x, positives=framework.array(first))) == pytest.approx(want, rel=1e-13)


# Rows without positives, rows without negatives.


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("form", ["out", "in"])
@pytest.mark.parametrize("rule", ["ignore", "zero"])
def test_without_any_positive_all_is_zero(framework: Framework, rule: str, form: str, reduction: str) -> None:
    x, t, weight = embeddings_of(framework, 5), framework.array(np.array(0.3)), framework.array(np.ones(5))
    loss, found = value_and_grad(sup_con)(
        x,
        framework.array(np.arange(5)),
        t,
        reduction,
        form=form,
        rows_without_positives=rule,
        weight=weight,
        label_smoothing=0.1,
    )
    assert number(framework, loss) == 0
    assert set(found) == {"embeddings", "temperature", "weight"}
    for gradient in found.values():
        assert not np.any(framework.values(gradient))


def test_rows_without_positives_are_left_out_or_count_as_zero(framework: Framework) -> None:
    x, labels = embeddings_of(framework, 7), framework.array(LABELS)
    rows = framework.values(sup_con(x, labels, reduction="none"))
    alone = np.array([3, 6])
    assert not np.any(rows[alone])
    assert np.all(np.delete(rows, alone) > 0)
    assert number(framework, sup_con(x, labels)) == pytest.approx(rows.sum() / 5, rel=1e-14)
    zero = sup_con(x, labels, rows_without_positives="zero")
    assert number(framework, zero) == pytest.approx(rows.sum() / 7, rel=1e-14)
    # Among the candidates of the others they remain.
    fewer = framework.array(np.delete(framework.values(x), alone, axis=0))
    assert number(framework, sup_con(fewer, framework.array(np.delete(LABELS, alone)))) < rows.sum() / 5


@pytest.mark.parametrize(
    ("options", "want"),
    [
        ({}, math.log(4)),  # lse_pos - mean_pos of 4 equal logits
        ({"form": "in"}, math.log(4)),
        ({"hardness": 1.0, "debias": 0.1}, math.log(4)),
        ({"decoupled": True}, 0.0),
        ({"exclude_positives": True}, 0.0),
    ],
    ids=str,
)
def test_rows_without_negatives(framework: Framework, options: dict[str, Any], want: float) -> None:
    x, labels = framework.array(np.ones((5, FEATURES))), framework.array(np.zeros(5, dtype=np.int64))
    t = framework.array(np.array(0.3))
    loss, found = value_and_grad(sup_con)(x, labels, t, **options)
    assert number(framework, loss) == pytest.approx(want, rel=1e-14, abs=0)
    for gradient in found.values():
        np.testing.assert_allclose(framework.values(gradient), 0, atol=1e-14)


def test_weights_that_are_all_zero(framework: Framework) -> None:
    x, labels = embeddings_of(framework, 7), framework.array(LABELS)
    loss, found = value_and_grad(sup_con)(x, labels, weight=framework.array(np.zeros(7)))
    assert number(framework, loss) == 0
    assert all(np.all(np.isfinite(framework.values(gradient))) for gradient in found.values())
    assert not np.any(framework.values(found["embeddings"]))


# Properties.


def test_ids_that_are_all_distinct_change_nothing(framework: Framework) -> None:
    views = [embeddings_of(framework, 5), framework.array(np.random.default_rng(2).normal(size=(5, FEATURES)))]
    plain = nt_xent(*views, reduction="none")
    got = nt_xent(*views, reduction="none", ids=framework.array(np.array([5, -3, 8, 0, 2])))
    np.testing.assert_allclose(framework.values(got), framework.values(plain), rtol=1e-14)


def test_samples_with_one_id_are_no_negatives_of_each_other(framework: Framework) -> None:
    x, y = np.random.default_rng(2).normal(size=(2, 3, FEATURES))
    views, twins = [framework.array(x), framework.array(y)], framework.array(np.array([4, 4, 9]))
    got = framework.values(nt_xent(*views, ids=twins, reduction="none"))
    without = [framework.array(view[[0, 2]]) for view in (x, y)]
    want = framework.values(nt_xent(*without, reduction="none"))
    np.testing.assert_allclose(got[[0, 3]], want[[0, 2]], rtol=1e-13)  # the first sample's rows, in either view


@pytest.mark.parametrize("name", ["label_smoothing", "margin", "debias", "hardness"])
def test_options_of_zero_are_the_plain_loss(framework: Framework, name: str) -> None:
    x, labels = embeddings_of(framework, 7), framework.array(LABELS)
    plain = framework.values(sup_con(x, labels, reduction="none"))
    for zero in (0, 0.0, -0.0):
        option: dict[str, Any] = {name: zero}
        got = framework.values(sup_con(x, labels, reduction="none", **option))
        np.testing.assert_array_equal(got, plain)


def test_outside_the_logarithm_is_never_less_than_inside(framework: Framework) -> None:
    x, labels = embeddings_of(framework, 7), framework.array(LABELS)
    out = framework.values(sup_con(x, labels, reduction="none"))
    inside = framework.values(sup_con(x, labels, reduction="none", form="in"))
    assert np.all(out[[0, 2, 4]] > inside[[0, 2, 4]])  # three of a class
    np.testing.assert_allclose(out[[1, 5]], inside[[1, 5]], rtol=1e-13)  # two: a single positive each


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_tiny_losses_do_not_cancel(framework: Framework, dtype: str) -> None:
    t, eye = 0.05, np.repeat(np.eye(2), 2, axis=0)
    x, labels = framework.array(eye, dtype), framework.array(np.array([0, 0, 1, 1]))
    loss, found = value_and_grad(sup_con)(x, labels, t)
    p = 2 * math.exp(-1 / t) / (1 + 2 * math.exp(-1 / t))
    relative = 5e-5 if dtype == "float32" else 1e-12
    assert number(framework, loss) == pytest.approx(math.log1p(2 * math.exp(-1 / t)), rel=relative, abs=0)
    # A row moves towards the other label's two, as their query and as their candidate.
    want = 2 * p / t / 4 * eye[:, ::-1]
    np.testing.assert_allclose(framework.values(found["embeddings"]), want, rtol=relative, atol=1e-30)


def test_keywords_and_defaults(framework: Framework) -> None:
    x, labels = embeddings_of(framework, 7), framework.array(LABELS)
    plain = number(framework, sup_con(x, labels))
    explicit = sup_con(
        embeddings=x,
        labels=labels,
        temperature=0.1,
        reduction="mean",
        form="out",
        positives=None,
        rows_without_positives="ignore",
        normalize=True,
        weight=None,
        label_smoothing=0.0,
        margin=0.0,
        decoupled=False,
        debias=0.0,
        hardness=0.0,
        exclude_positives=False,
        block_size=None,
    )
    assert number(framework, explicit) == plain
