"""NumPy: infonce, the products alone, and the plain formula with its gradient written by hand."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

import infonce
from _cases import TEMPERATURE, Case
from _measure import Call

from ._limits import dense_fits, rows_of_products

MODES = ("numpy",)
FloatArray = NDArray[np.floating[Any]]
ValueAndGradient = Callable[..., tuple[Any, ...]]
KINDS = ("one", "value", "symmetric", "low", "nt_xent")  # those that need no autodiff


def calls(case: Case, mode: str) -> dict[str, Call]:
    losses = {"infonce": ours(case)} | ({"plain formula": PLAIN[case.kind]} if dense_fits(case) else {})
    sides = case.sides()
    return timed(case, losses) | {name: products(case, block, *sides) for name, block in rows_of_products(case).items()}


def timed(
    case: Case, losses: Mapping[str, ValueAndGradient], constants: Iterable[NDArray[Any]] = ()
) -> dict[str, Call]:
    inputs = [*case.inputs(), *constants]
    return {name: functools.partial(compute, *inputs) for name, compute in losses.items()}


def ours(case: Case, block_size: int | None = None) -> ValueAndGradient:
    options: dict[str, Any] = {"temperature": case.temperature, "block_size": block_size}
    if case.kind == "value":
        return lambda query, key: (infonce.info_nce(query, key, **options),)
    if case.kind == "symmetric":
        options["symmetric"] = True
    compute = infonce.value_and_grad(infonce.nt_xent if case.kind == "nt_xent" else infonce.info_nce)

    def flat(*arrays: FloatArray) -> tuple[Any, ...]:
        loss, gradients = compute(*arrays, **options)
        return loss, *(gradients["views"] if case.kind == "nt_xent" else gradients.values())

    return flat


def unit(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    return x / norm, norm


def through_unit(gradient: FloatArray, unit_rows: FloatArray, norm: FloatArray) -> FloatArray:
    """The gradient with respect to rows, from the one with respect to the unit rows."""
    along = np.sum(gradient * unit_rows, axis=1, keepdims=True)
    return np.asarray((gradient - along * unit_rows) / norm)


def softmax_in_place(z: FloatArray, axis: int) -> FloatArray:
    """Make softmax(z) of z; return the log-sum-exp."""
    largest = z.max(axis=axis, keepdims=True)
    z -= largest
    np.exp(z, out=z)
    total = z.sum(axis=axis, keepdims=True)
    z /= total
    return np.asarray(largest + np.log(total))


def plain_value(query: FloatArray, key: FloatArray) -> tuple[Any, ...]:
    z = (unit(query)[0] / np.float32(TEMPERATURE)) @ unit(key)[0].T
    own = z.diagonal().copy()
    largest = z.max(axis=1, keepdims=True)
    z -= largest
    np.exp(z, out=z)
    return (np.mean(largest[:, 0] + np.log(z.sum(axis=1)) - own),)


def plain(query: FloatArray, key: FloatArray, temperature: float = TEMPERATURE) -> tuple[Any, ...]:
    n, t = len(query), np.float32(temperature)
    (u, u_norm), (v, v_norm) = unit(query), unit(key)
    u /= t
    p = u @ v.T
    own = p.diagonal().copy()
    loss = np.mean(softmax_in_place(p, 1)[:, 0] - own)
    p.flat[:: n + 1] -= 1
    d_u, d_v = (p @ v) / (n * t), (p.T @ u) / n
    return loss, through_unit(d_u, u * t, u_norm), through_unit(d_v, v, v_norm)


def plain_symmetric(query: FloatArray, key: FloatArray) -> tuple[Any, ...]:
    n, t = len(query), np.float32(TEMPERATURE)
    (u, u_norm), (v, v_norm) = unit(query), unit(key)
    u /= t
    p = u @ v.T
    own, columns = p.diagonal().copy(), p.copy()
    loss = np.mean((softmax_in_place(p, 1)[:, 0] + softmax_in_place(columns, 0)[0]) / 2 - own)
    p += columns
    p.flat[:: n + 1] -= 2
    d_u, d_v = (p @ v) / (2 * n * t), (p.T @ u) / (2 * n)
    return loss, through_unit(d_u, u * t, u_norm), through_unit(d_v, v, v_norm)


def plain_nt_xent(first: FloatArray, second: FloatArray) -> tuple[Any, ...]:
    n, t = len(first), np.float32(TEMPERATURE)
    z, norm = unit(np.concatenate([first, second]))
    p = (z / t) @ z.T
    rows, partners = np.arange(2 * n), np.roll(np.arange(2 * n), n)
    own = p[rows, partners]
    p.flat[:: 2 * n + 1] = -np.inf
    loss = np.mean(softmax_in_place(p, 1)[:, 0] - own)
    p[rows, partners] -= 1
    d_z = through_unit((p @ z + p.T @ z) / (2 * n * t), z, norm)
    return loss, d_z[:n], d_z[n:]


PLAIN: dict[str, ValueAndGradient] = {
    "one": plain,
    "value": plain_value,
    "symmetric": plain_symmetric,
    "low": functools.partial(plain, temperature=Case("low", 1, 1, 1).temperature),
    "nt_xent": plain_nt_xent,
}


def products(case: Case, block: int, left: FloatArray, right: FloatArray) -> Call:
    """The least that is to be multiplied, into buffers that are there: at once, or by blocks of rows."""
    right = right.copy()  # NumPy multiplies an array by its own transpose in another, slower way
    logits = np.empty((block, case.columns), np.float32)
    d_left, d_right, of_block = np.empty_like(left), np.empty_like(right), np.empty_like(right)

    def call() -> Any:
        for first in range(0, case.rows, block):
            rows = left[first : first + block]
            part = np.matmul(rows, right.T, out=logits[: len(rows)])
            if case.products > 1:
                np.matmul(part, right, out=d_left[first : first + block])
                np.matmul(part.T, rows, out=of_block if first else d_right)
                if first:
                    np.add(d_right, of_block, out=d_right)
        return d_left, d_right

    return call
