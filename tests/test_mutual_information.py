"""The bounds on mutual information: exact values, known distributions, and one answer in every framework."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from infonce import MutualInformation, mutual_information, mutual_information_from_scores

from ._frameworks import NAMES, Framework
from ._frameworks import framework as framework_of

Floats = NDArray[np.float64]
ALPHAS = (1.0, 0.999, 0.5, 0.01, 0.0)
N, M, K, D = 7, 5, 3, 4
RNG = np.random.default_rng(0)
QUERY, KEY = RNG.normal(size=(2, N, D))
SHARED, OWN = RNG.normal(size=(M, D)), RNG.normal(size=(N, K, D))
# Arrays and options of `mutual_information`.
MODES: dict[str, tuple[tuple[Floats, ...], dict[str, Any]]] = {
    "in-batch": ((QUERY, KEY), {}),
    "unpaired": ((QUERY, KEY, SHARED), {}),
    "paired": ((QUERY, KEY, OWN), {"negative_mode": "paired"}),
    "in-batch and unpaired": ((QUERY, KEY, SHARED), {"in_batch": True}),
    "in-batch and paired": ((QUERY, KEY, OWN), {"in_batch": True, "negative_mode": "paired"}),
}


def rows(scores: Floats, alpha: float) -> Floats:
    """What each row gives, from the formulas in exponentials: the own score first, then n negatives."""
    e = np.exp(scores)
    n = e.shape[1] - 1
    if alpha == 1:
        return np.log(e[:, 0] / e.mean(axis=1))
    m = e[:, 1:].mean(axis=1)
    joint = (e[:, 0] + (n - 1) * m) / n
    return 1 + np.log(e[:, 0] / (alpha * joint + 1 - alpha)) - m / (alpha * m + 1 - alpha)


def check(framework: Framework, found: MutualInformation[Any], values: Floats, ceiling: float, dtype: str) -> None:
    """All four fields, against what each row should give."""
    rtol = 1e-12 if dtype == "float64" else 2e-5
    want = {
        "estimate": values.mean(),
        "ceiling": ceiling,
        "standard_error": values.std(ddof=1) / math.sqrt(len(values)),
        "saturated": float(values.mean() > ceiling - 0.5),
    }
    for name, value in want.items():
        got = getattr(found, name)
        assert framework.dtype(got) == ("bool" if name == "saturated" else dtype), name
        assert framework.values(got).shape == (), name
        np.testing.assert_allclose(framework.values(got), value, rtol=rtol, atol=rtol, err_msg=name)


def ceiling_of(n: int, alpha: float) -> float:
    if alpha == 1:
        return math.log(n + 1)
    return math.inf if alpha == 0 else 1 + math.log(n / alpha)


def first_column(mode: str, temperature: Any, normalize: bool) -> Floats:
    """The scores of every row's candidates, its own first."""
    (query, key, *negatives), options = MODES[mode]
    unit: Callable[[Floats], Floats] = lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True) if normalize else x  # noqa: E731
    query, key = unit(query), unit(key)
    parts = [np.sum(query * key, axis=1, keepdims=True)]
    if not negatives or options.get("in_batch"):
        parts.append((query @ key.T)[~np.eye(N, dtype=bool)].reshape(N, N - 1))
    for x in negatives:
        parts.append(np.einsum("nd,nkd->nk", query, unit(x)) if x.ndim == 3 else query @ unit(x).T)
    return np.concatenate(parts, axis=1) / temperature


# Exact expectations.


def expected(framework: Framework, symbols: int, n: int, alpha: float) -> float:
    """The bound's expectation for X = Y uniform over the symbols: how many of n negatives match is binomial."""
    total = 0.0
    for matches in range(n + 1):
        chance = math.comb(n, matches) * (1 / symbols) ** matches * (1 - 1 / symbols) ** (n - matches)
        score = np.where(np.arange(n + 1) <= matches, math.log(symbols), -math.inf)[None]
        found = mutual_information_from_scores(framework.array(score), "first", alpha)
        total += chance * float(framework.values(found.estimate))
    return total


