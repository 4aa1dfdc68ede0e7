"""The short ways of small batches: what they answer, and that it is what `infonce.plain` gives."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import numpy as np
import pytest

from infonce import info_nce, value_and_grad
from infonce.conformance import oracle

from ._frameworks import EPS, Framework, framework

ROWS, D = 7, 5
RNG = np.random.default_rng(0)
QUERY, KEY = RNG.normal(size=(2, ROWS, D))


@pytest.fixture(params=["numpy", "torch"])
def f(request: pytest.FixtureRequest) -> Framework:
    return framework(request.param)


@pytest.fixture
def found(f: Framework, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each call that came there: whether the short way had the answer."""
    module, answers = importlib.import_module(f"infonce.{f.name}._small"), []
    solve = module.solve

    def seen(*arguments: Any) -> Any:
        answer = solve(*arguments)
        answers.append(answer is not None)
        return answer

    monkeypatch.setattr(module, "solve", seen)
    return answers


def loss_and_gradients(f: Framework, query: Any, key: Any, dtype: str = "float64", **options: Any) -> list[Any]:
    loss, gradients = value_and_grad(info_nce)(f.array(query, dtype), f.array(key, dtype), **options)
    assert f.dtype(loss) == dtype
    assert {name: f.dtype(x) for name, x in gradients.items()} == {"query": dtype, "positive_key": dtype}
    return [f.values(x) for x in (loss, *gradients.values())]


@pytest.mark.parametrize("temperature", [1 / 40, 0.1, 30.0])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_it_is_the_general_way(f: Framework, found: list[bool], dtype: str, reduction: str, temperature: float) -> None:
    options: dict[str, Any] = {"reduction": reduction, "temperature": temperature}
    short = loss_and_gradients(f, QUERY, KEY, dtype, **options)
    assert found == [True]
    general = loss_and_gradients(f, QUERY, KEY, dtype, block_size=ROWS - 1, **options)
    assert found == [True]
    for x, y in zip(short, general, strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=20 * EPS[dtype] * max(1, np.abs(y).max()))


@pytest.mark.parametrize("symmetric", [False, True])
def test_losses_of_rows(f: Framework, found: list[bool], symmetric: bool) -> None:
    losses = info_nce(f.array(QUERY), f.array(KEY), reduction="none", symmetric=symmetric)
    assert found == [True]
    want = oracle.info_nce(QUERY, KEY, temperature=0.1, reduction="none", symmetric=symmetric).loss
    np.testing.assert_allclose(f.values(losses), want, rtol=1e-13)


@pytest.mark.parametrize("side", [0, 1], ids=["query", "key"])
@pytest.mark.parametrize("scale", [0.0, 1e-25, 1e25, np.nan], ids=str)
def test_extreme_rows_go_the_general_way(f: Framework, found: list[bool], scale: float, side: int) -> None:
    sides = [QUERY.copy(), KEY.copy()]
    sides[side][2] *= scale
    short = loss_and_gradients(f, *sides)
    assert found == [False]
    for x, y in zip(short, loss_and_gradients(f, *sides, block_size=ROWS - 1), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 1 / 41},
        {"temperature": 1e7},
        {"normalize": False},
        {"block_size": ROWS - 1},
        {"symmetric": True, "negative_keys": KEY, "in_batch": True},
        {"label_smoothing": 0.1},
        {"margin": 0.1},
        {"decoupled": True},
        {"return_metrics": True},
        {"weight": np.ones(ROWS)},
        {"temperature": np.array(0.1)},
        {"negative_keys": KEY},
    ],
    ids=str,
)
def test_other_calls_do_not_come_there(f: Framework, found: list[bool], options: dict[str, Any]) -> None:
    given = {name: f.array(x) if isinstance(x, np.ndarray) else x for name, x in options.items()}
    value_and_grad(info_nce)(f.array(QUERY), f.array(KEY), **given)
    assert found == []


@pytest.mark.parametrize("dtypes", [("float16", "float16"), ("float32", "float64"), ("float64", "float32")], ids=str)
def test_half_precision_and_two_dtypes_do_not_come_there(
    f: Framework, found: list[bool], dtypes: tuple[str, str]
) -> None:
    info_nce(*(f.array(x, dtype) for x, dtype in zip((QUERY, KEY), dtypes, strict=True)))
    assert found == []


def test_a_single_row_does_not_come_there(f: Framework, found: list[bool]) -> None:
    with pytest.warns(UserWarning, match="there are no negatives"):
        info_nce(f.array(QUERY[:1]), f.array(KEY[:1]))
    assert found == []


def test_numpy_hears_no_warning_and_keeps_a_subclass() -> None:
    class Own(np.ndarray):
        pass

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss, gradients = value_and_grad(info_nce)(np.eye(3), np.eye(3), temperature=1 / 40)
        own = value_and_grad(info_nce)(np.eye(3).view(Own), np.eye(3), temperature=1 / 40)
    assert type(gradients["query"]) is np.ndarray
    assert [type(x) for x in own[1].values()] == [Own, np.ndarray]
    np.testing.assert_allclose(own[0], loss, rtol=1e-12)
    for name, x in gradients.items():
        np.testing.assert_allclose(np.asarray(own[1][name]), x, rtol=1e-12, atol=1e-300)
