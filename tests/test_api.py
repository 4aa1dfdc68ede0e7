"""The public surface: every name that is listed exists, and every name that exists is listed."""

from __future__ import annotations
import __future__

import importlib
import inspect
from types import ModuleType

import pytest

import infonce

FRAMEWORKS = ["infonce.jax", "infonce.numpy", "infonce.tensorflow", "infonce.torch"]


def public_names(module: ModuleType) -> set[str]:
    """What a user sees by tab completion, less the sub-modules and `from __future__ import annotations`."""
    hidden = (ModuleType, type(__future__.annotations))
    return {name for name, value in vars(module).items() if not name.startswith("_") and not isinstance(value, hidden)}


@pytest.mark.parametrize("name", ["infonce", "infonce.conformance", *FRAMEWORKS])
def test_all_lists_each_public_name_once_and_sorted(name: str) -> None:
    module = importlib.import_module(name)
    assert list(module.__all__) == sorted(set(module.__all__))
    assert public_names(module) == set(module.__all__)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_each_framework_exports_the_whole_public_api(name: str) -> None:
    assert importlib.import_module(name).__all__ == infonce.__all__


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_functions_are_the_same_objects_in_each_framework(name: str) -> None:
    module = importlib.import_module(name)
    functions = [public for public in infonce.__all__ if inspect.isroutine(getattr(infonce, public))]
    assert functions
    for public in functions:
        assert getattr(module, public) is getattr(infonce, public), f"{name}.{public} is not infonce.{public}"


def test_info_nce_starts_with_the_drop_in_parameters() -> None:
    import info_nce as peer

    ours = list(inspect.signature(infonce.info_nce).parameters.values())
    theirs = list(inspect.signature(peer.info_nce).parameters.values())
    assert [(p.name, p.default) for p in ours[: len(theirs)]] == [(p.name, p.default) for p in theirs]
    assert all(p.kind is p.KEYWORD_ONLY for p in ours[len(theirs) :])


@pytest.mark.parametrize("name", infonce.__all__)
def test_each_public_name_has_a_docstring_with_an_example(name: str) -> None:
    documentation = inspect.getdoc(getattr(infonce, name))
    assert documentation is not None
    assert ">>>" in documentation
