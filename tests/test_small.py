"""The short ways of small batches: which calls they answer, and that it is what the engine gives."""

from __future__ import annotations

import functools
import importlib
import warnings
from typing import Any

import numpy as np
import pytest

from infonce import info_nce, nt_xent, value_and_grad
from infonce.blocks import ON_CPU
from infonce.conformance import oracle, oracle_views
from infonce.numpy._arithmetic import NumPyArithmetic
from infonce.torch._arithmetic import TorchArithmetic

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
    return watched(f.name, monkeypatch)


@pytest.fixture
def torch_found(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    return watched("torch", monkeypatch)


def watched(name: str, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    module, answers = importlib.import_module(f"infonce.{name}._small"), []
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


def exact(loss: Any, query: Any = QUERY, key: Any = KEY, **options: Any) -> list[Any]:
    """The loss and the gradients by the oracle."""
    if loss is nt_xent:
        found = oracle_views.nt_xent([query, key], **options)
        return [found.loss, found.gradients["view 1"], found.gradients["view 2"]]
    found = oracle.info_nce(query, key, symmetric=loss is not info_nce, **options)
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
def test_a_constant_side(torch_found: list[bool], loss: Any, side: int) -> None:
    """In PyTorch: elsewhere `value_and_grad` wants both."""
    import torch

    f = framework("torch")
    sides = [f.array(QUERY), f.array(KEY)]
    sides[side].requires_grad_()
    (gradient,) = torch.autograd.grad(loss(*sides), sides[side])
    assert torch_found == [True]
    want = exact(loss, temperature=0.5 if loss is nt_xent else 0.1)[1 + side]
    np.testing.assert_allclose(f.values(gradient), want, rtol=0, atol=1e-14)


def test_a_cotangent_of_rows(torch_found: list[bool], loss: Any) -> None:
    """In PyTorch, the only one of them with an autodiff."""
    import torch

    f = framework("torch")
    sides = [f.array(x).requires_grad_() for x in (QUERY, KEY)]
    losses = loss(*sides, reduction="none", temperature=0.1)
    cotangent = np.random.default_rng(1).normal(size=len(losses))
    found = torch.autograd.grad(losses, sides, f.array(cotangent))
    assert torch_found == [True, True]
    _, *want = exact(loss, temperature=0.1, reduction="none", cotangent=cotangent)
    for x, y in zip(found, want, strict=True):
        np.testing.assert_allclose(f.values(x), y, rtol=0, atol=1e-13)


@pytest.mark.parametrize("temperature", [0.05, 1 / 30])
def test_tiny_losses(f: Framework, loss: Any, found: list[bool], temperature: float) -> None:
    angles = np.array([0, 2, 4]) * np.pi / 3
    query, key = (
        np.float32(np.stack([np.cos(x), np.sin(x)], 1)) for x in (angles, angles + np.array([0.1, -0.05, 0.02]))
    )
    value, *gradients = value_and_gradients(f, loss, query, key, "float32", temperature=temperature)
    assert found == [True]
    want, *slopes = exact(loss, query, key, temperature=temperature)
    assert 1e-20 < want < 1e-11
    np.testing.assert_allclose(value, want, rtol=2e-5)
    for x, y in zip(gradients, slopes, strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=1e-4 * np.abs(y).max())


@pytest.mark.parametrize("side", [0, 1], ids=["query", "key"])
@pytest.mark.parametrize("scale", [0.0, 1e-25, 1e25, np.nan], ids=str)
def test_extreme_rows(f: Framework, loss: Any, found: list[bool], scale: float, side: int) -> None:
    sides = [QUERY.copy(), KEY.copy()]
    sides[side][2] *= scale
    short = value_and_gradients(f, loss, *sides)
    assert found == [f.name == "numpy"]  # PyTorch leaves them to the general way
    for x, y in zip(short, value_and_gradients(f, loss, *sides, block_size=ROWS - 1), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-300)


OTHERS = (
    (info_nce, {"temperature": 1 / 41}),
    (info_nce, {"temperature": 1e7}),
    (info_nce, {"temperature": np.array(0.1)}),
    (info_nce, {"normalize": False}),
    (info_nce, {"block_size": ROWS - 1}),
    (info_nce, {"label_smoothing": 0.1}),
    (info_nce, {"margin": 0.1}),
    (info_nce, {"decoupled": True}),
    (info_nce, {"debias": 0.1}),
    (info_nce, {"hardness": 0.1}),
    (info_nce, {"return_metrics": True}),
    (info_nce, {"weight": np.ones(ROWS)}),
    (info_nce, {"bias": np.ones(ROWS)}),
    (info_nce, {"ids": np.arange(ROWS)}),
    (info_nce, {"mask": np.ones((ROWS, ROWS), dtype=bool)}),
    (info_nce, {"negative_keys": KEY}),
    (info_nce, {"symmetric": True, "negative_keys": KEY, "in_batch": True}),
    (info_nce, {"symmetric": True, "margin": 0.1}),
    (nt_xent, {"decoupled": True}),
    (nt_xent, {"weight": np.ones(ROWS)}),
    (nt_xent, {"ids": np.arange(ROWS)}),
)


@pytest.mark.parametrize(("loss", "options"), OTHERS, ids=lambda x: getattr(x, "__name__", str(x)))
def test_other_calls_do_not_come_there(f: Framework, loss: Any, found: list[bool], options: dict[str, Any]) -> None:
    given = {name: f.array(x) if isinstance(x, np.ndarray) else x for name, x in options.items()}
    value_and_grad(loss)(f.array(QUERY), f.array(KEY), **given)
    assert found == []


def test_three_views_do_not_come_there(f: Framework, found: list[bool]) -> None:
    value_and_grad(nt_xent)(f.array(QUERY), f.array(KEY), f.array(KEY))
    assert found == []


@pytest.mark.parametrize("dtypes", [("float16", "float16"), ("float32", "float64"), ("float64", "float32")], ids=str)
def test_half_precision_and_two_dtypes_do_not_come_there(
    f: Framework, found: list[bool], dtypes: tuple[str, str]
) -> None:
    info_nce(*(f.array(x, dtype) for x, dtype in zip((QUERY, KEY), dtypes, strict=True)))
    assert found == []


@pytest.mark.parametrize(
    ("gradients", "largest"),
    [(True, {"one direction": 4, "both directions": 6, "views": 4}), (False, dict.fromkeys(LOSSES, 4))],
    ids=["with gradients", "value"],
)
def test_a_block_is_no_larger_than_the_engine_makes_it(
    f: Framework, found: list[bool], monkeypatch: pytest.MonkeyPatch, gradients: bool, largest: dict[str, int]
) -> None:
    arithmetic = {"numpy": NumPyArithmetic, "torch": TorchArithmetic}[f.name]
    monkeypatch.setattr(arithmetic, "blocks", lambda _: ON_CPU._replace(whole=16, kept=36, pairs=64))
    for name, loss in LOSSES.items():
        for rows in range(2, ROWS + 1):
            found.clear()
            sides = f.array(QUERY[:rows]), f.array(KEY[:rows])
            (value_and_grad(loss) if gradients else loss)(*sides)
            together = 2 * rows if name == "views" and not gradients else rows
            assert found == [True] * (together <= largest[name]), (name, rows)


def test_arrays_in_another_order(f: Framework, loss: Any, found: list[bool]) -> None:
    """PyTorch's kernels want rows that are contiguous."""
    turned = [f.array(x.T).T for x in (QUERY, KEY)]
    value, gradients = value_and_grad(loss)(*turned)
    assert found == [True] * (f.name == "numpy" or loss is nt_xent)  # which joins its views
    arrays = [value, *(gradients["views"] if loss is nt_xent else gradients.values())]
    for x, y in zip(arrays, exact(loss, temperature=0.5 if loss is nt_xent else 0.1), strict=True):
        np.testing.assert_allclose(f.values(x), y, rtol=1e-12, atol=1e-14)


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
