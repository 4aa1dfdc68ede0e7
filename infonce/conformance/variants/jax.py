"""JAX: eager, jitted, vmapped, inside shard_map, and with 64-bit types off."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from numpy.typing import NDArray

from ._variant import Arrays, Form, Step, Task, Variant, own_gradients, place

_ROWS, _SHARED = PartitionSpec("rows"), PartitionSpec()  # type: ignore[no-untyped-call]
_HALVES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


def version() -> str:
    return jax.__version__


def devices() -> Mapping[str, Any]:
    found = {"cpu": jax.devices("cpu")[0]}
    if jax.default_backend() == "gpu":
        found["cuda"] = jax.devices()[0]
    return found


def device_name(name: str) -> str:
    return str(devices()[name].device_kind)


@contextmanager
def settings(device: Any) -> Iterator[None]:
    with jax.enable_x64(True), jax.default_matmul_precision("highest"), jax.default_device(device):
        yield


def lacking() -> Mapping[str, str]:
    return {} if "cuda" in devices() else {"cuda": "JAX finds no CUDA device"}


def to_array(values: NDArray[Any], dtype: str | None, device: Any) -> Any:
    if dtype in _HALVES:
        values = values.astype(np.float32).astype(_HALVES[dtype])
    elif dtype:
        values = values.astype(dtype)
    return jax.device_put(values.copy(), device)


def to_numpy(array: Any) -> NDArray[np.float64]:
    return np.array(array, dtype=np.float64)


def form(array: Any) -> Form:
    if not isinstance(array, jax.Array):
        return Form("", type(array).__name__, (), "")
    return Form("jax", str(array.dtype), array.shape, " ".join(sorted(map(str, array.devices()))))


def gradients(task: Task) -> Callable[..., tuple[Any, Arrays]]:
    """(number, cotangent, *arrays) to the loss and the gradients of the differentiable ones, by autodiff."""

    def scalar(number: Any, cotangent: Any, *arrays: Any) -> tuple[Any, Any]:
        loss = task(number, *arrays)
        return loss if cotangent is None else jnp.sum(cotangent * loss), loss

    differentiated = jax.value_and_grad(scalar, tuple(range(2, 2 + len(task.names))), has_aux=True)

    def call(number: Any, cotangent: Any, *arrays: Any) -> tuple[Any, Arrays]:
        (_, loss), found = differentiated(number, cotangent, *arrays)
        return loss, found

    return call


def transformed(transform: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Callable[[Task], Step]:
    """The loss and gradients, with the whole of it under `transform`."""

    def build(task: Task) -> Step:
        call = transform(gradients(task))
        return lambda arrays, number, cotangent: call(number, cotangent, *arrays)

    return build


def stacked(array: jax.Array, index: int) -> jax.Array:
    """The array at that place of a stack of two, beside its rows in reverse order."""
    pair = [array[::-1] if array.ndim else array] * 2
    pair[index] = array
    return jnp.stack(pair)


def vmap(task: Task) -> Step:
    """vmap of the gradients over two data sets, jitted."""

    def step(arrays: Arrays, number: float | None, cotangent: Any) -> tuple[Any, Arrays]:
        index = place(to_numpy(arrays[0]))
        pairs = [stacked(array, index) for array in arrays]
        weights = None if cotangent is None else stacked(cotangent, index)
        loss, found = over(None if weights is None else 0)(number, weights, *pairs)
        return loss[index], [gradient[index] for gradient in found]

    @functools.cache
    def over(weights: int | None) -> Callable[..., Any]:
        dims = (None, weights, *(0 for _ in (*task.names, *task.fixed)))
        whole: Callable[..., Any] = jax.jit(jax.vmap(gradients(task), in_axes=dims))
        return whole

    return step


def shard_map(*, check_vma: bool) -> Callable[[Task], Step]:
    """A training step inside `shard_map` over one device: rows vary over its axis, what they share does not."""

    def build(task: Task) -> Step:
        loss_rows = _ROWS if task.by_row else _SHARED
        inputs = tuple(_ROWS if per_row else _SHARED for per_row in task.per_row)
        differentiable = inputs[: len(task.names)]

        def inside(number: Any, cotangent: Any, *arrays: Any) -> tuple[Any, Arrays]:
            loss, found = gradients(task)(number, cotangent, *arrays)
            return loss if loss.ndim else jax.lax.pmean(loss, "rows"), tuple(found)  # type: ignore[no-untyped-call]

        @functools.cache
        def over(device: Any) -> Callable[..., Any]:
            mesh = Mesh(np.array([device]), ("rows",))
            ins, outs = (_SHARED, loss_rows, *inputs), (loss_rows, differentiable)
            sharded = jax.shard_map(inside, mesh=mesh, in_specs=ins, out_specs=outs, check_vma=check_vma)
            whole: Callable[..., Any] = jax.jit(sharded)
            return whole

        def step(arrays: Arrays, number: float | None, cotangent: Any) -> tuple[Any, Arrays]:
            found: tuple[Any, Arrays] = over(arrays[0].device)(number, cotangent, *arrays)
            return found

        return step

    return build


def forget() -> None:
    jax.clear_caches()  # type: ignore[no-untyped-call]


def variants() -> tuple[Variant, ...]:
    # Eager or not, JAX compiles for each new shape: only the first variant runs the cases that bring many shapes.
    wide = ("float64", "float32")  # what halves add, jit and eager calls show
    plain = transformed(lambda call: call)
    return (
        Variant("jax", plain, plain=True),
        Variant("jax:jit", transformed(jax.jit), compiled=True),
        Variant("jax:vmap", vmap, wide, compiled=True),
        Variant("jax:shard_map", shard_map(check_vma=True), wide, compiled=True),
        Variant("jax:shard_map:unchecked", shard_map(check_vma=False), wide, compiled=True),
        Variant("jax:x32", plain, ("float32",), compiled=True, settings=lambda: jax.enable_x64(False)),
        Variant("jax:value_and_grad", own_gradients, compiled=True, own=True),
    )
