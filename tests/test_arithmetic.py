"""What a backend computes in a way of its own, because that is faster, against NumPy's plain operations."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
import torch

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


@pytest.mark.parametrize("first_row", [None, 0, 3])
@pytest.mark.parametrize("name", ["numpy", "array_api_strict", "torch", "jax", "jax, large", "tensorflow"])
def test_sums_of_transposed_products(name: str, first_row: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    name, _, large = name.partition(", ")
    if large:
        monkeypatch.setattr(_arithmetic, "SMALL", 0)
    b, f = arithmetic(name), framework_of(name)
    total, p, rows = (
        RNG.normal(size=shape) for shape in ((KEYS + 3 * (first_row is not None), D), (ROWS, KEYS), (ROWS, D))
    )
    want = total.copy()
    want[first_row or 0 :][:KEYS] += p.T @ rows
    with f.settings():
        found = b.add_transposed(*(f.array(x, "float64") for x in (total, p, rows)), first_row)
        np.testing.assert_allclose(f.values(found), want, rtol=1e-14, atol=1e-14)
        if first_row is None:
            alone = b.add_transposed(None, f.array(p, "float64"), f.array(rows, "float64"))
            np.testing.assert_allclose(f.values(alone), p.T @ rows, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("small", [1 << 20, 0], ids=["small", "large"])
@pytest.mark.parametrize("first_row", [None, 3])
def test_jax_differentiates_and_maps_them(first_row: int | None, small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_arithmetic, "SMALL", small)
    b = JAXArithmetic()
    total, p, rows = (RNG.normal(size=(2, *shape)) for shape in ((KEYS + 3, D), (ROWS, KEYS), (ROWS, D)))
    total = total[:, :KEYS] if first_row is None else total
    cotangent = RNG.normal(size=total.shape[1:])

    def loss(*arrays: Any) -> Any:
        return jax.numpy.sum(cotangent * b.add_transposed(*arrays, first_row))

    with framework_of("jax").settings():
        of_total, of_p, of_rows = jax.vmap(jax.grad(loss, (0, 1, 2)))(total, p, rows)
        alone = jax.grad(lambda p, x: jax.numpy.sum(cotangent[:KEYS] * b.add_transposed(None, p, x)), (0, 1))
        of_p_alone, of_rows_alone = jax.vmap(alone)(p, rows)
    np.testing.assert_array_equal(of_total, np.broadcast_to(cotangent, total.shape))
    met = cotangent[first_row or 0 :][:KEYS]
    for found, want in ((of_p, rows @ met.T), (of_rows, p @ met)):
        np.testing.assert_allclose(found, want, rtol=1e-13, atol=1e-13)
    for found, want in ((of_p_alone, rows @ cotangent[:KEYS].T), (of_rows_alone, p @ cotangent[:KEYS])):
        np.testing.assert_allclose(found, want, rtol=1e-13, atol=1e-13)


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
    kept = b.exp_shifted(z, row, keep=True)
    np.testing.assert_allclose(kept, np.exp(want - row.numpy()), rtol=1e-12)
    assert by_column(kept) is (shape[0] > 1)
    np.testing.assert_allclose(b.times_sum(z, row, column), want * (row + column).numpy(), rtol=1e-12, atol=1e-12)
