"""The one list of cases."""

from __future__ import annotations

from functools import cache

from infonce.conformance.cases import (
    _agreement,
    _closed_forms,
    _counting,
    _defined,
    _errors,
    _family,
    _family_properties,
    _family_refused,
    _identities,
    _options,
    _symmetries,
    _views_properties,
)
from infonce.conformance.model import Case

PARTS = (
    _agreement,
    _closed_forms,
    _symmetries,
    _identities,
    _counting,
    _options,
    _family,
    _family_properties,
    _views_properties,
    _family_refused,
    _errors,
    _defined,
)


@cache
def all_cases() -> tuple[Case, ...]:
    """Every case of the suite, in a fixed order, with unique names."""
    return tuple(case for part in PARTS for case in part.cases())
