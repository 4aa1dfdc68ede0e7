"""The short ways of small batches: which calls they answer, and that it is what the engine gives."""

from __future__ import annotations

import functools
import importlib
import warnings
from typing import Any

import numpy as np
import pytest

from infonce import info_nce, nt_xent, value_and_grad
from infonce.conformance import oracle, oracle_views

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


LOSSES = {"one direction": info_nce, "both directions": functools.partial(info_nce, symmetric=True), "views": nt_xent}


@pytest.fixture(params=LOSSES)
def loss(request: pytest.FixtureRequest) -> Any:
    return LOSSES[request.param]


def value_and_gradients(
    f: Framework, loss: Any, query: Any, key: Any, dtype: str = "float64", **options: Any
) -> list[Any]:
    value, gradients = value_and_grad(loss)(f.array(query, dtype), f.array(key, dtype), **options)
    arrays = [value, *(gradients["views"] if loss is nt_xent else gradients.values())]
    assert [f.dtype(x) for x in arrays] == [dtype] * 3
    return [f.values(x) for x in arrays]


def exact(loss: Any, **options: Any) -> list[Any]:
    """The loss and the gradients by the oracle."""
    if loss is nt_xent:
        found = oracle_views.nt_xent([QUERY, KEY], **options)
        return [found.loss, found.gradients["view 1"], found.gradients["view 2"]]
    found = oracle.info_nce(QUERY, KEY, symmetric=loss is not info_nce, **options)
    return [found.loss, found.gradients["query"], found.gradients["positive_key"]]


@pytest.mark.parametrize("temperature", [1 / 40, 0.1, 30.0])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_it_is_the_general_way(
    f: Framework, loss: Any, found: list[bool], dtype: str, reduction: str, temperature: float
) -> None:
    options: dict[str, Any] = {"reduction": reduction, "temperature": temperature}
    short = value_and_gradients(f, loss, QUERY, KEY, dtype, **options)
    assert found == [True]
    general = value_and_gradients(f, loss, QUERY, KEY, dtype, block_size=ROWS - 1, **options)
    assert found == [True]
    for x, y in zip(short, general, strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=20 * EPS[dtype] * max(1, np.abs(y).max()))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_value_alone(f: Framework, loss: Any, found: list[bool], reduction: str) -> None:
    value = loss(f.array(QUERY), f.array(KEY), temperature=0.1, reduction=reduction)
    assert found == [True]
    want = exact(loss, temperature=0.1, reduction=reduction)[0]
    np.testing.assert_allclose(f.values(value), want, rtol=1e-13)


@pytest.mark.parametrize("side", [0, 1], ids=["query", "key"])
def test_a_constant_side(loss: Any, side: int) -> None:
    """In PyTorch: elsewhere `value_and_grad` wants both."""
    import torch

    f = framework("torch")
    sides = [f.array(QUERY), f.array(KEY)]
    sides[side].requires_grad_()
    (gradient,) = torch.autograd.grad(loss(*sides), sides[side])
    want = exact(loss, temperature=0.5 if loss is nt_xent else 0.1)[1 + side]
    np.testing.assert_allclose(f.values(gradient), want, rtol=0, atol=1e-14)


def test_a_cotangent_of_rows(loss: Any) -> None:
    """In PyTorch, the only one of them with an autodiff."""
    import torch

    f = framework("torch")
    sides = [f.array(x).requires_grad_() for x in (QUERY, KEY)]
    losses = loss(*sides, reduction="none", temperature=0.1)
    cotangent = np.random.default_rng(1).normal(size=len(losses))
    found = torch.autograd.grad(losses, sides, f.array(cotangent))
    _, *want = exact(loss, temperature=0.1, reduction="none", cotangent=cotangent)
    for x, y in zip(found, want, strict=True):
        np.testing.assert_allclose(f.values(x), y, rtol=0, atol=1e-13)


@pytest.mark.parametrize("side", [0, 1], ids=["query", "key"])
@pytest.mark.parametrize("scale", [0.0, 1e-25, 1e25, np.nan], ids=str)
def test_extreme_rows_go_the_general_way(f: Framework, loss: Any, found: list[bool], scale: float, side: int) -> None:
    sides = [QUERY.copy(), KEY.copy()]
    sides[side][2] *= scale
    short = value_and_gradients(f, loss, *sides)
    assert found == [False]
    for x, y in zip(short, value_and_gradients(f, loss, *sides, block_size=ROWS - 1), strict=True):
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
