"""The judgement itself: rounding, and what counts as an error of how many tolerances."""

from __future__ import annotations

import math
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

from infonce.conformance.data import KINDS, generator, make, round_to
from infonce.conformance.model import Answer, Program
from infonce.conformance.oracle import info_nce
from infonce.conformance.tolerance import Exact, deviations

QUERY, KEY = np.random.default_rng(0).normal(size=(2, 6, 5))
INPUTS = {"query": QUERY, "positive_key": KEY, "temperature": np.asarray(0.1)}
EYES = {"query": np.eye(2), "positive_key": np.eye(2), "negative_keys": np.eye(2)[:1]}
EXACT = Exact(info_nce(QUERY, KEY, temperature=np.asarray(0.1)), INPUTS)


def answer(loss: float = 1.0, **factors: float) -> Answer:
    """The exact answer with the loss and gradients multiplied."""
    reference = EXACT.reference
    gradients = {name: np.asarray(g * factors.get(name, 1.0)) for name, g in reference.gradients.items()}
    return Answer(np.asarray(reference.loss * loss), gradients)


def worst(given: Answer, dtype: str, exact: Exact = EXACT) -> float:
    return max(found.error for found in deviations(given, exact, dtype))


def test_rounding_to_bfloat16_is_that_of_ml_dtypes() -> None:
    rng = np.random.default_rng(0)
    some = rng.normal(size=10_000).astype(np.float32) * 10.0 ** rng.integers(-40, 38, 10_000)
    ties = np.arange(1, 1000, 2).astype(np.float32) * np.float32(2.0**-9) + 1
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 3.4e38, 1e-45, 1.00390625])
    for x in (some, ties, special):
        with np.errstate(over="ignore"):
            want = x.astype(np.float32).astype(ml_dtypes.bfloat16).astype(np.float64)
        np.testing.assert_array_equal(round_to("bfloat16", x), want)
    assert round_to("bfloat16", 1.01).shape == ()


def test_rounding_to_the_others_is_numpys() -> None:
    assert round_to("float16", 1e-8) == 0
    assert round_to("float16", 70000.0) == np.inf
    assert round_to("float32", 0.1) == np.float32(0.1)
    assert round_to("float64", 0.1) == 0.1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("negatives", [None, (7,), (6, 4)])
def test_every_kind_of_data_fits_its_program_and_repeats(kind: str, negatives: tuple[int, ...] | None) -> None:
    program = Program("any", 6, 12, negatives, "rows", (("reduction", "none"),))
    first, second = (make(kind, program, 0.1, generator("a name")) for _ in range(2))
    assert first.query.shape == first.positive_key.shape == (6, 12)
    assert (None if first.negative_keys is None else first.negative_keys.shape) == (negatives and (*negatives, 12))
    assert np.shape(first.temperature) == np.shape(first.cotangent) == (6,)
    np.testing.assert_array_equal(first.query, second.query)
    assert not np.array_equal(first.query, make(kind, program, 0.1, generator("another")).query)


@pytest.mark.parametrize(("dtype", "eps"), [("float64", 2.0**-52), ("float32", 2.0**-23)])
def test_an_error_of_rounding_passes_and_one_of_a_thousandth_does_not(dtype: str, eps: float) -> None:
    assert worst(answer(), dtype) == 0
    assert worst(answer(1 + 4 * eps, query=1 + 4 * eps, temperature=1 + 4 * eps), dtype) < 1
    for changed in (answer(1.001), answer(query=1.001), answer(positive_key=0.999), answer(temperature=1.001)):
        assert worst(changed, dtype) > 10


def test_a_tiny_loss_is_judged_by_its_own_size() -> None:
    exact = Exact(info_nce(np.eye(2), np.eye(2), temperature=0.05), {"query": np.eye(2), "positive_key": np.eye(2)})
    gradients = exact.reference.gradients
    assert worst(Answer(np.asarray(0.0), gradients), "float32", exact) > 1000
    assert worst(Answer(np.asarray(exact.reference.loss * 1.00001), gradients), "float32", exact) < 1


def test_rows_of_other_lengths_do_not_hide_an_error() -> None:
    """The gradient of a row of length 1e20 is 1e-20 of the others', and must be right all the same."""
    scales = 10.0 ** np.array([[20], [0], [0], [0], [0], [-20]])
    exact = Exact(info_nce(QUERY * scales, KEY, temperature=np.asarray(0.1)), INPUTS | {"query": QUERY * scales})
    gradients = dict(exact.reference.gradients)
    gradients["query"] = gradients["query"] * np.array([[1.1], [1], [1], [1], [1], [1]])
    assert worst(Answer(np.asarray(exact.reference.loss), gradients), "float64", exact) > 1000


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_an_infinite_error_unless_expected(value: float) -> None:
    assert worst(answer(value), "float32") == math.inf
    assert worst(answer(query=value), "float32") == math.inf
    expected = replace(EXACT, reference=replace(EXACT.reference, loss=np.asarray(value)))
    given = Answer(np.asarray(value), EXACT.reference.gradients)
    assert worst(given, "float32", expected) == 0
    assert worst(answer(), "float32", expected) == math.inf


