"""Seeded data sets, by name, for any program; and rounding to the dtypes that NumPy lacks."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np

from infonce.conformance import optional_arrays
from infonce.conformance.model import Array, Data, Program

Recipe = Callable[[np.random.Generator, Program], tuple[Array, Array, Array | None]]


def round_to(dtype: str, array: Array | float) -> Array:
    """The nearest values of `dtype` (ties to even), as float64."""
    with np.errstate(over="ignore", invalid="ignore"):
        if dtype != "bfloat16":
            return np.asarray(np.asarray(array).astype(dtype), np.float64)
        single = np.asarray(array, np.float32)
        bits = np.atleast_1d(single).view(np.uint32)
        # bfloat16 is the upper half of float32: add just under half a step, one more where the last kept bit is odd.
        kept = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)
        rounded = kept.view(np.float32).reshape(single.shape)
        return np.where(np.isnan(single), np.nan, rounded).astype(np.float64)


def generator(name: str) -> np.random.Generator:
    """The generator of a case: seeded by its name, the same everywhere."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def make(kind: str, program: Program, temperature: float, rng: np.random.Generator) -> Data:
    """The data set `kind` in the shapes of `program`; a temperature per row varies around the given one."""
    arrays = _embeddings(kind, program, rng)
    t: float | Array = temperature
    if program.temperature == "scalar":
        t = np.asarray(temperature)
    elif program.temperature == "rows":
        t = temperature * np.exp(0.3 * rng.normal(size=program.rows))
    cotangent = rng.normal(size=program.anchors) if program.by_row else None
    return optional_arrays.add(Data(arrays, t, cotangent=cotangent), program, rng)


def _embeddings(kind: str, program: Program, rng: np.random.Generator) -> dict[str, Array]:
    if program.loss == "info_nce":
        given = KINDS[kind](rng, program)
        return {
            name: x for name, x in zip(("query", "positive_key", "negative_keys"), given, strict=True) if x is not None
        }
    views = VIEWS[kind](rng, (program.views or 1, program.rows, program.features))
    if program.loss == "nt_xent":
        return dict(zip(program.embeddings, views, strict=True))
    return {"embeddings": np.moveaxis(views, 0, 1).copy() if program.views else views[0]}


def negative_shape(program: Program) -> tuple[int, ...] | None:
    return None if program.negatives is None else (*program.negatives, program.features)


def _normal(rng: np.random.Generator, program: Program) -> tuple[Array, Array, Array | None]:
    shape = negative_shape(program)
    query, positive_key = rng.normal(size=(2, program.rows, program.features))
    return query, positive_key, None if shape is None else rng.normal(size=shape)


def _change(change: Callable[[np.random.Generator, Array], Array]) -> Recipe:
    """Normal data with `change` applied to each array."""

    def recipe(rng: np.random.Generator, program: Program) -> tuple[Array, Array, Array | None]:
        query, positive_key, negative_keys = _normal(rng, program)
        negative_keys = None if negative_keys is None else change(rng, negative_keys)
        return change(rng, query), change(rng, positive_key), negative_keys

    return recipe


def _related(sign: float, noise: float) -> Recipe:
    """Positive keys near the queries, or near their antipodes."""

    def recipe(rng: np.random.Generator, program: Program) -> tuple[Array, Array, Array | None]:
        query, positive_key, negative_keys = _normal(rng, program)
        return query, sign * query + noise * positive_key, negative_keys

    return recipe


def _crowded(rng: np.random.Generator, program: Program) -> tuple[Array, Array, Array | None]:
    """Everything in one narrow cone: all cosines near 1."""
    centre = rng.normal(size=program.features)
    return _change(lambda _, x: centre + 0.2 * x)(rng, program)


def _duplicated(rng: np.random.Generator, program: Program) -> tuple[Array, Array, Array | None]:
    """Pairs of equal rows among queries, keys and negatives, and the positive among the negatives."""
    query, positive_key, negative_keys = _normal(rng, program)
    query[1], positive_key[1], positive_key[3] = query[0], positive_key[0], positive_key[2]
    if negative_keys is not None:
        negative_keys[..., 1, :] = negative_keys[..., 2, :]
        negative_keys[..., 0, :] = positive_key[0]
    return query, positive_key, negative_keys


def _two_worlds(rng: np.random.Generator, program: Program) -> tuple[Array, Array, Array | None]:
    """All keys near one direction, half of the queries near it, half opposite: row maxima 2/t apart."""
    centre = rng.normal(size=program.features)
    query, positive_key, negative_keys = _change(lambda _, x: centre + 0.2 * x)(rng, program)
    query[::2] *= -1
    return query, positive_key, negative_keys


def _zero_rows(rng: np.random.Generator, program: Program) -> tuple[Array, Array, Array | None]:
    query, positive_key, negative_keys = _normal(rng, program)
    query[0], positive_key[2], query[3], positive_key[3] = 0, 0, 0, 0
    if negative_keys is not None:
        negative_keys[..., 1, :] = 0
    return query, positive_key, negative_keys


def _orthonormal(rng: np.random.Generator, program: Program) -> tuple[Array, Array, Array | None]:
    """Each query its own positive, orthogonal to every negative (up to rounding)."""
    basis = np.linalg.qr(rng.normal(size=(program.features, program.features)))[0]
    rows = basis[: program.rows]
    shape = negative_shape(program)
    if shape is None:
        return rows, rows.copy(), None
    rest = basis[program.rows :]
    return rows, rows.copy(), np.resize(rest, shape)


