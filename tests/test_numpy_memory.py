"""The memory that NumPy's blocks leave to the next call: nothing lies in it, and it is not much."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from infonce import info_nce, nt_xent, value_and_grad
from infonce.conformance import run
from infonce.numpy import _memory
from infonce.numpy._arithmetic import NumPyArithmetic

RNG = np.random.default_rng(0)
LOSSES = {"one direction": (info_nce, {}), "symmetric": (info_nce, {"symmetric": True}), "views": (nt_xent, {})}


@pytest.fixture(autouse=True)
def nothing_idle() -> Iterator[None]:
    _memory.idle.clear()
    yield
    _memory.idle.clear()


@pytest.fixture(params=LOSSES)
def step(request: pytest.FixtureRequest) -> Any:
    function, options = LOSSES[request.param]
    return lambda *inputs: value_and_grad(function)(*inputs, temperature=0.2, **options)


def batch(rows: int, dtype: Any = np.float32) -> list[Any]:
    return [RNG.normal(size=(rows, 8)).astype(dtype) for _ in range(2)]


def bytes_idle() -> int:
    return sum(x.size for buffers in _memory.idle for x in buffers.values())


def flat(answer: Any) -> list[Any]:
    loss, gradients = answer
    found = gradients.get("views") or list(gradients.values())
    return [loss, *found]


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_no_result_lies_in_it_and_none_depends_on_what_it_held(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    room, give, given = _memory.room, _memory.give, 0

    def spoilt(*arguments: Any) -> Any:
        x = room(*arguments)
        x.fill(255)  # NaN in each dtype
        return x

    def spoil(buffers: _memory.Buffers) -> None:
        nonlocal given
        given += len(buffers)
        for x in buffers.values():
            x.fill(255)
        give(buffers)

    monkeypatch.setattr(_memory, "LEAST", 1)
    monkeypatch.setattr(_memory, "room", spoilt)
    monkeypatch.setattr(_memory, "give", spoil)
    report = run(variants=["numpy"], dtypes=[dtype])
    assert [failure for line in report.lines for failure in line.failures] == []
    assert given > 300


def test_the_next_call_finds_it(step: Any) -> None:
    inputs = batch(300)
    first = flat(step(*inputs))
    assert bytes_idle() >= 300 * 300 * 4
    (before,) = _memory.idle
    arrays = {part: x.ctypes.data for part, x in before.items()}
    second = flat(step(*inputs))
    (after,) = _memory.idle
    assert {part: x.ctypes.data for part, x in after.items()} == arrays
    for x, y in zip(first, second, strict=True):
        np.testing.assert_array_equal(x, y)


def test_calls_of_another_dtype_and_size_share_it(step: Any) -> None:
    cases = [batch(300), batch(400, np.float64), batch(200), batch(520, np.float64)]
    expected = []
    for inputs in cases:
        _memory.idle.clear()
        expected.append(flat(step(*inputs)))
    for inputs, answer in zip(cases * 2, expected * 2, strict=True):
        for x, y in zip(flat(step(*inputs)), answer, strict=True):
            assert x.dtype == y.dtype
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("rows", [64, 1024, 3000, 4200])
def test_a_large_batch_leaves_little(step: Any, rows: int) -> None:
    step(*batch(rows))
    assert bytes_idle() <= _memory.MOST == 1 << 24
    assert bool(bytes_idle()) == (rows > 64)


def test_runs_at_the_same_time_have_their_own(step: Any) -> None:
    cases = [batch(300) for _ in range(4)]
    expected = [flat(step(*inputs)) for inputs in cases]
    found: list[list[Any]] = [[] for _ in cases]

    def work(i: int) -> None:
        found[i] = [flat(step(*cases[i])) for _ in range(20)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(cases))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for answers, one in zip(found, expected, strict=True):
        assert len(answers) == 20
        for answer in answers:
            for x, y in zip(answer, one, strict=True):
                np.testing.assert_array_equal(x, y)


def test_a_run_within_a_run_has_its_own() -> None:
    x = np.ones((300, 300), np.float32)
    with NumPyArithmetic(np) as outer:
        a = outer.buffer(0, x, x.shape)
        with NumPyArithmetic(np) as inner:
            b = inner.buffer(0, x, x.shape)
            assert not np.shares_memory(a, b)
    with NumPyArithmetic(np) as later:
        assert np.shares_memory(later.buffer(0, x, x.shape), b)