@pytest.mark.parametrize(
    ("symbols", "n", "want"),
    [
        (2, 1, 0.5 * math.log(2)),
        (5, 1, 0.8 * math.log(2)),
        (2, 7, 0.625525296842),
        (2, 63, 0.685272318078),
        (100, 63, 3.77227580998),
    ],
)
def test_infonce_of_a_discrete_variable(framework: Framework, symbols: int, n: int, want: float) -> None:
    assert expected(framework, symbols, n, 1.0) == pytest.approx(want, abs=1e-11)


@pytest.mark.parametrize(("symbols", "n"), [(2, 1), (5, 3), (100, 10)])
def test_nwj_of_a_discrete_variable_is_exact(framework: Framework, symbols: int, n: int) -> None:
    assert expected(framework, symbols, n, 0.0) == pytest.approx(math.log(symbols), abs=1e-11)


def test_in_batch_expectation_over_all_batches() -> None:
    """Of a fair coin seen twice: over all 2^3 batches of three pairs, each as one matrix of scores."""
    estimates = []
    for faces in itertools.product((0, 1), repeat=3):
        same = np.equal.outer(faces, faces)
        found = mutual_information_from_scores(np.where(same, math.log(2), -math.inf))
        estimates.append(found.estimate)
    assert np.mean(estimates) == pytest.approx(expected(framework_of("numpy"), 2, 2, 1.0), abs=1e-14)


# p(x, y) of two bits in eighths, whose marginals are fair: I = .75 log 1.5 + .25 log .5.
JOINT = [(0, 0)] * 3 + [(1, 1)] * 3 + [(0, 1), (1, 0)]
INFORMATION = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
DENSITY_RATIO = np.log([[1.5, 0.5], [0.5, 1.5]])
CRITICS = {
    "optimal": DENSITY_RATIO,
    "too sharp": 3 * DENSITY_RATIO,
    "too flat": 0.3 * DENSITY_RATIO,
    "shifted up": DENSITY_RATIO + 1,
    "shifted down": DENSITY_RATIO - 1,
    "wrong": -DENSITY_RATIO,
    "lopsided": np.asarray([[2.0, -1.0], [0.5, 0.1]]),
}


def all_rows(critic: Floats, n: int) -> Floats:
    """One row for each of the equally likely outcomes of a pair and n independent negatives."""
    outcomes = itertools.product(JOINT, itertools.product((0, 1), repeat=n))
    return np.asarray([[critic[y, x], *(critic[y, other] for other in others)] for (x, y), others in outcomes])


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("critic", CRITICS)
def test_expectation_is_a_lower_bound(critic: str, n: int, alpha: float) -> None:
    found = mutual_information_from_scores(all_rows(CRITICS[critic], n), "first", alpha)
    assert found.estimate <= INFORMATION + 1e-14


@pytest.mark.parametrize("alpha", [0.999, 0.5, 0.01])
@pytest.mark.parametrize("critic", CRITICS)
def test_leaving_out_the_mean_negative_loses_little(critic: str, alpha: float) -> None:
    """Against I_alpha with one of the n negatives left out of the first term: below it, by a small part."""
    n = 5
    scores = all_rows(CRITICS[critic], n)
    e = np.exp(scores)
    m = e[:, 1:].mean(axis=1)
    plain = 1 + scores[:, 0] - np.log(alpha * e[:, :-1].mean(axis=1) + 1 - alpha) - m / (alpha * m + 1 - alpha)
    loss = plain.mean() - mutual_information_from_scores(scores, "first", alpha).estimate
    assert -1e-14 <= loss < 0.04


def test_optimal_critic_is_exact_for_nwj() -> None:
    found = mutual_information_from_scores(all_rows(DENSITY_RATIO, 3), "first", 0.0)
    assert found.estimate == pytest.approx(INFORMATION, abs=1e-14)


# Gaussians, whose density ratio is known.


