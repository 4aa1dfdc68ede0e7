"""What a `Queue` refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from infonce import Queue

from ._frameworks import Framework
from ._frameworks import framework as framework_of

A = Callable[..., Any]
BAD: list[tuple[str, type[Exception], tuple[str, ...], Callable[[A], Any]]] = [
    ("no slots", ValueError, ("size", "at least 1", "0"), lambda a: Queue.empty(0, like=a(2, 3))),
    ("size", TypeError, ("size", "int", "2.0"), lambda a: Queue.empty(2.0, like=a(2, 3))),  # type: ignore[arg-type]
    ("1-D keys", ValueError, ("like", "2 dimensions", "(3,)"), lambda a: Queue.empty(4, like=a(3))),
    (
        *("integer keys", TypeError, ("like", "received int32", "Cast to float")),
        lambda a: Queue.empty(4, like=a(2, 3, dtype="int32")),
    ),
    (
        *("a list", TypeError, ("keys", "dense array", "received list")),
        lambda a: Queue.empty(4, like=a(2, 3)).push([[1.0, 2.0, 3.0]]),
    ),
    (
        *("floating ids", TypeError, ("ids", "integers", "float64")),
        lambda a: Queue.empty(4, like=a(2, 3), ids=a(2)),
    ),
    (
        *("2-D ids", ValueError, ("ids", "1 dimension", "(2, 1)")),
        lambda a: Queue.empty(4, like=a(2, 3), ids=a(2, 1, dtype="int32")),
    ),
    (
        *("number of ids", ValueError, ("keys", "ids", "rows N", "(2, 3)", "(1,)")),
        lambda a: Queue.empty(4, like=a(1, 3), ids=a(1, dtype="int32")).push(a(2, 3), a(1, dtype="int32")),
    ),
    (
        *("too many", ValueError, ("5 keys", "4 slots", "larger")),
        lambda a: Queue.empty(4, like=a(2, 3)).push(a(5, 3)),
    ),
    (
        *("width", ValueError, ("keys", "the queue's keys", "features D", "(2, 5)", "(4, 3)")),
        lambda a: Queue.empty(4, like=a(2, 3)).push(a(2, 5)),
    ),
    (
        *("dtype", TypeError, ("keys", "float64", "float32", "Cast")),
        lambda a: Queue.empty(4, like=a(2, 3)).push(a(2, 3, dtype="float32")),
    ),
    (
        *("dtype of ids", TypeError, ("ids", "int32", "int64", "Cast")),
        lambda a: Queue.empty(4, like=a(2, 3), ids=a(2, dtype="int32")).push(a(2, 3), a(2, dtype="int64")),
    ),
    (
        *("missing ids", ValueError, ("keeps ids", "None", "Pass")),
        lambda a: Queue.empty(4, like=a(2, 3), ids=a(2, dtype="int32")).push(a(2, 3)),
    ),
    (
        *("needless ids", ValueError, ("keeps no ids", "Queue.empty")),
        lambda a: Queue.empty(4, like=a(2, 3)).push(a(2, 3), a(2, dtype="int32")),
    ),
]


@pytest.mark.parametrize(("error", "words", "call"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input_is_refused(
    framework: Framework, error: type[Exception], words: tuple[str, ...], call: Callable[[A], Any]
) -> None:
    with pytest.raises(error) as raised:
        call(framework.ones)
    for word in words:
        assert word in str(raised.value)


def test_another_framework_is_refused() -> None:
    torch, numpy = framework_of("torch"), framework_of("numpy")
    queue = Queue.empty(4, like=torch.array(np.ones((2, 3))))
    with pytest.raises(TypeError, match="keys and the queue's keys must be arrays of the same framework"):
        queue.push(numpy.array(np.ones((2, 3))))
