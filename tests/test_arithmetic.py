"""What a backend computes in a way of its own, because that is faster, against NumPy's plain operations."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
import tensorflow as tf
import torch

from infonce.blocks import Held
from infonce.jax import _arithmetic
from infonce.jax._arithmetic import JAXArithmetic
from infonce.numpy._backend import BACKEND, array_api_backend
from infonce.tensorflow._arithmetic import TensorFlowArithmetic
from infonce.torch._arithmetic import TorchArithmetic, by_column

from ._frameworks import framework as framework_of

RNG = np.random.default_rng(0)
ROWS, KEYS, D = 6, 9, 4


def arithmetic(name: str) -> Any:
    if name == "array_api_strict":
        import array_api_strict

        return array_api_backend(array_api_strict).run()
    return {
        "numpy": BACKEND.run,
        "torch": lambda: TorchArithmetic(in_place=True),
        "jax": JAXArithmetic,
        "tensorflow": TensorFlowArithmetic,
    }[name]()


@pytest.mark.parametrize("name", ["numpy", "array_api_strict", "torch", "jax", "jax, large", "tensorflow"])
def test_sums_of_transposed_products(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, _, large = name.partition(", ")
    if large:
        monkeypatch.setattr(_arithmetic, "SMALL", 0)
    b, f = arithmetic(name), framework_of(name)
    total, p, rows = (RNG.normal(size=shape) for shape in ((KEYS, D), (ROWS, KEYS), (ROWS, D)))
    want = total + p.T @ rows
    with f.settings():
        found = b.add_transposed(*(f.array(x, "float64") for x in (total, p, rows)))
        np.testing.assert_allclose(f.values(found), want, rtol=1e-14, atol=1e-14)
        alone = b.add_transposed(None, f.array(p, "float64"), f.array(rows, "float64"))
        np.testing.assert_allclose(f.values(alone), p.T @ rows, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("first_row", [0, 3])
@pytest.mark.parametrize("name", ["numpy", "array_api_strict", "torch", "jax", "tensorflow"])
def test_sums_of_both_products(name: str, first_row: int) -> None:
    b, f = arithmetic(name), framework_of(name)
    total, p, rows, partners = both_sides()
    want = total.copy()
    want[first_row:][:KEYS] += p.T @ rows
    want[first_row:][:ROWS] += p @ partners
    with f.settings():
        found = b.add_both(*(f.array(x, "float64") for x in (total, p, rows, partners)), first_row)
        np.testing.assert_allclose(f.values(found), want, rtol=1e-14, atol=1e-14)


def both_sides(*maps: int) -> list[Any]:
    """A total with room for three rows more, p, its rows and their partners."""
    return [RNG.normal(size=(*maps, *shape)) for shape in ((KEYS + 3, D), (ROWS, KEYS), (ROWS, D), (KEYS, D))]


@pytest.mark.parametrize("small", [1 << 20, 0], ids=["small", "large"])
def test_jax_differentiates_and_maps_transposed_products(small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_arithmetic, "SMALL", small)
    b = JAXArithmetic()
    total, p, rows = (RNG.normal(size=(2, *shape)) for shape in ((KEYS, D), (ROWS, KEYS), (ROWS, D)))
    cotangent = RNG.normal(size=(KEYS, D))

    def loss(*arrays: Any) -> Any:
        return jax.numpy.sum(cotangent * b.add_transposed(*arrays))

    with framework_of("jax").settings():
        of_total, of_p, of_rows = jax.vmap(jax.grad(loss, (0, 1, 2)))(total, p, rows)
        of_p_alone, of_rows_alone = jax.vmap(jax.grad(lambda p, x: loss(None, p, x), (0, 1)))(p, rows)
    np.testing.assert_array_equal(of_total, np.broadcast_to(cotangent, total.shape))
    for found, want in (
        (of_p, rows @ cotangent.T), (of_rows, p @ cotangent), (of_p_alone, of_p), (of_rows_alone, of_rows),
    ):  # fmt: skip
        np.testing.assert_allclose(found, want, rtol=1e-13, atol=1e-13)


def test_jax_differentiates_and_maps_both_products() -> None:
    b, first = JAXArithmetic(), 2
    total, p, rows, partners = both_sides(2)
    cotangent = RNG.normal(size=(KEYS + 3, D))

    def loss(*arrays: Any) -> Any:
        return jax.numpy.sum(cotangent * b.add_both(*arrays, first))

    with framework_of("jax").settings():
        found = jax.vmap(jax.grad(loss, (0, 1, 2, 3)))(total, p, rows, partners)
    of_keys, of_rows = cotangent[first:][:KEYS], cotangent[first:][:ROWS]
    of_p = rows @ of_keys.T + of_rows @ np.swapaxes(partners, 1, 2)
    wants = np.broadcast_to(cotangent, total.shape), of_p, p @ of_keys, np.swapaxes(p, 1, 2) @ of_rows
    for x, want in zip(found, wants, strict=True):
        np.testing.assert_allclose(x, want, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("block", [7, 3, 2], ids=["one block", "whole blocks", "a rest"])
@pytest.mark.parametrize(
    "name",
    [
        *["numpy", "array_api_strict", "torch", "torch, not in place", "jax"],
        *["tensorflow", "tensorflow, eager", "tensorflow, XLA"],
    ],
)
def test_what_a_loop_holds_a_later_one_finds_in_its_blocks(name: str, block: int) -> None:
    name, _, how = name.partition(", ")
    b = TorchArithmetic(in_place=False) if name == "torch" and how else arithmetic(name)
    f, rows, widths = framework_of(name), 7 if block != 3 else 6, set()
    x = RNG.normal(size=(rows, D))

    def of_block(first: Any, cut: Any, sums: Any) -> Any:
        own = b.xp.matmul(cut[0], b.xp.matrix_transpose(cut[0]))
        widths.add(own.shape[1])
        return (None, Held(own), 2 * cut[0]), ()

    def later(first: Any, cut: Any, sums: Any) -> Any:
        assert cut[1] is None
        assert cut[2].shape[1] in widths
        return (b.xp.matmul(cut[2], cut[0]),), ()

    def both(given: Any) -> Any:
        (nothing, held, twice), _ = b.loop(of_block, tuple, (given,), block)
        assert nothing is None
        return b.loop(later, tuple, (twice, None, held), block)[0][0]

    with f.settings():
        graph = name == "tensorflow" and how != "eager"
        run = tf.function(both, autograph=False, jit_compile=how == "XLA") if graph else both
        found = run(f.array(x, "float64"))
        blocks = [x[first : first + block] for first in range(0, rows, block)]
        want = np.concatenate([2 * own @ own.T @ own for own in blocks])
        np.testing.assert_allclose(f.values(found), want, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("shape", [(1, 1), (1, 70_000), (70_000, 1), (300, 400)], ids=str)
def test_blocks_of_torch_lie_column_by_column(shape: tuple[int, int]) -> None:
    b = TorchArithmetic(in_place=True)
    rows, keys = (torch.from_numpy(RNG.normal(size=(n, D))) for n in shape)
    z = b.scores(rows, keys, alone=True)
    want = rows.numpy() @ keys.numpy().T
    np.testing.assert_allclose(z, want, rtol=1e-13, atol=1e-13)
    assert by_column(z) is (shape[0] > 1)
    assert b.scores(rows, keys, part=1).is_contiguous()
    row, column = torch.from_numpy(RNG.normal(size=(shape[0], 1))), torch.from_numpy(RNG.normal(size=(1, shape[1])))
    np.testing.assert_allclose(b.times_sum(z, row, column), want * (row + column).numpy(), rtol=1e-12, atol=1e-12)
