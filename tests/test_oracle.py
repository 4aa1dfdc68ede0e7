"""The oracle against arithmetic of 60 digits, published numbers and closed forms."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import mpmath
import numpy as np
import pytest

from infonce.conformance.oracle import info_nce

MODES: dict[str, tuple[tuple[int, ...] | None, dict[str, Any]]] = {
    "in-batch": (None, {}),
    "unpaired": ((5,), {}),
    "paired": ((4, 3), {"negative_mode": "paired"}),
    "in-batch-unpaired": ((5,), {"in_batch": True}),
    "in-batch-paired": ((4, 3), {"in_batch": True, "negative_mode": "paired"}),
    "symmetric": (None, {"symmetric": True}),
    "symmetric-unpaired": ((5,), {"in_batch": True, "symmetric": True}),
    "symmetric-paired": ((4, 3), {"in_batch": True, "symmetric": True, "negative_mode": "paired"}),
}
TEMPERATURES = {"number": 0.3, "scalar": np.asarray(0.3), "rows": np.array([0.2, 0.5, 0.3, 0.9])}


def draw(mode: str, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    negatives = MODES[mode][0]
    arrays: dict[str, Any] = {"query": rng.normal(size=(4, 3)), "positive_key": rng.normal(size=(4, 3))}
    if negatives is not None:
        arrays["negative_keys"] = rng.normal(size=(*negatives, 3))
    return arrays


def precise(arrays: dict[str, Any], options: dict[str, Any], cotangent: Any = None) -> Any:
    """The textbook formula on arrays of mpmath numbers: -log(exp(z+) / sum exp(z)), no trick at all."""
    sim = precise_cosine if options.get("normalize", True) else precise_dot
    query, positive, negatives = arrays["query"], arrays["positive_key"], arrays.get("negative_keys")
    t = list(np.broadcast_to(arrays["temperature"], (len(query),)))
    in_batch = options.get("in_batch", negatives is None)
    losses = []
    for i, row in enumerate(query):
        explicit = [] if negatives is None else negatives[i] if negatives.ndim == 3 else negatives
        others = [key for j, key in enumerate(positive) if in_batch and j != i]
        own = mpmath.exp(sim(row, positive[i]) / t[i])
        loss = -mpmath.log(own / (own + sum(mpmath.exp(sim(row, key) / t[i]) for key in [*others, *explicit])))
        if options.get("symmetric"):
            turned = sum(mpmath.exp(sim(other, positive[i]) / t[i]) for other in query)
            loss = (loss - mpmath.log(own / turned)) / 2
        losses.append(loss)
    reduction = options.get("reduction", "mean")
    if reduction == "none":
        return losses if cotangent is None else sum(v * loss for v, loss in zip(cotangent, losses, strict=True))
    return sum(losses) / (len(losses) if reduction == "mean" else 1)


def precise_dot(a: Any, b: Any) -> Any:
    return mpmath.fsum(x * y for x, y in zip(a, b, strict=True))


def precise_cosine(a: Any, b: Any) -> Any:
    size = mpmath.sqrt(precise_dot(a, a) * precise_dot(b, b))
    return precise_dot(a, b) / size if size else mpmath.mpf(0)


def to_mp(x: Any) -> Any:
    return np.vectorize(mpmath.mpf, otypes=[object])(np.asarray(x))


@pytest.fixture(autouse=True)
def digits() -> Iterator[None]:
    with mpmath.workdps(60):
        yield


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_value_and_every_gradient_against_60_digits(
    mode: str, normalize: bool, reduction: str, temperature: str
) -> None:
    options = MODES[mode][1] | {"reduction": reduction, "normalize": normalize}
    arrays = draw(mode) | {"temperature": TEMPERATURES[temperature]}
    cotangent = np.array([0.7, -1.3, 0.0, 2.0]) if reduction == "none" else None
    got = info_nce(**arrays, **options, cotangent=cotangent)

    exact = {name: to_mp(x) for name, x in arrays.items()}
    want = np.asarray(precise(exact, options), dtype=float)
    np.testing.assert_allclose(got.loss, want, rtol=2e-14)
    names = set(arrays) - ({"temperature"} if temperature == "number" else set())
    assert set(got.gradients) == names
    # One random direction of every row at once is as sharp as every entry, and cheap: d/dh at h = 1e-20, error 1e-40.
    for name in sorted(names):
        assert got.gradients[name].shape == np.shape(arrays[name])
        for seed in range(3):
            direction = np.random.default_rng(seed).normal(size=np.shape(arrays[name]))
            h = mpmath.mpf(10) ** -20
            ends = [
                precise(exact | {name: exact[name] + sign * h * to_mp(direction)}, options, cotangent)
                for sign in (1, -1)
            ]
            want = float((ends[0] - ends[1]) / (2 * h))
            assert float(np.sum(got.gradients[name] * direction)) == pytest.approx(want, rel=1e-13, abs=1e-14), name


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
