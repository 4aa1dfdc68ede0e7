"""The backend of TensorFlow."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from infonce.problem import Gradients, Inputs, Options

from ._arithmetic import TensorFlowArithmetic
from ._autodiff import attached, compute, of_one_size, tensors


class TensorFlowBackend(TensorFlowArithmetic):
    name = "tensorflow"

    def owns(self, x: object) -> bool:
        return isinstance(x, tf.Tensor | tf.Variable)

    def device(self, x: Any) -> str:
        return str(x.device) if tf.executing_eagerly() else ""

    def of_one_size(self, arrays: tuple[Any, ...]) -> tuple[Any, ...]:
        return of_one_size(arrays)

    def compiling(self, x: Any) -> bool:
        return not tf.executing_eagerly()

    def knows_numbers(self) -> bool:
        return True

    def solve(self, options: Options, inputs: Inputs, wanted: tuple[str, ...]) -> tuple[Any, Gradients]:
        inputs, _ = tensors(options, inputs)
        loss, gradients, measures = compute(options, inputs, wanted)
        return ((loss, measures) if options.measure else loss), {
            name: tf.cast(g, getattr(inputs, name).dtype) for name, g in gradients.items()
        }

    def loss(self, options: Options, inputs: Inputs) -> Any:
        return attached(options, inputs)


BACKEND = TensorFlowBackend()
