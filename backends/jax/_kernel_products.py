"""The product of halves and the exponential of what it gives, in one kernel on GPUs: no logit is ever stored.

    z_ij = (sum_d rows_id keys_jd) * row_factor_i * column_factor_j, summed in float32, |z_ij| <= 40

A row's own entries, which the sums leave out, are (i, first_row + i) and those a multiple of a period before and after.
A NaN, be it in an own entry, makes its row's sum NaN.
Derivatives of what the kernel makes, which the gradient of a gradient asks for, are those of the formula.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from infonce.halves import Halved

from ._arithmetic import JAXArithmetic
from ._pallas import Given, Made, Tiles, exp_products

ARITHMETIC = JAXArithmetic()
TILES = Tiles(rows=128, columns=128, depth=64, group=32, warps=4, stages=3)  # two programs on a multiprocessor


class Asked(NamedTuple):
    """What of `Made` is wanted, and which entries are a row's own."""

    out: bool = False
    rows: bool = False
    columns: bool = False
    own: bool = False
    period: int | None = None


@functools.cache
def available() -> bool:
    """Whether the tiles are for these devices: two fill the memory of a Hopper multiprocessor."""
    return all(getattr(device, "compute_capability", None) == "9.0" for device in jax.local_devices())


def fits(rows: Halved, keys: Halved, period: int | None = None) -> bool:
    """Whether the kernel takes them: D is a multiple of its depth, and in a tile a row has one own entry at most."""
    sizes = rows.rows.shape[1] % TILES.depth == 0 and rows.rows.shape[0] > 0
    return sizes and (period is None or period >= TILES.columns)


def prepared(rows: Halved) -> Halved:
    """`Fused.prepared`."""
    return rows


def exponentials(rows: Halved, keys: Halved, first_row: Any) -> tuple[Array, Array, Array]:
    """`Fused.exponentials`."""
    made = passes(Asked(out=True, rows=True, own=True), arguments(rows, keys, first_row))
    total, positive = made.row_sums[:, None], made.own[:, None]
    p = ARITHMETIC.write_own_after(made.out, first_row, -total.astype(made.out.dtype))
    return p, *ARITHMETIC.closed_form(total, jnp.log(total), positive)


def totals(
    rows: Halved, keys: Halved, first_row: Any, period: int | None = None, columns: bool = True
) -> tuple[Array, Array | None, Array | None]:
    """`Fused.totals`."""
    asked = Asked(rows=True, columns=columns, own=period is None, period=period)
    made = passes(asked, arguments(rows, keys, first_row))
    of_columns, own = made.column_sums, made.own
    return made.row_sums[:, None], of_columns[None, :] if columns else None, None if period else own[:, None]


def weighted(
    rows: Halved,
    keys: Halved,
    first_row: Any,
    row: Array,
    column: Array,
    own: Array | None = None,
    period: int | None = None,
) -> Array:
    """`Fused.weighted`."""
    arrays = arguments(rows, keys, first_row)._replace(row_weight=row[:, 0], column_weight=column[0])
    out: Array = passes(Asked(out=True, period=period), arrays).out
    if own is not None:
        out = ARITHMETIC.write_own_after(out, first_row, own.astype(out.dtype))
    return out


def arguments(rows: Halved, keys: Halved, first_row: Any) -> Given:
    first_row = jnp.asarray(first_row, jnp.int32)[None]
    return Given(rows.rows, keys.rows, rows.factor[:, 0], keys.factor[:, 0], first_row)


def formula(asked: Asked, given: Given) -> Made:
    """What `passes` computes."""
    (B, M), (first_row,) = (given.rows.shape[0], given.keys.shape[0]), given.first_row
    z = jnp.matmul(given.rows, given.keys.T, preferred_element_type=jnp.float32)
    z = z * given.row_factor[:, None] * given.column_factor
    ahead = jnp.arange(M) - jnp.arange(B)[:, None] - first_row
    own = (ahead if asked.period is None else ahead % asked.period) == 0
    e = jnp.where(own & (z == z), 0.0, jnp.exp(z))
    out = e if given.row_weight is None else e * (given.row_weight[:, None] + given.column_weight)
    return Made(
        out.astype(jnp.bfloat16) if asked.out else None,
        jnp.sum(e, axis=1) if asked.rows else None,
        jnp.sum(e, axis=0) if asked.columns else None,
        jnp.sum(jnp.where(own, z, 0.0), axis=1) if asked.own else None,
    )


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def passes(asked: Asked, given: Given) -> Made:
    """One pass over all tiles: of the kernel, where it is compiled for what it is written for."""
    if jax.default_backend() == "cpu":  # where no loss chooses the kernel, but its tests do
        return launched(asked, given, interpret=True)
    compiled, plain = (functools.partial(f, asked) for f in (launched, formula))
    made: Made = jax.lax.platform_dependent(given, cuda=compiled, default=plain)
    return made


@passes.defjvp
def _(asked: Asked, primals: tuple[Given], tangents: tuple[Given]) -> Any:
    return jax.jvp(functools.partial(formula, asked), primals, tangents)


def launched(asked: Asked, given: Given, interpret: bool = False) -> Made:
    down, across = -(-given.rows.shape[0] // TILES.rows), -(-given.keys.shape[0] // TILES.columns)

    def parts(given: Given) -> Made:
        made = formula(asked, given)
        return made._replace(row_sums=repeated(made.row_sums, across), column_sums=repeated(made.column_sums, down))

    call = pl.pallas_call(
        functools.partial(exp_products, period=asked.period, tiles=TILES),
        out_shape=(jax.eval_shape(parts, given),),
        grid=(down * across,),
        compiler_params=triton.CompilerParams(num_warps=TILES.warps, num_stages=TILES.stages),
        interpret=interpret,
    )
    made: Made = call(given)[0]
    return made._replace(row_sums=summed(made.row_sums), column_sums=summed(made.column_sums))


def repeated(x: Array | None, times: int) -> Array | None:
    return None if x is None else jnp.broadcast_to(x, (times, *x.shape))


def summed(x: Array | None) -> Array | None:
    return None if x is None else jnp.sum(x, axis=0)
