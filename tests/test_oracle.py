"""The oracle against arithmetic of 60 digits, published numbers and closed forms."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import mpmath
import numpy as np
import pytest

from infonce.conformance.oracle import info_nce

from ._oracle import ARRAYS, COTANGENT, MODES, OPTIONS, TEMPERATURES, draw, option
from ._precise import DIGITS, assert_right, cosine, dot, reduced, row_loss, to_mp


def precise(arrays: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    """The loss on arrays of mpmath numbers, pair by pair."""
    query, positive, negatives = arrays["query"], arrays["positive_key"], arrays.get("negative_keys")
    sim = cosine if options.get("normalize", True) else dot
    t = list(np.broadcast_to(arrays["temperature"], (len(query),)))
    in_batch = options.get("in_batch", negatives is None)
    ids, negative_ids = options.get("ids"), options.get("negative_ids")
    width = (len(query) if in_batch else 0) + (0 if negatives is None else negatives.shape[-2])
    mask = np.broadcast_to(options.get("mask", True), (len(query), width))
    bias = np.broadcast_to(arrays.get("bias", 0), (len(query), width))
    if negative_ids is not None:
        negative_ids = np.broadcast_to(negative_ids, (len(query), negatives.shape[-2]))
    row_options = {name: options[name] for name in PER_ROW if name in options}
    margin = options.get("margin", 0)

    def allowed(i: int, j: int) -> bool:
        return j != i and mask[i, j] and (ids is None or ids[i] != ids[j])

    losses = []
    for i, row in enumerate(query):
        own = (sim(row, positive[i]) - margin) / t[i] + (bias[i, i] if in_batch else 0)
        others = []
        if in_batch:
            others += [sim(row, key) / t[i] + bias[i, j] for j, key in enumerate(positive) if allowed(i, j)]
        explicit = [] if negatives is None else negatives[i] if negatives.ndim == 3 else negatives
        for k, key in enumerate(explicit):
            column = k + (len(query) if in_batch else 0)
            if mask[i, column] and (negative_ids is None or negative_ids[i, k] != ids[i]):
                others.append(sim(row, key) / t[i] + bias[i, column])
        loss = row_loss([(own, 1)], others, t[i], **row_options)
        if options.get("symmetric"):
            turned = [sim(other, positive[i]) / t[i] for j, other in enumerate(query) if allowed(j, i)]
            own = (sim(row, positive[i]) - margin) / t[i]
            loss = (loss + row_loss([(own, 1)], turned, t[i], **row_options)) / 2
        losses.append(loss)
    return reduced(losses, options.get("reduction", "mean"), arrays.get("weight", [1] * len(losses)))


PER_ROW = ("label_smoothing", "decoupled", "debias", "hardness")


def check(arrays: dict[str, Any], options: dict[str, Any]) -> None:
    """Value and every gradient of the oracle against 60 digits; a temperature that is a number has none."""
    cotangent = COTANGENT if options.get("reduction") == "none" else None
    found = info_nce(**arrays, **options, cotangent=cotangent)
    arrays = arrays | {name: options[name] for name in ARRAYS if name in options}
    number = {"temperature": mpmath.mpf(arrays.pop("temperature"))} if isinstance(arrays["temperature"], float) else {}
    assert_right(found, lambda values: precise({**values, **number}, options), arrays, cotangent)


@pytest.fixture(autouse=True)
def digits() -> Iterator[None]:
    with mpmath.workdps(DIGITS):
        yield


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_value_and_every_gradient_against_60_digits(
    mode: str, normalize: bool, reduction: str, temperature: str
) -> None:
    options = MODES[mode][1] | {"reduction": reduction, "normalize": normalize}
    check(draw(mode) | {"temperature": TEMPERATURES[temperature]}, options)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("mode", MODES)
def test_options_against_60_digits(mode: str, name: str) -> None:
    rng = np.random.default_rng([len(mode), len(name)])
    options = dict(MODES[mode][1])
    for each in OPTIONS[name]:
        options |= option(each, mode, rng)
    for reduction in ("none", "mean", "sum") if "weight" in options else ("mean",):
        check(draw(mode) | {"temperature": TEMPERATURES["rows"]}, options | {"reduction": reduction})


@pytest.mark.parametrize("seed", range(60))
def test_combinations_against_60_digits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mode = list(MODES)[rng.integers(len(MODES))]
    options = MODES[mode][1] | {"reduction": ("none", "mean", "sum")[rng.integers(3)]}
    chosen = [name for name in ("ids", "margin", "weight") if rng.random() < 0.5]
    chosen += [str(rng.choice(("mask", "mask-columns")))] if rng.random() < 0.5 else []
    chosen += [str(rng.choice(("bias", "bias-rows", "bias-one-row")))] if rng.random() < 0.5 else []
    if rng.random() < 0.3:  # the loss of dot products
        options["normalize"] = False
        chosen += [str(rng.choice(("decoupled", "label_smoothing")))]
    else:
        chosen += [name for name in ("decoupled", "debias", "hardness") if rng.random() < 0.6]
    for name in chosen:
        options |= option(name, mode, rng)
    temperature = TEMPERATURES[("number", "scalar", "rows")[rng.integers(3)]]
    check(draw(mode, seed) | {"temperature": temperature}, options)


@pytest.mark.parametrize("name", ["query", "positive_key", "negative_keys"])
def test_every_entry_of_the_gradient(name: str) -> None:
    arrays = draw("symmetric-paired") | {"temperature": TEMPERATURES["rows"]}
    options = MODES["symmetric-paired"][1]
    got = info_nce(**arrays, **options).gradients[name]
    exact = {key: to_mp(x) for key, x in arrays.items()}
    h = mpmath.mpf(10) ** -20
    for index in np.ndindex(*got.shape):
        step = np.zeros(got.shape, object)
        step[index] = h
        ends = [precise(exact | {name: exact[name] + sign * step}, options) for sign in (1, -1)]
        assert got[index] == pytest.approx(float((ends[0] - ends[1]) / (2 * h)), rel=1e-12, abs=1e-15)


def test_published_numbers() -> None:
    rng = np.random.default_rng(0)
    query, key = rng.standard_normal((6, 5)), rng.standard_normal((6, 5))
    unpaired, paired = rng.standard_normal((4, 5)), rng.standard_normal((6, 3, 5))
    assert float(info_nce(query, key).loss) == pytest.approx(9.392490037885425, rel=1e-15)
    assert float(info_nce(query, key, unpaired).loss) == pytest.approx(8.366323441223757, rel=1e-15)
    assert float(info_nce(query, key, paired, negative_mode="paired").loss) == pytest.approx(
        7.53725905997362, rel=1e-15
    )
    # One direction at scale 1 / 0.07 in both turns, and all positives with all negatives at scale 20.
    clip = info_nce(query, key, temperature=0.07, symmetric=True)
    assert float(clip.loss) == pytest.approx(13.816619759057264, rel=1e-15)
    assert float(info_nce(query, key, temperature=0.05).loss) == pytest.approx(18.221213584223183, rel=1e-15)


@pytest.mark.parametrize("t", [0.01, 0.05, 0.5, 10.0])
@pytest.mark.parametrize("n", [2, 5])
def test_closed_forms(n: int, t: float) -> None:
    ones, eye = np.ones((n, 4)), np.eye(n)
    simplex = eye - 1 / n
    assert float(info_nce(ones, ones, temperature=t).loss) == pytest.approx(math.log(n), rel=1e-14)
    assert float(info_nce(ones, ones, np.ones((7, 4)), t).loss) == pytest.approx(math.log(8), rel=1e-14)
    orthonormal = math.log1p((n - 1) * math.exp(-1 / t))
    assert float(info_nce(eye, eye, temperature=t).loss) == pytest.approx(orthonormal, rel=1e-13)
    lowest = math.log1p(7 * math.exp(-2 / t))
    assert float(info_nce(ones, ones, -np.ones((7, 4)), t).loss) == pytest.approx(lowest, rel=1e-12)
    highest = 2 / t + math.log(7 + math.exp(-2 / t))
    assert float(info_nce(ones, -ones, np.ones((7, 4)), t).loss) == pytest.approx(highest, rel=1e-14)
    gap = n / ((n - 1) * t)
    assert float(info_nce(simplex, simplex, temperature=t).loss) == pytest.approx(
        math.log1p((n - 1) * math.exp(-gap)), rel=1e-12
    )


def test_tiny_loss_keeps_its_digits() -> None:
    got = info_nce(np.eye(2), np.eye(2), temperature=0.05)
    assert float(got.loss) == pytest.approx(2.061153620314381e-09, rel=1e-14)
    assert got.gradients["query"][0, 1] == pytest.approx(math.exp(-20) / (1 + math.exp(-20)) / 0.05 / 2, rel=1e-14)
    assert float(info_nce(np.eye(2), np.eye(2), temperature=0.014).loss) == pytest.approx(
        math.exp(-1 / 0.014), rel=1e-13
    )


def test_without_negatives_loss_and_gradient_are_zero() -> None:
    row = np.array([[1.0, 2.0]])
    for got in (
        info_nce(row, -row, temperature=np.asarray(0.1)),
        info_nce(row, -row, np.zeros((0, 2)), np.asarray(0.1)),
    ):
        assert float(got.loss) == 0
        assert all(not gradient.any() for gradient in got.gradients.values())


@pytest.mark.parametrize("scale", [1e-300, 1e-25, 3e38, 1e300])
def test_rows_of_any_scale(scale: float) -> None:
    arrays = draw("unpaired")
    plain, scaled = info_nce(**arrays), info_nce(**{name: x * scale for name, x in arrays.items()})
    assert float(scaled.loss) == pytest.approx(float(plain.loss), rel=1e-14)
    for name, gradient in plain.gradients.items():
        np.testing.assert_allclose(scaled.gradients[name] * scale, gradient, rtol=1e-12, atol=1e-14)


def test_zero_rows_have_cosine_and_gradient_zero() -> None:
    arrays = draw("unpaired")
    arrays["query"][1] = arrays["positive_key"][2] = arrays["negative_keys"][0] = 0
    got = info_nce(**arrays, temperature=0.1, reduction="none")
    assert float(got.loss[1]) == pytest.approx(math.log(6), rel=1e-15)
    assert not got.gradients["query"][1].any()
    assert not got.gradients["positive_key"][2].any()
    assert not got.gradients["negative_keys"][0].any()
    assert all(np.isfinite(gradient).all() for gradient in got.gradients.values())


def test_float32_arithmetic_stays_float32() -> None:
    got = info_nce(
        **draw("symmetric-unpaired"), temperature=np.asarray(0.1), in_batch=True, symmetric=True, dtype=np.float32
    )
    assert {got.loss.dtype, *(g.dtype for g in got.gradients.values())} == {np.dtype(np.float32)}


def test_float32_arithmetic_stays_float32_with_every_option() -> None:
    rng = np.random.default_rng(0)
    for names in (OPTIONS["all-but-smoothing"], OPTIONS["all-with-smoothing"]):
        options = {key: x for name in names for key, x in option(name, "unpaired", rng).items()}
        got = info_nce(**draw("unpaired"), **options, temperature=np.asarray(0.1), dtype=np.float32)
        assert {got.loss.dtype, *(g.dtype for g in got.gradients.values())} == {np.dtype(np.float32)}
