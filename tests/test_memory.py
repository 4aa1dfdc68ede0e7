"""No array of N x M elements is made for a large batch, in any framework: checked by what each of them can be asked."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from infonce import info_nce, nt_xent, value_and_grad
from infonce.frame import rows_per_block
from infonce.numpy import _memory
from infonce.numpy._arithmetic import NumPyArithmetic
from infonce.problem import Options

ROWS, FEATURES, BLOCK = 512, 4, 16
LIMIT = 4 * BLOCK * ROWS  # elements: the widest block has 3/2 of BLOCK * 2 ROWS, all logits 32 times BLOCK * ROWS
CALLS: dict[str, tuple[Any, int, dict[str, Any]]] = {
    "in-batch": (info_nce, 2, {}),
    "rows": (info_nce, 2, {"reduction": "none"}),
    "symmetric": (info_nce, 2, {"symmetric": True}),
    "in-batch and unpaired": (info_nce, 3, {"in_batch": True}),
    "nt_xent": (nt_xent, 2, {}),
    "nt_xent of three": (nt_xent, 3, {}),
}
RNG = np.random.default_rng(0)


def call(name: str) -> Callable[..., Any]:
    function, _, options = CALLS[name]
    return lambda *arrays: function(*arrays, temperature=0.2, block_size=BLOCK, **options)


def inputs(name: str) -> list[Any]:
    return [RNG.normal(size=(ROWS, FEATURES)).astype(np.float32) for _ in range(CALLS[name][1])]


@pytest.mark.parametrize(
    ("function", "options"),
    [(info_nce, {}), (info_nce, {"symmetric": True}), (nt_xent, {})],
    ids=["one direction", "symmetric", "nt_xent"],
)
def test_numpy_peak_is_a_few_blocks(function: Any, options: dict[str, Any]) -> None:
    rows, block = 6000, 64
    query, key = (RNG.normal(size=(rows, 8)).astype(np.float32) for _ in range(2))
    columns = 2 * rows if function is nt_xent else rows
    peak = peak_of(lambda: value_and_grad(function)(query, key, temperature=0.2, block_size=block, **options))
    assert peak < 4 * block * columns * 4 + 16 * query.nbytes < columns * columns * 4 / 9


@pytest.mark.parametrize(
    ("function", "options", "sides"),
    [(info_nce, {}, 5.3), (info_nce, {"symmetric": True}, 7.3), (nt_xent, {}, 11.3)],
    ids=["one direction", "symmetric", "nt_xent"],
)
def test_numpy_holds_few_arrays_of_all_rows(function: Any, options: dict[str, Any], sides: float) -> None:
    query, key = (RNG.normal(size=(1024, 512)).astype(np.float32) for _ in range(2))
    peak = peak_of(lambda: value_and_grad(function)(query, key, temperature=0.2, block_size=8, **options))
    assert peak < sides * query.nbytes  # NT-Xent: 2 of views, 6 in `cyclic`, 2 of gradients, 1 of a product


@pytest.mark.parametrize(
    ("function", "options", "sides"),
    [(info_nce, {}, 3.1), (info_nce, {"symmetric": True}, 4.1), (nt_xent, {}, 11.1)],
    ids=["one direction", "symmetric", "nt_xent"],
)
def test_jax_holds_few_arrays_of_all_rows(function: Any, options: dict[str, Any], sides: float) -> None:
    import jax

    side = jax.ShapeDtypeStruct((1024, 512), jax.numpy.float32)
    step = jax.value_and_grad(lambda *x: function(*x, temperature=0.2, block_size=8, **options), (0, 1))
    held = jax.jit(step).lower(side, side).compile().memory_analysis().temp_size_in_bytes
    assert held < sides * 4 * side.size


def test_numpy_peak_grows_linearly() -> None:
    peaks = []
    for rows in (2000, 4000):
        query, key = (RNG.normal(size=(rows, 8)).astype(np.float32) for _ in range(2))
        peaks.append(peak_of(lambda q=query, k=key: value_and_grad(info_nce)(q, k, block_size=32)))  # type: ignore[misc]
    assert peaks[1] < 2.2 * peaks[0]


@pytest.mark.parametrize(
    ("function", "rows", "logits"),
    [
        *[(info_nce, 4096, 1 << 24), (info_nce, 4100, 1 << 21)],
        *[(nt_xent, 4096, 1 << 24), (nt_xent, 8192, 8192 * (4096 + 256)), (nt_xent, 8194, 1 << 21)],
    ],
)
def test_numpy_keeps_some_logits_at_most(function: Any, rows: int, logits: int) -> None:
    inputs = RNG.normal(size=(2, rows // 2 if function is nt_xent else rows, 8)).astype(np.float32)
    options = {} if function is nt_xent else {"symmetric": True}
    peak = peak_of(lambda: value_and_grad(function)(*inputs, temperature=0.2, **options))
    assert peak / 4 < 1.1 * logits + (1 << 20)  # and what is of N x 8


@pytest.mark.parametrize(
    ("rows", "columns", "options", "size"),
    [
        (1024, 1024, {}, 1024),  # 2^20 logits: one block
        (4096, 4096, {}, 512),
        (16384, 16384, {}, 256),  # 2^22 logits
        (65536, 65536, {}, 128),
        (98304, 98304, {}, 84),  # 2^23 logits
        (1000, 1 << 20, {}, 8),
        (640, 65536, {}, 80),  # an eighth
        (256, 65536, {}, 64),  # an eighth would be fewer
        (65536, 65536, {"paired": True}, 64),
        (65536, 1 << 23, {"paired": True}, 1),
        (5, 1 << 23, {}, 1),
        (65536, 65536, {"block_size": 7}, 7),
    ],
)
def test_the_default_block_follows_the_shapes(rows: int, columns: int, options: dict[str, Any], size: int) -> None:
    assert rows_per_block(NumPyArithmetic(np), Options(**options), rows, columns) == size


def peak_of(fn: Callable[[], Any]) -> int:
    """The bytes that NumPy held at most while `fn` ran, with none left from before."""
    _memory.idle.clear()
    tracemalloc.start()
    try:
        fn()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def largest_in_torch(fn: Callable[..., Any], arrays: list[Any], *, functional: bool = False) -> int:
    """The most elements of any tensor that an operation returns, forward and backward."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        elements = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            found = func(*args, **(kwargs or {}))
            for x in found if isinstance(found, tuple | list) else (found,):
                if isinstance(x, torch.Tensor):
                    self.elements = max(self.elements, x.numel())
            return found

    leaves = [torch.from_numpy(x).requires_grad_() for x in arrays]
    with Largest() as seen:
        if functional:
            torch.func.grad(lambda *x: fn(*x).sum(), tuple(range(len(leaves))))(*leaves)
        else:
            fn(*leaves).sum().backward()
    return seen.elements


