"""A small batch in PyTorch's compiled graphs: the engine's own operations, which Dynamo does not look into."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from infonce import info_nce, nt_xent

N, D = 6, 4
TIGHT = {"rtol": 1e-12, "atol": 1e-14}


@pytest.fixture
def pair() -> Any:
    import torch

    torch._dynamo.reset()
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, N, D, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("gradients", [True, False])
def test_dynamo_sees_one_call(pair: Any, gradients: bool) -> None:
    import torch
    from torch._dynamo.testing import CompileCounterWithBackend

    from infonce.torch import _graph

    counter = CompileCounterWithBackend("aot_eager")
    query, key = (x.clone().requires_grad_(gradients) for x in pair)
    compiled = torch.compile(info_nce, fullgraph=True, backend=counter)
    torch.testing.assert_close(compiled(query, key), info_nce(query, key), **TIGHT)
    (graph,) = counter.graphs
    called = [node.target for node in graph.graph.nodes if node.op == "call_function"]
    assert called.count(_graph.loss) == 1
    assert len(called) <= 3  # and what makes a tensor of the temperature


def over_queries(func: Any, fn: Callable[..., Any]) -> Callable[..., Any]:
    def several(query: Any) -> Any:
        import torch

        return torch.stack([query, 2 * query.flip(0), query.flip(1)])

    return lambda query, key: func.vmap(fn, (0, None))(several(query), key)


TRANSFORMED: dict[str, Callable[[Any, Callable[..., Any]], Callable[..., Any]]] = {
    "grad": lambda func, loss: func.grad(loss, (0, 1)),
    "vmap": over_queries,
    "vmap of grad": lambda func, loss: over_queries(func, func.grad(loss, (0, 1))),
    "grad of vmap": lambda func, loss: func.grad(lambda *x: over_queries(func, loss)(*x).sum(), (0, 1)),
    "jacrev": lambda func, loss: func.jacrev(loss, (0, 1)),
}


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("transform", TRANSFORMED)
def test_transforms_inside_a_compiled_function(pair: Any, transform: str, reduction: str) -> None:
    import torch

    def loss(query: Any, key: Any) -> Any:
        losses = info_nce(query, key, temperature=0.2, reduction=reduction)
        return losses if transform == "jacrev" or reduction == "mean" else losses.square().sum()

    fn = TRANSFORMED[transform](torch.func, loss)
    got = torch.compile(fn, fullgraph=True, backend="aot_eager")(*pair)
    torch.testing.assert_close(got, fn(*pair), **TIGHT)


@pytest.mark.parametrize("strict", [False, True])
def test_an_exported_program_needs_no_infonce(pair: Any, strict: bool) -> None:
    import torch

    class Module(torch.nn.Module):
        def forward(self, query: torch.Tensor, key: torch.Tensor) -> Any:
            return info_nce(query, key, temperature=0.2)

    program = torch.export.export(Module(), tuple(pair), strict=strict)
    graphs = [m.graph for m in program.graph_module.modules() if isinstance(m, torch.fx.GraphModule)]
    called = {str(node.target) for graph in graphs for node in graph.nodes if node.op == "call_function"}
    assert "aten.mm.default" in called or "aten.matmul.default" in called, called
    assert not any("infonce" in target or "loss" in target for target in called), called
    torch.testing.assert_close(program.module()(*pair), info_nce(*pair, temperature=0.2), **TIGHT)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch.func.jvp's own doing
@pytest.mark.parametrize("fullgraph", [False, True])
@pytest.mark.parametrize("function", [info_nce, nt_xent])
def test_forward_mode_inside_a_compiled_function_is_right_or_refused(pair: Any, function: Any, fullgraph: bool) -> None:
    import torch

    def tangent(query: Any, key: Any) -> Any:
        return torch.func.jvp(lambda query: function(query, key), (query,), (key,))[1]

    compiled = torch.compile(tangent, fullgraph=fullgraph, backend="aot_eager")
    with torch.no_grad():  # with gradients none of the losses has one
        if function is nt_xent and fullgraph:  # one operator
            with pytest.raises(torch._dynamo.exc.Unsupported, match="no forward mode derivative"):
                compiled(*pair)
        else:
            want = tangent(*pair)
            assert abs(want) > 1e-3
            torch.testing.assert_close(compiled(*pair), want, **TIGHT)
