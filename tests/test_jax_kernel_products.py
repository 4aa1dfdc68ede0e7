"""The Pallas kernel of products and exponentials, interpreted on the CPU, against the formulas in float64."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from infonce import info_nce
from infonce.halves import Halved
from infonce.jax import _arithmetic, _kernel_products
from infonce.jax._kernel_products import TILES, Asked, Given, Tiles, fits, formula, passes

from . import _products
from ._products import CASES, Case

SMALL = Tiles(rows=16, columns=32, depth=8, group=2, warps=1, stages=2)
ASKED = {
    "exponentials": Asked(out=True, rows=True, own=True),
    "totals": Asked(rows=True, columns=True, own=True),
    "weighted": Asked(out=True),
    "weighted of samples": Asked(out=True, period=32),
}


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
    made = _kernel_products.given(rows, keys, case.first_row)
    if not kind.startswith("weighted"):
        return made
    return made._replace(
        row_weight=jnp.asarray(given.row_weight[:, 0]), column_weight=jnp.asarray(given.column_weight[0])
    )


@pytest.mark.parametrize("kind", ASKED)
def test_derivatives_are_those_of_the_formula(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """`jax.grad` through the kernel, and in the direction of any tangent, is that of plain JAX."""
    monkeypatch.setattr(_kernel_products, "TILES", SMALL)
    asked, given = ASKED[kind], arrays(kind)
    whole = {"first_row": given.first_row}
    floating = {name: x for name, x in given._asdict().items() if x is not None and name not in whole}

    def summed(made: Any, x: dict[str, Any]) -> Any:
        found = made(asked, Given(**x, **whole))
        return sum(jnp.sum(jnp.sin(y.astype(jnp.float32))) for y in found if y is not None)

    values = {f: jax.value_and_grad(lambda x, f=f: summed(f, x))(floating) for f in (passes, formula)}
    assert np.allclose(values[passes][0], values[formula][0], rtol=1e-5)
    for name, gradient in values[passes][1].items():
        want = np.asarray(values[formula][1][name], np.float64)
        assert np.any(want != 0)
        assert np.allclose(np.asarray(gradient, np.float64), want, rtol=1e-2, atol=1e-2 * np.abs(want).max()), name


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
    jax.clear_caches()  # of what was compiled for a CPU
    small = {"on_gpu": (_arithmetic, lambda: True), "available": (_kernel_products, lambda: True)}
    for name, (module, value) in (small | {"TILES": (_kernel_products, SMALL)}).items():
        monkeypatch.setattr(module, name, value)
    query, key = (jnp.asarray(x, jnp.bfloat16) for x in np.random.default_rng(0).standard_normal((2, 70, 16)))
    mesh = Mesh(np.array(jax.devices("cpu")[:1]), ("rows",))
    split = PartitionSpec("rows")  # type: ignore[no-untyped-call]

    def step(query: Any, key: Any) -> Any:
        loss = info_nce(query, key, block_size=32, **options)
        return jnp.reshape(loss, -1)

    inside = jax.shard_map(step, mesh=mesh, in_specs=split, out_specs=split, check_vma=check_vma)
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
