"""How TensorFlow's tapes and graphs see the engine: one graph with a gradient of its own."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

# The only way to ask whether a tape is open.
from tensorflow.python.eager.record import could_possibly_record  # type: ignore[import-not-found]

from infonce.engine import solve
from infonce.frame import compute_dtype
from infonce.problem import Inputs, Options

from ._arithmetic import TensorFlowArithmetic

ARITHMETIC = TensorFlowArithmetic()


@tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
def compute(options: Options, inputs: Inputs, wanted: tuple[str, ...], cotangent: Any = None) -> Any:
    """The loss and the gradients of `wanted`, in the compute dtype: part of the graph being built, or in its own."""
    if not tf.executing_eagerly():
        return solve(ARITHMETIC, options, inputs, wanted, cotangent)
    form = tuple((x.shape.rank, None if x.shape.rank == 0 else x.shape[-1]) for x in inputs if x is not None)
    return graph(options, wanted, form)(inputs, cotangent)


@functools.cache
def graph(options: Options, wanted: tuple[str, ...], form: tuple[Any, ...]) -> Callable[..., Any]:
    """The engine as a graph, traced once for its shapes: eager operations cost more than small batches do.

    After a few batch sizes TensorFlow traces for any; the ranks and the numbers of features in `form` stay known.
    """

    @tf.function(reduce_retracing=True, autograph=False)  # type: ignore[untyped-decorator]
    def traced(inputs: Inputs, cotangent: Any) -> Any:
        return solve(ARITHMETIC, options, inputs, wanted, cotangent)

    run: Callable[..., Any] = traced
    return run


def tensors(inputs: Inputs) -> tuple[Inputs, tuple[str, ...]]:
    """The inputs as tensors, and the names of those that are arrays: a number becomes a constant of the graph's input.

    Variables are read, so that their gradient flows.
    """
    wanted = tuple(name for name, x in inputs.differentiable.items() if x is not None and not isinstance(x, float))
    if "temperature" not in wanted:
        number = tf.constant(inputs.temperature, compute_dtype(ARITHMETIC, inputs))
        inputs = inputs._replace(temperature=number)
    return agreed(Inputs(*(x if x is None else tf.convert_to_tensor(x) for x in inputs))), wanted


def agreed(inputs: Inputs) -> Inputs:
    """The inputs, with sizes that only the run knows checked when it knows them: a broadcast would hide a mismatch.

    XLA drops assertions and knows all sizes, so there the reshape to the query's shape fails.
    """
    if tf.executing_eagerly() or all(None not in x.shape for x in inputs if x is not None):
        return inputs
    query, positive, negatives, temperature = inputs[:4]
    n, features = tf.shape(query)[0], tf.shape(query)[1]
    found = {}
    if positive is not None:
        found["positive_key"] = sized(positive, "positive_key", [n, features])
        for name in ("ids", "weight"):
            if getattr(inputs, name) is not None:
                found[name] = sized(getattr(inputs, name), name, [n])
        if temperature.shape.rank > 0:
            found["temperature"] = sized(temperature, "temperature", [n, *temperature.shape[1:]])
    if negatives is not None:
        rows = n if negatives.shape.rank == 3 else tf.shape(negatives)[0]
        own = tf.unstack(tf.shape(negatives))[1:-1]
        found["negative_keys"] = sized(negatives, "negative_keys", [rows, *own, features])
        if inputs.negative_ids is not None:
            found["negative_ids"] = sized(inputs.negative_ids, "negative_ids", [rows, *own])
    return inputs._replace(**found)


def sized(x: Any, name: str, shape: list[Any]) -> Any:
    message = f"query and {name} must have the same number of rows N, and of features D, and ids one for each key."
    with tf.control_dependencies([tf.debugging.assert_equal(tf.shape(x), tf.stack(shape), message)]):
        reshaped = tf.reshape(x, shape)
    reshaped.set_shape(x.shape)
    return reshaped


@tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
def attached(options: Options, inputs: Inputs) -> Any:
    """The loss, whose gradient is computed along with it where a tape is open."""
    inputs, wanted = tensors(inputs)
    late = options.reduction == "none"  # the cotangent is not known before the backward pass
    ahead = wanted if could_possibly_record() and not late else ()

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def run(*arrays: Any) -> Any:
        given = inputs._replace(**dict(zip(wanted, arrays, strict=True)))
        # An open tape would keep every block alive. A graph has no such cost, and can differentiate the engine again.
        values = Inputs(*(x if x is None else tf.stop_gradient(x) for x in given)) if tf.executing_eagerly() else given
        loss, gradients, measures = compute(options, values, ahead)

        def pull(cotangent: Any, *_: Any) -> list[Any]:
            rows = cotangent if late else None
            if tf.executing_eagerly() and could_possibly_record():  # a second derivative: let the tape see it all
                found = solve(ARITHMETIC, options, given, wanted, rows)[1]
            else:
                found = gradients or compute(options, values, wanted, rows)[1]
            scale = 1 if late else cotangent
            return [tf.cast(found[name] * scale, x.dtype) for name, x in zip(wanted, arrays, strict=True)]

        return ((loss, *measures) if options.measure else loss), pull

    outputs = run(*(getattr(inputs, name) for name in wanted))
    return (outputs[0], tuple(map(tf.stop_gradient, outputs[1:]))) if options.measure else outputs
