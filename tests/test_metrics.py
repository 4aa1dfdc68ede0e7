"""What people watch beside the loss, against dense formulas, in every framework; and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from infonce import info_nce, metrics

from ._frameworks import AUTODIFF, Framework
from ._metrics import (
    BATCH,
    DTYPES,
    KEY,
    LOSSES,
    METRICS,
    OWN,
    QUERY,
    SHARED,
    TOP_K,
    UNCOMPILED,
    ZERO,
    D,
    N,
    arguments,
    check,
    of_loss,
    reference,
    same,
    wanted,
)


@pytest.mark.parametrize("case", METRICS)
def test_metrics_equal_the_formulas(framework: Framework, case: str) -> None:
    turn = [*METRICS].index(case) % 3  # what is compiled for each takes one of them
    for dtype, block_size in DTYPES if framework.name in UNCOMPILED else DTYPES[turn:][:1]:
        given = arguments(framework, METRICS[case], dtype)
        found = metrics(**given, top_k=TOP_K, block_size=block_size)
        check(framework, found, wanted(framework, given), dtype)


@pytest.mark.parametrize("framework", UNCOMPILED, indirect=True)
@pytest.mark.parametrize("case", METRICS | LOSSES)
def test_those_of_the_loss_equal_the_formulas(framework: Framework, case: str) -> None:
    """For the others together with the gradients."""
    for dtype, block_size in DTYPES:
        given = arguments(framework, (METRICS | LOSSES)[case], dtype)
        _, found = info_nce(**given, return_metrics=True, block_size=block_size)
        check(framework, found, of_loss(wanted(framework, given)), dtype)


@pytest.mark.parametrize("case", ["in-batch", "ids and paired"])
def test_half_precision_is_measured_in_float32(autodiff: Framework, case: str) -> None:
    given = arguments(autodiff, METRICS[case], "bfloat16")
    want = wanted(autodiff, given)
    check(autodiff, metrics(**given, top_k=TOP_K), want, "float32")
    check(autodiff, info_nce(**given, return_metrics=True)[1], of_loss(want), "float32")


@pytest.mark.parametrize("wide", ["query", "positive_key", "negative_keys"])
def test_one_embedding_in_float64_makes_all_of_them_float64(framework: Framework, wide: str) -> None:
    given = arguments(framework, SHARED | BATCH, "float32")
    given[wide] = framework.array(framework.values(given[wide]))
    want = wanted(framework, given)
    check(framework, info_nce(**given, return_metrics=True)[1], of_loss(want), "float64")
    check(framework, metrics(**given, top_k=TOP_K), want, "float64")


# Where a definition has to say what it means.


def test_a_negative_with_the_own_logit_ranks_first(framework: Framework) -> None:
    """One-hot rows and powers of two: their products are exact."""
    rows = np.eye(3)[[0, 0, 1, 2]]
    pairs = {"query": rows, "positive_key": rows, "temperature": 0.5, "normalize": False}
    twins = {
        "in-batch": (pairs, [2, 2, 1, 1]),
        "paired": (
            pairs | {"negative_keys": rows[[[0, 1], [2, 3], [2, 2], [0, 1]]], "negative_mode": "paired"},
            [3, 1, 3, 1],
        ),
        "both": (pairs | BATCH | {"negative_keys": rows[1:]}, [3, 3, 2, 2]),
        "same id": (pairs | {"ids": np.asarray([5, 5, 6, 7])}, [1, 1, 1, 1]),
    }
    for name, (case, ranks) in twins.items():
        given, rank = arguments(framework, case, "float32"), np.asarray(ranks)
        found = metrics(**given, top_k=TOP_K)
        values = {key: float(framework.values(x)) for key, x in found.items()}
        assert values["accuracy"] == np.mean(rank == 1), name
        assert [values[f"top_{k}"] for k in TOP_K] == [np.mean(rank <= k) for k in TOP_K], name
        assert values["mean_reciprocal_rank"] == pytest.approx(np.mean(1 / rank), rel=1e-6), name
        assert framework.values(info_nce(**given, return_metrics=True)[1]["accuracy"]) == np.mean(rank == 1), name
        check(framework, found, wanted(framework, given), "float32")


def test_collapsed_embeddings_show(framework: Framework) -> None:
    """All rows alike: nothing is found, all negatives are equally hard, and nothing is spread."""
    rows = framework.array(np.eye(2)[[0] * 5])
    found = {name: float(framework.values(x)) for name, x in metrics(rows, rows, top_k=(4, 5)).items()}
    exact = {"accuracy": 0, "top_4": 0, "top_5": 1, "effective_negatives": 4, "alignment": 0}
    assert {name: found[name] for name in exact} == exact
    assert found["mean_reciprocal_rank"] == pytest.approx(1 / 5)
    assert found["loss"] == pytest.approx(math.log(5))
    assert found["uniformity"] == pytest.approx(0, abs=8e-15)


@pytest.mark.parametrize("case", [{}, {"negative_keys": np.zeros((0, D))}, {"hardness": 1.0}])
def test_a_single_row_has_found_its_key(framework: Framework, case: dict[str, Any]) -> None:
    given = arguments(framework, {"query": QUERY[:1], "positive_key": KEY[:1], **case}, "float64")
    want = reference(QUERY[:1], KEY[:1])
    assert (want["accuracy"], want["effective_negatives"], want["uniformity"]) == (1, 0, 0)
    with pytest.warns(UserWarning, match="no negatives"):
        _, found = info_nce(**given, return_metrics=True)
    check(framework, found, of_loss(want), "float64")
    if "hardness" not in given:
        with pytest.warns(UserWarning, match="no negatives"):
            found = metrics(**given, top_k=TOP_K)
        check(framework, found, want, "float64")


@pytest.mark.parametrize("case", [{}, OWN | BATCH | {"normalize": False}], ids=["in-batch", "dot products"])
@pytest.mark.parametrize("name", ["query", "positive_key"])
def test_zero_rows_are_orthogonal_to_all(framework: Framework, name: str, case: dict[str, Any]) -> None:
    given = arguments(framework, case | {"temperature": 0.5, name: ZERO}, "float64")
    want = wanted(framework, given)
    check(framework, info_nce(**given, return_metrics=True)[1], of_loss(want), "float64")
    check(framework, metrics(**given, top_k=TOP_K), want, "float64")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_any_hardness_leaves_the_log_sum_exp(framework: Framework, dtype: str) -> None:
    """That of the plain logits, where exp(hardness z) leaves the dtype's range."""
    given = arguments(framework, {"hardness": 200.0, "temperature": np.asarray(0.1)}, dtype)
    check(framework, info_nce(**given, return_metrics=True)[1], of_loss(wanted(framework, given)), dtype)


