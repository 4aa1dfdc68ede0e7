"""Losses of rows: of a single block the backward pass finds the exponentials that the forward pass made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from infonce import info_nce
from infonce.conformance import oracle

from ._points import products

N, D = 6, 4


def leaves(rows: int, dtype: str = "float64") -> list[Any]:
    import torch

    generator = torch.Generator().manual_seed(0)
    return [torch.randn(rows, D, generator=generator, dtype=getattr(torch, dtype)).requires_grad_() for _ in range(2)]


def test_jax_takes_three_products_of_one_block() -> None:
    import jax

    query, key = (jax.numpy.asarray(x.detach().numpy()) for x in leaves(N, "float32"))
    cotangent = jax.numpy.arange(1.0, N + 1)

    def loss(*arrays: Any, block_size: int | None = None) -> Any:
        return jax.numpy.sum(cotangent * info_nce(*arrays, reduction="none", block_size=block_size))

    assert products(jax, loss, query, key) == 1
    assert products(jax, jax.grad(loss), query, key) == 2
    assert products(jax, jax.grad(loss, (0, 1)), query, key) == 3
    in_blocks = jax.grad(lambda *arrays: loss(*arrays, block_size=3), (0, 1))
    assert products(jax, in_blocks, query, key) == 4  # one loop over two blocks in each pass


@pytest.mark.parametrize("rows", [N, 300])
@pytest.mark.parametrize("scale", [1.0, 1e-25])  # of the queries: those of extreme rows take another way
@pytest.mark.parametrize("options", [{}, {"temperature": 0.01}, {"normalize": False}, {"block_size": 5}], ids=str)
def test_torch_takes_three_products_of_one_block(rows: int, scale: float, options: dict[str, Any]) -> None:
    import torch
    from torch.profiler import ProfilerActivity, profile

    query, key = leaves(rows, "float32")
    query = (scale * query).detach().requires_grad_()
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        loss = info_nce(query, key, reduction="none", **options)
        torch.autograd.grad(loss, (query, key), torch.ones(rows))
    found = sum(event.count for event in seen.key_averages() if event.key in ("aten::mm", "aten::addmm_"))
    blocks = -(-rows // options.get("block_size", rows))
    assert found == (3 if blocks == 1 else 4 * blocks)


@pytest.mark.parametrize("rows", [N, 1100], ids=["few rows", "more than a transform keeps"])
@pytest.mark.parametrize("options", [{}, {"temperature": 0.01}, {"symmetric": True}], ids=str)
@pytest.mark.parametrize("block_size", [None, 600])
def test_torch_backward_twice_and_of_a_batch_of_cotangents(
    rows: int, options: dict[str, Any], block_size: int | None
) -> None:
    import torch

    query, key = leaves(rows)
    loss = info_nce(query, key, reduction="none", block_size=block_size, **options)
    several = torch.from_numpy(np.random.default_rng(1).normal(size=(2, rows)))
    batched = torch.autograd.grad(loss, (query, key), several, is_grads_batched=True, retain_graph=True)
    for i, cotangent in enumerate(several):
        inputs = query.detach(), key.detach()
        want = oracle.info_nce(*inputs, reduction="none", cotangent=cotangent, **options).gradients
        single = torch.autograd.grad(loss, (query, key), cotangent, retain_graph=True)
        for exact, one, many in zip(want.values(), single, batched, strict=False):
            for found in (one, many[i]):
                np.testing.assert_allclose(found, exact, rtol=0, atol=1e-12 * np.max(np.abs(exact)))


def test_torch_releases_what_is_kept_with_the_graph() -> None:
    import torch

    query, key = leaves(N)
    sizes: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):
        loss = info_nce(query, key, reduction="none")
    assert max(sizes) == N * N
    loss.sum().backward()
    with pytest.raises(RuntimeError, match="a second time"):
        loss.sum().backward()


@pytest.mark.parametrize("reduction", ["none", "sum"])
@pytest.mark.parametrize("jit", [False, True])
def test_jax_checkpoint_beside_a_constant_key(reduction: str, jit: bool) -> None:
    """What is saved for a gradient of one side must not be taken for that of both."""
    import jax

    query, key = (jax.numpy.asarray(x.detach().numpy()) for x in leaves(N, "float32"))
    cotangent = jax.numpy.arange(1.0, N + 1) if reduction == "none" else jax.numpy.ones(())

    def loss(query: Any, key: Any) -> Any:
        return jax.numpy.sum(cotangent * info_nce(query, key, reduction=reduction))

    def both(query: Any, key: Any) -> Any:
        return jax.checkpoint(loss)(query, key) + loss(query, jax.lax.stop_gradient(key))

    of_query, of_key = jax.grad(loss, (0, 1))(query, key)
    found = (jax.jit if jit else lambda f: f)(jax.grad(both, (0, 1)))(query, key)
    for one, exact in zip(found, (2 * of_query, of_key), strict=True):
        np.testing.assert_allclose(one, exact, rtol=0, atol=1e-6 * np.max(np.abs(exact)))


@pytest.mark.parametrize("reentrant", [False, True])
def test_torch_checkpoint(reentrant: bool) -> None:
    import torch
    from torch.utils.checkpoint import checkpoint

    query, key = leaves(N)
    cotangent = torch.arange(1.0, N + 1, dtype=torch.float64)
    want = torch.autograd.grad(info_nce(query, key, reduction="none"), (query, key), cotangent)
    losses = checkpoint(lambda *x: info_nce(*x, reduction="none"), query, key, use_reentrant=reentrant)
    losses.backward(cotangent)
    assert torch.equal(query.grad, want[0])
    assert torch.equal(key.grad, want[1])
