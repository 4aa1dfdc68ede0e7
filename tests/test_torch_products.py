"""PyTorch's float32 products on a CPU by oneDNN: which are, and that all is as by torch's own."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from infonce import info_nce, nt_xent
from infonce.conformance import run
from infonce.torch import _products

RNG = np.random.default_rng(0)


def matrix(rows: int, columns: int, transposed: bool = False) -> Tensor:
    x = torch.from_numpy(RNG.normal(size=(columns, rows) if transposed else (rows, columns)).astype(np.float32))
    return x.t() if transposed else x


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of what oneDNN gives, which it is asked for on any CPU and of any size."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this build of PyTorch has no oneDNN")
    linear, found = torch.ops.mkldnn._linear_pointwise.default, []

    def watched(*arguments: Any) -> Tensor:
        x = linear(*arguments)
        found.append(tuple(x.shape))
        return x

    monkeypatch.setattr(_products, "linear", watched)
    monkeypatch.setattr(_products, "LEAST", 0)
    monkeypatch.setattr(_products, "LEAST_COPIED", 0)
    monkeypatch.setattr(_products, "MULTIPLE", 1)
    return found


@pytest.mark.parametrize("a_transposed", [False, True])
@pytest.mark.parametrize("b_transposed", [False, True])
@pytest.mark.parametrize("shape", [(5, 7, 3), (1, 4, 6), (64, 33, 65)])
def test_products(
    shape: tuple[int, int, int], a_transposed: bool, b_transposed: bool, calls: list[tuple[int, ...]]
) -> None:
    rows, depth, columns = shape
    a, b = matrix(rows, depth, a_transposed), matrix(depth, columns, b_transposed)
    expected, by_row = a.double() @ b.double(), a.stride(1) == 1
    torch.testing.assert_close(_products.product(a, b).double(), expected, rtol=0, atol=1e-5)
    total = matrix(rows, columns)
    added = total.double() + expected
    assert _products.add_product(total, a, b) is total
    torch.testing.assert_close(total.double(), added, rtol=0, atol=1e-5)
    assert calls == [(rows, columns) if by_row else (columns, rows)] * 2


def test_a_scale_is_a_factor(calls: list[tuple[int, ...]]) -> None:
    for transposed in (False, True):
        a, b = matrix(5, 7, transposed), matrix(7, 3)
        found = _products.by_one_dnn(a, b, 2.5)
        assert found is not None
        torch.testing.assert_close(found, 2.5 * a @ b)


@pytest.mark.parametrize(
    "of",
    [lambda x: x[:, :7], lambda x: x[::2], lambda x: x[:1].expand(4, -1), lambda x: x.reshape(-1).unfold(0, 7, 1)],
    ids=["columns", "rows", "expanded", "overlapping"],
)
def test_views_with_gaps_are_left_to_torch(of: Any, calls: list[tuple[int, ...]]) -> None:
    """oneDNN is a thousand times slower with them, or refuses them."""
    x = of(matrix(8, 12))
    other = matrix(x.shape[1], 5)
    torch.testing.assert_close(_products.product(x, other), x.clone() @ other)
    torch.testing.assert_close(_products.product(other.t(), x.t()), other.t() @ x.t().clone())
    query = x.clone()
    torch.testing.assert_close(info_nce(query, x, normalize=False), info_nce(query, x.clone(), normalize=False))
    assert all(shape == (len(x), len(x)) for shape in calls)  # of the clones


@pytest.mark.filterwarnings("ignore:`torch.jit.trace:DeprecationWarning")
def test_traces_are_left_to_torch(calls: list[tuple[int, ...]]) -> None:
    a, b = matrix(5, 7), matrix(7, 3)
    traced = torch.jit.trace(_products.product, (a, b), check_trace=False)
    assert calls == []
    torch.testing.assert_close(traced(a, b), a @ b)


def test_other_dtypes_are_left_to_torch(calls: list[tuple[int, ...]]) -> None:
    a, b = matrix(5, 7).double(), matrix(7, 3).double()
    torch.testing.assert_close(_products.product(a, b), a @ b)
    assert calls == []


def test_users_who_turn_it_off_have_torchs_own(calls: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    _products.product(matrix(5, 7), matrix(7, 3))
    assert calls == []


@pytest.mark.parametrize(
    ("rows", "transposed", "asked"),
    [(224, False, 0), (256, False, 1), (256, True, 0), (512, True, 1), (528, False, 0), (528, True, 0)],
)
def test_small_ones_and_odd_sizes_are_left_to_torch(
    rows: int, transposed: bool, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def linear(x: Tensor, w: Tensor, *_: Any) -> Tensor:
        calls.append(x.shape)
        return x @ w.t()

    monkeypatch.setattr(_products, "linear", linear)
    _products.product(matrix(rows, rows, transposed), matrix(rows, 64))
    assert len(calls) == asked


@pytest.mark.parametrize("variant", ["torch", "torch:inductor"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_losses_conform_with_it(variant: str, dtype: str, calls: list[tuple[int, ...]]) -> None:
    report = run(variants=[variant], dtypes=[dtype])
    assert [failure for line in report.lines for failure in line.failures] == []
    assert len(calls) > 40  # compiled, a small batch without options is the graph's own


@pytest.mark.parametrize("function", [info_nce, nt_xent])
@pytest.mark.parametrize(
    "options", [{}, {"normalize": False}, {"block_size": 3}, {"normalize": False, "block_size": 3}]
)
def test_gradients_lie_row_by_row(function: Any, options: dict[str, Any], calls: list[tuple[int, ...]]) -> None:
    inputs = [matrix(8, 5).requires_grad_() for _ in range(2)]
    gradients = torch.autograd.grad(function(*inputs, **options), inputs)
    assert calls
    assert all(x.is_contiguous() for x in gradients)


AMD, INTEL = "vendor_id\t: AuthenticAMD\nflags\t: avx512f\n", "vendor_id\t: GenuineIntel\nflags\t: avx512f\n"


@pytest.fixture
def on_amd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """What Linux says of the CPU: one of AMD's, for which torch has AVX-512, MKL and oneDNN."""
    info = tmp_path / "cpuinfo"
    info.write_text(AMD)
    monkeypatch.setattr(_products, "CPU_INFO", info)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    for library in (torch.backends.mkl, torch.backends.mkldnn):
        monkeypatch.setattr(library, "is_available", lambda: True)
    return info


def test_on_amd_it_is_onednn(on_amd: Path) -> None:
    assert _products.one_dnn() is torch.ops.mkldnn._linear_pointwise.default


def test_elsewhere_it_is_torchs_own(on_amd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_amd.write_text(INTEL)
    assert _products.one_dnn() is None
    on_amd.write_bytes(b"\xff\xfe")
    assert _products.one_dnn() is None
    on_amd.unlink()
    monkeypatch.setattr(platform, "processor", lambda: "arm")
    assert _products.one_dnn() is None
    monkeypatch.setattr(platform, "processor", lambda: "AMD64 Family 26 Model 2 Stepping 1, AuthenticAMD")  # Windows
    assert _products.one_dnn() is not None


@pytest.mark.parametrize("what", ["capability", "mkl", "mkldnn", "operator"])
def test_without_what_it_needs_it_is_torchs_own(on_amd: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if what == "capability":
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    elif what == "operator":
        monkeypatch.setattr(torch.ops, "mkldnn", object())
    else:
        monkeypatch.setattr(getattr(torch.backends, what), "is_available", lambda: False)
    assert _products.one_dnn() is None
