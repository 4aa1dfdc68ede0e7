"""What the bounds on mutual information refuse."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from infonce import mutual_information, mutual_information_from_scores

from ._frameworks import NAMES, Framework

# What is refused.

BAD: list[tuple[str, type[Exception], tuple[str, ...], Callable[[Callable[..., Any]], Any]]] = [
    ("alpha above 1", ValueError, ("alpha", "1.5"), lambda a: mutual_information(a(4, 3), a(4, 3), alpha=1.5)),
    ("alpha below 0", ValueError, ("alpha", "-0.1"), lambda a: mutual_information_from_scores(a(4, 4), alpha=-0.1)),
    ("NaN", ValueError, ("alpha", "nan"), lambda a: mutual_information_from_scores(a(4, 4), alpha=math.nan)),
    ("text", TypeError, ("alpha", "'1'"), lambda a: mutual_information_from_scores(a(4, 4), alpha="1")),
    ("bool", TypeError, ("alpha", "True"), lambda a: mutual_information_from_scores(a(4, 4), alpha=True)),
    ("array", TypeError, ("alpha", "number"), lambda a: mutual_information_from_scores(a(4, 4), alpha=a(1))),
    (
        *("positive", ValueError, ("positive", "'diagonal', 'first'", "'last'")),
        lambda a: mutual_information_from_scores(a(4, 4), "last"),
    ),
    (
        *("not square", ValueError, ("(N, N)", "(4, 5)", 'positive="first"')),
        lambda a: mutual_information_from_scores(a(4, 5)),
    ),
    ("1-D", ValueError, ("scores", "2 dimensions", "(4,)"), lambda a: mutual_information_from_scores(a(4))),
    (
        *("no negatives", ValueError, ("one negative", "(N, 1 + n)", "(4, 1)")),
        lambda a: mutual_information_from_scores(a(4, 1), "first"),
    ),
    ("one pair", ValueError, ("one negative", "(1, 1)"), lambda a: mutual_information_from_scores(a(1, 1))),
    (
        *("no rows", ValueError, ("one row", "(0, 4)")),
        lambda a: mutual_information_from_scores(a(0, 4), "first"),
    ),
    (
        *("integers", TypeError, ("scores", "received int32", "Cast to float")),
        lambda a: mutual_information_from_scores(a(4, 4, dtype="int32")),
    ),
    (
        *("a list", TypeError, ("scores", "dense array", "list")),
        lambda a: mutual_information_from_scores([[1.0, 0.0]]),
    ),
    (
        *("one pair of rows", ValueError, ("at least one negative", "(1, 3)", "negative_keys")),
        lambda a: mutual_information(a(1, 3), a(1, 3)),
    ),
    (
        *("empty negatives", ValueError, ("at least one negative", "(4, 3)")),
        lambda a: mutual_information(a(4, 3), a(4, 3), a(0, 3)),
    ),
    (
        *("rows", ValueError, ("query", "positive_key", "rows N", "(4, 3)", "(5, 3)")),
        lambda a: mutual_information(a(4, 3), a(5, 3)),
    ),
    (
        *("mode", ValueError, ("negative_mode", "'unpaired', 'paired'", "'own'")),
        lambda a: mutual_information(a(4, 3), a(4, 3), a(4, 2, 3), negative_mode="own"),
    ),
    ("t", ValueError, ("temperature", "0.0"), lambda a: mutual_information(a(4, 3), a(4, 3), temperature=0.0)),
]


@pytest.mark.parametrize(("error", "words", "call"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input_is_refused(
    framework: Framework, error: type[Exception], words: tuple[str, ...], call: Callable[[Callable[..., Any]], Any]
) -> None:
    with pytest.raises(error) as raised:
        call(framework.ones)
    for word in words:
        assert word in str(raised.value)


def test_every_framework_is_judged() -> None:
    assert set(NAMES) == {"numpy", "array_api_strict", "torch", "jax", "tensorflow"}
