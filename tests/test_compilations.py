"""Batches of any size, and schedules of the temperature, without a compilation for each."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from infonce import info_nce, nt_xent

SIZES = (8, 32, 100, 513, 700)
FEATURES = 6
RNG = np.random.default_rng(0)
MODES: dict[str, dict[str, Any]] = {
    "in-batch": {},
    "symmetric": {"symmetric": True},
    "unpaired": {},
    "paired": {"negative_mode": "paired"},
}


def call(mode: str, arrays: Sequence[Any]) -> Any:
    query, key, *negatives = arrays
    return info_nce(query, key, negatives[0] if negatives else None, temperature=0.2, **MODES[mode])


def batch(mode: str, rows: int) -> list[np.ndarray[Any, np.dtype[np.float64]]]:
    shapes: list[tuple[int, ...]] = [(rows, FEATURES), (rows, FEATURES)]
    if mode == "unpaired":
        shapes.append((rows + 3, FEATURES))
    elif mode == "paired":
        shapes.append((rows, 4, FEATURES))
    return [RNG.normal(size=shape) for shape in shapes]


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # Dynamo's own doing
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dynamic", [True, None])
def test_torch_compiles_no_more_than_three_times_for_all_batch_sizes(mode: str, dynamic: bool | None) -> None:
    import torch
    from torch._dynamo.testing import CompileCounterWithBackend

    def loss(*arrays: torch.Tensor) -> Any:
        return call(mode, arrays)

    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(loss, fullgraph=True, dynamic=dynamic, backend=counter)
    for rows in SIZES:
        leaves = [torch.from_numpy(array).requires_grad_() for array in batch(mode, rows)]
        want = torch.autograd.grad(loss(*leaves), leaves)
        for got, gradient in zip(torch.autograd.grad(compiled(*leaves), leaves), want, strict=True):
            torch.testing.assert_close(got, gradient, rtol=1e-12, atol=1e-14)
    # Once for the first size, once for all others; once more for many rows where few are computed in the graph itself.
    assert counter.frame_count <= (3 if mode == "in-batch" else 2)


def test_torch_compiles_a_schedule_of_the_temperature_no_more_than_twice() -> None:
    import torch
    from torch._dynamo.testing import CompileCounterWithBackend

    def loss(query: torch.Tensor, key: torch.Tensor, temperature: float) -> Any:
        return info_nce(query, key, temperature=temperature)

    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(loss, fullgraph=True, backend=counter)
    query, key = (torch.from_numpy(array) for array in batch("in-batch", 8))
    for temperature in (0.5, 0.4, 0.3, 0.2, 0.1):
        torch.testing.assert_close(compiled(query, key, temperature), loss(query, key, temperature))
    assert counter.frame_count <= 2


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_tensorflow_traces_an_open_batch_size_once(mode: str, jit_compile: bool) -> None:
    import tensorflow as tf

    traces = []

    def step(*arrays: Any) -> Any:
        traces.append(arrays)
        with tf.GradientTape() as tape:
            tape.watch(arrays)
            loss = call(mode, arrays)
        return tape.gradient(loss, arrays)

    ranks = [array.ndim for array in batch(mode, 2)]
    signature = [tf.TensorSpec([*[None] * (rank - 1), FEATURES], tf.float64) for rank in ranks]
    compiled = tf.function(step, input_signature=signature, jit_compile=jit_compile)
    for rows in SIZES:
        arrays = [tf.constant(array) for array in batch(mode, rows)]
        got = compiled(*arrays)
        with_traces = len(traces)
        for found, want in zip(got, step(*arrays), strict=True):
            np.testing.assert_allclose(found, want, rtol=1e-12, atol=1e-14)
        assert with_traces == len(traces) - 1
    assert len(traces) == 1 + len(SIZES)


@pytest.mark.parametrize("rows", [7, 20])
@pytest.mark.parametrize(
    "function", [info_nce, nt_xent, functools.partial(info_nce, symmetric=True)], ids=["one", "nt_xent", "symmetric"]
)
def test_a_trace_of_tensorflow_made_without_xla_compiles_within_it(function: Any, rows: int) -> None:
    import tensorflow as tf

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def step(*sides: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(sides)
            loss = function(*sides, temperature=0.2, block_size=8)
        return loss, *tape.gradient(loss, sides)

    sides = [tf.constant(RNG.normal(size=(rows, FEATURES))) for _ in range(2)]
    traced = step.get_concrete_function(*sides)
    compiled = tf.function(lambda *x: traced(*x), jit_compile=True, autograph=False)
    for got, want in zip(compiled(*sides), step(*sides), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("jit", [False, True])
def test_jax_compiles_a_schedule_of_the_temperature_once(jit: bool) -> None:
    import jax

    compiles: list[str] = []
    loss: Callable[..., Any] = jax.jit(info_nce) if jit else info_nce
    query, key = (jax.numpy.asarray(array, np.float32) for array in batch("in-batch", 9))
    loss(query, key, temperature=0.9).block_until_ready()

    def listen(event: str, *_: Any, **__: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiles.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        for temperature in (0.5, 0.4, 0.3):
            loss(query, key, temperature=temperature).block_until_ready()
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert compiles == []


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # Dynamo's own doing
@pytest.mark.parametrize(("rows", "options", "operators"), [(8, {}, 0), (300, {}, 1), (8, {"symmetric": True}, 1)])
def test_torch_graph_of_a_small_batch_holds_no_operator(rows: int, options: dict[str, Any], operators: int) -> None:
    import torch

    found = 0

    def count(graph: Any, _: Any) -> Any:
        nonlocal found
        found += sum("infonce" in str(node.target) for module in modules(graph) for node in module.graph.nodes)
        return graph

    def modules(graph: Any) -> list[Any]:
        return [module for module in graph.modules() if hasattr(module, "graph")]

    torch._dynamo.reset()
    query, key = (torch.from_numpy(array).requires_grad_() for array in batch("in-batch", rows))
    loss = torch.compile(lambda *x: info_nce(*x, **options), fullgraph=True, backend=count)(query, key)
    assert found == operators
    torch.testing.assert_close(loss, info_nce(query, key, **options), rtol=1e-12, atol=1e-14)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # Dynamo's own doing
@pytest.mark.parametrize("mode", ["unpaired", "paired"])
def test_torch_compares_no_sizes_that_may_differ(mode: str) -> None:
    """One graph of open sizes serves as many negatives as there are rows, or features, too."""
    import torch

    graphs = []

    def backend(graph: Any, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    generator = torch.Generator().manual_seed(0)
    loss = torch.compile(functools.partial(info_nce, negative_mode=mode), fullgraph=True, dynamic=True, backend=backend)
    for rows, many, features in ((8, 20, 6), (9, 21, 6), (10, 10, 6), (7, 6, 6)):
        query, key = (torch.randn(rows, features, generator=generator) for _ in range(2))
        shape = (rows, many, features) if mode == "paired" else (many, features)
        negatives = torch.randn(shape, generator=generator)
        found, want = loss(query, key, negatives), info_nce(query, key, negatives, negative_mode=mode)
        torch.testing.assert_close(found, want, rtol=1e-5, atol=1e-6)
    assert len(graphs) == 1


def test_torch_compiles_the_backward_pass_of_halves() -> None:
    """Compiled autograd traces what rounds the gradients."""
    import torch

    query, key = (torch.randn(6, 4, dtype=torch.bfloat16).requires_grad_() for _ in range(2))
    want = torch.autograd.grad(info_nce(query, key), (query, key))
    compiler = torch.compile(backend="aot_eager", fullgraph=True)
    with torch._dynamo.compiled_autograd._enable(compiler):
        info_nce(query, key).backward()
    torch._dynamo.reset()
    for x, gradient in zip((query, key), want, strict=True):
        assert x.grad is not None
        assert torch.equal(x.grad, gradient)
        assert gradient.any()