@pytest.mark.parametrize("cosine", [1, -1])
def test_any_number_of_hard_negatives_is_counted(framework: Framework, cosine: int) -> None:
    """Even where their exponentials, of logits of 40, add up to a number whose square leaves float32's range."""
    pair = framework.array(np.eye(2)[[0, 0]], "float32")
    negatives = framework.array(np.eye(2)[[0] * 7000] * cosine, "float32")
    found = metrics(pair, pair, negatives, temperature=0.025)
    assert float(framework.values(found["effective_negatives"])) == pytest.approx(7000, rel=1e-5)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_reduction_is_that_of_the_loss_alone(framework: Framework, reduction: str) -> None:
    given = arguments(framework, SHARED | BATCH | {"weight": np.linspace(0, 1, N), "reduction": reduction}, "float64")
    loss, found = info_nce(**given, return_metrics=True)
    assert framework.values(loss).shape == ((N,) if reduction == "none" else ())
    same(framework, {"loss": loss}, {"loss": info_nce(**given)})
    check(framework, found, of_loss(wanted(framework, given)), "float64")


# What is refused.


@pytest.mark.parametrize(
    ("top_k", "error", "words"),
    [
        ((0,), ValueError, ("at least 1", "received 0")),
        ([5, -1], ValueError, ("at least 1", "received -1")),
        ((1.0,), TypeError, ("int", "received 1.0")),
        ((True,), TypeError, ("int", "received True")),
        (("1",), TypeError, ("int", "received '1'")),
        (5, TypeError, ("sequence", "received 5")),
    ],
)
def test_bad_top_k_is_refused(framework: Framework, top_k: Any, error: type[Exception], words: tuple[str, ...]) -> None:
    x = framework.array(KEY)
    with pytest.raises(error, match="top_k") as raised:
        metrics(x, x, top_k=top_k)
    for word in words:
        assert word in str(raised.value)


def test_each_k_has_its_name(framework: Framework) -> None:
    x = framework.array(KEY)
    for top_k, names in (((), []), ([np.int64(3), 1, 3], ["top_3", "top_1"])):
        assert [name for name in metrics(x, x, top_k=top_k) if name.startswith("top_")] == names
    assert "top_5" in metrics(x, x)


@pytest.mark.parametrize("wrong", [1, "yes", None])
def test_return_metrics_is_a_flag(wrong: Any) -> None:
    with pytest.raises(TypeError, match="return_metrics must be True or False"):
        info_nce(QUERY, KEY, return_metrics=wrong)


def test_every_autodiff_is_judged() -> None:
    assert AUTODIFF == ("torch", "jax", "tensorflow")
