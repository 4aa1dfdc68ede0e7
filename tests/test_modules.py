"""`InfoNCE`: the options as an object, in the core and in each framework's own form."""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import infonce
from infonce import info_nce, value_and_grad

from ._frameworks import Framework

ROWS, FEATURES = 5, 4
QUERY, KEY = np.random.default_rng(0).normal(size=(2, ROWS, FEATURES))
SHARED = np.random.default_rng(1).normal(size=(7, FEATURES))
OWN = np.random.default_rng(2).normal(size=(ROWS, 3, FEATURES))
OPTIONS: tuple[tuple[dict[str, Any], Any], ...] = (
    ({}, None),
    ({"temperature": 0.3, "reduction": "sum"}, None),
    ({"reduction": "none"}, SHARED),
    ({"negative_mode": "paired"}, OWN),
    ({"symmetric": True, "block_size": 2}, None),
    ({"normalize": False, "in_batch": True}, SHARED),
    ({"symmetric": True, "in_batch": True, "negative_mode": "paired"}, OWN),
    ({"label_smoothing": 0.1, "margin": 0.2, "symmetric": True}, None),
    ({"decoupled": True, "debias": 0.05, "hardness": 0.5}, SHARED),
)


def own_form(framework: Framework) -> Callable[..., Any]:
    """The framework's InfoNCE; that of the core where it has none."""
    module = infonce if framework.name == "array_api_strict" else importlib.import_module(f"infonce.{framework.name}")
    found: Callable[..., Any] = module.InfoNCE
    return found


def arrays(framework: Framework, negatives: Any = None, dtype: str | None = None) -> list[Any]:
    given = [QUERY, KEY] if negatives is None else [QUERY, KEY, negatives]
    return [framework.array(x, dtype) for x in given]


@pytest.mark.parametrize("core", [False, True])
@pytest.mark.parametrize("learnable", [False, True])
@pytest.mark.parametrize("case", range(len(OPTIONS)))
def test_same_value_as_the_function(framework: Framework, core: bool, learnable: bool, case: int) -> None:
    options, negatives = OPTIONS[case]
    make = infonce.InfoNCE if core else own_form(framework)
    if learnable:
        if make is infonce.InfoNCE:
            with pytest.raises(TypeError, match="learnable_temperature"):
                make(**options, learnable_temperature=True)
            return
        options = {**options, "learnable_temperature": True}
    loss = make(**options)(*arrays(framework, negatives))
    options = {name: value for name, value in options.items() if name != "learnable_temperature"}
    want = framework.values(info_nce(*arrays(framework, negatives), **options))
    # A learnable temperature is exp(log t) in float32.
    np.testing.assert_allclose(framework.values(loss), want, rtol=1e-5 if learnable else 0)


def test_defaults_are_those_of_the_function(framework: Framework) -> None:
    loss = framework.values(own_form(framework)()(*arrays(framework)))
    assert loss == framework.values(info_nce(*arrays(framework)))


@pytest.mark.parametrize("core", [False, True])
def test_repr_is_what_a_user_would_write(framework: Framework, core: bool) -> None:
    make = infonce.InfoNCE if core else own_form(framework)
    want = "InfoNCE(temperature=0.25, reduction='sum', negative_mode='unpaired', symmetric=True, block_size=3)"
    module = make(temperature=0.25, reduction="sum", symmetric=True, block_size=3)
    assert repr(module) == want
    again = eval(repr(module), {"InfoNCE": make})
    assert repr(again) == want


