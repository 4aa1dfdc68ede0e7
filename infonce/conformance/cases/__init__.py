"""All cases of the suite."""

from __future__ import annotations

from infonce.conformance.cases._all import all_cases

__all__ = ["all_cases"]
