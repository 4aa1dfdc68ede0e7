"""How TensorFlow's tapes and graphs see the engine: one graph with a gradient of its own."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow.python.eager.record import could_possibly_record  # the only way to ask whether a tape is open

from infonce.engine import solve
from infonce.problem import Inputs, Options

from ._arithmetic import TensorFlowArithmetic

ARITHMETIC = TensorFlowArithmetic()


@tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
def compute(options: Options, inputs: Inputs, wanted: tuple[str, ...], cotangent: Any = None) -> Any:
    """The loss and the gradients of `wanted`, in the compute dtype: part of the graph being built, or in its own."""
    if not tf.executing_eagerly():
        return solve(ARITHMETIC, options, inputs, wanted, cotangent)
    return graph(options, wanted)(inputs, cotangent)


@functools.cache
def graph(options: Options, wanted: tuple[str, ...]) -> Callable[..., Any]:
    """The engine as a graph, traced once for its shapes: eager operations cost more than small batches do."""

    @tf.function(reduce_retracing=True, autograph=False)
    def traced(inputs: Inputs, cotangent: Any) -> Any:
        return solve(ARITHMETIC, options, inputs, wanted, cotangent)

    return traced


def tensors(inputs: Inputs) -> Inputs:
    """The inputs as tensors: variables are read, so that their gradient flows, and a number does not retrace."""
    *arrays, temperature = (x if x is None else tf.convert_to_tensor(x) for x in inputs)
    return Inputs(*arrays, temperature)


@tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
def attached(options: Options, inputs: Inputs) -> Any:
    """The loss, whose gradient is computed along with it where a tape is open."""
    inputs = tensors(inputs)
    wanted = tuple(name for name, x in inputs._asdict().items() if x is not None)
    ahead = wanted if options.reduction != "none" and could_possibly_record() else ()

    @tf.custom_gradient
    def run(*present: Any) -> Any:
        given = Inputs(**dict(zip(wanted, present, strict=True)))
        # An open tape would keep every block of the engine alive. A graph has no such cost, and differentiates it again.
        values = Inputs(*(x if x is None else tf.stop_gradient(x) for x in given)) if tf.executing_eagerly() else given
        loss, gradients = compute(options, values, ahead)

        def gradient(cotangent: Any) -> list[Any]:
            if tf.executing_eagerly() and could_possibly_record():  # a second derivative: let the tape see it all
                found = solve(ARITHMETIC, options, given, wanted, cotangent if options.reduction == "none" else None)[1]
            elif gradients:
                found = gradients
            else:
                found = compute(options, values, wanted, cotangent if options.reduction == "none" else None)[1]
            scale = 1 if options.reduction == "none" else cotangent
            return [tf.cast(found[name] * scale, x.dtype) for name, x in zip(wanted, present, strict=True)]

        return loss, gradient

    return run(*(x for x in inputs if x is not None))
