"""PyTorch: eager, compiled, transformed by torch.func, under autocast, and without gradients."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch
import torch._dynamo
from numpy.typing import NDArray

from ._variant import Arrays, Form, Step, Task, Variant, own_gradients, place


def version() -> str:
    return str(torch.__version__)


def devices() -> Mapping[str, Any]:
    found = {"cpu": torch.device("cpu")}
    if torch.cuda.is_available():
        found["cuda"] = torch.device("cuda", 0)
    return found


def device_name(name: str) -> str:
    return torch.cuda.get_device_name(0) if name == "cuda" else name


@contextmanager
def settings(device: Any) -> Iterator[None]:
    tf32 = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    # All programs of a variant compile the same code object; the limit is meant for one program's recompilations.
    with torch._dynamo.config.patch(recompile_limit=1000, accumulated_recompile_limit=1000):
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32 = tf32


def lacking() -> Mapping[str, str]:
    return {} if "cuda" in devices() else {"cuda": "PyTorch finds no CUDA device"}


def to_array(values: NDArray[Any], dtype: str | None, device: Any) -> Any:
    array = torch.from_numpy(values.copy())
    if dtype in ("float16", "bfloat16"):
        array = array.to(torch.float32)
    return array.to(dtype=getattr(torch, dtype) if dtype else None, device=device)


def to_numpy(array: Any) -> NDArray[np.float64]:
    return np.array(array.detach().cpu().to(torch.float64).numpy())


def form(array: Any) -> Form:
    if not isinstance(array, torch.Tensor):
        return Form("", type(array).__name__, (), "")
    return Form("torch", str(array.dtype).removeprefix("torch."), tuple(array.shape), str(array.device))


def backward(task: Task, call: Callable[..., Any] | None = None) -> Step:
    """The loss, and gradients by `backward`; `call` is the task itself, or that task compiled or in a context."""
    call = call or task

    def step(arrays: Arrays, number: float | None, cotangent: Any) -> tuple[Any, Arrays]:
        leaves = with_gradient(task, arrays)
        loss = call(number, *arrays)
        (loss if cotangent is None else (cotangent * loss).sum()).backward()
        return loss.detach(), [leaf.grad for leaf in leaves]

    return step


def with_gradient(task: Task, arrays: Arrays) -> list[torch.Tensor]:
    """Those that are differentiated, made leaves."""
    return [array.requires_grad_() for array in arrays[: len(task.names)]]


def compiled(backend: str) -> Callable[[Task], Step]:
    """Compiled for the shapes of each program; a temperature that is a Python number may vary without recompiling."""

    def build(task: Task) -> Step:
        step = backward(task, torch.compile(task, fullgraph=True, backend=backend))

        def fixed(arrays: Arrays, number: float | None, cotangent: Any) -> tuple[Any, Arrays]:
            for array in arrays:
                torch._dynamo.mark_static(array)  # else the next program's sizes would make the sizes dynamic
            return step(arrays, number, cotangent)

        return fixed

    return build


def gradients(task: Task) -> Callable[..., Any]:
    """(number, cotangent, *arrays) to the differentiable ones' gradients, and to the scalar with the loss."""
    positions = tuple(range(2, 2 + len(task.names)))
    found: Callable[..., Any] = torch.func.grad_and_value(objective(task), positions, has_aux=True)
    return found


def objective(task: Task) -> Callable[..., tuple[Any, Any]]:
    """(number, cotangent, *arrays) to the scalar to differentiate, and the loss."""

    def scalar(number: float | None, cotangent: Any, *arrays: Any) -> tuple[Any, Any]:
        loss = task(number, *arrays)
        return loss if cotangent is None else (cotangent * loss).sum(), loss

    return scalar


def func(task: Task) -> Step:
    """Gradients by `torch.func.grad_and_value`."""

    def step(arrays: Arrays, number: float | None, cotangent: Any) -> tuple[Any, Arrays]:
        found, (_, loss) = gradients(task)(number, cotangent, *arrays)
        return loss, found

    return step


def stacked(array: torch.Tensor, index: int) -> torch.Tensor:
    """The array at that place of a stack of two, beside its rows in reverse order."""
    pair = [array.flip(0) if array.ndim else array] * 2
    pair[index] = array
    return torch.stack(pair)


def vmap(task: Task) -> Step:
    """vmap of the gradients over two data sets."""

    def step(arrays: Arrays, number: float | None, cotangent: Any) -> tuple[Any, Arrays]:
        index = place(to_numpy(arrays[0]))
        pairs = [stacked(array, index) for array in arrays]
        weights = None if cotangent is None else stacked(cotangent, index)
        dims = (None, None if weights is None else 0, *(0 for _ in pairs))
        found, (_, loss) = torch.func.vmap(gradients(task), in_dims=dims)(number, weights, *pairs)
        return loss[index], [gradient[index] for gradient in found]

    return step


