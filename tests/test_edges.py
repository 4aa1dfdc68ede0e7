"""Where options meet the ends of their ranges: nothing left, infinite biases, no rows, sizes known at run time only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from infonce import info_nce, metrics, nt_xent, sup_con, value_and_grad
from infonce.conformance import oracle

from ._frameworks import NAMES, Framework
from ._frameworks import framework as framework_of

N, D = 6, 5
RNG = np.random.default_rng(0)
QUERY, KEY = RNG.normal(size=(2, N, D))
LABELS = np.arange(N) // 2


@pytest.fixture(params=NAMES)
def framework(request: pytest.FixtureRequest) -> Iterator[Framework]:
    found = framework_of(request.param)
    with found.settings():
        yield found


@pytest.mark.parametrize(
    "options", [{"hardness": 5.0}, {"hardness": 5.0, "debias": 0.1}, {"hardness": 5.0, "decoupled": True}]
)
@pytest.mark.parametrize("block_size", [None, 4])
def test_hard_negatives_where_a_row_and_a_key_have_none(
    framework: Framework, options: dict[str, Any], block_size: int | None
) -> None:
    mask = np.ones((N, N), bool)
    mask[:, 2] = mask[2, :] = False
    query, key = (framework.array(x, "float32") for x in (QUERY, KEY))
    temperature = framework.array(np.asarray(0.5), "float32")
    call = {"mask": framework.array(mask), "symmetric": True, "block_size": block_size, **options}
    loss, gradients = value_and_grad(info_nce)(query, key, temperature=temperature, **call)
    rounded = [np.asarray(x, np.float32) for x in (QUERY, KEY)]
    want = oracle.info_nce(*rounded, temperature=np.asarray(0.5), mask=mask, symmetric=True, **options)
    assert framework.values(loss) == pytest.approx(want.loss, rel=1e-5)
    for name, gradient in gradients.items():
        found, wanted = framework.values(gradient), want.gradients[name]
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 * np.max(np.abs(wanted)))


@pytest.mark.parametrize("lowest", [-1e9, -np.inf])
@pytest.mark.parametrize("block_size", [None, 4])
def test_a_bias_of_minus_infinity_bars_a_pair_in_its_own_direction(
    framework: Framework, lowest: float, block_size: int | None
) -> None:
    barred = (RNG.random((N, N)) < 0.3) & ~np.eye(N, dtype=bool)
    bias, arrays = np.where(barred, lowest, 0.0), (QUERY, KEY)
    t = np.asarray(0.3)
    given = [framework.array(x) for x in arrays]
    call = {"temperature": framework.array(t), "block_size": block_size}
    loss, gradients = value_and_grad(info_nce)(*given, bias=framework.array(bias), symmetric=True, **call)
    one = oracle.info_nce(*arrays, temperature=t, mask=~barred)
    other = oracle.info_nce(KEY, QUERY, temperature=t)
    assert framework.values(loss) == pytest.approx((one.loss + other.loss) / 2, rel=1e-12)
    turned = {"query": "positive_key", "positive_key": "query", "temperature": "temperature"}
    for name, same in turned.items():
        want = (one.gradients[name] + other.gradients[same]) / 2
        np.testing.assert_allclose(framework.values(gradients[name]), want, rtol=1e-10, atol=1e-12)
    found = framework.values(gradients["bias"])
    assert np.all(found[barred] == 0)
    assert np.all(np.isfinite(found))


@pytest.mark.parametrize("mode", ["in-batch", "unpaired"])
def test_a_bias_of_minus_infinity_may_bar_all_negatives(framework: Framework, mode: str) -> None:
    """Of the first row, or of all: loss 0 and gradient 0 there, as under a mask."""
    query, key = framework.array(QUERY), framework.array(KEY)
    bias = np.zeros((N, N))
    bias[0, 1:] = -np.inf
    if mode == "unpaired":
        bias[:] = -np.inf
    negatives = key if mode == "unpaired" else None
    loss, gradients = value_and_grad(info_nce)(query, key, negatives, bias=framework.array(bias), reduction="sum")
    masked, want = value_and_grad(info_nce)(query, key, negatives, mask=framework.array(bias == 0), reduction="sum")
    assert framework.values(loss) == pytest.approx(framework.values(masked), rel=1e-13)
    for name, gradient in want.items():
        np.testing.assert_allclose(framework.values(gradients[name]), framework.values(gradient), rtol=0, atol=1e-13)
    assert np.all(framework.values(gradients["bias"])[np.isinf(bias)] == 0)


def test_a_row_alone_has_nothing_to_smooth(framework: Framework) -> None:
    row = framework.array(QUERY[:1])
    loss, gradients = value_and_grad(sup_con)(row, framework.array(LABELS[:1]), label_smoothing=0.1)
    assert framework.values(loss) == 0
    assert np.all(framework.values(gradients["embeddings"]) == 0)


@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_no_rows_at_all(framework: Framework, reduction: str) -> None:
    nothing, labels = framework.array(QUERY[:0]), framework.array(LABELS[:0])
    shape = () if reduction == "sum" else (0,)
    for loss in (
        sup_con(nothing, labels, reduction=reduction),
        nt_xent(nothing, nothing, decoupled=True, reduction=reduction),
        nt_xent(nothing, nothing, reduction=reduction),
        info_nce(nothing, nothing, hardness=1.0, symmetric=True, reduction=reduction),
    ):
        assert framework.values(loss).shape == shape
        assert np.all(framework.values(loss) == 0)


def test_rows_of_nan_are_not_found(framework: Framework) -> None:
    found = metrics(framework.array(np.full((N, D), np.nan)), framework.array(KEY))
    assert framework.values(found["top_5"]) == 0
    assert framework.values(found["accuracy"]) == 0
    assert np.isnan(framework.values(found["mean_reciprocal_rank"]))


def test_ids_of_two_dtypes_are_refused(framework: Framework) -> None:
    query, key = framework.array(QUERY), framework.array(KEY)
    ids, others = framework.array(LABELS.astype(np.int32)), framework.array(LABELS.astype(np.int64))
    with pytest.raises(TypeError, match="ids and negative_ids must have the same dtype; received int32 and int64"):
        info_nce(query, key, key, ids=ids, negative_ids=others)


ROWS, ANY = tf.TensorSpec([None, D], tf.float64), tf.TensorSpec([None, None], tf.float64)
NUMBERS, INTEGERS = tf.TensorSpec([None], tf.float64), tf.TensorSpec([None], tf.int64)
MASK = RNG.random((N, 1)) < 0.7
OPEN: dict[str, tuple[Callable[..., Any], list[Any], list[Any]]] = {
    "views": (nt_xent, [ROWS, ROWS], [QUERY, KEY]),
    "views of unknown width": (nt_xent, [ANY, ANY], [QUERY, KEY]),
    "decoupled views of unknown width": (lambda a, b: nt_xent(a, b, decoupled=True), [ANY, ANY], [QUERY, KEY]),
    "labels": (sup_con, [ROWS, INTEGERS], [QUERY, LABELS]),
    "gradients of views": (
        lambda a, b: value_and_grad(nt_xent)(a, b)[1]["views"][1],
        *([ROWS, ROWS], [QUERY, KEY]),
    ),
    "a mask of rows": (
        lambda a, b, c, mask: info_nce(a, b, c, in_batch=True, mask=mask),
        *([ROWS, ROWS, ROWS, tf.TensorSpec([None, 1], tf.bool)], [QUERY, KEY, KEY[:4], MASK]),
    ),
    "a bias": (lambda a, b, bias: info_nce(a, b, bias=bias), [ROWS, ROWS, NUMBERS], [QUERY, KEY, np.arange(6.0)]),
}
MISMATCHED: dict[str, tuple[Callable[..., Any], list[Any], list[Any]]] = {
    "views": (nt_xent, [ROWS, ROWS], [QUERY[:4], KEY]),
    "labels": (sup_con, [ROWS, INTEGERS], [QUERY, LABELS[:1]]),
    "weight": (lambda a, b, w: nt_xent(a, b, weight=w), [ROWS, ROWS, NUMBERS], [QUERY, KEY, np.ones(1)]),
    "bias": (lambda a, b, bias: info_nce(a, b, bias=bias), [ROWS, ROWS, NUMBERS], [QUERY, KEY, np.ones(1)]),
    "bias of one row": (lambda a, b, bias: info_nce(a, b, bias=bias), [ROWS, ROWS, ANY], [QUERY, KEY, np.ones((1, N))]),
}


@pytest.mark.parametrize("name", OPEN)
def test_sizes_that_only_the_run_knows(name: str) -> None:
    fn, signature, arrays = OPEN[name]
    found = tf.function(fn, input_signature=signature)(*map(tf.constant, arrays))
    np.testing.assert_allclose(found.numpy(), fn(*map(tf.constant, arrays)).numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", MISMATCHED)
def test_sizes_that_turn_out_to_differ_are_refused(name: str) -> None:
    fn, signature, arrays = MISMATCHED[name]
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.function(fn, input_signature=signature)(*map(tf.constant, arrays))


@pytest.mark.parametrize("exponent", [-56, -53, -51, 0])
@pytest.mark.parametrize("block_size", [None, 1])
def test_gradients_of_tiny_losses_of_rows_of_any_scale(
    framework: Framework, exponent: int, block_size: int | None
) -> None:
    """Rows of 2^e times the length have the same loss, here 1e-31, and 2^-e times the gradient."""
    noise = 0.05 * np.random.default_rng(0).normal(size=(2, 2, 6))
    query = np.asarray([[1.0] + [0.0] * 5, [-1.0] + [0.0] * 5]) + noise[0]
    query, key = np.asarray([query, query + noise[1]], np.float32)
    want = oracle.info_nce(query, key, temperature=0.028)
    rows = [framework.array(np.ldexp(x, exponent), "float32") for x in (query, key)]
    loss, gradients = value_and_grad(info_nce)(*rows, temperature=0.028, block_size=block_size)
    assert framework.values(loss) == pytest.approx(want.loss, rel=1e-4)
    for name, gradient in gradients.items():
        found, wanted = np.ldexp(framework.values(gradient), exponent), want.gradients[name]
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 * np.max(np.abs(wanted)))


@pytest.mark.parametrize("temperature", [1e-30, 1e-24, 1e20, 1e30])
def test_numpy_gradients_at_temperatures_far_from_one(temperature: float) -> None:
    query, key = np.float32(QUERY), np.float32(QUERY[[1, 0, 3, 2, 5, 4]])
    loss, gradients = value_and_grad(info_nce)(query, key, temperature=temperature)
    want = oracle.info_nce(query, key, temperature=temperature)
    assert float(loss) == pytest.approx(float(want.loss), rel=1e-5)
    for name, gradient in gradients.items():
        scale = np.max(np.abs(want.gradients[name]))
        np.testing.assert_allclose(gradient, want.gradients[name], rtol=0, atol=1e-5 * scale + 1e-45)


@pytest.mark.parametrize("temperature", [0.5, 0.1, 0.01])
@pytest.mark.parametrize("options", [{}, {"symmetric": True}], ids=str)
def test_numpy_losses_of_rows_that_are_all_the_same(temperature: float, options: dict[str, Any]) -> None:
    """log N, and a gradient of 0: sums of equal numbers are where errors all have one sign."""
    rows = np.tile(np.random.default_rng(0).normal(size=16).astype(np.float32), (4096, 1))
    loss, gradients = value_and_grad(info_nce)(rows, rows, temperature=temperature, **options)
    assert float(loss) == pytest.approx(np.log(len(rows)), rel=0, abs=2 * float(np.spacing(np.float32(8))))
    for gradient in gradients.values():
        assert np.max(np.abs(gradient)) * temperature * len(rows) < 4e-6
