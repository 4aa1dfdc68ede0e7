"""A loss and its gradients in every framework, however the loss is put together from those of the package."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import infonce

from ._frameworks import AUTODIFF, Framework

LOSSES = ("info_nce", "nt_xent", "sup_con")
Function = Callable[[dict[str, Any]], Any]  # of arrays and losses by name


class Traced:
    """A loss with its gradients by `value_and_grad`, which sums and multiples of losses carry on."""

    def __init__(self, value: Any, gradients: Sequence[tuple[float, Any, Any]] = ()) -> None:
        self.value = value
        self.gradients = gradients  # (factor, array, gradient)

    def __add__(self, other: Any) -> Traced:
        if isinstance(other, Traced):
            return Traced(self.value + other.value, [*self.gradients, *other.gradients])
        return Traced(self.value + other, self.gradients)

    def __mul__(self, factor: float) -> Traced:
        return Traced(factor * self.value, [(factor * f, array, gradient) for f, array, gradient in self.gradients])

    __radd__ = __add__
    __rmul__ = __mul__

    def gradient(self, leaf: Any) -> Any:
        return sum(factor * gradient for factor, array, gradient in self.gradients if array is leaf)


def traced(loss: Callable[..., Any]) -> Callable[..., Traced]:
    """The loss as one of the frameworks without autodiff calls it."""

    def call(*arguments: Any, **keywords: Any) -> Traced:
        value, found = infonce.value_and_grad(loss)(*arguments, **keywords)
        given = inspect.signature(loss).bind(*arguments, **keywords).arguments
        pairs: list[tuple[float, Any, Any]] = []
        for name, gradients in found.items():
            several = isinstance(gradients, tuple)
            arrays = given[name] if several else [given[name]]
            pairs += [(1.0, *pair) for pair in zip(arrays, gradients if several else [gradients], strict=True)]
        return Traced(value, pairs)

    return call


def differentiate(
    framework: Framework,
    function: Function,
    leaves: Mapping[str, Any],
    fixed: Mapping[str, Any],
    *,
    cotangent: Any = None,
    compiled: bool = False,
) -> tuple[Any, dict[str, Any]]:
    """The loss and its gradients by the framework's own means, those of sum(cotangent * loss) if there is one.

    Without autodiff a loss per row has no gradients.
    """
    losses = {name: getattr(infonce, name) for name in LOSSES}
    if framework.name not in AUTODIFF:
        if cotangent is not None:
            return function({**leaves, **fixed, **losses}), {}
        loss = function({**leaves, **fixed, **{name: traced(loss) for name, loss in losses.items()}})
        return loss.value, {name: loss.gradient(leaf) for name, leaf in leaves.items()}

    def call(leaves: Mapping[str, Any], fixed: Mapping[str, Any]) -> Any:
        return function({**leaves, **fixed, **losses})

    return {"torch": _torch, "jax": _jax, "tensorflow": _tensorflow}[framework.name](
        call, leaves, fixed, cotangent, compiled
    )


def _torch(
    call: Callable[..., Any], leaves: Mapping[str, Any], fixed: Mapping[str, Any], cotangent: Any, compiled: bool
) -> tuple[Any, dict[str, Any]]:
    import torch

    if compiled:
        call = torch.compile(call, fullgraph=True, backend="aot_eager")
    leaves = {name: leaf.detach().clone().requires_grad_() for name, leaf in leaves.items()}
    loss = call(leaves, fixed)
    (loss if cotangent is None else (cotangent * loss).sum()).backward()
    return loss.detach(), {name: leaf.grad for name, leaf in leaves.items()}


def _jax(
    call: Callable[..., Any], leaves: Mapping[str, Any], fixed: Mapping[str, Any], cotangent: Any, compiled: bool
) -> tuple[Any, dict[str, Any]]:
    import jax

    def scalar(leaves: Mapping[str, Any], fixed: Mapping[str, Any], cotangent: Any) -> tuple[Any, Any]:
        loss = call(leaves, fixed)
        return loss if cotangent is None else jax.numpy.sum(cotangent * loss), loss

    differentiated = jax.value_and_grad(scalar, has_aux=True)
    if compiled:
        differentiated = jax.jit(differentiated)
    (_, loss), found = differentiated(dict(leaves), dict(fixed), cotangent)
    return loss, found


def _tensorflow(
    call: Callable[..., Any], leaves: Mapping[str, Any], fixed: Mapping[str, Any], cotangent: Any, compiled: bool
) -> tuple[Any, dict[str, Any]]:
    import tensorflow as tf

    def step(leaves: Mapping[str, Any], fixed: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        with tf.GradientTape() as tape:
            tape.watch(leaves)
            loss = call(leaves, fixed)
            scalar = loss if cotangent is None else tf.reduce_sum(cotangent * loss)
        return loss, tape.gradient(scalar, leaves)

    found: tuple[Any, dict[str, Any]] = (tf.function(step) if compiled else step)(dict(leaves), dict(fixed))
    return found


def gradient_of(name: str, fn: Callable[[Any], Any], x: Any) -> Any:
    """The gradient of a function of one array by the framework's autodiff; None where it says that there is none."""
    if name == "torch":
        import torch

        leaf = x.detach().requires_grad_()
        value = fn(leaf)
        return torch.autograd.grad(value, leaf)[0] if value.requires_grad else None
    if name == "jax":
        import jax

        return jax.grad(fn)(x)
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(x)
        value = fn(x)
    return tape.gradient(value, x)
