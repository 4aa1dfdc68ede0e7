"""The oracle of NT-Xent and the supervised loss against arithmetic of 60 digits, published numbers and closed forms."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import mpmath
import numpy as np
import pytest

from infonce.conformance.oracle import info_nce
from infonce.conformance.oracle_views import nt_xent, sup_con

from ._precise import DIGITS, assert_right, cosine, dot, reduced, row_loss

SAMPLES = 5
TEMPERATURES = {"number": 0.4, "scalar": np.asarray(0.4), "samples": np.array([0.3, 0.5, 0.4, 0.9, 0.6])}
LABELS = np.array([4, 2, 4, 9, 4])  # 2 and 9 are alone unless there are several views
PER_ROW = ("form", "exclude_positives", "label_smoothing", "decoupled", "debias", "hardness")
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "weight": {"weight": np.array([0.5, 2.0, 1.0, 0.0, 0.7])},
    "smoothing": {"label_smoothing": 0.2},
    "margin": {"margin": 0.15},
    "decoupled": {"decoupled": True},
    "debias": {"debias": 0.05},
    "debias-clamped": {"debias": 0.45},
    "hardness": {"hardness": 0.7},
    "exclude": {"exclude_positives": True},
    "exclude-smoothing": {"exclude_positives": True, "label_smoothing": 0.2},
    "exclude-debias-hardness": {"exclude_positives": True, "debias": 0.05, "hardness": 1.3, "margin": -0.1},
    "decoupled-debias-hardness": {"decoupled": True, "debias": 0.05, "hardness": 0.7, "margin": 0.1},
}


def excludes(options: dict[str, Any]) -> bool:
    return "exclude_positives" in options  # which leaves no room for an average inside the logarithm


def rows_of(count: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=(SAMPLES, count, 3))


def matrix(rows: int, weighted: bool) -> np.ndarray[Any, Any]:
    """Positives by row, not symmetric: row 0 has none, row 1 all others; the diagonal, half of it set, is ignored."""
    rng = np.random.default_rng(rows)
    marked = rng.random((rows, rows)) < 0.4
    marked[0], marked[1] = False, True
    np.fill_diagonal(marked, np.arange(rows) % 2 == 0)
    return marked * rng.uniform(0.2, 3, (rows, rows)) if weighted else marked


def precise(x: Any, samples: Any, positives: Any, negatives: Any, values: Mapping[str, Any], options: Any) -> Any:
    """The loss on rows of mpmath numbers, pair by pair; `positives` are weights."""
    sim = cosine if options.get("normalize", True) else dot
    t = np.broadcast_to(values["temperature"], (SAMPLES,))[samples]
    row_options = {name: options[name] for name in PER_ROW if name in options}
    margin, losses, counted = options.get("margin", 0), [], []
    for i, row in enumerate(x):
        others = [j for j in range(len(x)) if j != i]
        weights = {j: mpmath.mpf(float(positives[i, j])) for j in others if positives[i, j]}
        total = mpmath.fsum(weights.values())
        own = [((sim(row, x[j]) - margin) / t[i], w / total) for j, w in weights.items()]
        below = [sim(row, x[j]) / t[i] for j in others if negatives[i, j]]
        losses.append(row_loss(own, below, t[i], **row_options))
        counted.append(bool(own) or options.get("rows_without_positives") == "zero")
    weight = np.asarray(values.get("weight", [1] * SAMPLES))[samples]
    return reduced(losses, options.get("reduction", "mean"), list(weight), counted)


def check_nt_xent(count: int, options: dict[str, Any], temperature: str, seed: int = 0) -> None:
    samples = np.tile(np.arange(SAMPLES), count)
    same = samples[:, None] == samples
    ids = np.arange(SAMPLES) if "ids" not in options else options["ids"]
    negatives = ~same & (ids[samples][:, None] != ids[samples])
    views = [rows_of(count, seed)[:, v] for v in range(count)]
    cotangent = np.random.default_rng(1).normal(size=count * SAMPLES) if options.get("reduction") == "none" else None
    found = nt_xent(views, TEMPERATURES[temperature], **options, cotangent=cotangent)
    names = [f"view {v + 1}" for v in range(count)]

    def formula(values: Mapping[str, Any]) -> Any:
        rows = [row for name in names for row in values[name]]
        return precise(rows, samples, same, negatives, {**number, **values}, options)

    arrays: dict[str, Any] = dict(zip(names, views, strict=True))
    number = {"temperature": mpmath.mpf(0.4)} if temperature == "number" else {}
    arrays |= {} if number else {"temperature": TEMPERATURES[temperature]}
    arrays |= {"weight": options["weight"]} if "weight" in options else {}
    assert_right(found, formula, arrays, cotangent)


def check_sup_con(
    embeddings: np.ndarray[Any, Any], given: dict[str, Any], options: dict[str, Any], temperature: str
) -> None:
    count = embeddings.shape[1] if embeddings.ndim == 3 else 1
    samples = np.repeat(np.arange(SAMPLES), count)
    labels = given.get("labels")
    positives = labels[samples][:, None] == labels[samples] if labels is not None else given["positives"]
    shape, by_row = embeddings.shape[:-1], options.get("reduction") == "none"
    cotangent = np.random.default_rng(1).normal(size=shape) if by_row else None
    found = sup_con(embeddings, temperature=TEMPERATURES[temperature], **given, **options, cotangent=cotangent)

    def formula(values: Mapping[str, Any]) -> Any:
        rows = values["embeddings"].reshape(-1, embeddings.shape[-1])
        loss = precise(rows, samples, positives, positives == 0, {**number, **values}, options)
        return loss.reshape(shape) if by_row else loss

    arrays: dict[str, Any] = {"embeddings": embeddings}
    number = {"temperature": mpmath.mpf(0.4)} if temperature == "number" else {}
    arrays |= {} if number else {"temperature": TEMPERATURES[temperature]}
    arrays |= {"weight": options["weight"]} if "weight" in options else {}
    assert_right(found, formula, arrays, cotangent)


@pytest.fixture(autouse=True)
def digits() -> Iterator[None]:
    with mpmath.workdps(DIGITS):
        yield


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("count", [2, 3])
def test_nt_xent_against_60_digits(count: int, name: str) -> None:
    for reduction in ("none", "mean", "sum") if name in ("plain", "weight") else ("mean",):
        check_nt_xent(count, OPTIONS[name] | {"reduction": reduction}, "samples")


@pytest.mark.parametrize("seed", range(12))
def test_combinations_of_nt_xent_against_60_digits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    options = list(OPTIONS.values())[rng.integers(len(OPTIONS))]
    options = options | {"ids": rng.integers(0, 4, SAMPLES), "reduction": ("none", "mean", "sum")[seed % 3]}
    if "debias" not in options and "hardness" not in options:
        options["normalize"] = bool(rng.integers(2))
    options |= {"weight": rng.uniform(0.2, 2, SAMPLES)} if rng.random() < 0.5 else {}
    check_nt_xent(2 + seed % 2, options, ("number", "scalar", "samples")[rng.integers(3)], seed)


@pytest.mark.parametrize(
    ("form", "name"),
    [("out", name) for name in OPTIONS] + [("in", name) for name, options in OPTIONS.items() if not excludes(options)],
)
@pytest.mark.parametrize("positives", ["labels", "labels-views", "flags", "weights", "weights-views"])
def test_sup_con_against_60_digits(positives: str, form: str, name: str) -> None:
    kind, _, views = positives.partition("-")
    embeddings = rows_of(2) if views else rows_of(1)[:, 0]
    rows = len(embeddings) * (2 if views else 1)
    given = {"labels": LABELS} if kind == "labels" else {"positives": matrix(rows, kind == "weights")}
    for reduction in ("none", "mean", "sum") if name in ("plain", "weight") else ("mean",):
        check_sup_con(embeddings, given, OPTIONS[name] | {"form": form, "reduction": reduction}, "samples")


@pytest.mark.parametrize("seed", range(24))
def test_combinations_of_sup_con_against_60_digits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    options = list(OPTIONS.values())[rng.integers(len(OPTIONS))]
    options = options | {"reduction": ("none", "mean", "sum")[seed % 3]}
    options["rows_without_positives"] = ("ignore", "zero")[rng.integers(2)]
    if not excludes(options):
        options["form"] = ("in", "out")[rng.integers(2)]
    if "debias" not in options and "hardness" not in options:
        options["normalize"] = bool(rng.integers(2))
    options |= {"weight": rng.uniform(0.2, 2, SAMPLES)} if rng.random() < 0.5 else {}
    embeddings = rows_of(2, seed) if rng.random() < 0.5 else rows_of(1, seed)[:, 0]
    rows = math.prod(embeddings.shape[:-1])
    given = (
        {"labels": rng.integers(0, 3, SAMPLES)} if rng.random() < 0.5 else {"positives": matrix(rows, seed % 2 == 0)}
    )
    check_sup_con(embeddings, given, options, ("number", "scalar", "samples")[rng.integers(3)])


@pytest.mark.parametrize("name", OPTIONS)
def test_nt_xent_is_sup_con_with_the_sample_as_label(name: str) -> None:
    x, t = rows_of(3), TEMPERATURES["samples"]
    views = nt_xent([x[:, v] for v in range(3)], t, **OPTIONS[name])
    want = sup_con(x, np.arange(SAMPLES), t, **OPTIONS[name])
    assert float(views.loss) == pytest.approx(float(want.loss), rel=1e-14)
    stacked = np.stack([views.gradients[f"view {v + 1}"] for v in range(3)], axis=1)
    np.testing.assert_allclose(stacked, want.gradients["embeddings"], rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(views.gradients["temperature"], want.gradients["temperature"], rtol=1e-12)


def test_published_numbers() -> None:
    rng = np.random.default_rng(0)
    query, key = rng.standard_normal((6, 5)), rng.standard_normal((6, 5))
    assert float(nt_xent([query, key], 0.07).loss) == pytest.approx(15.481043443439548, rel=1e-15)
    assert float(nt_xent([query, key], 0.5).loss) == pytest.approx(3.4061338355493107, rel=1e-15)
    by_label = sup_con(query, np.array([0, 0, 1, 1, 2, 2]), 0.1)
    assert float(by_label.loss) == pytest.approx(3.611680649608875, rel=1e-15)


@pytest.mark.parametrize("t", [0.01, 0.5, 10.0])
@pytest.mark.parametrize("n", [2, 5])
def test_closed_forms(n: int, t: float) -> None:
    ones, eye = np.ones((n, 4)), np.eye(n)
    assert float(nt_xent([ones, ones], t).loss) == pytest.approx(math.log(2 * n - 1), rel=1e-14)
    orthonormal = math.log1p((2 * n - 2) * math.exp(-1 / t))
    assert float(nt_xent([eye, eye], t).loss) == pytest.approx(orthonormal, rel=1e-13)
    several = math.log(2) + math.log1p((3 * n - 3) / 2 * math.exp(-1 / t))  # two positives at 1, and both in the sum
    assert float(nt_xent([eye, eye, eye], t).loss) == pytest.approx(several, rel=1e-13)
    alone = math.log1p((3 * n - 3) * math.exp(-1 / t))
    assert float(nt_xent([eye, eye, eye], t, exclude_positives=True).loss) == pytest.approx(alone, rel=1e-13)
    inside = sup_con(np.stack([eye] * 3, axis=1), np.arange(n), t, form="in").loss
    assert float(inside) == pytest.approx(several, rel=1e-13)
    decoupled = math.log(2 * n - 2) - 1 / t
    assert float(nt_xent([eye, eye], t, decoupled=True).loss) == pytest.approx(decoupled, rel=1e-13)


def test_one_sample_or_one_id_leaves_no_negatives() -> None:
    x = rows_of(2)
    for got in (nt_xent([x[:1, 0], x[:1, 1]]), nt_xent([x[:, 0], x[:, 1]], ids=np.zeros(SAMPLES, int))):
        assert float(got.loss) == 0
        assert not any(gradient.any() for gradient in got.gradients.values())


@pytest.mark.parametrize("name", OPTIONS)
def test_without_negatives(name: str) -> None:
    """One label for all: only the spread among the positives is left, and nothing where they are not compared."""
    options, labels = OPTIONS[name] | {"reduction": "none"}, np.zeros(SAMPLES, int)
    check_sup_con(rows_of(1)[:, 0], {"labels": labels}, options, "samples")
    if "decoupled" in options or (excludes(options) and "label_smoothing" not in options):
        got = sup_con(rows_of(1)[:, 0], labels, TEMPERATURES["samples"], **options)
        assert not got.loss.any()
        assert not any(gradient.any() for gradient in got.gradients.values())


@pytest.mark.parametrize("name", OPTIONS)
def test_without_positives(name: str) -> None:
    options, t = OPTIONS[name], np.asarray(0.4)
    for rule in ("ignore", "zero"):
        for reduction in ("none", "mean", "sum"):
            got = sup_con(rows_of(1)[:, 0], np.arange(SAMPLES), t, reduction, rows_without_positives=rule, **options)
            assert not np.any(got.loss)
            assert not any(gradient.any() for gradient in got.gradients.values())


def test_no_rows() -> None:
    none = np.zeros((0, 3))
    for reduction, shape in (("sum", ()), ("none", (0,))):
        for got in (nt_xent([none, none], 0.5, reduction), sup_con(none, np.zeros(0, int), 0.5, reduction)):
            assert got.loss.shape == shape
            assert not got.loss.any()


def test_rows_without_positives_are_ignored_or_count_as_zero() -> None:
    x, t = rows_of(1)[:, 0], 0.4
    rows = sup_con(x, LABELS, t, "none").loss
    assert rows[1] == rows[3] == 0
    assert float(sup_con(x, LABELS, t).loss) == pytest.approx(rows.sum() / 3, rel=1e-14)
    assert float(sup_con(x, LABELS, t, rows_without_positives="zero").loss) == pytest.approx(rows.mean(), rel=1e-14)


def test_decoupled_nt_xent_is_the_mean_of_two_info_nces_on_all_negatives() -> None:
    """Each view as queries: its own positive, and as explicit negatives the other samples' rows of both views."""
    x, y = rows_of(2)[:, 0], rows_of(2)[:, 1]
    others = np.array([[j for j in range(SAMPLES) if j != i] for i in range(SAMPLES)])
    both = np.concatenate([x[others], y[others]], axis=1)
    sides = [info_nce(a, b, both, 0.4, negative_mode="paired", decoupled=True).loss for a, b in ((x, y), (y, x))]
    assert float(nt_xent([x, y], 0.4, decoupled=True).loss) == pytest.approx(float(sum(sides) / 2), rel=1e-13)