def test_missing_gradients_and_wrong_shapes_are_infinite_errors() -> None:
    given = answer()
    lacking = {name: g for name, g in given.gradients.items() if name != "temperature"}
    assert worst(Answer(given.loss, lacking), "float64") == math.inf
    assert worst(Answer(given.loss, given.gradients | {"query": given.gradients["query"][:3]}), "float64") == math.inf
    assert worst(Answer(given.loss[None], given.gradients), "float64") == math.inf


def test_a_zero_row_must_have_gradient_zero() -> None:
    query = QUERY.copy()
    query[1] = 0
    exact = Exact(info_nce(query, KEY, temperature=np.asarray(0.1)), INPUTS | {"query": query})
    gradients = {name: g.copy() for name, g in exact.reference.gradients.items()}
    given = Answer(np.asarray(exact.reference.loss), gradients)
    assert worst(given, "float32", exact) == 0
    gradients["query"][1, 0] = 1e-30
    assert worst(given, "float32", exact) == math.inf


@pytest.mark.parametrize(("dtype", "eps"), [("float64", 2.0**-52), ("float32", 2.0**-23)])
@pytest.mark.parametrize("name", ["weight", "bias"])
def test_weights_and_biases_are_judged_by_the_size_of_their_terms(name: str, dtype: str, eps: float) -> None:
    options = {"weight": np.linspace(0.5, 2, 6), "bias": np.linspace(-1, 1, 6)}
    exact = Exact(info_nce(QUERY, KEY, **options), {"query": QUERY, "positive_key": KEY})
    reference, terms = exact.reference, np.max(exact.reference.uncancelled[name])
    for off, passes in ((4 * eps * terms, True), (1e-3 * terms, False)):
        changed = dict(reference.gradients)
        changed[name] = changed[name] + off * (np.arange(6) == 2)
        found = worst(Answer(np.asarray(reference.loss), changed), dtype, exact)
        assert found < 1 if passes else found > 10
    with_inputs = replace(exact, inputs=exact.inputs | {name: np.asarray(options[name]) * 1e9})
    assert worst(Answer(np.asarray(reference.loss), changed), dtype, with_inputs) == found  # by no other scale


def test_a_decoupled_loss_near_zero_may_err_like_its_logits() -> None:
    """One negative exactly as near as the positive: A - z+ = 0, from logits of 10 that carry 1e-15 each."""
    reference = info_nce(np.eye(2), np.eye(2), np.eye(2)[:1], decoupled=True, reduction="none")
    assert reference.loss[0] == 0
    for dtype, off, passes in (("float64", 1e-14, True), ("float64", 1e-12, False), ("float32", 1e-6, True)):
        found = worst(Answer(reference.loss + off, reference.gradients), dtype, Exact(reference, EYES))
        assert (found < 1) == passes
    assert worst(Answer(reference.loss + 1e-4, reference.gradients), "float32", Exact(reference, EYES)) > 1


@pytest.mark.parametrize(("options", "size"), [({"hardness": 1.0}, 3), ({"debias": 0.5}, 1 + 2 / (2 * math.e**2 - 1))])
def test_what_magnifies_the_logits_errors_magnifies_what_is_allowed(options: dict[str, float], size: float) -> None:
    """A moves by 1 + 2 beta or (x + y) / (x - y) times what its logits move by at most; here x = e, y = 1 / (2 e)."""
    ones = np.array([[1.0, 0.0]])
    negatives = np.array([[1.0, 0.0], [1.0, 0.0]])
    plain = info_nce(ones, -ones, negatives, 1.0, decoupled=True)
    reference = info_nce(ones, -ones, negatives, 1.0, decoupled=True, **options)
    # The plain loss has slopes 1/2, 1/2 and -1.
    assert float(plain.sensitivity) == 1
    assert float(reference.sensitivity) == pytest.approx((size + 1) / 2, rel=1e-13)


def test_half_precision_may_err_twice_as_much_as_the_plain_formula() -> None:
    query, key = round_to("bfloat16", QUERY), round_to("bfloat16", KEY)
    plain = info_nce(query, key, temperature=np.asarray(0.125), dtype=np.float32)
    exact = Exact(
        info_nce(query, key, temperature=np.asarray(0.125)),
        {"query": query, "positive_key": key, "temperature": np.asarray(0.125)},
        plain=plain,
    )
    rounded = {name: round_to("bfloat16", g) for name, g in plain.gradients.items()}
    loss = np.asarray(plain.loss, np.float64)
    assert worst(Answer(loss, rounded), "bfloat16", exact) <= 0.5
    off = rounded | {"query": rounded["query"] * (1 + 2.0**-5)}
    assert worst(Answer(loss, off), "bfloat16", exact) > 1
    assert worst(Answer(round_to("bfloat16", loss), rounded), "bfloat16", exact) > 1
