"""How JAX's transformations see the engine: one jitted function with a gradient of its own.

The forward pass computes the gradients of those inputs that are perturbed and keeps only them; the backward pass
multiplies them by the cotangent. With reduction "none" that cotangent is not known before, and the backward pass
computes them, of what the forward pass kept.
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.custom_derivatives import SymbolicZero
from jax.dtypes import float0

from infonce import engine
from infonce.plain import KEPT
from infonce.problem import DIFFERENTIABLE, Gradients, Inputs, Options

from ._arithmetic import JAXArithmetic, varying

ARITHMETIC = JAXArithmetic()
PRECISION = "jax_default_matmul_precision"


def solve(*arguments: Any) -> Any:
    """`engine.solve`, whose float32 products are whole ones unless the user chose otherwise: JAX's own are not."""
    unset = getattr(jax.config, PRECISION) is None and jax.default_backend() != "cpu"
    with jax.default_matmul_precision("highest") if unset else contextlib.nullcontext():
        return engine.solve(*arguments)


@functools.partial(jax.jit, static_argnames=("options", "wanted"))
def value_and_gradients(options: Options, inputs: Inputs, wanted: tuple[str, ...]) -> tuple[Any, Gradients]:
    loss, gradients, measures = solve(ARITHMETIC, options, inputs, wanted)
    return answer(options, loss, measures), {
        name: g.astype(getattr(inputs, name).dtype) for name, g in gradients.items()
    }


def answer(options: Options, loss: Array, measures: tuple[Array, ...]) -> Any:
    """The loss, with what is measured where that is asked for."""
    return (loss, measures) if options.measure else loss


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def differentiable(options: Options, inputs: Inputs) -> Any:
    """The loss, with the gradient below."""
    loss, _, measures = solve(ARITHMETIC, options, inputs)
    return answer(options, loss, measures)


def _forward(options: Options, inputs: Any) -> tuple[Any, tuple[Inputs, dict[str, Array]]]:
    """What is saved has one form whatever is perturbed, absent arrays being empty: `jax.checkpoint` mixes forms up."""
    given = {name: x for name, x in zip(DIFFERENTIABLE, inputs, strict=False) if x is not None}
    wanted = tuple(name for name, x in given.items() if x.perturbed)
    values = Inputs(*(x if x is None else x.value for x in inputs))
    loss, found, measures = solve(ARITHMETIC, options, values, wanted)
    by_row = options.reduction == "none"
    if by_row:
        found = {**found, **dict.fromkeys(wanted, jnp.ones(1))}
    saved = {name: found.get(name, jnp.ones(0)) for name in (*given, *(KEPT if by_row else ()))}
    return answer(options, loss, measures), (values, saved)


def _backward(options: Options, saved: tuple[Inputs, dict[str, Array]], cotangent: Any) -> tuple[Inputs]:
    inputs, gradients = saved
    cotangent = cotangent[0] if options.measure else cotangent
    if isinstance(cotangent, SymbolicZero):
        return (Inputs(*(_cotangent(x, None) for x in inputs)),)
    gradients = {name: x for name, x in gradients.items() if x.size > 0}
    if options.reduction == "none":
        wanted = tuple(name for name in DIFFERENTIABLE if name in gradients)
        kept = {name: gradients[name] for name in KEPT if name in gradients}
        gradients = solve(ARITHMETIC, options, inputs, wanted, cotangent, kept)[1]
    else:
        gradients = {name: g * cotangent for name, g in gradients.items()}
    return (Inputs(*(_cotangent(x, gradients.get(name)) for name, x in inputs._asdict().items())),)


def _cotangent(x: Array | None, gradient: Array | None) -> Any:
    """The gradient in the form of its input: its dtype, and summed over the mesh axes that hold copies of it."""
    if x is None or gradient is None:
        whole = x is not None and not jnp.issubdtype(x.dtype, jnp.floating)
        return None if x is None else np.zeros(x.shape, float0) if whole else jnp.zeros_like(x)
    copies = varying(jax.typeof(gradient)) - varying(jax.typeof(x))
    if copies:
        gradient = jax.lax.psum(gradient, tuple(copies))  # type: ignore[no-untyped-call]
    return gradient.astype(x.dtype)


differentiable.defvjp(_forward, _backward, symbolic_zeros=True)
attached = jax.jit(differentiable, static_argnums=0)  # so that an eager call is traced once for its shapes and options
