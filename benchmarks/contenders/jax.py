"""JAX: infonce, the products alone, optax.ntxent and the plain formula, each one jitted function."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

import infonce
from _cases import TEMPERATURE, Case
from _measure import Call

from ._limits import OPTAX_ROWS, dense_fits, rows_of_products

MODES = ("jax",)
KINDS = ("one", "value", "none", "symmetric", "queue", "nt_xent")
Loss = Callable[..., Array]
cross_entropy = optax.softmax_cross_entropy_with_integer_labels


def calls(case: Case, mode: str) -> dict[str, Call]:
    losses = {"infonce": ours(case), **(losses_of_others(case) if dense_fits(case) else {})}
    sides = arrays(case.sides())
    return timed(case, losses) | {
        name: Jitted(products(case, block), sides) for name, block in rows_of_products(case).items()
    }


def timed(case: Case, losses: Mapping[str, Loss], constants: Iterable[Any] = ()) -> dict[str, Call]:
    inputs = [*arrays(case.inputs()), *map(jnp.asarray, constants)]
    return {name: Jitted(value_and_gradient(case, loss), inputs) for name, loss in losses.items()}


def arrays(of_numpy: Iterable[Any], device: str = "cpu", dtype: str = "float32") -> list[Array]:
    return [jax.device_put(jnp.asarray(x, dtype), jax.devices(device)[0]) for x in of_numpy]


class Jitted:
    """A call that waits for its result."""

    def __init__(self, function: Callable[..., Any], inputs: list[Array]) -> None:
        self.function: Any = jax.jit(function)
        self.inputs = inputs

    def compile(self) -> int:
        """Compile without running; return the bytes it will hold beside inputs and results."""
        self.function = self.function.lower(*self.inputs).compile()
        return int(self.function.memory_analysis().temp_size_in_bytes)

    def __call__(self) -> Any:
        return jax.block_until_ready(self.function(*self.inputs))


def value_and_gradient(case: Case, loss: Loss) -> Callable[..., Any]:
    cotangent = case.cotangent() if case.kind == "none" else None

    def compute(*inputs: Array) -> tuple[Array, ...]:
        value, pull = jax.vjp(lambda *wanted: loss(*wanted, *inputs[case.wanted :]), *inputs[: case.wanted])
        return value, *pull(jnp.ones_like(value) if cotangent is None else cotangent.astype(value.dtype))

    return compute if case.wanted else lambda *inputs: (loss(*inputs),)


def ours(case: Case, block_size: int | None = None) -> Loss:
    options: dict[str, Any] = {"temperature": TEMPERATURE, "block_size": block_size}
    if case.kind == "nt_xent":
        return functools.partial(infonce.nt_xent, **options)
    if case.kind == "none":
        options["reduction"] = "none"
    if case.kind == "symmetric":
        options["symmetric"] = True
    return functools.partial(infonce.info_nce, **options)


def losses_of_others(case: Case) -> dict[str, Loss]:
    match case.kind:
        case "nt_xent":
            theirs = {"optax.ntxent": optax_nt_xent} if case.n <= OPTAX_ROWS else {}
            return {"plain formula": plain_nt_xent, **theirs}
        case "symmetric":
            return {"plain formula": plain_symmetric}
        case "queue":
            return {"plain formula": plain_queue}
        case "none":
            return {"plain formula": plain_rows}
        case _:
            return {"plain formula": plain, "optax's cross-entropy": plain_optax}


def unit(x: Array) -> Array:
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


def plain_rows(query: Array, key: Array) -> Array:
    logits = (unit(query) / TEMPERATURE) @ unit(key).T
    return jax.nn.logsumexp(logits, axis=-1) - jnp.diagonal(logits)


def plain(query: Array, key: Array) -> Array:
    return jnp.mean(plain_rows(query, key))


def plain_optax(query: Array, key: Array) -> Array:
    return jnp.mean(cross_entropy((unit(query) / TEMPERATURE) @ unit(key).T, jnp.arange(len(query))))


def plain_symmetric(query: Array, key: Array) -> Array:
    logits = (unit(query) / TEMPERATURE) @ unit(key).T
    sides = jax.nn.logsumexp(logits, axis=-1) + jax.nn.logsumexp(logits, axis=0)
    return jnp.mean(sides / 2 - jnp.diagonal(logits))


def plain_queue(query: Array, key: Array, queue: Array) -> Array:
    query, key, queue = unit(query) / TEMPERATURE, unit(key), unit(queue)
    positive = jnp.sum(query * key, axis=-1, keepdims=True)
    logits = jnp.concatenate([positive, query @ queue.T], axis=1)
    return jnp.mean(jax.nn.logsumexp(logits, axis=-1) - positive[:, 0])


def plain_nt_xent(first: Array, second: Array) -> Array:
    z, n = unit(jnp.concatenate([first, second])), len(first)
    logits = jnp.where(jnp.eye(2 * n, dtype=bool), -jnp.inf, (z / TEMPERATURE) @ z.T)
    positive = jnp.sum(z * jnp.roll(z, n, axis=0), axis=-1) / TEMPERATURE
    return jnp.mean(jax.nn.logsumexp(logits, axis=-1) - positive)


def optax_nt_xent(first: Array, second: Array) -> Array:
    labels = jnp.tile(jnp.arange(len(first)), 2)
    loss: Array = optax.ntxent(jnp.concatenate([first, second]), labels, TEMPERATURE)
    return loss


def products(case: Case, block: int) -> Callable[[Array, Array], Any]:
    """The least that is to be multiplied: at once, or in a scan over blocks of rows.

    On a CPU XLA's product of a transpose takes longer than one that it is kept from folding it into: of a small block
    that is transposed itself, or of the rows, which gives the sum's transpose.
    """
    count, apart = case.products, jax.lax.optimization_barrier
    on_cpu = jax.default_backend() == "cpu"
    turns = on_cpu and not (block == case.rows and case.rows * case.columns <= 1 << 20)
    turned: Callable[[Array], Array] = jnp.transpose if turns else lambda x: x

    def of_keys(logits: Array, rows: Array) -> Array:
        """logits^T @ rows, or where it `turns` the transpose of that."""
        if turns:
            return apart(apart(rows.T) @ logits)
        return (apart(logits.T) if on_cpu else logits.T) @ rows

    def compute(left: Array, right: Array) -> Any:
        def multiply(d_right: Any, rows: Array) -> tuple[Any, Any]:
            logits = rows @ right.T
            if count > 2:
                of_right = of_keys(logits, rows)
                d_right = of_right if d_right is None else d_right + of_right
            if count > 1:
                return d_right, logits @ right
            # The logits of a block must not outlive it, and the slice must not shorten the product.
            return d_right, logits if block == case.rows else apart(logits)[:, :1]

        if block == case.rows:
            d_right, d_left = multiply(None, left)
        else:
            start = jnp.zeros_like(turned(right)) if count > 2 else None
            d_right, d_left = jax.lax.scan(multiply, start, left.reshape(-1, block, left.shape[1]))
        return None if d_right is None else turned(d_right), d_left

    return compute
