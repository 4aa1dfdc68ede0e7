"""What is said of an answer's form, and the settings and dtypes that a function is judged with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from infonce.conformance import Outcome, Subject, run
from infonce.conformance.model import pairs
from infonce.conformance.variants import DTYPES, BoundSubject, load

from ._cases import DATA, PROGRAM, case, some_loss


def half_loss(query: Any, *others: Any) -> Any:
    return some_loss(query, *others).half()


def loss_by_row(query: Any, positive_key: Any, negative_keys: Any, temperature: Any) -> Any:
    return ((query - positive_key) ** 2).mean(-1) / temperature


def number_loss(query: Any, *others: Any) -> Any:
    return some_loss(query, *others).item()


def frozen_key(query: Any, positive_key: Any, *others: Any) -> Any:
    return some_loss(query, positive_key.detach(), *others)


def overwriting(query: Any, *others: Any) -> Any:
    loss = some_loss(query, *others)
    query.data.mul_(2)
    return loss


@pytest.mark.parametrize(
    ("function", "variant", "remark"),
    [
        (half_loss, "torch", "loss has dtype float16, but should have float64"),
        (loss_by_row, "torch:no_grad", "loss has shape (3,), but should have ()"),
        (frozen_key, "torch", "gradient of positive_key is a NoneType, but should be an array of torch"),
        (overwriting, "torch", "query was modified by the call"),
        (some_loss, "torch", ""),
    ],
)
def test_what_is_wrong_with_an_answers_form_is_remarked(function: Any, variant: str, remark: str) -> None:
    toolkit = load("torch")
    (found,) = [entry for entry in toolkit.variants() if entry.name == variant]
    answer = BoundSubject(function, toolkit, found, toolkit.devices()["cpu"], "float64")(PROGRAM, DATA)
    assert answer.remarks == ((remark,) if remark else ())


def test_a_gradient_that_is_not_switched_off_is_an_error() -> None:
    def forced(query: Any, *others: Any) -> Any:
        import torch

        with torch.enable_grad():
            return some_loss(query, *others)

    (line,) = run(forced, variants=["torch:no_grad"], dtypes=["float64"], cases=[case(calls)]).lines
    assert "requires_grad = True, but should be False" in line.failures[0].outcome.messages[0]


def calls(subject: Subject) -> Outcome:
    subject(PROGRAM, DATA)
    return Outcome()


def settings_of(framework: str) -> Any:
    if framework == "torch":
        import torch

        return torch.backends.cuda.matmul.allow_tf32
    if framework == "jax":
        import jax

        config: Any = jax.config
        return config.jax_enable_x64, config.jax_default_matmul_precision
    if framework == "tensorflow":
        import tensorflow as tf

        return tf.config.experimental.tensor_float_32_execution_enabled()
    import array_api_strict

    return array_api_strict.get_array_api_strict_flags()


@pytest.mark.parametrize(
    ("framework", "within"),
    [
        ("torch", False),
        ("jax", (True, "highest")),
        ("tensorflow", False),
        (
            "array_api_strict",
            {
                "api_version": "2025.12",
                "boolean_indexing": False,
                "data_dependent_shapes": False,
                "enabled_extensions": (),
            },
        ),
    ],
)
def test_settings_hold_inside_the_run_and_are_restored_after_it(framework: str, within: Any) -> None:
    seen = []

    def function(query: Any, *others: Any) -> Any:
        seen.append(settings_of(framework))
        raise ValueError("seen enough")

    toolkit = load(framework)
    before = settings_of(framework)
    device = toolkit.devices()["cpu"]
    subject = BoundSubject(function, toolkit, toolkit.variants()[0], device, "float32")
    with pytest.raises(ValueError, match="seen enough"):
        subject.raw(np.ones((2, 2), np.float32))
    assert seen == [within]
    assert settings_of(framework) == before


@pytest.mark.parametrize("framework", ["numpy", "array_api_strict", "torch", "jax", "tensorflow"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_round_as_the_dtype_does(framework: str, dtype: str) -> None:
    toolkit = load(framework)
    if dtype in toolkit.lacking():
        assert dtype in {"float16", "bfloat16"}
        return
    subject = BoundSubject(some_loss, toolkit, toolkit.variants()[0], toolkit.devices()["cpu"], dtype)
    third = {"float64": 1 / 3, "float32": 0.3333333432674408, "float16": 0.333251953125, "bfloat16": 0.333984375}
    rounded = subject.round(pairs(np.full((3, 2), 1 / 3), DATA.positive_key, None, 1 / 3))
    assert np.all(rounded.query == third[dtype])
    assert rounded.query.dtype == np.float64
    assert rounded.temperature == 1 / 3
