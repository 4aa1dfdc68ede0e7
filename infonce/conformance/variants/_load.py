"""Import a framework's variants, or say how to add the framework."""

from __future__ import annotations

import importlib
from types import MappingProxyType
from typing import cast

from ._variant import Toolkit

# What makes each framework available.
FRAMEWORKS = MappingProxyType(
    {
        "numpy": "pip install numpy",
        "array_api_strict": "pip install array-api-strict",
        "torch": "pip install 'infonce-xp[torch]'",
        "jax": "pip install 'infonce-xp[jax]'",
        "tensorflow": "pip install 'infonce-xp[tensorflow]'",
    }
)


class Absent(Exception):  # noqa: N818 - a finding to report, not an error of the run
    """A framework that this machine does not have; the message says why, or how to add it."""


def load(framework: str) -> Toolkit:
    """The variants of one of `FRAMEWORKS`; raises `Absent` where the framework cannot be imported."""
    try:
        importlib.import_module(framework)
    except ModuleNotFoundError as error:
        if error.name == framework:
            raise Absent(f"not installed; to add it: {FRAMEWORKS[framework]}") from error
        raise Absent(f"installed, but its import fails: {error}") from error
    except ImportError as error:
        raise Absent(f"installed, but its import fails: {error}") from error
    return cast(Toolkit, importlib.import_module(f"{__package__}.{framework}"))
