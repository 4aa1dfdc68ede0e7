"""TensorFlow: eager, in graphs of fixed and of open shape, compiled by XLA, and on variables."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ..model import WITH_GRADIENT, WITHOUT_GRADIENT
from ._variant import Arrays, Form, Step, Task, Variant, own_gradients


def version() -> str:
    return str(tf.__version__)


def devices() -> Mapping[str, Any]:
    found = {"cpu": "/CPU:0"}
    if tf.config.list_physical_devices("GPU"):
        found["cuda"] = "/GPU:0"
    return found


def device_name(name: str) -> str:
    if name == "cpu":
        return name
    return str(tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[0])["device_name"])


@contextmanager
def settings(device: Any) -> Iterator[None]:
    tf32 = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        with tf.device(device):
            yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(tf32)


def lacking() -> Mapping[str, str]:
    return {} if "cuda" in devices() else {"cuda": "TensorFlow finds no CUDA device"}


def to_array(values: NDArray[Any], dtype: str | None, device: Any) -> Any:
    if dtype in ("float16", "bfloat16"):
        return tf.cast(tf.constant(values, tf.float32), dtype)
    return tf.constant(values, dtype)


def to_numpy(array: Any) -> NDArray[np.float64]:
    return np.array(tf.cast(array, tf.float64).numpy())


def form(array: Any) -> Form:
    if not isinstance(array, tf.Tensor | tf.Variable):
        return Form("", type(array).__name__, (), "")
    shape: Any = array.shape  # its entries are numbers: no call of the suite ends with a graph's open shape
    return Form("tensorflow", array.dtype.name, tuple(shape), array.device)


def tape(task: Task) -> Callable[..., tuple[Any, Arrays]]:
    """(number, cotangent, *arrays) to the loss and the gradients of the differentiable ones, by a GradientTape."""

    def call(number: Any, cotangent: Any, *arrays: Any) -> tuple[Any, Arrays]:
        differentiable = arrays[: len(task.names)]
        with tf.GradientTape() as recorded:
            recorded.watch(differentiable)
            loss = task(number, *arrays)
            scalar = loss if cotangent is None else tf.reduce_sum(cotangent * loss)
        return loss, recorded.gradient(scalar, differentiable)

    return call


def open_axes(name: str, array: Any) -> Any:
    """The array's TensorSpec with every axis open, but the features of embeddings, and the views of (N, V, D)."""
    shape = [None] * len(array.shape)
    if shape and name not in ("cotangent", "temperature", *WITH_GRADIENT, *WITHOUT_GRADIENT):
        known = 2 if name == "embeddings" and len(shape) == 3 else 1
        shape[-known:] = array.shape[-known:]
    return tf.TensorSpec(shape, array.dtype)


def eager(task: Task) -> Step:
    call = tape(task)
    return lambda arrays, number, cotangent: call(number, cotangent, *arrays)


def graph(*, jit_compile: bool = False, dynamic: bool = False) -> Callable[[Task], Step]:
    """The tape inside a `tf.function`; if dynamic, with an input signature: one trace for all batch sizes."""

    def build(task: Task) -> Step:
        call = tape(task)

        def of_inputs(inputs: dict[str, Any]) -> tuple[Any, Arrays]:
            arrays = (inputs[name] for name in (*task.names, *task.fixed))
            return call(inputs.get("number"), inputs.get("cotangent"), *arrays)

        @functools.cache
        def traced(names: tuple[str, ...], specs: tuple[Any, ...]) -> Callable[[dict[str, Any]], tuple[Any, Arrays]]:
            signature = [dict(zip(names, specs, strict=True))] if dynamic else None
            whole: Callable[..., Any] = tf.function(of_inputs, jit_compile=jit_compile, input_signature=signature)
            return whole

        def step(arrays: Arrays, number: float | None, cotangent: Any) -> tuple[Any, Arrays]:
            inputs = dict(zip((*task.names, *task.fixed), arrays, strict=True))
            if number is not None:  # a tensor, since a graph is traced anew for each Python number
                inputs["number"] = tf.constant(number, tf.float64 if arrays[0].dtype == tf.float64 else tf.float32)
            if cotangent is not None:
                inputs["cotangent"] = cotangent
            return traced(tuple(inputs), tuple(open_axes(name, x) for name, x in inputs.items()))(inputs)

        return step

    return build


def forget() -> None:
    pass  # graphs go with their functions


def variants() -> tuple[Variant, ...]:
    return (
        Variant("tensorflow", eager, plain=True),
        Variant("tensorflow:function", graph(), compiled=True),
        Variant("tensorflow:jit", graph(jit_compile=True), ("float64", "float32", "bfloat16"), compiled=True),
        Variant("tensorflow:dynamic", graph(dynamic=True), compiled=True),
        Variant("tensorflow:variable", eager, prepare=tf.Variable),
        Variant("tensorflow:value_and_grad", own_gradients, own=True),
    )
