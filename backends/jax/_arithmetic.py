"""What the engine computes with on JAX arrays: a scan over blocks, all of it traceable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from infonce.arithmetic import Arithmetic, Body
from infonce.blocks import ON_CPU, ON_GPU, Blocks, Held, alone, of_each, with_rest
from infonce.halves import Fused, Halved

SMALL = 1 << 20  # entries of a block that is best transposed itself
WIDE = 1 << 14  # columns; of fewer XLA's own sum over the rows is the faster one


def on_gpu() -> bool:
    return bool(jax.default_backend() == "gpu")


def of_one_device() -> bool:
    """Whether a program is one device's own: XLA cannot divide a kernel, and each would compute what all compute."""
    return jax.device_count() == 1 or bool(jax.sharding.get_abstract_mesh().are_all_axes_manual)


def on_cpu() -> bool:
    """Whether the program will run on a CPU: not known while it is traced, but most likely on the default device."""
    return bool(jax.default_backend() == "cpu")


def too_wide(x: Array) -> bool:
    """Whether XLA would take up to fifty times as long as it need for a sum or maximum over the rows of `x`."""
    return x.shape[1] > WIDE and on_cpu()


def turned(sums: Any) -> Any:
    """The matrices among the sums as their transposes, which `add_transposed` adds to; and back."""
    return jax.tree.map(lambda x: x.T if min(x.shape) > 1 and on_cpu() else x, sums)


class JAXArithmetic(Arithmetic):
    xp = jnp

    def shape(self, x: Array) -> tuple[int | None, ...]:
        return tuple(x.shape)

    def dtype(self, x: Array) -> str:
        return str(x.dtype)

    def size(self, x: Array) -> int:
        return x.shape[0]

    def indices(self, like: Array, n: int) -> Array:
        return jnp.arange(n)[None, :]

    def loop(self, body: Body, start: Callable[[], tuple[Any, ...]], rows: tuple[Array | None, ...], block: int) -> Any:
        assert rows[0] is not None
        n = rows[0].shape[0]
        if n <= block:
            return body(0, of_each(alone, rows), None)
        whole = n - n % block

        def step(sums: Any, cut: Any) -> Any:
            first, of_block = cut
            outputs, sums = body(first, of_block, turned(sums))
            return turned(sums), outputs

        def of_blocks(x: Any) -> Any:
            return x.blocks[0] if isinstance(x, Held) else x[:whole].reshape(-1, block, *x.shape[1:])

        def flat(x: Any) -> Any:
            return x if isinstance(x, Held) else x.reshape(-1, *x.shape[2:])

        blocks = jnp.arange(0, whole, block), of_each(of_blocks, rows)
        sums = _as_varying(turned(start()), step, jax.tree.map(lambda x: x[0], blocks))
        sums, outputs = jax.lax.scan(step, sums, blocks)
        return with_rest(body, rows, whole, whole < n, (of_each(flat, outputs), turned(sums)), jnp.concatenate)

    def blocks(self) -> Blocks:
        return ON_GPU if on_gpu() else ON_CPU

    def column_sums(self, x: Array) -> Any:
        return jnp.ones((1, x.shape[0]), x.dtype) @ x if too_wide(x) else super().column_sums(x)

    def column_maxima(self, x: Array) -> Any:
        if not too_wide(x):
            return super().column_maxima(x)
        while x.shape[0] > 1:
            half = (x.shape[0] + 1) // 2  # with an odd number of rows the middle one is in both
            x = jnp.maximum(x[:half], x[x.shape[0] - half :])
        return x

    def write_own_after(self, x: Array, first_row: Any, value: Array) -> Any:
        if not on_gpu():
            return super().write_own_after(x, first_row, value)
        # In place: else `x` waits in memory for the value, to be read and written once more.
        i = jnp.arange(x.shape[0])
        return x.at[i, first_row + i].set(value[:, 0], indices_are_sorted=True, unique_indices=True)

    def half_products(self, *arrays: Array) -> Any:
        return jnp.bfloat16 if on_gpu() and all(x.dtype == jnp.bfloat16 for x in arrays) else None

    def fused(self, rows: Halved, keys: Halved, period: int | None = None) -> Fused | None:
        if rows.rows.dtype != jnp.bfloat16 or not on_gpu() or not of_one_device():
            return None
        from . import _kernel_products  # it takes a while to import Pallas

        return _kernel_products if _kernel_products.available() and _kernel_products.fits(rows, keys, period) else None

    def product(self, a: Array, b: Array) -> Array:
        return jnp.matmul(a, b, preferred_element_type=jnp.promote_types(a.dtype, jnp.float32))

    def add_transposed(self, total: Array | None, p: Array, rows: Array) -> Any:
        """On a CPU XLA's product of a transpose takes up to twice as long as one that it is kept from folding it into.

        A small block is transposed; of others the rows are, which gives the transpose of what is wanted: as such it is
        summed over the blocks (see `turned`).
        """
        if not on_cpu():
            return super().add_transposed(total, p, rows)
        if total is None and p.size <= SMALL:
            return self.product(apart(p.T), rows)
        product = apart(self.product(apart(rows.T), p))
        return product.T if total is None else (total.T + product).T

    def add_both(self, total: Array, p: Array, rows: Array, partners: Array, first_row: Any) -> Any:
        if not on_cpu():
            return super().add_both(total, p, rows, partners, first_row)
        total = total.T
        for product in apart(self.product(apart(rows.T), p)), apart(self.product(p, partners)).T:
            own = jax.lax.dynamic_slice_in_dim(total, first_row, product.shape[1], axis=1)
            total = jax.lax.dynamic_update_slice_in_dim(total, own + product, first_row, axis=1)
        return total.T

    def after(self, done: Array, x: Any) -> Any:
        return jax.tree.map(lambda y: y + _zero_of(done), x)

    def zeros_after(self, done: Array, like: Array) -> Array:
        return jnp.full_like(like, _zero_of(done))

    def stop_gradient(self, x: Array) -> Array:
        return jax.lax.stop_gradient(x)

    def take(self, x: Array, first_row: Any, rows: int) -> Array:
        return jax.lax.dynamic_slice_in_dim(x, first_row, rows)

    def put(self, x: Array, first_row: Any, rows: Array) -> Array:
        return jax.lax.dynamic_update_slice_in_dim(x, rows, first_row, 0)


def _zero_of(done: Array) -> Array:
    """0 once this matrix is there: XLA drops what it is told of the order, but not a sum.

    NaN if its first entry is: of finite rows that is left to those whose products leave the dtype's range.
    """
    return jnp.minimum(jnp.abs(jnp.sum(done[:1, :1])), 0)


def apart(x: Array) -> Array:
    """`x`, which XLA folds into no product."""
    return jax.lax.optimization_barrier(x)  # type: ignore[no-any-return, no-untyped-call]


def varying(x: Any) -> frozenset[str]:
    """The mesh axes over which `x`, an abstract array, differs between devices, as far as shard_map tracks them."""
    return frozenset(() if x.manual_axis_type is None else x.manual_axis_type.varying)


def _as_varying(sums: Any, step: Callable[..., Any], first: Any) -> Any:
    """The sums a scan starts from, varying over the mesh axes over which they vary after a step."""
    after, _ = jax.eval_shape(step, sums, first)

    def cast(x: Array, y: Any) -> Array:
        axes = varying(y) - varying(jax.typeof(x))
        return jax.lax.pcast(x, tuple(axes), to="varying") if axes else x

    return jax.tree.map(cast, sums, after)
