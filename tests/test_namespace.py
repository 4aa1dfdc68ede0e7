"""The core calls the functions of a written list and no others, so that a framework can bring just those."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import array_api_strict as strict
import numpy as np
import pytest

from infonce import info_nce, nt_xent, value_and_grad
from infonce.engine import solve
from infonce.numpy._backend import ArrayAPIBackend

# All that the core may ask of a namespace.
FUNCTIONS = frozenset(
    [
        *("abs", "astype", "concat", "exp", "expand_dims", "full_like", "log", "log1p", "matmul", "matrix_transpose"),
        *("max", "maximum", "mean", "ones_like", "reshape", "sqrt", "squeeze", "sum", "where", "zeros_like"),
    ]
)
DTYPES = frozenset(["float32", "float64"])
# What the backend of plain Array API libraries asks beside the core, to make the integers j - i.
OF_THE_BACKEND = frozenset(["arange"])

RNG = np.random.default_rng(0)
N, M, K, D = 5, 6, 2, 3


class Proxy:
    """A namespace that has the listed names alone, and notes which were asked for."""

    def __init__(self, xp: Any, names: frozenset[str]) -> None:
        self._xp, self._names = xp, names
        self.used: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        if name not in self._names:
            raise AttributeError(f"the core asked for xp.{name}, which is not on the list")
        self.used.add(name)
        return getattr(self._xp, name)


def info_nce_calls() -> list[tuple[Any, tuple[Any, ...], dict[str, Any]]]:
    """Every combination of options that fit each other, with numbers of rows below, at and above the block size."""
    negatives = {"in-batch": None, "unpaired": (M, D), "paired": (N, K, D), "none of them": (0, D)}
    temperatures = {"number": None, "scalar": (), "rows": (N,), "column": (N, 1)}
    found = []
    for mode, in_batch, symmetric, normalize, reduction, t, block_size in itertools.product(
        negatives, (None, True), (False, True), (False, True), ("mean", "sum", "none"), temperatures, (2, None)
    ):
        if symmetric and in_batch is None and mode != "in-batch":
            continue
        arrays = [RNG.normal(size=(N, D)), RNG.normal(size=(N, D))]
        shape, form = negatives[mode], temperatures[t]
        options = {
            "negative_keys": None if shape is None else RNG.normal(size=shape),
            "temperature": 0.3 if form is None else np.full(form, 0.3),
            "negative_mode": "paired" if mode == "paired" else "unpaired",
            "reduction": reduction,
            "symmetric": symmetric,
            "normalize": normalize,
            "in_batch": in_batch,
            "block_size": block_size,
        }
        found.append((info_nce, tuple(arrays), options))
    return found


def nt_xent_calls() -> list[tuple[Any, tuple[Any, ...], dict[str, Any]]]:
    found = []
    for views, rows, normalize, reduction, t, block_size in itertools.product(
        (2, 3, 4), (1, N), (False, True), ("mean", "sum", "none"), (0.3, np.asarray(0.3)), (2, None)
    ):
        arrays = tuple(RNG.normal(size=(views, rows, D)))
        options = {"temperature": t, "reduction": reduction, "normalize": normalize, "block_size": block_size}
        found.append((nt_xent, arrays, options))
    return found


def run(proxy: Any, convert: Callable[..., Any], calls: list[Any], dtype: Any) -> None:
    """Every call by the engine on the proxy: the value alone, and with all gradients."""
    backend = ArrayAPIBackend(proxy, "proxy")
    for function, arrays, options in calls:
        options = {name: convert(x, dtype=dtype) if isinstance(x, np.ndarray) else x for name, x in options.items()}
        checked = function.__wrapped__(*(convert(x, dtype=dtype) for x in arrays), **options)
        wanted = tuple(name for name, x in checked.inputs._asdict().items() if hasattr(x, "shape"))
        rows = checked.inputs.query.shape[0]
        cotangent = convert(RNG.normal(size=rows), dtype=dtype) if options["reduction"] == "none" else None
        loss, gradients, _ = solve(backend, checked.options, checked.inputs, wanted, cotangent)
        alone, nothing, _ = solve(backend, checked.options, checked.inputs)
        assert set(gradients) == set(wanted)
        assert nothing == {}
        np.testing.assert_allclose(np.asarray(alone), np.asarray(loss), rtol=1e-13 if dtype == proxy.float64 else 2e-5)
        assert all(np.all(np.isfinite(np.asarray(g))) for g in gradients.values())


@pytest.mark.filterwarnings("ignore:there are no negatives:UserWarning")
@pytest.mark.parametrize("xp", [np, strict], ids=lambda xp: xp.__name__)
def test_core_asks_for_the_listed_names_and_for_each_of_them(xp: Any) -> None:
    proxy = Proxy(xp, FUNCTIONS | DTYPES | OF_THE_BACKEND)
    convert = strict.asarray if xp is strict else np.asarray
    calls = [*info_nce_calls(), *nt_xent_calls()]
    # Strict arrays have no methods beyond the standard's; a sample of them shows the core wants none.
    run(proxy, convert, calls[::11] if xp is strict else calls, xp.float64)
    run(proxy, convert, calls[::23], xp.float32)
    assert proxy.used == FUNCTIONS | DTYPES | OF_THE_BACKEND


@pytest.mark.filterwarnings("ignore:there are no negatives:UserWarning")
@pytest.mark.parametrize("missing", sorted(FUNCTIONS | DTYPES))
def test_the_check_can_fail(missing: str) -> None:
    proxy = Proxy(np, (FUNCTIONS | DTYPES | OF_THE_BACKEND) - {missing})
    dtype = np.float32 if missing == "float32" else np.float64
    with pytest.raises(AttributeError, match=rf"xp\.{missing}\b"):
        run(proxy, np.asarray, [*info_nce_calls()[::13], *nt_xent_calls()[::7]], dtype)


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_namespaces_of_our_own_hold_the_list_and_nothing_else(framework: str) -> None:
    module = importlib.import_module(f"infonce.{framework}._namespace")
    names = {name for name in vars(module) if not name.startswith("_")}
    imported = {"annotations", "Any", "Sequence", "Tensor", "tf", "torch"}
    assert names - imported == FUNCTIONS | DTYPES
    for name in FUNCTIONS:
        assert callable(getattr(module, name))


def test_value_and_grad_runs_on_any_array_api_namespace() -> None:
    arrays = [strict.asarray(RNG.normal(size=(N, D))) for _ in range(2)]
    loss, gradients = value_and_grad(info_nce)(*arrays)
    want, exact = value_and_grad(info_nce)(*map(np.asarray, arrays))
    assert SimpleNamespace(dtype=loss.dtype, shape=loss.shape) == SimpleNamespace(dtype=strict.float64, shape=())
    np.testing.assert_allclose(float(loss), float(want), rtol=1e-14)  # NumPy sums a positive's score in another order
    for name, gradient in exact.items():
        # An entry is a sum whose terms may cancel: its rounding is that of the terms.
        np.testing.assert_allclose(np.asarray(gradients[name]), gradient, rtol=0, atol=1e-14 * np.abs(gradient).max())
