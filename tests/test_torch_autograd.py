"""What PyTorch's autograd finds: errors for second derivatives, little that is kept, cotangents of any kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from infonce import info_nce, nt_xent, value_and_grad

from ._points import POINTS, D


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("function", ["info_nce", "nt_xent"])
def test_torch_second_derivatives_raise(function: str, reduction: str) -> None:
    import torch

    fn = {"info_nce": info_nce, "nt_xent": nt_xent}[function]
    query, key = (torch.from_numpy(x).requires_grad_() for x in POINTS["random"]["arrays"])

    def loss(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        return fn(query, key, reduction=reduction).sum()  # type: ignore[no-any-return, operator]

    (gradient,) = torch.autograd.grad(loss(query, key), query, create_graph=True)
    assert gradient.requires_grad
    words = "no second derivative in PyTorch.*create_graph=True.*JAX or TensorFlow"
    with pytest.raises(NotImplementedError, match=words):
        gradient.sum().backward()
    with pytest.raises(NotImplementedError, match=words):
        torch.autograd.functional.hessian(lambda query: loss(query, key), query)
    twice = torch.func.grad(lambda query: torch.func.grad(loss)(query, key).sum())
    with pytest.raises(NotImplementedError, match=words):
        twice(query.detach())
    with pytest.raises(NotImplementedError, match=words):
        torch.func.jacrev(torch.func.grad(loss))(query.detach(), key.detach())


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch.func.jvp's own doing
def test_torch_forward_mode_raises_and_is_never_silently_wrong() -> None:
    import torch

    query, key = map(torch.from_numpy, POINTS["random"]["arrays"])
    with pytest.raises((NotImplementedError, RuntimeError), match=r"forward mode|forward AD|jvp"):
        torch.func.jvp(lambda query: info_nce(query, key), (query,), (query,))


def test_torch_gradient_penalty_raises_and_does_not_vanish() -> None:
    """The classical silent bug: a penalty on the gradient whose own gradient is that of a constant."""
    import torch

    query, key = (torch.from_numpy(x) for x in POINTS["random"]["arrays"])
    weight = torch.eye(D, dtype=torch.float64, requires_grad=True)
    loss = info_nce(query @ weight, key)
    (gradient,) = torch.autograd.grad(loss, weight, create_graph=True)
    with pytest.raises(NotImplementedError, match="no second derivative"):
        (loss + gradient.square().sum()).backward()


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_torch_keeps_nothing_of_the_size_of_the_logits(reduction: str) -> None:
    import torch

    rows, keys = 200, 300
    arrays = [torch.randn(shape, D, requires_grad=True) for shape in (rows, rows, keys)]
    sizes: list[int] = []

    def pack(x: torch.Tensor) -> torch.Tensor:
        sizes.append(x.untyped_storage().nbytes() // x.element_size())
        return x

    for fn in (
        lambda: info_nce(*arrays, reduction=reduction, block_size=16),
        lambda: info_nce(*arrays[:2], reduction=reduction, symmetric=True, block_size=16),
        lambda: nt_xent(*arrays[:2], reduction=reduction, block_size=16),
    ):
        sizes.clear()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            loss = fn()
        assert sizes, "nothing was saved"
        assert max(sizes) <= 2 * rows * D
        loss.sum().backward()


def test_torch_backward_twice_and_scaled() -> None:
    import torch

    query, key = (torch.from_numpy(x).requires_grad_() for x in POINTS["random"]["arrays"])
    loss = info_nce(query, key)
    first = torch.autograd.grad(loss, (query, key), retain_graph=True)
    want = [-3 * x for x in first]
    for x in first:
        x.zero_()  # the caller's own
    for x, y in zip(torch.autograd.grad(-3 * loss, (query, key)), want, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-14, atol=0)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        torch.autograd.grad(loss, (query, key))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_torch_hands_over_the_gradients_that_it_kept(dtype: str) -> None:
    import torch

    query, key = (torch.randn(6, 4, dtype=getattr(torch, dtype), requires_grad=True) for _ in range(2))
    loss = info_nce(query, key)
    kept = [x.data_ptr() for x in loss.grad_fn.gradients]
    (2 * loss).backward()
    assert loss.grad_fn.gradients == ()
    handed_over = [x.grad.data_ptr() == place for x, place in zip((query, key), kept, strict=True)]
    assert handed_over == [dtype == "float32"] * 2  # a gradient in another dtype is a new array


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_torch_takes_a_batch_of_cotangents(dtype: str) -> None:
    import torch

    query, key = (torch.randn(6, 4, dtype=getattr(torch, dtype), requires_grad=True) for _ in range(2))
    loss = info_nce(query, key)
    several = torch.tensor([1.0, -2.0])
    batched = torch.autograd.grad(loss, (query, key), several, is_grads_batched=True, retain_graph=True)
    for x, cotangent in enumerate(several):
        single = torch.autograd.grad(loss, (query, key), cotangent, retain_graph=True)
        assert all(torch.equal(many[x], one) for many, one in zip(batched, single, strict=True))


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (info_nce, {"symmetric": True}),
        *((f, o) for f in (info_nce, nt_xent) for o in ({}, {"hardness": 0.5}, {"label_smoothing": 0.1})),
        *((f, {"temperature": 0.01}) for f in (info_nce, nt_xent)),
    ],
    ids=lambda x: getattr(x, "__name__", str(x)),
)
@pytest.mark.parametrize("block_size", [None, 4])
def test_torch_takes_a_batch_of_cotangents_of_rows(
    function: Any, options: dict[str, Any], block_size: int | None
) -> None:
    import torch

    query, key = (torch.from_numpy(x).requires_grad_() for x in POINTS["random"]["arrays"])
    loss = function(query, key, reduction="none", block_size=block_size, **options)
    several = torch.from_numpy(np.random.default_rng(1).normal(size=(3, len(loss))))
    batched = torch.autograd.grad(loss, (query, key), several, is_grads_batched=True, retain_graph=True)
    for i, cotangent in enumerate(several):
        single = torch.autograd.grad(loss, (query, key), cotangent, retain_graph=True)
        for many, one in zip(batched, single, strict=True):
            torch.testing.assert_close(many[i], one, rtol=0, atol=1e-13)


def test_torch_value_and_grad_leaves_grad_and_graphs_alone() -> None:
    import torch

    arrays = [torch.from_numpy(x).requires_grad_() for x in POINTS["unpaired"]["arrays"]]
    for leaf in arrays:
        leaf.grad = torch.full_like(leaf, 7.0)
    loss, found = value_and_grad(info_nce)(*arrays)
    assert not loss.requires_grad
    assert not any(gradient.requires_grad for gradient in found.values())
    assert all(bool((leaf.grad == 7.0).all()) for leaf in arrays)
    with torch.no_grad():
        again, unseen = value_and_grad(info_nce)(*arrays)
    assert again == loss
    assert all(torch.equal(found[name], unseen[name]) for name in found)
    loss, found = value_and_grad(nt_xent)(*arrays[:2])
    assert not any(x.requires_grad for x in (loss, *found["views"]))
