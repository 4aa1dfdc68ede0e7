"""Every call that docs/conventions.md shows gives the peer's number and gradient, in every framework."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from ._frameworks import Framework
from ._gradients import LOSSES, differentiate
from ._peers import PEERS, corrected, reweighted

PAGE = Path(__file__).parents[1] / "docs" / "conventions.md"
FENCE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)

# Known before this package was written, on the page's inputs.
KNOWN = {
    "info_nce_pytorch": 9.392490037885425,
    "info_nce_pytorch_unpaired": 8.366323441223757,
    "info_nce_pytorch_paired": 7.53725905997362,
    "pair_ntxent": 15.481043443439548,
    "lightly_ntxent": 3.4061338355493107,
    "clip": 13.816619759057264,
    "mnrl": 18.221213584223183,
    "pml_supcon": 3.611680649608875,
}


class Shown(NamedTuple):
    """A call as the page shows it, with the number beside it."""

    code: str  # from the block's beginning, or from the line after the call before
    number: str


def read_page() -> tuple[str, dict[str, Shown]]:
    """The code that makes the inputs, and each call by the name that it is assigned to."""
    setup, *blocks = (block[1] for block in FENCE.finditer(PAGE.read_text()))
    shown: dict[str, Shown] = {}
    for block in blocks:
        lines, begin = block.splitlines(), 0
        for statement in ast.parse(block).body:
            assert isinstance(statement, ast.Assign)
            assert isinstance(statement.targets[0], ast.Name)
            assert statement.end_lineno is not None
            number = re.search(r"  # ([\d.]+)$", lines[statement.end_lineno - 1])
            if number:
                code = "\n".join(lines[begin : statement.end_lineno])
                shown[statement.targets[0].id] = Shown(code, number[1])
                begin = statement.end_lineno
        assert begin == len(lines), f"the page shows a call without its number:\n{block}"
    return setup, shown


SETUP, CALLS = read_page()


def read_inputs() -> dict[str, Any]:
    namespace: dict[str, Any] = {}
    exec(compile(SETUP, PAGE.name, "exec"), namespace)
    return {name: value for name, value in namespace.items() if isinstance(value, np.ndarray)}


INPUTS = read_inputs()


def function(name: str) -> Callable[[dict[str, Any]], Any]:
    code = compile(CALLS[name].code, PAGE.name, "exec")

    def run(namespace: dict[str, Any]) -> Any:
        namespace = dict(namespace)
        exec(code, namespace)
        return namespace[name]

    return run


def ours(framework: Framework, name: str) -> tuple[float, dict[str, Any]]:
    """The page's call on arrays of the framework: the loss, and the gradients of what the peer differentiates."""
    used = {node.id for node in ast.walk(ast.parse(CALLS[name].code)) if isinstance(node, ast.Name)}
    arrays = {key: framework.array(value) for key, value in INPUTS.items() if key in used}
    leaves = {key: arrays.pop(key) for key in peer_leaves(name)}
    loss, gradients = differentiate(framework, function(name), leaves, arrays)
    assert framework.dtype(loss) == "float64"
    return float(framework.values(loss)), {key: framework.values(gradient) for key, gradient in gradients.items()}


def peer_leaves(name: str) -> list[str]:
    parameters = inspect.signature(PEERS[name]).parameters
    return [key for key in parameters if np.issubdtype(INPUTS[key].dtype, np.floating)]


def of_torch(name: str, peer: Callable[..., torch.Tensor]) -> tuple[float, dict[str, Any]]:
    """What the peer, or its formula, gives on the same inputs."""
    arrays = {key: torch.tensor(INPUTS[key]) for key in inspect.signature(PEERS[name]).parameters}
    return solved({key: arrays[key].requires_grad_() for key in peer_leaves(name)}, peer(*arrays.values()))


def solved(leaves: dict[str, torch.Tensor], loss: torch.Tensor) -> tuple[float, dict[str, Any]]:
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    return float(loss.detach()), {name: g.numpy() for name, g in zip(leaves, gradients, strict=True)}


def assert_equal(got: tuple[float, dict[str, Any]], want: tuple[float, dict[str, Any]]) -> None:
    assert got[0] == pytest.approx(want[0], rel=1e-10)
    assert set(got[1]) == set(want[1])
    for name, gradient in want[1].items():
        assert np.any(gradient)
        np.testing.assert_allclose(
            got[1][name], gradient, rtol=0, atol=1e-10 * np.max(np.abs(gradient)), err_msg=f"gradient of {name}"
        )


