"""`infonce.torch.InfoNCE`: a module."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from infonce import info_nce, value_and_grad

QUERY, KEY = np.random.default_rng(0).normal(size=(2, 5, 4))


def parts() -> tuple[Any, Any, Any, Any]:
    import torch

    from infonce.torch import InfoNCE

    return torch, InfoNCE, torch.from_numpy(QUERY), torch.from_numpy(KEY)


def test_parameter_and_its_gradient_by_the_chain_rule() -> None:
    torch, InfoNCE, query, key = parts()
    module = InfoNCE(temperature=0.3, learnable_temperature=True)
    assert [(name, tuple(p.shape), p.dtype) for name, p in module.named_parameters()] == [
        ("log_temperature", (), torch.float32)
    ]
    module(query, key).backward()
    t = module.log_temperature.detach().exp()
    _, found = value_and_grad(info_nce)(query, key, temperature=t.double())
    assert module.log_temperature.grad.item() == pytest.approx((t * found["temperature"]).item(), rel=1e-6)
    assert list(InfoNCE().parameters()) == []
    assert list(InfoNCE().buffers()) == []
    assert InfoNCE().state_dict() == {}


def test_optimiser_moves_the_temperature_and_it_stays_positive() -> None:
    torch, InfoNCE, query, key = parts()
    module = InfoNCE(temperature=0.3, learnable_temperature=True)
    optimiser = torch.optim.SGD(module.parameters(), lr=5.0)
    losses, temperatures = [], []
    for _ in range(5):
        optimiser.zero_grad()
        loss = module(query, query + 0.1 * key)  # aligned: the lower, the better
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        temperatures.append(module.temperature.item())
    assert losses == sorted(losses, reverse=True)
    assert all(0 < t < 0.3 for t in temperatures)
    assert len(set(temperatures)) == 5


def test_state_dict_copies_and_casts() -> None:
    torch, InfoNCE, query, key = parts()
    module = InfoNCE(temperature=0.3, learnable_temperature=True, symmetric=True)
    other = InfoNCE(temperature=0.9, learnable_temperature=True, symmetric=True)
    assert other(query, key) != module(query, key)
    other.load_state_dict(module.state_dict())
    assert other(query, key) == module(query, key)
    for same in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert same(query, key) == module(query, key)
        assert same.log_temperature is not module.log_temperature
    want = module(query, key).item()
    for cast in ("double", "half", "bfloat16"):
        changed = getattr(copy.deepcopy(module), cast)()
        assert changed.log_temperature.dtype != torch.float32
        loss = changed(query, key)
        assert loss.dtype == torch.float64
        loss.backward()
        assert changed.log_temperature.grad.dtype == changed.log_temperature.dtype
        assert loss.item() == pytest.approx(want, rel=2e-2)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # Dynamo's own doing
def test_module_compiles_whole() -> None:
    torch, InfoNCE, query, key = parts()
    module = InfoNCE(temperature=0.3, learnable_temperature=True)
    want = module(query, key)
    (gradient,) = torch.autograd.grad(want, [module.log_temperature])
    torch._dynamo.reset()
    got = torch.compile(module, fullgraph=True, backend="aot_eager")(query, key)
    assert got.item() == pytest.approx(want.item(), rel=1e-14)
    (found,) = torch.autograd.grad(got, [module.log_temperature])
    assert found.item() == pytest.approx(gradient.item(), rel=1e-6)


def test_value_and_grad_of_the_module() -> None:
    _, InfoNCE, query, key = parts()
    loss, found = value_and_grad(InfoNCE(temperature=0.3))(query, key)
    want, gradients = value_and_grad(info_nce)(query, key, temperature=0.3)
    assert loss == want
    assert set(found) == {"query", "positive_key"}
    assert all(bool((found[name] == gradients[name]).all()) for name in found)
