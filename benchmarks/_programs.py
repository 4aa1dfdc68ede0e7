"""A compiled value and gradient in each framework that tells how many graphs it was compiled to, and how large each."""

from __future__ import annotations

from typing import Any, Protocol

import infonce

FEATURES = 64


class Program(Protocol):
    """Compiles anew whatever it was not compiled for."""

    graphs: list[int]  # operations of each graph compiled so far; known after a call

    def __call__(self, n: int, temperature: float) -> None:
        """Value and gradient of a batch of n."""
        ...


class Torch:
    """`torch.compile` as it comes: a second batch size makes the size dynamic."""

    def __init__(self) -> None:
        import torch
        from functorch.compile import make_boxed_func
        from torch._dynamo.backends.common import aot_autograd

        def counted(module: Any, inputs: Any) -> Any:
            """The forward or the backward graph, as it is."""
            self.graphs[-1] += len(module.graph.nodes)
            return make_boxed_func(module.forward)

        run = aot_autograd(fw_compiler=counted, bw_compiler=counted)

        def backend(module: Any, inputs: Any) -> Any:
            self.graphs.append(0)
            return run(module, inputs)

        torch._dynamo.reset()
        self.graphs: list[int] = []
        self.torch = torch
        self.loss = torch.compile(infonce.info_nce, fullgraph=True, backend=backend)

    def __call__(self, n: int, temperature: float) -> None:
        inputs = [self.torch.randn(n, FEATURES, requires_grad=True) for _ in range(2)]
        self.torch.autograd.grad(self.loss(*inputs, temperature=temperature), inputs)


class JAX:
    """`jax.jit`: one program for each shape, whatever it computes."""

    def __init__(self) -> None:
        import jax

        def loss(query: Any, key: Any, temperature: Any) -> Any:
            return infonce.info_nce(query, key, temperature=temperature)

        self.graphs: list[int] = []
        self.jax = jax
        self.step = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))

    def __call__(self, n: int, temperature: float) -> None:
        inputs = [self.jax.random.normal(self.jax.random.key(i), (n, FEATURES)) for i in range(2)]
        self.jax.block_until_ready(self.step(*inputs, temperature))
        while len(self.graphs) < self.step._cache_size():
            self.graphs.append(equations(self.step.trace(*inputs, temperature).jaxpr.jaxpr))


def equations(jaxpr: Any) -> int:
    """The equations of a program, those of its loops and functions included."""
    total = 0
    for equation in jaxpr.eqns:
        total += 1
        for value in equation.params.values():
            for part in value if isinstance(value, tuple | list) else [value]:
                inner = getattr(part, "jaxpr", part)
                if hasattr(inner, "eqns"):
                    total += equations(inner)
    return total


class TensorFlow:
    """`tf.function` whose signature leaves the batch size open."""

    def __init__(self) -> None:
        import tensorflow as tf

        def step(query: Any, key: Any, temperature: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch([query, key])
                loss = infonce.info_nce(query, key, temperature=temperature)
            return loss, tape.gradient(loss, [query, key])

        self.graphs: list[int] = []
        self.tf = tf
        rows = tf.TensorSpec([None, FEATURES], tf.float32)
        self.step = tf.function(step, input_signature=[rows, rows, tf.TensorSpec([], tf.float32)])

    def __call__(self, n: int, temperature: float) -> None:
        inputs = [self.tf.random.normal([n, FEATURES]) for _ in range(2)]
        self.step(*inputs, self.tf.constant(temperature))
        while len(self.graphs) < self.step.experimental_get_tracing_count():
            graph = self.step.get_concrete_function().graph.as_graph_def()
            self.graphs.append(len(graph.node) + sum(len(f.node_def) for f in graph.library.function))


PROGRAMS: dict[str, type[Program]] = {"torch": Torch, "jax": JAX, "tensorflow": TensorFlow}