def test_page_and_peers_are_the_same() -> None:
    assert set(CALLS) == set(PEERS)
    assert set(KNOWN) <= set(CALLS)
    assert all(any(loss in shown.code for loss in LOSSES) for shown in CALLS.values())


@pytest.mark.parametrize("name", CALLS)
def test_call_gives_the_peers_number_and_gradient(framework: Framework, name: str) -> None:
    got = ours(framework, name)
    assert_equal(got, of_torch(name, PEERS[name]))
    if name in KNOWN:
        assert got[0] == pytest.approx(KNOWN[name], rel=1e-10)


@pytest.mark.parametrize("name", CALLS)
def test_number_on_the_page_is_the_peers(name: str) -> None:
    number = CALLS[name].number
    decimals = len(number.partition(".")[2])
    assert decimals >= 10
    assert f"{of_torch(name, PEERS[name])[0]:.{decimals}f}" == number


# The peers' own packages, where one is at hand.


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("info_nce_pytorch", {}),
        ("info_nce_pytorch_unpaired", {}),
        ("info_nce_pytorch_paired", {"negative_mode": "paired"}),
        ("moco", {"temperature": 0.07}),
    ],
)
def test_formula_is_that_of_info_nce_pytorch(name: str, options: dict[str, Any]) -> None:
    from info_nce import info_nce

    assert_equal(of_torch(name, lambda *arrays: info_nce(*arrays, **options)), of_torch(name, PEERS[name]))


@pytest.mark.parametrize("name", ["pair_ntxent", "pair_ntxent_classes", "pml_supcon", "pml_supcon_classes"])
def test_formula_is_that_of_pytorch_metric_learning(name: str) -> None:
    from pytorch_metric_learning.losses import NTXentLoss, SupConLoss

    loss = NTXentLoss() if "pair" in name else SupConLoss()

    def peer(x: torch.Tensor, y: torch.Tensor) -> Any:
        return loss(torch.cat([x, y]), torch.arange(len(x)).repeat(2)) if y.is_floating_point() else loss(x, y)

    assert_equal(of_torch(name, peer), of_torch(name, PEERS[name]))


@pytest.mark.parametrize("name", ["pair_ntxent", "pair_ntxent_classes"])
def test_formula_is_that_of_optax(name: str) -> None:
    import jax
    import optax

    def peer(leaves: dict[str, Any]) -> Any:
        if name == "pair_ntxent":
            rows = jax.numpy.concat([leaves["q"], leaves["k"]])
            return optax.losses.ntxent(rows, np.tile(np.arange(len(rows) // 2), 2))
        return optax.losses.ntxent(leaves["q"], INPUTS["classes"])

    with jax.enable_x64(True):
        leaves = {key: jax.numpy.asarray(INPUTS[key]) for key in peer_leaves(name)}
        loss, gradients = jax.value_and_grad(peer)(leaves)
        found = float(loss), {key: np.array(gradient) for key, gradient in gradients.items()}
    assert_equal(found, of_torch(name, PEERS[name]))


@pytest.mark.parametrize(("tau", "beta"), [(0.4, 0.0), (0.4, 1.5)])
def test_corrected_negatives_where_the_least_sum_counts(framework: Framework, tau: float, beta: float) -> None:
    """With this much taken out, some rows' sums fall below the least one that the authors allow, and some do not."""
    q = INPUTS["q"]
    k = np.concatenate([q[:3] + 0.3 * INPUTS["k"][:3], INPUTS["k"][3:]])  # near their positives, and far
    x, y = torch.tensor(q, requires_grad=True), torch.tensor(k, requires_grad=True)
    _, sums, least = corrected(x, y, tau, beta)
    assert 0 < int((sums < least).sum()) < len(sums)
    want = solved({"q": x, "k": y}, reweighted(x, y, tau, beta))
    leaves = {"q": framework.array(q), "k": framework.array(k)}
    got, gradients = differentiate(
        framework,
        lambda given: given["nt_xent"](given["q"], given["k"], temperature=0.5, debias=tau, hardness=beta),
        leaves,
        {},
    )
    values = {name: framework.values(gradient) for name, gradient in gradients.items()}
    assert_equal((float(framework.values(got)), values), want)
