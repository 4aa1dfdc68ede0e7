"""The bounds on mutual information: exact values, and of known distributions."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infonce import MutualInformation, mutual_information, mutual_information_from_scores

from ._frameworks import Framework
from ._frameworks import framework as framework_of
from ._information import ALPHAS, Floats

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
