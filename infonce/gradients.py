"""Gradients where there is no autodiff, and without it where there is."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .calls import Call, preparation
from .module import prepare_module


def value_and_grad(fn: Callable[..., Any]) -> Callable[..., tuple[Any, dict[str, Any]]]:
    """Return a function that gives `(loss, gradients)` of one of this package's losses.

    The gradients are exact and analytic, in every framework: a dict from parameter name to an array of the caller's
    framework, in the parameter's own shape and dtype. It holds "query", "positive_key", "negative_keys" where given
    (for `nt_xent`: "views", a tuple; for `sup_con`: "embeddings"), and "temperature", "bias" and "weight" where they
    are arrays. The framework's autodiff is not involved: no tape or `.grad` is touched.

    Args:
        fn: `info_nce`, `nt_xent`, `sup_con`, an `InfoNCE` object of any framework, or a `functools.partial`
            of one. The object's own temperature counts where it is an array.

    Returns:
        A function of the same arguments. The loss is reduced: with `reduction="none"` there is one gradient per row
        and no single answer.

    Raises:
        TypeError: `fn` is none of these.
        ValueError: When called with `reduction="none"`.

    Example:
        At t = 1 the gradient of log(1 + e^(s_n - s_p)) with respect to the logits is -+1 / (1 + e^(s_p - s_n)); the
        cosines of one-hot rows move only across them: for s_p = 1, s_n = 0 that is 1 / (1 + e) = 0.2689.

        >>> import numpy as np
        >>> from infonce import info_nce, value_and_grad
        >>> loss, grads = value_and_grad(info_nce)(np.eye(2), np.eye(2), temperature=1.0, reduction="sum")
        >>> np.round(grads["query"], 4)
        array([[0.    , 0.2689],
               [0.2689, 0.    ]])
    """
    prepare = _prepare_of(fn)

    @functools.wraps(fn, updated=())
    def compute(*arguments: Any, **keywords: Any) -> tuple[Any, dict[str, Any]]:
        call = prepare(*arguments, **keywords)
        if call.options.reduction == "none":
            raise ValueError('value_and_grad needs one loss: reduction must be "mean" or "sum"; received "none".')
        wanted = call.inputs.arrays
        loss, gradients = call.backend.solve(call.options, call.inputs, wanted)
        return call.loss(loss), call.gradients(gradients)

    return compute


def _prepare_of(fn: Any) -> Callable[..., Call]:
    """The checking half of a loss, of an object that holds its options, or of a partial of either."""
    if isinstance(fn, functools.partial):
        return functools.partial(_prepare_of(fn.func), *fn.args, **fn.keywords)
    prepare = functools.partial(prepare_module, fn) if hasattr(fn, "loss_options") else preparation(fn)
    if prepare is None:
        raise TypeError(
            "value_and_grad takes info_nce, nt_xent, sup_con, an InfoNCE object or a functools.partial of one; "
            f"received {fn!r}."
        )
    return prepare
