"""The Pallas kernel of products and exponentials, interpreted on the CPU, against the formulas in float64."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from infonce import info_nce, nt_xent
from infonce.halves import Halved
from infonce.jax import _arithmetic, _kernel_products
from infonce.jax._kernel_products import TILES, Asked, Given, Tiles, fits, passes

from . import _products
from ._products import CASES, Case

SMALL = Tiles(rows=16, columns=32, depth=8, group=2, warps=1, stages=2)
SPLIT, SHARED = PartitionSpec("rows"), PartitionSpec()  # type: ignore[no-untyped-call]
ASKED = {
    "exponentials": Asked(out=True, rows=True, own=True),
    "totals": Asked(rows=True, columns=True, own=True),
    "weighted": Asked(out=True),
    "weighted of samples": Asked(out=True, period=32),
}


def mesh() -> Mesh:
    return Mesh(np.array(jax.devices("cpu")[:1]), ("rows",))


def halved(case: Case, given: _products.Given) -> tuple[Halved, Halved]:
    rows, keys = (jnp.asarray(x, jnp.bfloat16) for x in (given.rows, given.keys))
    return Halved(rows, jnp.asarray(given.row_factor), rows), Halved(keys, jnp.asarray(given.column_factor), keys)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if name != "part-of-large-tiles"])
def test_product_kernel_is_the_formula(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    case = CASES[name]
    monkeypatch.setattr(_kernel_products, "TILES", TILES if case.large else SMALL._replace(group=case.group))
    given, lost = _products.with_nan(case, _products.inputs(case))
    rows, keys = halved(case, given)
    assert fits(rows, keys, case.period) == (case.period is None or case.period >= _kernel_products.TILES.columns)
    got = _products.by(_kernel_products, case, rows, keys, *map(jnp.asarray, given[4:]))
    dtypes = {name: str(x.dtype) for name, x in got.items()}
    assert _products.differences(case, {k: np.asarray(x, np.float64) for k, x in got.items()}, dtypes, lost) == []


def test_only_whole_depths_fit() -> None:
    def rows(n: int, depth: int) -> Halved:
        x = jnp.zeros((n, depth), jnp.bfloat16)
        return Halved(x, jnp.ones((n, 1)), x)

    assert fits(rows(3, 128), rows(23, 128))
    assert not fits(rows(3, 96), rows(23, 96))
    assert not fits(rows(0, 64), rows(0, 64))
    assert fits(rows(3, 64), rows(23, 64), TILES.columns)
    assert not fits(rows(3, 64), rows(23, 64), TILES.columns - 1)


def arrays(kind: str) -> Given:
    case = CASES["part-of-the-last-middle"]
    given = _products.inputs(case)
    rows, keys = halved(case, given)
    made = _kernel_products.arguments(rows, keys, case.first_row)
    if not kind.startswith("weighted"):
        return made
    return made._replace(
        row_weight=jnp.asarray(given.row_weight[:, 0]), column_weight=jnp.asarray(given.column_weight[0])
    )


LOSSES: dict[str, Any] = {
    "one direction": info_nce,
    "blocks": functools.partial(info_nce, block_size=32),
    "row losses": lambda *arrays: jnp.sum(jnp.cos(info_nce(*arrays, reduction="none"))),
    "symmetric": functools.partial(info_nce, symmetric=True),
    "views": nt_xent,
}


@pytest.mark.parametrize("name", LOSSES)
def test_derivatives_are_those_without_the_kernel(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Loss, gradients and their gradients."""
    arrays = [jnp.asarray(x, jnp.bfloat16) for x in np.random.default_rng(0).standard_normal((2, 70, 16))]

    def squares(*arrays: Any) -> Any:
        return sum(jnp.sum(jnp.square(x.astype(jnp.float32))) for x in jax.grad(LOSSES[name], (0, 1))(*arrays))

    def found() -> Any:
        jax.clear_caches()
        return jax.tree.leaves([jax.value_and_grad(f, (0, 1))(*arrays) for f in (LOSSES[name], squares)])

    monkeypatch.setattr(_arithmetic, "on_gpu", lambda: True)
    want = found()
    made = use_kernel(monkeypatch)
    got = found()
    jax.clear_caches()
    assert made
    for x, y in zip(got, want, strict=True):
        x, y = (np.asarray(values, np.float64) for values in (x, y))
        assert np.linalg.norm(x - y) <= 1e-2 * np.linalg.norm(y) > 0