def _simplex(rng: np.random.Generator, program: Program) -> tuple[Array, Array, Array | None]:
    """Corners of a regular simplex: every cosine with another row is -1 / (N - 1)."""
    basis = np.linalg.qr(rng.normal(size=(program.features, program.features)))[0]
    corners = (np.eye(program.rows) - 1 / program.rows) @ basis[: program.rows]
    shape = negative_shape(program)
    if shape is None:
        return corners, corners.copy(), None
    others = np.stack([np.resize(np.roll(corners, -i - 1, 0)[:-1], shape[-2:]) for i in range(program.rows)])
    return corners, corners.copy(), others if len(shape) == 3 else np.resize(-corners[:1], shape)


def _equal(rng: np.random.Generator, program: Program) -> tuple[Array, Array, Array | None]:
    row = rng.normal(size=program.features)
    return _change(lambda _, x: np.broadcast_to(row, x.shape).copy())(rng, program)


def _antipodal(sign: float) -> Recipe:
    """Positives equal to the queries and negatives opposite (sign 1), or the reverse (sign -1)."""

    def recipe(rng: np.random.Generator, program: Program) -> tuple[Array, Array, Array | None]:
        row = np.broadcast_to(rng.normal(size=program.features), (program.rows, program.features)).copy()
        shape = negative_shape(program)
        return row, sign * row, None if shape is None else -sign * np.broadcast_to(row[0], shape)

    return recipe


def _row_scales(spread: float) -> Callable[[np.random.Generator, Array], Array]:
    return lambda rng, x: x * 10 ** rng.uniform(-spread, spread, size=(*x.shape[:-1], 1))


def _largest_entry(size: float) -> Callable[[np.random.Generator, Array], Array]:
    return lambda _, x: x / np.max(np.abs(x), axis=-1, keepdims=True) * size


KINDS: dict[str, Recipe] = {
    "normal": _normal,
    "aligned": _related(1, 0.5),
    "nearly-equal": _related(1, 0.05),
    "opposed": _related(-1, 0.5),
    "nearly-opposite": _related(-1, 0.05),
    "crowded": _crowded,
    "duplicated": _duplicated,
    "two-worlds": _two_worlds,
    "zero-rows": _zero_rows,
    "orthonormal": _orthonormal,
    "simplex": _simplex,
    "equal": _equal,
    "antipodal": _antipodal(1),
    "reversed": _antipodal(-1),
    "uniform": _change(lambda rng, x: rng.uniform(size=x.shape)),
    "rectified": _change(lambda _, x: np.maximum(x, 0) + 0.01),
    "integers": _change(lambda rng, x: np.floor(rng.uniform(-3, 4, size=x.shape)) + 0.5),
    "heavy-tailed": _change(lambda rng, x: rng.standard_cauchy(size=x.shape)),
    "sparse": _change(lambda rng, x: x * (rng.uniform(size=x.shape) < 0.3) + 1e-3),
    "plane": _change(lambda _, x: np.concatenate([x[..., :2], np.zeros_like(x[..., 2:])], axis=-1)),
    "offset": _change(lambda _, x: x + 3),
    "scales": _change(_row_scales(2)),
    "wide-scales": _change(_row_scales(20)),
    "entries-of-1e-25": _change(_largest_entry(1e-25)),
    "entries-of-1e20": _change(_largest_entry(1e20)),
    "entries-of-3e38": _change(_largest_entry(3e38)),
    "entries-of-1e-290": _change(_largest_entry(1e-290)),
    "entries-of-1e300": _change(_largest_entry(1e300)),
    "entries-of-300": _change(_largest_entry(300)),
    "entries-of-0.002": _change(_largest_entry(0.002)),
}


def _aligned_views(rng: np.random.Generator, shape: tuple[int, int, int]) -> Array:
    """Every view near its sample."""
    return rng.normal(size=shape[1:]) + 0.5 * rng.normal(size=shape)


def _duplicated_views(rng: np.random.Generator, shape: tuple[int, int, int]) -> Array:
    """Two samples that are the same in all views, and one whose last view is its first."""
    views = rng.normal(size=shape)
    views[:, 1] = views[:, 0]
    views[-1, 2] = views[0, 2]
    return views


def _zero_views(rng: np.random.Generator, shape: tuple[int, int, int]) -> Array:
    views = rng.normal(size=shape)
    views[0, 0], views[-1, 1], views[:, 2] = 0, 0, 0
    return views


# The views of nt_xent and sup_con, (V, N, D).
VIEWS: dict[str, Callable[[np.random.Generator, tuple[int, int, int]], Array]] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "aligned": _aligned_views,
    "crowded": lambda rng, shape: rng.normal(size=shape[2]) + 0.2 * rng.normal(size=shape),
    "duplicated": _duplicated_views,
    "zero-rows": _zero_views,
    "equal": lambda rng, shape: np.broadcast_to(rng.normal(size=shape[2]), shape).copy(),
    "entries-of-1e20": lambda rng, shape: _largest_entry(1e20)(rng, rng.normal(size=shape)),
}