@pytest.mark.parametrize("name", OPTIONS)
def test_float32_arithmetic_stays_float32(name: str) -> None:
    options, t = OPTIONS[name], TEMPERATURES["samples"]
    for got in (
        sup_con(rows_of(2), LABELS, t, **options, dtype=np.float32),
        sup_con(rows_of(1)[:, 0], positives=matrix(SAMPLES, True), temperature=t, **options, dtype=np.float32),
        nt_xent([*rows_of(2).swapaxes(0, 1)], t, **options, dtype=np.float32),
    ):
        assert {got.loss.dtype, *(g.dtype for g in got.gradients.values())} == {np.dtype(np.float32)}


@pytest.mark.parametrize("scale", [1e-300, 1e-25, 3e38, 1e300])
def test_rows_of_any_scale(scale: float) -> None:
    x = rows_of(2)
    plain, scaled = sup_con(x, LABELS), sup_con(x * scale, LABELS)
    assert float(scaled.loss) == pytest.approx(float(plain.loss), rel=1e-14)
    np.testing.assert_allclose(
        scaled.gradients["embeddings"] * scale, plain.gradients["embeddings"], rtol=1e-12, atol=1e-14
    )


def test_zero_rows_have_cosine_and_gradient_zero() -> None:
    x = rows_of(2)
    x[1, 0] = 0
    got = sup_con(x, LABELS, reduction="none")
    assert np.isfinite(got.loss).all()
    assert not got.gradients["embeddings"][1, 0].any()
    assert got.loss[1, 0] == pytest.approx(math.log(2 * SAMPLES - 1), rel=1e-14)
