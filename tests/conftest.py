"""What all tests share: each framework in turn."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ._frameworks import AUTODIFF, NAMES, Framework
from ._frameworks import framework as framework_of


@pytest.fixture(params=NAMES)
def framework(request: pytest.FixtureRequest) -> Iterator[Framework]:
    """Each of the five, with 64-bit types where they are an option."""
    found = framework_of(request.param)
    with found.settings():
        yield found


@pytest.fixture(params=AUTODIFF)
def autodiff(request: pytest.FixtureRequest) -> Iterator[Framework]:
    """Those that differentiate."""
    found = framework_of(request.param)
    with found.settings():
        yield found
