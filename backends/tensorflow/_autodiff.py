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
def compute(options: Options, inputs: Inputs, wanted: tuple[str, ...], cotangent: Any = None, kept: Any = None) -> Any:
    """The loss and the gradients of `wanted`, in the compute dtype: part of the graph being built, or in its own."""
    if not tf.executing_eagerly():
        return solve(ARITHMETIC, options, inputs, wanted, cotangent, kept)
    form = tuple((x.shape.rank, None if x.shape.rank == 0 else x.shape[-1]) for x in inputs if x is not None)
    return graph(options, wanted, form)(inputs, cotangent, kept)


@functools.cache
def graph(options: Options, wanted: tuple[str, ...], form: tuple[Any, ...]) -> Callable[..., Any]:
    """The engine as a graph, traced once for its shapes: eager operations cost more than small batches do.

    After a few batch sizes TensorFlow traces for any; the ranks and the numbers of features in `form` stay known.
    """

    @tf.function(reduce_retracing=True, autograph=False)  # type: ignore[untyped-decorator]
    def traced(inputs: Inputs, cotangent: Any, kept: Any) -> Any:
        return solve(ARITHMETIC, options, inputs, wanted, cotangent, kept)

    run: Callable[..., Any] = traced
    return run


def tensors(options: Options, inputs: Inputs) -> tuple[Inputs, tuple[str, ...]]:
    """The inputs as tensors, and the names of those that are arrays: a number becomes a constant of the graph's input.

    Variables are read, so that their gradient flows.
    """
    wanted = inputs.arrays
    if "temperature" not in wanted:
        number = tf.constant(inputs.temperature, compute_dtype(ARITHMETIC, inputs))
        inputs = inputs._replace(temperature=number)
    return agreed(options, Inputs(*(x if x is None else tf.convert_to_tensor(x) for x in inputs))), wanted


def agreed(options: Options, inputs: Inputs) -> Inputs:
    """The inputs, with sizes that only the run knows checked when it knows them: a broadcast would hide a mismatch.

    XLA drops assertions and knows all sizes, so there the reshape to the size it should have fails.
    """
    if tf.executing_eagerly() or all(None not in x.shape for x in inputs if x is not None):
        return inputs
    rows, features = tf.unstack(tf.shape(inputs.query))
    samples = rows // max(options.views, 1)
    sizes: dict[str, list[Any]] = {"positive_key": [rows, features], "ids": [samples], "weight": [samples]}
    if inputs.temperature.shape.rank > 0:
        sizes["temperature"] = [samples, *inputs.temperature.shape[1:]]
    columns = rows if options.in_batch else 0
    if inputs.negative_keys is not None:
        shape = tf.unstack(tf.shape(inputs.negative_keys))
        sizes["negative_ids"] = [rows, shape[1]] if options.paired else [shape[0]]
        sizes["negative_keys"] = [*sizes["negative_ids"], features]
        columns = columns + shape[-2]
    if inputs.positives is not None:
        sizes["positives"] = [samples] if inputs.positives.shape.rank == 1 else [rows, rows]
    if inputs.bias is not None:
        sizes["bias"] = [1 if inputs.bias.shape[0] == 1 else rows, columns][-inputs.bias.shape.rank :]
    given = {name: x for name, x in inputs._asdict().items() if name in sizes and x is not None}
    found = {name: sized(x, name, sizes[name]) for name, x in given.items()}
    if inputs.mask is not None:
        one = inputs.mask.shape.rank < 2 or inputs.mask.shape[0] == 1
        found["mask"] = tf.broadcast_to(inputs.mask, [1 if one else rows, columns])
    return inputs._replace(**found)


def sized(x: Any, name: str, shape: list[Any]) -> Any:
    message = f"{name} must have the sizes that the other arguments ask for, those of query first."
    with tf.control_dependencies([tf.debugging.assert_equal(tf.shape(x), tf.stack(shape), message)]):
        reshaped = tf.reshape(x, shape)
    reshaped.set_shape(x.shape)
    return reshaped


def of_one_size(arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    """The views of `nt_xent`, refused when the run finds that they differ."""
    if tf.executing_eagerly() or all(None not in x.shape for x in arrays):
        return arrays
    first = tf.unstack(tf.shape(arrays[0]))
    return arrays[0], *(sized(x, f"view {i}", first) for i, x in enumerate(arrays[1:], start=2))


@tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
def attached(options: Options, inputs: Inputs) -> Any:
    """The loss, whose gradient is computed along with it where a tape is open."""
    inputs, wanted = tensors(options, inputs)
    late = options.reduction == "none"  # the cotangent is not known before the backward pass
    ahead = wanted if could_possibly_record() else ()

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
            elif late:
                found = compute(options, values, wanted, rows, gradients)[1]
            else:
                found = gradients or compute(options, values, wanted)[1]
            scale = 1 if late else cotangent
            return [tf.cast(found[name] * scale, x.dtype) for name, x in zip(wanted, arrays, strict=True)]

        return ((loss, *measures) if options.measure else loss), pull

    outputs = run(*(getattr(inputs, name) for name in wanted))
    return (outputs[0], tuple(map(tf.stop_gradient, outputs[1:]))) if options.measure else outputs
