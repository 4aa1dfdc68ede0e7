"""The Pallas kernel of `_kernel_products`; importing it imports Pallas."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

LOG2E = math.log2(math.e)
ONCE = 1 << 29  # a period that no block is as wide as


class Tiles(NamedTuple):
    """What one program computes at a time, and how."""

    rows: int
    columns: int
    depth: int  # of the products, at a time
    group: int  # tiles below each other that run one after the other
    warps: int
    stages: int  # depths that are loaded ahead, and the one at hand


class Given(NamedTuple):
    """What the kernel reads."""

    rows: Any  # (B, D) bfloat16
    keys: Any  # (M, D) bfloat16
    row_factor: Any  # (B,) float32
    column_factor: Any  # (M,) float32
    first_row: Any  # (1,) int32
    row_weight: Any = None  # (B,) float32: `out` is weighted; None: it is not
    column_weight: Any = None  # (M,) float32, or None with the one before


class Made(NamedTuple):
    """What it makes; None for what is not wanted."""

    out: Any = None  # (B, M) bfloat16
    row_sums: Any = None  # (tiles across, B) float32: each tile's share of the sums over the columns
    column_sums: Any = None  # (tiles down, M) float32, likewise
    own: Any = None  # (B,) float32: the logits of the own entries


def exp_products(given: Given, made: Made, *, period: int | None, tiles: Tiles) -> None:
    """One tile of ROWS by COLUMNS, 0 at own entries: see `_kernel_products`."""
    (B, D), M = given.rows.shape, given.keys.shape[0]
    down, across = place(-(-B // tiles.rows), -(-M // tiles.columns), tiles.group)
    top, left = down * tiles.rows, across * tiles.columns
    at_rows, at_columns = pl.ds(top, tiles.rows), pl.ds(left, tiles.columns)
    row, column = (first + jnp.arange(n, dtype=jnp.int32) for first, n in ((top, tiles.rows), (left, tiles.columns)))
    inside = row < B if B % tiles.rows else None
    within = column < M if M % tiles.columns else None

    def step(i: Any, z: Any) -> Any:
        depth = pl.ds(i * tiles.depth, tiles.depth)
        a, b = load(given.rows, at_rows, depth, mask=inside), load(given.keys, at_columns, depth, mask=within)
        along = (((1,), (1,)), ((), ()))
        return z + lax.dot_general(a, b, along, lax.Precision.DEFAULT, jnp.float32)

    first, end = jnp.int32(0), jnp.int32(D // tiles.depth)  # where 64-bit types are on, too
    z = lax.fori_loop(first, end, step, jnp.zeros((tiles.rows, tiles.columns), jnp.float32))
    z = z * (load(given.row_factor, at_rows, mask=inside) * LOG2E)[:, None]
    z = z * load(given.column_factor, at_columns, mask=within)[None, :]
    # Of each row the first own entry from `left` on; the first multiple of the period is beyond all that is added.
    period, first_row = ONCE if period is None else period, given.first_row[0]
    beyond = (first_row + B + tiles.rows + period - 1) // period * period
    own = first_row + row
    own = own + (left - own + beyond + period - 1) // period * period - beyond
    is_own = own[:, None] == column[None, :]
    if made.own is not None:
        logit = jnp.sum(jnp.where(is_own, z, 0.0), axis=1) / LOG2E
        here = own < left + tiles.columns
        triton.store(made.own.at[at_rows], logit, mask=here if inside is None else here & inside)
    z = jnp.where(is_own & (z == z), -math.inf, z)  # NaN in an own entry alone reaches the sums
    z = z if inside is None else jnp.where(inside[:, None], z, -math.inf)
    z = z if within is None else jnp.where(within[None, :], z, -math.inf)
    e = jnp.exp2(z)
    if made.row_sums is not None:
        store(made.row_sums.at[across, at_rows], jnp.sum(e, axis=1), inside)
    if made.column_sums is not None:
        store(made.column_sums.at[down, at_columns], jnp.sum(e, axis=0), within)
    if made.out is not None:
        if given.row_weight is not None:
            weight = load(given.column_weight, at_columns, mask=within)[None, :]
            e = e * (load(given.row_weight, at_rows, mask=inside)[:, None] + weight)
        whole = inside is None and within is None
        mask = None if whole else (row < B)[:, None] & (column < M)[None, :]
        store(made.out.at[at_rows, at_columns], e.astype(jnp.bfloat16), mask)


def place(tiles_down: int, tiles_across: int, group: int) -> tuple[Any, Any]:
    """Down `group` tiles, then one across: those that run together read few rows and keys, which the cache holds."""
    tile, in_group = pl.program_id(0), group * tiles_across
    first = tile // in_group * group
    height = jnp.minimum(tiles_down - first, group)
    return first + tile % in_group % height, tile % in_group // height


def load(x: Any, *at: Any, mask: Any) -> Any:
    """`x[at]`, and 0 where a row is not inside."""
    if mask is None:
        return x[at]
    return triton.load(x.at[at], mask=mask if len(at) == 1 else mask[:, None], other=0)


def store(x: Any, value: Any, mask: Any) -> None:
    """Write all of `x`, or what is inside."""
    if mask is None:
        x[...] = value
    else:
        triton.store(x, value, mask=mask)
