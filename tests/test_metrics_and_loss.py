"""Metrics leave no trace in the loss and its gradients, and have none themselves."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from infonce import info_nce, metrics, value_and_grad

from ._frameworks import AUTODIFF, Framework
from ._frameworks import framework as framework_of
from ._metrics import LOSSES, METRICS, QUERY, TOP_K, UNCOMPILED, Answer, D, arguments, check, of_loss, same, wanted


def differentiated(
    framework: Framework, call: Callable[[dict[str, Any]], Answer], leaves: Mapping[str, Any], compiled: bool
) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Loss, metrics, and the gradients of the sum of all of them, by the framework's own means."""
    if framework.name == "torch":
        import torch

        if compiled:
            torch._dynamo.reset()
            call = torch.compile(call, fullgraph=True, backend="aot_eager")
        leaves = {name: leaf.detach().clone().requires_grad_() for name, leaf in leaves.items()}
        loss, found = call(dict(leaves))
        assert not any(x.requires_grad for x in found.values())
        sum(found.values(), loss.sum()).backward()
        return loss.detach(), found, {name: leaf.grad for name, leaf in leaves.items()}
    if framework.name == "jax":
        import jax

        def scalar(leaves: dict[str, Any]) -> tuple[Any, Answer]:
            loss, found = call(leaves)
            return sum(found.values(), loss.sum()), (loss, found)

        step = jax.value_and_grad(scalar, has_aux=True)
        (_, (loss, found)), gradients = (jax.jit(step) if compiled else step)(dict(leaves))
        return loss, found, gradients
    import tensorflow as tf

    def taped(leaves: dict[str, Any]) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        with tf.GradientTape() as tape:
            tape.watch(leaves)
            loss, found = call(leaves)
            total = sum(found.values(), tf.reduce_sum(loss))
        return loss, found, tape.gradient(total, leaves)

    answer: tuple[Any, dict[str, Any], dict[str, Any]] = (tf.function(taped) if compiled else taped)(dict(leaves))
    return answer


def with_gradients(
    framework: Framework, case: Mapping[str, Any], compiled: bool, return_metrics: bool
) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Loss, metrics or none, and gradients; by `value_and_grad` without autodiff."""
    given = arguments(framework, case, "float64")
    given["return_metrics"] = return_metrics
    if framework.name not in AUTODIFF:
        loss, gradients = value_and_grad(info_nce)(**given)
        return *(loss if return_metrics else (loss, {})), gradients

    def call(leaves: dict[str, Any]) -> Answer:
        answer = info_nce(**{**given, **leaves})
        return answer if return_metrics else (answer, {})

    return differentiated(framework, call, leaves_of(given, case), compiled)


def leaves_of(given: Mapping[str, Any], case: Mapping[str, Any]) -> dict[str, Any]:
    """What has a gradient."""
    floating = {name for name, x in case.items() if isinstance(x, np.ndarray) and x.dtype == np.float64}
    return {name: given[name] for name in floating | {"query", "positive_key"}}


FEW = (
    *("in-batch", "ids and paired", "rows without negatives", "symmetric, all options"),
    *("hardness and debias", "bias of pairs", "decoupled", "weighted sum"),
)
RUNS = [
    *((name, case, False) for name in UNCOMPILED for case in METRICS | LOSSES),
    *((name, case, False) for name in ("jax", "tensorflow") for case in FEW),
    *((name, case, True) for name in AUTODIFF for case in FEW),
]


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # Dynamo's own doing
@pytest.mark.parametrize(("framework", "case", "compiled"), RUNS, indirect=["framework"])
def test_metrics_leave_the_loss_and_its_gradients(framework: Framework, case: str, compiled: bool) -> None:
    options = (METRICS | LOSSES)[case]
    loss, none, want = with_gradients(framework, options, False, return_metrics=False)
    assert not none
    watched, found, gradients = with_gradients(framework, options, compiled, return_metrics=True)
    same(framework, {"loss": watched, **gradients}, {"loss": loss, **want})
    check(framework, found, of_loss(wanted(framework, arguments(framework, options, "float64"))), "float64")


@pytest.mark.parametrize("case", ["in-batch", "symmetric, all options"])
def test_value_and_grad_gives_the_metrics_with_the_loss(framework: Framework, case: str) -> None:
    given = arguments(framework, (METRICS | LOSSES)[case], "float64")
    alone, want = value_and_grad(info_nce)(**given)
    for function, more in (
        (info_nce, {"return_metrics": True}),
        (functools.partial(info_nce, return_metrics=True), {}),
    ):
        (loss, found), gradients = value_and_grad(function)(**given, **more)
        same(framework, {"loss": loss, **gradients}, {"loss": alone, **want})
        check(framework, found, of_loss(wanted(framework, given)), "float64")


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # Dynamo's own doing
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("case", ["ids and paired"])
def test_metrics_have_no_gradient(autodiff: Framework, case: str, compiled: bool) -> None:
    """Beside sum(x^2), whose gradient remains; and the same values compiled."""
    given = arguments(autodiff, METRICS[case], "float64")

    def call(leaves: dict[str, Any]) -> Answer:
        return leaves["query"] ** 2, metrics(**{**given, **leaves}, top_k=TOP_K)

    _, found, gradients = differentiated(autodiff, call, leaves_of(given, METRICS[case]), compiled)
    np.testing.assert_array_equal(autodiff.values(gradients.pop("query")), 2 * QUERY)
    assert all(x is None or not np.any(autodiff.values(x)) for x in gradients.values())
    check(autodiff, found, wanted(autodiff, given), "float64")


@pytest.mark.parametrize("jit_compile", [False, True])
def test_of_open_shapes(jit_compile: bool) -> None:
    import tensorflow as tf

    def both(query: Any, key: Any, negatives: Any, ids: Any, negative_ids: Any) -> tuple[Answer, dict[str, Any]]:
        options = {"in_batch": True, "ids": ids, "negative_ids": negative_ids, "block_size": 3}
        loss = info_nce(query, key, negatives, symmetric=True, return_metrics=True, **options)
        return loss, metrics(query, key, negatives, top_k=TOP_K, **options)

    given = arguments(framework_of("tensorflow"), METRICS["ids and both"], "float64")
    arrays = [x for x in given.values() if not isinstance(x, bool)]
    signature = [tf.TensorSpec([None, D] if len(x.shape) == 2 else [None], x.dtype) for x in arrays]
    (_, of_the_loss), found = tf.function(both, input_signature=signature, jit_compile=jit_compile)(*arrays)
    want = wanted(framework_of("tensorflow"), given)
    check(framework_of("tensorflow"), of_the_loss, of_loss(want), "float64")
    check(framework_of("tensorflow"), found, want, "float64")
