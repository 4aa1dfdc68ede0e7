"""The oracle's options where their answer is known without it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from infonce.conformance.oracle import info_nce

from ._oracle import MODES, OPTIONS, ROWS, draw, option


@pytest.mark.parametrize(
    "options",
    [{"label_smoothing": 0.0, "margin": 0.0, "debias": 0.0, "hardness": 0.0}]
    + [{name: value} for name, value in (("mask", True), ("weight", np.ones(ROWS)), ("bias", np.full(5, 0.0)))]
    + [{"ids": np.arange(ROWS)}, {"ids": np.arange(ROWS), "negative_ids": np.full(5, -1)}],
)
def test_neutral_options_are_the_plain_loss(options: dict[str, Any]) -> None:
    plain, got = info_nce(**draw("unpaired")), info_nce(**draw("unpaired"), **options)
    assert float(got.loss) == pytest.approx(float(plain.loss), rel=1e-15)
    for name, gradient in plain.gradients.items():
        np.testing.assert_array_equal(got.gradients[name], gradient)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_masked_candidate_is_that_candidate_removed(name: str) -> None:
    arrays, rng = draw("unpaired") | {"temperature": np.asarray(0.3)}, np.random.default_rng(1)
    options = {key: x for each in OPTIONS[name] for key, x in option(each, "unpaired", rng).items()}
    few = dict(arrays, negative_keys=arrays["negative_keys"][:3])
    fewer = {key: x[..., :3] if key in ("mask", "bias", "negative_ids") else x for key, x in options.items()}
    mask = np.broadcast_to(options.get("mask", True), (ROWS, 5)) & (np.arange(5) < 3)
    got, want = info_nce(**arrays, **options | {"mask": mask}), info_nce(**few, **fewer)
    assert float(got.loss) == pytest.approx(float(want.loss), rel=1e-14)
    assert not got.gradients["negative_keys"][3:].any()
    got.gradients["negative_keys"] = got.gradients["negative_keys"][:3]
    if "bias" in options:
        assert not got.gradients["bias"][..., 3:].any()
        got.gradients["bias"] = got.gradients["bias"][..., :3]
    for key, gradient in want.gradients.items():
        np.testing.assert_allclose(got.gradients[key], gradient, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("mode", ["in-batch", "symmetric", "paired"])
def test_rows_without_negatives_have_loss_and_gradient_zero(mode: str, name: str) -> None:
    rng = np.random.default_rng(1)
    options = MODES[mode][1] | {key: x for each in OPTIONS[name] for key, x in option(each, mode, rng).items()}
    got = info_nce(**draw(mode), **options | {"mask": False, "reduction": "none"}, temperature=np.asarray(0.3))
    assert not got.loss.any()
    assert not any(gradient.any() for gradient in got.gradients.values())


@pytest.mark.parametrize("t", [0.05, 0.3, 2.0])
def test_debias_is_bounded_where_the_correction_exceeds_the_negatives(t: float) -> None:
    """Aligned positives, orthogonal negatives and tau above exp(-1/t): only the least possible mean is left."""
    rows, negatives = np.eye(5)[:3], np.eye(5)[3:]
    got = info_nce(rows, rows, negatives, np.asarray(t), debias=0.7, normalize=True)
    above = math.log(2) - 1 / t - 1 / t
    assert float(got.loss) == pytest.approx(math.log1p(math.exp(above)), rel=1e-13)
    missed = 1 / (1 + math.exp(-above))
    assert not got.gradients["negative_keys"].any()
    assert got.gradients["temperature"] == pytest.approx(missed * 2 / t**2, rel=1e-13)


def test_weights_of_zero() -> None:
    arrays = draw("unpaired") | {"temperature": np.asarray(0.3)}
    got = info_nce(**arrays, weight=np.zeros(ROWS))
    assert float(got.loss) == 0
    assert not any(gradient.any() for gradient in got.gradients.values())
    some = info_nce(**arrays, weight=np.array([2.0, 0, 1, 0]))
    rows = info_nce(**arrays, reduction="none").loss
    assert float(some.loss) == pytest.approx((2 * rows[0] + rows[2]) / 3, rel=1e-14)


def test_tiny_losses_keep_their_digits_under_options() -> None:
    """Two orthonormal pairs at t = 0.014: exp(-71) beside 1."""
    eye, t = np.eye(2), 0.014
    tiny = math.exp(-1 / t)
    assert float(info_nce(eye, eye, temperature=t, hardness=2.0).loss) == pytest.approx(tiny, rel=1e-12)
    assert float(info_nce(eye, eye, temperature=t, margin=0.25).loss) == pytest.approx(tiny**0.75, rel=1e-12)
    biased = info_nce(eye, eye, temperature=t, bias=np.array([1.0, 1.0]))
    assert float(biased.loss) == pytest.approx(tiny, rel=1e-12)
    slope = tiny / (2 * 2)  # of a bias: to the one row's loss as a negative, from the other's as its positive
    terms = biased.uncancelled["bias"]
    np.testing.assert_allclose(terms, 4 * slope, rtol=1e-12)
    np.testing.assert_allclose(biased.gradients["bias"], 0, atol=1e-14 * float(terms[0]))
