"""What a public loss is: a function that checks its arguments, and hands the checked call to its backend."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec

from .backend import Backend
from .problem import Gradients, Inputs, Options

P = ParamSpec("P")


def same(x: Any) -> Any:
    return x


class Call(NamedTuple):
    """A checked call, ready for the engine, and how its answers look to the caller."""

    backend: Backend
    options: Options
    inputs: Inputs
    loss: Callable[[Any], Any] = same  # the loss as the caller sees it
    gradients: Callable[[Gradients], Gradients] = same  # the gradients by the caller's names and in his shapes


def loss(prepare: Callable[P, Call]) -> Callable[P, Any]:
    """Make a loss of the function that checks its arguments; `preparation` finds that one again."""

    @functools.wraps(prepare)
    def compute(*arguments: P.args, **keywords: P.kwargs) -> Any:
        call = prepare(*arguments, **keywords)
        return call.loss(call.backend.loss(call.options, call.inputs))

    prepare.loss = compute  # type: ignore[attr-defined]
    return compute


def preparation(fn: Any) -> Callable[..., Call] | None:
    """The checking half of a loss; None for any other function, a wrapper of a loss included."""
    prepare = getattr(fn, "__wrapped__", None)
    return prepare if getattr(prepare, "loss", None) is fn else None