def gaussian_scores(rng: np.random.Generator, count: int, n: int, d: int, information: float) -> Floats:
    """log p(y|x) / p(y) of `count` pairs, each with n negatives of its own: the rows are independent."""
    rho = math.sqrt(-math.expm1(-2 * information / d))
    x, noise = rng.standard_normal((2, count, 1, d))
    y = rng.standard_normal((count, n + 1, d))
    y[:, :1] = rho * x + math.sqrt(1 - rho**2) * noise
    left = 1 - rho**2
    ratio = 0.5 * (y**2 - (y - rho * x) ** 2 / left - math.log(left))
    return np.sum(ratio, axis=-1)


def gaussian_embeddings(rng: np.random.Generator, count: int, d: int, information: float) -> tuple[Floats, Floats]:
    """Pairs whose dot product is that ratio."""
    rho = math.sqrt(-math.expm1(-2 * information / d))
    x, noise = rng.standard_normal((2, count, d))
    y, left, one = rho * x + math.sqrt(1 - rho**2) * noise, 1 - rho**2, np.ones((count, 1))
    square = -0.5 * rho**2 / left
    own = square * np.sum(x**2, axis=1, keepdims=True) - 0.5 * d * math.log(left)
    other = square * np.sum(y**2, axis=1, keepdims=True)
    return np.concatenate([rho / left * x, own, one], axis=1), np.concatenate([y, one, other], axis=1)


ONE_DIMENSION = -0.5 * math.log(1 - 0.8**2)
GAUSSIANS = [
    *((1, ONE_DIMENSION, candidates, want)
      for candidates, want in ((2, 0.2250), (16, 0.4670), (64, 0.4993), (256, 0.5076), (1024, 0.5102))),
    *((20, information, 64, want)
      for information, want in ((2, 1.821), (4, 3.073), (6, 3.740), (8, 4.024), (10, 4.122))),
]  # fmt: skip


@pytest.mark.parametrize(("d", "information", "candidates", "want"), GAUSSIANS)
def test_infonce_of_gaussians(d: int, information: float, candidates: int, want: float) -> None:
    count = 4000 if candidates == 1024 else 16_000
    scores = gaussian_scores(np.random.default_rng(1), count, candidates - 1, d, information)
    found = mutual_information_from_scores(scores, "first")
    assert abs(found.estimate - want) < 3 * found.standard_error
    assert found.standard_error < 0.02
    assert found.saturated == (want > math.log(candidates) - 0.5)


@pytest.mark.parametrize(("information", "want"), [(2, 1.821), (6, 3.740)])
def test_streamed_infonce_of_gaussians_in_batch(information: float, want: float) -> None:
    rng = np.random.default_rng(2)
    found = [
        mutual_information(*gaussian_embeddings(rng, 64, 20, information), temperature=1.0, normalize=False)
        for _ in range(500)
    ]
    estimates = np.asarray([x.estimate for x in found])
    spread = estimates.std(ddof=1)
    assert abs(estimates.mean() - want) < 3 * spread / math.sqrt(len(estimates))
    # The standard error is the one of independent rows; those of a batch share their keys, and are nearly that.
    assert np.mean([x.standard_error for x in found]) == pytest.approx(spread, rel=0.15)


PAGE = Path(__file__).parents[1] / "docs" / "mutual_information.md"
INFORMATIONS = (2, 4, 6, 8, 10)