def use_kernel(monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """Make a GPU's choice of it, in small tiles; the list is of what it is asked for."""
    made = []

    def seen(asked: Asked, given: Given) -> Any:
        made.append(asked)
        return passes(asked, given)

    monkeypatch.setattr(_arithmetic, "on_gpu", lambda: True)
    for attribute, value in {"available": lambda: True, "passes": seen, "TILES": SMALL}.items():
        monkeypatch.setattr(_kernel_products, attribute, value)
    return made


def test_several_devices_get_it_inside_shard_map_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    made = use_kernel(monkeypatch)
    monkeypatch.setattr(jax, "device_count", lambda: 2)
    jax.clear_caches()
    query, key = (jnp.asarray(x, jnp.bfloat16) for x in np.random.default_rng(0).standard_normal((2, 20, 16)))
    outside = info_nce(query, key)
    assert not made
    inside = jax.shard_map(info_nce, mesh=mesh(), in_specs=SHARED, out_specs=SHARED, check_vma=False)(query, key)
    jax.clear_caches()
    assert made
    assert np.allclose(inside, outside, rtol=1e-5)


@pytest.mark.parametrize("kind", ASKED)
def test_a_batch_of_passes_is_each_of_them(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(_kernel_products, "TILES", SMALL)
    asked, given = ASKED[kind], arrays(kind)
    stacked = given._replace(rows=jnp.stack([given.rows, -given.rows]))
    axes = Given(*(None if x is None else 0 if name == "rows" else None for name, x in given._asdict().items()))
    got = jax.vmap(lambda x: passes(asked, x), in_axes=(axes,))(stacked)
    for i, rows in enumerate(stacked.rows):
        for x, want in zip(got, passes(asked, given._replace(rows=rows)), strict=True):
            assert (x is None) == (want is None)
            assert x is None or np.array_equal(np.asarray(x[i], np.float32), np.asarray(want, np.float32))


@pytest.mark.parametrize("kind", ASKED)
@pytest.mark.parametrize("rows", [256, 250])
def test_gpus_get_the_kernel_and_others_the_formula(monkeypatch: pytest.MonkeyPatch, kind: str, rows: int) -> None:
    """As far as a CPU can tell: JAX makes Triton's program of it."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")

    def zeros(*shape: int) -> Any:
        return jnp.zeros(shape, jnp.bfloat16 if len(shape) == 2 else jnp.float32)

    weights = (zeros(rows), zeros(512)) if kind.startswith("weighted") else ()
    given = Given(zeros(rows, 128), zeros(512, 128), zeros(rows), zeros(512), jnp.zeros(1, jnp.int32), *weights)
    traced = jax.jit(passes, static_argnums=0).trace(ASKED[kind], given)
    on_gpu, on_cpu = (traced.lower(lowering_platforms=(platform,)).as_text() for platform in ("cuda", "cpu"))
    assert "gpu.triton" in on_gpu
    assert "stablehlo.dot_general" not in on_gpu
    assert "gpu.triton" not in on_cpu
    assert "stablehlo.dot_general" in on_cpu


@pytest.mark.parametrize("check_vma", [True, False])
@pytest.mark.parametrize("options", [{}, {"symmetric": True}, {"reduction": "none"}], ids=str)
def test_inside_shard_map(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], check_vma: bool) -> None:
    """Rows vary over the mesh: so do the kernel's outputs, and JAX makes its program for a GPU."""
    use_kernel(monkeypatch)
    jax.clear_caches()  # of what was compiled for a CPU
    query, key = (jnp.asarray(x, jnp.bfloat16) for x in np.random.default_rng(0).standard_normal((2, 70, 16)))

    def step(query: Any, key: Any) -> Any:
        loss = info_nce(query, key, block_size=32, **options)
        return jnp.reshape(loss, -1)

    inside = jax.shard_map(step, mesh=mesh(), in_specs=SPLIT, out_specs=SPLIT, check_vma=check_vma)
    if not check_vma:  # which Pallas's interpreter does not know
        differentiated = (jax.value_and_grad(lambda *xs, f=f: jnp.sum(f(*xs)), (0, 1)) for f in (step, inside))
        for x, want in zip(*(jax.tree.leaves(f(query, key)) for f in differentiated), strict=True):
            assert np.array_equal(np.asarray(x, np.float32), np.asarray(want, np.float32))
            assert np.any(np.asarray(x, np.float32) != 0)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    jax.clear_caches()
    program = jax.jit(jax.grad(lambda q: jnp.sum(inside(q, key)))).trace(query).lower(lowering_platforms=("cuda",))
    assert "gpu.triton" in program.as_text()
    jax.clear_caches()