def test_repr_of_a_learnable_temperature(autodiff: Framework) -> None:
    text = repr(own_form(autodiff)(temperature=0.5, learnable_temperature=True))
    shown, _, rest = text.removeprefix("InfoNCE(").partition(", reduction=")
    assert rest == "'mean', negative_mode='unpaired', learnable_temperature=True)"
    # In JAX the leaf as it is: it may be anything while a tree is mapped.
    assert shown == (
        "log_temperature=Array(-0.6931472, dtype=float32)" if autodiff.name == "jax" else "temperature=0.5"
    )


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"symetric": True}, TypeError, "InfoNCE has no option symetric; the options are .*symmetric"),
        ({"reduction": "avg"}, ValueError, "reduction must be one of"),
        ({"negative_mode": "pair"}, ValueError, "negative_mode must be one of"),
        ({"normalize": "yes"}, TypeError, "normalize must be True or False"),
        ({"block_size": 0}, ValueError, "block_size must be at least 1"),
        ({"label_smoothing": 1.0}, ValueError, "label_smoothing must be at least 0 and less than 1"),
        ({"label_smoothing": 0.1, "decoupled": True}, ValueError, "label_smoothing and decoupled exclude each other"),
        ({"debias": 0.1, "normalize": False}, ValueError, "debias needs cosine similarities"),
        ({"hardness": -1.0}, ValueError, "hardness must be finite and not negative"),
        ({"margin": "0.2"}, TypeError, "margin must be a number"),
        ({"weight": QUERY[0]}, TypeError, "InfoNCE has no option weight"),
        ({"return_metrics": True}, TypeError, "InfoNCE has no option return_metrics"),
        ({"temperature": 0.0}, ValueError, "temperature must be positive"),
        ({"temperature": -1}, ValueError, "temperature must be positive"),
        ({"temperature": math.nan}, ValueError, "temperature must be positive"),
        ({"temperature": "0.1"}, TypeError, "temperature must be a number"),
    ],
)
@pytest.mark.parametrize("module", ["infonce", "infonce.torch", "infonce.jax", "infonce.tensorflow"])
def test_wrong_options_are_refused_at_once(
    module: str, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        importlib.import_module(module).InfoNCE(**options)


def test_inputs_are_checked_by_name(framework: Framework) -> None:
    with pytest.raises(ValueError, match="query and positive_key must have the same number of rows N"):
        own_form(framework)()(framework.array(QUERY), framework.array(KEY[1:]))


# Gradients without autodiff.


@pytest.mark.parametrize("case", [case for case, (options, _) in enumerate(OPTIONS) if "reduction" not in options])
def test_value_and_grad_of_an_object_and_of_a_partial(framework: Framework, case: int) -> None:
    options, negatives = OPTIONS[case]
    given = arrays(framework, negatives)
    loss, gradients = value_and_grad(info_nce)(*given, **options)
    temperature = framework.array(np.asarray(0.1))
    ways: dict[str, Callable[..., Any]] = {
        "object": infonce.InfoNCE(**options),
        "partial": functools.partial(info_nce, **options),
        "partial of a partial": functools.partial(functools.partial(info_nce, **options), temperature=0.1),
        "partial of an object": functools.partial(infonce.InfoNCE(**options)),
    }
    for way, fn in ways.items():
        other, found = value_and_grad(fn)(*given)
        assert framework.values(other) == framework.values(loss), way
        assert set(found) == set(gradients), way
        for name, gradient in gradients.items():
            np.testing.assert_array_equal(framework.values(found[name]), framework.values(gradient), err_msg=way)
    _, found = value_and_grad(infonce.InfoNCE(temperature, **options))(*given)
    assert set(found) == {*gradients, "temperature"}


def test_value_and_grad_of_keywords_and_of_a_bound_query(framework: Framework) -> None:
    query, key = arrays(framework)
    _, want = value_and_grad(info_nce)(query, key)
    _, found = value_and_grad(functools.partial(info_nce, query))(positive_key=key)
    assert set(found) == {"query", "positive_key"}
    for name in want:
        np.testing.assert_array_equal(framework.values(found[name]), framework.values(want[name]))


@pytest.mark.parametrize("wrong", [abs, None, 3, lambda query: query, "info_nce", functools.partial(abs)])
def test_value_and_grad_of_anything_else_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="value_and_grad takes info_nce"):
        value_and_grad(wrong)


def test_value_and_grad_of_another_functions_wrapper_is_refused() -> None:
    @functools.wraps(info_nce)
    def doubled(*args: Any) -> Any:
        return 2 * info_nce(*args)

    with pytest.raises(TypeError, match="value_and_grad takes info_nce"):
        value_and_grad(doubled)