def rows_of_page(first: str) -> dict[float, list[str]]:
    """The lines of the table whose heading begins so, by their first cell."""
    _, *lines = PAGE.read_text().partition(f"| {first} |")[2].partition("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]
    return {float(row[0]): row[1:] for row in cells}


def evaluations(count: int, information: float, alpha: float, batches: int) -> list[MutualInformation[Any]]:
    rng = np.random.default_rng(4)
    options: dict[str, Any] = {"temperature": 1.0, "normalize": False, "alpha": alpha}
    return [mutual_information(*gaussian_embeddings(rng, count, 20, information), **options) for _ in range(batches)]


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize(("count", "batches"), [(64, 400), (256, 60), (1024, 15)])
def test_ceiling_moves_as_the_page_says(count: int, batches: int, place: int) -> None:
    ceiling, *cells = rows_of_page("N | ceiling")[count]
    assert ceiling == f"{math.log(count):.3f}"
    assert len(cells) == len(INFORMATIONS)
    want, bold = float(cells[place].strip("*")), cells[place].startswith("**")
    found = np.asarray([x.estimate for x in evaluations(count, INFORMATIONS[place], 1.0, batches)])
    assert abs(found.mean() - want) < 3 * found.std(ddof=1) / math.sqrt(batches) + 0.002  # the page's own error
    assert bold == (want > math.log(count) - 0.5)


@pytest.mark.parametrize("alpha", [1.0, 0.5, 0.1, 0.01, 0.0])
def test_alpha_trades_the_ceiling_for_variance_as_the_page_says(alpha: float) -> None:
    for cell, information in zip(rows_of_page("alpha | I = 2")[alpha], INFORMATIONS, strict=True):
        want, spread = map(float, cell.split("±"))
        found = np.asarray([x.estimate for x in evaluations(1024, information, alpha, 15)])
        assert abs(found.mean() - want) < 3 * spread / math.sqrt(15) + 0.01
        if alpha > 0:  # the spread of NWJ is ruled by rare batches
            assert found.std(ddof=1) == pytest.approx(spread, rel=0.6)


@pytest.mark.parametrize("alpha", [0.5, 0.01, 0.0])
def test_smaller_alpha_lifts_the_ceiling(alpha: float) -> None:
    """Of 8 nats, where InfoNCE of 64 candidates says 4.02, and closer to the truth for a smaller alpha."""
    scores = gaussian_scores(np.random.default_rng(3), 16_000, 63, 20, 8)
    found = mutual_information_from_scores(scores, "first", alpha)
    want = {0.5: 4.7, 0.01: 6.5, 0.0: 7.5}[alpha]
    assert want < found.estimate < 8 + 3 * found.standard_error


# One answer, streamed or not, in every framework.


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("mode", MODES)
def test_streamed_equals_the_formula(framework: Framework, mode: str, alpha: float, dtype: str) -> None:
    arrays, options = MODES[mode]
    given = [framework.array(x, dtype) for x in arrays]
    normalize, block_size = (True, None) if dtype == "float64" else (False, 2)
    found = mutual_information(
        *given, temperature=0.5, normalize=normalize, alpha=alpha, block_size=block_size, **options
    )
    scores = first_column(mode, 0.5, normalize)
    check(framework, found, rows(scores, alpha), ceiling_of(scores.shape[1] - 1, alpha), dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_scores_equal_the_formula(framework: Framework, alpha: float, dtype: str) -> None:
    scores = RNG.normal(size=(6, 6))
    scores[0, 3] = scores[4, 1] = -math.inf
    own = np.eye(6, dtype=bool)
    first = np.concatenate([scores[own][:, None], scores[~own].reshape(6, 5)], axis=1)
    want = rows(first, alpha), ceiling_of(5, alpha), dtype
    check(framework, mutual_information_from_scores(framework.array(scores, dtype), alpha=alpha), *want)
    check(framework, mutual_information_from_scores(framework.array(first, dtype), "first", alpha), *want)


@pytest.mark.parametrize("alpha", [1.0, 0.5, 0.0])
def test_large_scores_stay_finite(framework: Framework, alpha: float) -> None:
    """Exponentials of these leave the dtype's range; the bound of perfect scores does not."""
    scores = np.where(np.eye(4, dtype=bool), 2000.0, -2000.0)
    found = mutual_information_from_scores(framework.array(scores), alpha=alpha)
    want = {1.0: math.log(4), 0.5: 1 + math.log(3 / 0.5), 0.0: 2001.0}[alpha]
    np.testing.assert_allclose(framework.values(found.estimate), want, rtol=1e-12)


@pytest.mark.parametrize("temperature", ["scalar", "rows"])
def test_temperature_may_be_an_array(framework: Framework, temperature: str) -> None:
    t = np.asarray(0.5) if temperature == "scalar" else np.linspace(0.3, 0.9, N)
    found = mutual_information(*map(framework.array, (QUERY, KEY)), None, framework.array(t))
    scores = first_column("in-batch", t.reshape(-1, 1), True)
    check(framework, found, rows(scores, 1.0), math.log(N), "float64")


@pytest.mark.parametrize("alpha", [1.0, 0.5, 0.0])
@pytest.mark.parametrize("others", ["some", "none"])
def test_a_pair_called_impossible_gives_minus_infinity(framework: Framework, alpha: float, others: str) -> None:
    scores = np.zeros((3, 4))
    scores[1, 0] = -math.inf
    if others == "none":
        scores[1] = -math.inf
    found = mutual_information_from_scores(framework.array(scores), "first", alpha)
    assert framework.values(found.estimate) == -math.inf
    assert framework.values(found.standard_error) == math.inf
    assert not framework.values(found.saturated)


def test_one_row_has_no_standard_error(framework: Framework) -> None:
    found = mutual_information_from_scores(framework.array([[1.0, 0.0, 0.0]]), "first")
    np.testing.assert_allclose(framework.values(found.estimate), math.log(3) - math.log(1 + 2 * math.exp(-1)))
    assert framework.values(found.standard_error) == math.inf


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_computes_in_float32(dtype: str) -> None:
    for name in ("torch", "jax", "tensorflow"):
        framework = framework_of(name)
        with framework.settings():
            scores = framework.array(np.where(np.eye(300, dtype=bool), 4.0, 0.0), dtype)
            found = mutual_information_from_scores(scores)
            assert framework.dtype(found.estimate) == "float32"
            np.testing.assert_allclose(
                framework.values(found.estimate), math.log(300) - math.log1p(299 * math.exp(-4)), rtol=1e-5
            )


def test_memory_is_that_of_blocks() -> None:
    count, block = 4000, 50
    query, key = (RNG.normal(size=(count, 8)).astype(np.float32) for _ in range(2))
    tracemalloc.start()
    try:
        mutual_information(query, key, block_size=block)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * block * count * 4 + 16 * query.nbytes < count * count * 4 / 9


# Compiled, and under autodiff.


def compiled(name: str, fn: Callable[..., Any]) -> Iterator[tuple[Framework, Callable[..., Any]]]:
    """`fn` under each of the framework's compilers."""
    framework = framework_of(name)
    with framework.settings():
        if name == "torch":
            import torch

            torch._dynamo.reset()
            for dynamic in (False, True):
                yield framework, torch.compile(fn, fullgraph=True, backend="aot_eager", dynamic=dynamic)
        elif name == "jax":
            import jax

            yield framework, jax.jit(fn)
        else:
            import tensorflow as tf

            for jit_compile in (False, True):
                yield framework, tf.function(fn, jit_compile=jit_compile, reduce_retracing=True)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # Dynamo's own doing
@pytest.mark.parametrize("alpha", [1.0, 0.5])
@pytest.mark.parametrize("name", ["torch", "jax", "tensorflow"])
def test_scores_compiled(name: str, alpha: float) -> None:
    for positive in ("diagonal", "first"):
        fn = lambda x, positive=positive: mutual_information_from_scores(x, positive, alpha)  # noqa: E731
        for framework, call in compiled(name, fn):
            for size in (3, 5, 6):
                scores = np.random.default_rng(size).normal(size=(size, size))
                own = np.eye(size, dtype=bool)
                first = np.concatenate([scores[own][:, None], scores[~own].reshape(size, -1)], axis=1)
                found = call(framework.array(scores if positive == "diagonal" else first))
                check(framework, found, rows(first, alpha), ceiling_of(size - 1, alpha), "float64")


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # Dynamo's own doing
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["torch", "jax", "tensorflow"])
def test_streamed_compiled(name: str, mode: str) -> None:
    arrays, options = MODES[mode]
    scores = first_column(mode, 0.5, True)
    fn = lambda *given: mutual_information(*given, temperature=0.5, alpha=0.5, block_size=3, **options)  # noqa: E731
    for framework, call in compiled(name, fn):
        found = call(*map(framework.array, arrays))
        check(framework, found, rows(scores, 0.5), ceiling_of(scores.shape[1] - 1, 0.5), "float64")


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_streamed_with_open_shapes(mode: str, jit_compile: bool) -> None:
    import tensorflow as tf

    arrays, options = MODES[mode]
    scores = first_column(mode, 0.5, True)
    fn = tf.function(
        lambda *given: mutual_information(*given, temperature=0.5, alpha=0.5, block_size=3, **options),
        input_signature=[tf.TensorSpec([None] * (x.ndim - 1) + [D], tf.float64) for x in arrays],
        jit_compile=jit_compile,
    )
    found = fn(*map(tf.constant, arrays))
    check(framework_of("tensorflow"), found, rows(scores, 0.5), ceiling_of(scores.shape[1] - 1, 0.5), "float64")


@pytest.mark.parametrize("positive", ["diagonal", "first"])
def test_scores_with_open_shapes(positive: str) -> None:
    import tensorflow as tf

    fn = tf.function(
        lambda x: mutual_information_from_scores(x, positive), input_signature=[tf.TensorSpec([None, None], tf.float64)]
    )
    for size in (3, 5):
        scores = np.random.default_rng(size).normal(size=(size, size))
        found, want = fn(tf.constant(scores)), mutual_information_from_scores(scores, positive)
        for got, value in zip(found, want, strict=True):
            np.testing.assert_allclose(got, value, rtol=1e-13)


def gradient_of(name: str, fn: Callable[[Any], Any], x: Any) -> Any:
    """The gradient by the framework's autodiff; None where it says that there is none."""
    if name == "torch":
        import torch

        x = x.requires_grad_()
        value = fn(x)
        return torch.autograd.grad(value, x)[0] if value.requires_grad else None
    if name == "jax":
        import jax

        return jax.grad(fn)(x)
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(x)
        value = fn(x)
    return tape.gradient(value, x)


def test_scores_are_differentiable(autodiff: Framework) -> None:
    """For alpha = 1 by -(softmax - one-hot) / N; an impossible pair has the gradient 0."""
    scores = RNG.normal(size=(5, 5))
    scores[1, 2] = -math.inf
    scores[3] = np.where(np.arange(5) == 3, 0.5, -math.inf)
    e = np.exp(scores)
    want = (np.eye(5) - e / e.sum(axis=1, keepdims=True)) / 5
    for alpha in (1.0, 0.5, 0.0):
        fn = lambda x, alpha=alpha: mutual_information_from_scores(x, alpha=alpha).estimate  # noqa: E731
        gradient = autodiff.values(gradient_of(autodiff.name, fn, autodiff.array(scores)))
        assert np.all(np.isfinite(gradient))
        assert np.all(gradient[np.isinf(scores)] == 0)
        if alpha == 1:
            np.testing.assert_allclose(gradient, want, atol=1e-15)


@pytest.mark.parametrize("alpha", [1.0, 0.5, 0.0])
@pytest.mark.parametrize("argument", range(3))
def test_streamed_gradient_is_that_of_the_scores(autodiff: Framework, argument: int, alpha: float) -> None:
    """Whose rows hold the same scores: a few rows' central differences of the formula."""
    given = [autodiff.array(x) for x in (QUERY, KEY, SHARED)]

    def estimate(x: Any) -> Any:
        arrays = [*given[:argument], x, *given[argument + 1 :]]
        return mutual_information(*arrays, 0.5, alpha=alpha, normalize=False, in_batch=True, block_size=3).estimate

    gradient = autodiff.values(gradient_of(autodiff.name, estimate, given[argument]))
    exact = [QUERY, KEY, SHARED]
    h = 1e-5
    for place in ((0, 0), (2, 3), (4, 1)):
        values = []
        for sign in (1, -1):
            moved = [x.copy() for x in exact]
            moved[argument][place] += sign * h
            query, key, shared = moved
            own = np.sum(query * key, axis=1, keepdims=True)
            others = (query @ key.T)[~np.eye(N, dtype=bool)].reshape(N, N - 1)
            values.append(rows(np.concatenate([own, others, query @ shared.T], axis=1) / 0.5, alpha).mean())
        np.testing.assert_allclose(gradient[place], (values[0] - values[1]) / (2 * h), rtol=1e-6, atol=1e-9)


# What is refused.

BAD: list[tuple[str, type[Exception], tuple[str, ...], Callable[[Callable[..., Any]], Any]]] = [
    ("alpha above 1", ValueError, ("alpha", "1.5"), lambda a: mutual_information(a(4, 3), a(4, 3), alpha=1.5)),
    ("alpha below 0", ValueError, ("alpha", "-0.1"), lambda a: mutual_information_from_scores(a(4, 4), alpha=-0.1)),
    ("NaN", ValueError, ("alpha", "nan"), lambda a: mutual_information_from_scores(a(4, 4), alpha=math.nan)),
    ("text", TypeError, ("alpha", "'1'"), lambda a: mutual_information_from_scores(a(4, 4), alpha="1")),
    ("bool", TypeError, ("alpha", "True"), lambda a: mutual_information_from_scores(a(4, 4), alpha=True)),
    ("array", TypeError, ("alpha", "number"), lambda a: mutual_information_from_scores(a(4, 4), alpha=a(1))),
    (
        *("positive", ValueError, ("positive", "'diagonal', 'first'", "'last'")),
        lambda a: mutual_information_from_scores(a(4, 4), "last"),
    ),
    (
        *("not square", ValueError, ("(N, N)", "(4, 5)", 'positive="first"')),
        lambda a: mutual_information_from_scores(a(4, 5)),
    ),
    ("1-D", ValueError, ("scores", "2 dimensions", "(4,)"), lambda a: mutual_information_from_scores(a(4))),
    (
        *("no negatives", ValueError, ("one negative", "(N, 1 + n)", "(4, 1)")),
        lambda a: mutual_information_from_scores(a(4, 1), "first"),
    ),
    ("one pair", ValueError, ("one negative", "(1, 1)"), lambda a: mutual_information_from_scores(a(1, 1))),
    (
        *("no rows", ValueError, ("one row", "(0, 4)")),
        lambda a: mutual_information_from_scores(a(0, 4), "first"),
    ),
    (
        *("integers", TypeError, ("scores", "received int32", "Cast to float")),
        lambda a: mutual_information_from_scores(a(4, 4, dtype="int32")),
    ),
    (
        *("a list", TypeError, ("scores", "dense array", "list")),
        lambda a: mutual_information_from_scores([[1.0, 0.0]]),
    ),
    (
        *("one pair of rows", ValueError, ("at least one negative", "(1, 3)", "negative_keys")),
        lambda a: mutual_information(a(1, 3), a(1, 3)),
    ),
    (
        *("empty negatives", ValueError, ("at least one negative", "(4, 3)")),
        lambda a: mutual_information(a(4, 3), a(4, 3), a(0, 3)),
    ),
    (
        *("rows", ValueError, ("query", "positive_key", "rows N", "(4, 3)", "(5, 3)")),
        lambda a: mutual_information(a(4, 3), a(5, 3)),
    ),
    (
        *("mode", ValueError, ("negative_mode", "'unpaired', 'paired'", "'own'")),
        lambda a: mutual_information(a(4, 3), a(4, 3), a(4, 2, 3), negative_mode="own"),
    ),
    ("t", ValueError, ("temperature", "0.0"), lambda a: mutual_information(a(4, 3), a(4, 3), temperature=0.0)),
]


@pytest.mark.parametrize(("error", "words", "call"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input_is_refused(
    framework: Framework, error: type[Exception], words: tuple[str, ...], call: Callable[[Callable[..., Any]], Any]
) -> None:
    with pytest.raises(error) as raised:
        call(lambda *shape, dtype="float64": framework.array(np.ones(shape), dtype))
    for word in words:
        assert word in str(raised.value)


def test_every_framework_is_judged() -> None:
    assert set(NAMES) == {"numpy", "array_api_strict", "torch", "jax", "tensorflow"}