def vmap_of_grad(task: Task) -> Step:
    """vmap of the gradients over two queries that share everything else."""

    def step(arrays: Arrays, number: float | None, cotangent: Any) -> tuple[Any, Arrays]:
        index = place(to_numpy(arrays[0]))
        dims = (None, None, 0, *(None for _ in arrays[1:]))
        found, (_, loss) = torch.func.vmap(gradients(task), in_dims=dims)(
            number, cotangent, stacked(arrays[0], index), *arrays[1:]
        )
        return loss[index], [gradient[index] for gradient in found]

    return step


def grad_of_vmap(task: Task) -> Step:
    """The gradient of one entry of a vmap over two queries that share everything else."""

    def step(arrays: Arrays, number: float | None, cotangent: Any) -> tuple[Any, Arrays]:
        index = place(to_numpy(arrays[0]))
        dims = (None, None, 0, *(None for _ in arrays[1:]))

        def entry(*batch: Any) -> tuple[Any, Any]:
            scalars, losses = torch.func.vmap(objective(task), in_dims=dims)(number, cotangent, *batch)
            return scalars[index], losses[index]

        found, (_, loss) = torch.func.grad_and_value(entry, tuple(range(len(task.names))), has_aux=True)(
            stacked(arrays[0], index), *arrays[1:]
        )
        return loss, [found[0][index], *found[1:]]

    return step


def under(context: Callable[[torch.Tensor], AbstractContextManager[Any]]) -> Callable[[Callable[..., Any]], Any]:
    """Calls run inside the context that belongs to their first array."""

    def wrap(task: Callable[..., Any]) -> Callable[..., Any]:
        def call(number: float | None, *arrays: Any) -> Any:
            with context(arrays[0]):
                return task(number, *arrays)

        return call

    return wrap


def autocast(dtype: torch.dtype) -> Callable[[Task], Step]:
    """The forward pass inside `torch.autocast`, the backward pass outside, as PyTorch's documentation has it."""
    inside = under(lambda array: torch.autocast(array.device.type, dtype=dtype))
    return lambda task: backward(task, inside(task))


def without_gradient(context: Callable[[], AbstractContextManager[Any]]) -> Callable[[Task], Step]:
    def build(task: Task) -> Step:
        def step(arrays: Arrays, number: float | None, cotangent: Any) -> tuple[Any, Arrays]:
            with_gradient(task, arrays)
            with context():
                loss = task(number, *arrays)
            if loss.requires_grad:
                raise AssertionError("loss.requires_grad = True, but should be False: no gradient was wanted")
            return loss, ()

        return step

    return build


def scaler(task: Task) -> Step:
    """The gradients of the loss as GradScaler scales it, unscaled."""

    def step(arrays: Arrays, number: float | None, cotangent: Any) -> tuple[Any, Arrays]:
        scale = torch.amp.GradScaler(arrays[0].device.type)
        kept: list[Any] = []

        def scaled(number: float | None, *leaves: Any) -> Any:
            kept.append(task(number, *leaves))
            return scale.scale(kept[0])

        _, found = backward(task, scaled)(arrays, number, cotangent)
        return kept[0].detach(), [None if gradient is None else gradient / scale.get_scale() for gradient in found]

    return step


def no_compiler() -> str:
    """Why inductor cannot run here; empty when it can."""
    compiler = os.environ.get("CXX", "g++")
    return "" if shutil.which(compiler) else f"inductor needs a C++ compiler, and there is no {compiler}"


def forget() -> None:
    torch._dynamo.reset()


def variants() -> tuple[Variant, ...]:
    inductor = ("float32", "bfloat16")  # it takes seconds for each program
    promise = "float32 precision inside autocast is a promise of infonce alone"
    return (
        Variant("torch", backward, plain=True),
        Variant("torch:compile", compiled("aot_eager"), compiled=True),
        Variant("torch:inductor", compiled("inductor"), inductor, compiled=True, limit=10, absent=no_compiler()),
        Variant("torch:func", func),
        Variant("torch:vmap", vmap),
        Variant("torch:grad(vmap)", grad_of_vmap),
        Variant("torch:vmap(grad)", vmap_of_grad),
        Variant("torch:no_grad", without_gradient(torch.no_grad), differentiable=False),
        Variant("torch:inference", without_gradient(torch.inference_mode), differentiable=False),
        Variant("torch:autocast-float16", autocast(torch.float16), ("float32",), alone=promise),
        Variant("torch:autocast-bfloat16", autocast(torch.bfloat16), ("float32",), alone=promise),
        Variant("torch:scaler", scaler, ("float32",)),
        Variant("torch:value_and_grad", own_gradients, own=True),
    )