def largest_in_torch_func(fn: Callable[..., Any], arrays: list[Any]) -> int:
    return largest_in_torch(fn, arrays, functional=True)


def largest_in_jax(fn: Callable[..., Any], arrays: list[Any]) -> int:
    """The most elements of any value in the program of the gradient, the bodies of its loops included."""
    import jax

    def largest(jaxpr: Any) -> int:
        sizes = [variable.aval.size for equation in jaxpr.eqns for variable in equation.outvars]
        return max(sizes + [largest(inner) for equation in jaxpr.eqns for inner in inside(equation)], default=0)

    def inside(equation: Any) -> Iterator[Any]:
        for value in equation.params.values():
            for entry in value if isinstance(value, tuple | list) else (value,):
                found = getattr(entry, "jaxpr", entry)
                if hasattr(found, "eqns"):
                    yield found

    step = jax.grad(lambda *x: fn(*x).sum(), tuple(range(len(arrays))))
    return largest(jax.make_jaxpr(step)(*map(jax.numpy.asarray, arrays)).jaxpr)


def largest_in_tensorflow(fn: Callable[..., Any], arrays: list[Any]) -> int:
    """The most elements of any tensor in the graph of the gradient, the bodies of its loops included."""
    import tensorflow as tf

    @tf.function
    def step(*arrays: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(arrays)
            loss = tf.reduce_sum(fn(*arrays))
        return tape.gradient(loss, arrays)

    def shapes(graph: Any) -> Iterator[Any]:
        for operation in graph.get_operations():
            yield from (output.shape for output in operation.outputs)
        for function in graph._functions.values():
            if getattr(function, "graph", None) is not None:
                yield from shapes(function.graph)

    graph = step.get_concrete_function(*map(tf.constant, arrays)).graph
    known = [shape.num_elements() for shape in shapes(graph) if shape.rank is not None and None not in shape]
    return int(max(known))


LARGEST = {
    "torch": largest_in_torch,
    "torch.func": largest_in_torch_func,
    "jax": largest_in_jax,
    "tensorflow": largest_in_tensorflow,
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("way", LARGEST)
def test_nothing_has_the_size_of_the_logits(way: str, name: str) -> None:
    # More than the gradients alone have: the blocks are seen.
    assert BLOCK * ROWS <= LARGEST[way](call(name), inputs(name)) <= LIMIT


@pytest.mark.parametrize("way", LARGEST)
def test_the_check_can_fail(way: str) -> None:
    def plain(query: Any, key: Any) -> Any:
        z = query[:, 0, None] * key[:, 0]
        return z * z

    assert LARGEST[way](plain, inputs("in-batch")) >= ROWS * ROWS > LIMIT


def test_tensorflow_knows_the_features_of_every_eager_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """It traces for any size once a size has changed; rows of unknown length could not be visited in blocks."""
    import tensorflow as tf

    from infonce.tensorflow import _autodiff

    seen: list[tuple[int | None, ...]] = []
    solve = _autodiff.solve

    def watched(arithmetic: Any, options: Any, inputs: Any, *rest: Any) -> Any:
        seen.append(tuple(inputs.query.shape))
        return solve(arithmetic, options, inputs, *rest)

    monkeypatch.setattr(_autodiff, "solve", watched)
    for function in (info_nce, nt_xent):
        for features in (3, 4, 5, 6):
            rows = tf.constant(RNG.normal(size=(5, features)))
            function(rows, rows[::-1], block_size=2, temperature=0.21)  # options that no other test has traced
    assert seen
    assert {features for _, features in seen} == {3, 4, 5, 6}
