"""`InfoNCE` with what belongs to one batch: ids, negative_ids, mask, weight and bias, given in the call."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import infonce
from infonce import info_nce, value_and_grad

from ._frameworks import Framework
from ._gradients import differentiate

ROWS, FEATURES, SHARED = 5, 4, 7
RNG = np.random.default_rng(0)
EMBEDDINGS: dict[str, NDArray[Any]] = {
    "query": RNG.normal(size=(ROWS, FEATURES)),
    "positive_key": RNG.normal(size=(ROWS, FEATURES)),
    "negative_keys": RNG.normal(size=(SHARED, FEATURES)),
}
ARRAYS: dict[str, NDArray[Any]] = {
    "ids": np.asarray([0, 1, 0, 2, 3]),
    "negative_ids": np.asarray([3, 3, 1, 5, 6, 7, 8]),
    "mask": RNG.random((ROWS, ROWS + SHARED)) < 0.7,
    "weight": RNG.random(ROWS),
    "bias": RNG.normal(size=ROWS + SHARED),
}
CALLS = (("ids",), ("ids", "negative_ids"), ("mask",), ("weight",), ("bias",), tuple(ARRAYS))


def forms(framework: Framework, **options: Any) -> dict[str, Any]:
    """An object of the core, and one of the framework's own where it has one."""
    found = {"core": infonce.InfoNCE(in_batch=True, **options)}
    if framework.name != "array_api_strict":
        found["own"] = importlib.import_module(f"infonce.{framework.name}").InfoNCE(in_batch=True, **options)
    return found


def arrays(framework: Framework, names: Any = (*EMBEDDINGS, *ARRAYS)) -> dict[str, Any]:
    return {name: framework.array({**EMBEDDINGS, **ARRAYS}[name]) for name in names}


@pytest.mark.parametrize("names", CALLS, ids="+".join)
def test_same_value_as_the_function(framework: Framework, names: tuple[str, ...]) -> None:
    query, key, negatives = arrays(framework, EMBEDDINGS).values()
    given = arrays(framework, names)
    want = framework.values(info_nce(query, key, negatives, 0.3, in_batch=True, margin=0.1, **given))
    for form, module in forms(framework, temperature=0.3, margin=0.1).items():
        assert framework.values(module(query, key, negatives, **given)) == want, form
        assert framework.values(module(query, key, negatives)) != want, form


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"decoupled": True, "debias": 0.05}], ids=str)
def test_value_and_grad_takes_them(framework: Framework, options: dict[str, Any]) -> None:
    given = arrays(framework)
    loss, gradients = value_and_grad(info_nce)(**given, in_batch=True, **options)
    assert {"weight", "bias"} < set(gradients)
    for form, module in forms(framework, **options).items():
        bound = functools.partial(module, weight=given["weight"])
        for fn in (module, bound):
            left = given if fn is module else {name: x for name, x in given.items() if name != "weight"}
            found_loss, found = value_and_grad(fn)(**left)
            assert framework.values(found_loss) == framework.values(loss), form
            assert set(found) == set(gradients), form
            for name, want in gradients.items():
                np.testing.assert_array_equal(framework.values(found[name]), framework.values(want), err_msg=name)


def dense(query: NDArray[Any], key: NDArray[Any], weight: NDArray[Any], bias: NDArray[Any]) -> Any:
    """The weighted mean at t = 0.5 and its gradients in weight and bias, from the softmax over the batch."""
    query, key = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (query, key))
    z = query @ key.T / 0.5 + bias
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    rows, share = -np.log(np.diagonal(p)), weight / weight.sum()
    loss = share @ rows
    return loss, (rows - loss) / weight.sum(), share @ (p - np.eye(len(p)))


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # Dynamo's own doing
@pytest.mark.parametrize("compiled", [False, True])
def test_gradients_of_weight_and_bias_by_autodiff(autodiff: Framework, compiled: bool) -> None:
    leaves = {"weight": ARRAYS["weight"], "bias": ARRAYS["bias"][:ROWS]}
    want, *gradients = dense(EMBEDDINGS["query"], EMBEDDINGS["positive_key"], *leaves.values())
    fixed = arrays(autodiff, ["query", "positive_key"])
    for form, module in forms(autodiff, temperature=0.5).items():

        def function(given: dict[str, Any], module: Callable[..., Any] = module) -> Any:
            return module(given["query"], given["positive_key"], weight=given["weight"], bias=given["bias"])

        given = {name: autodiff.array(x) for name, x in leaves.items()}
        loss, found = differentiate(autodiff, function, given, fixed, compiled=compiled)
        np.testing.assert_allclose(autodiff.values(loss), want, rtol=1e-13, err_msg=form)
        for name, gradient in zip(leaves, gradients, strict=True):
            np.testing.assert_allclose(autodiff.values(found[name]), gradient, rtol=1e-12, atol=1e-15, err_msg=form)


@pytest.mark.parametrize("name", ["margin", "return_metrics", "temperature", "wieght"])
def test_anything_else_is_refused_in_a_call(framework: Framework, name: str) -> None:
    query, key = arrays(framework, ["query", "positive_key"]).values()
    words = f"a call of InfoNCE takes no {name}; beside the embeddings it takes ids, negative_ids, mask, weight, bias"
    for module in (infonce.InfoNCE(), *forms(framework).values()):
        with pytest.raises(TypeError, match=words):
            module(query, key, **{name: True})
        with pytest.raises(TypeError, match=words):
            value_and_grad(module)(query, key, **{name: True})


def test_wrong_arrays_are_refused_as_by_the_function(framework: Framework) -> None:
    query, key = arrays(framework, ["query", "positive_key"]).values()
    for module in forms(framework).values():
        with pytest.raises(ValueError, match=r"weight must have shape \(N,\)"):
            module(query, key, weight=framework.array(np.ones(ROWS - 1)))


def test_keras_functional_model_may_know_them_or_not() -> None:
    import keras

    from infonce.tensorflow import InfoNCE

    query, key = (keras.Input((FEATURES,), dtype="float64") for _ in range(2))
    weight, ids = keras.Input((), dtype="float64"), keras.Input((), dtype="int64")
    given = [EMBEDDINGS["query"], EMBEDDINGS["positive_key"]]
    others = [ARRAYS["weight"], ARRAYS["ids"]]
    layer = InfoNCE(temperature=0.3)
    plain = keras.Model([query, key], layer(query, key))
    full = keras.Model([query, key, weight, ids], layer(query, key, weight=weight, ids=ids))
    assert float(plain(given)) == pytest.approx(float(info_nce(*given, temperature=0.3)), rel=1e-12)
    want = info_nce(*given, temperature=0.3, weight=others[0], ids=others[1])
    assert float(full([*given, *others])) == pytest.approx(float(want), rel=1e-12)
    assert float(plain(given)) != pytest.approx(float(want), rel=1e-3)


def test_keras_neither_warns_of_the_mask_nor_attaches_it_to_the_loss() -> None:
    import tensorflow as tf

    from infonce.tensorflow import InfoNCE

    query, key = (tf.constant(EMBEDDINGS[name]) for name in ("query", "positive_key"))
    loss = InfoNCE()(query, key, mask=tf.constant(ARRAYS["mask"][:, :ROWS]))  # a warning is an error
    assert getattr(loss, "_keras_mask", None) is None
