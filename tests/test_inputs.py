"""What is refused, in the same words everywhere: all but arrays of one framework, dense and floating."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from infonce import InfoNCE, info_nce, nt_xent, value_and_grad

from ._frameworks import NAMES, Framework
from ._frameworks import framework as framework_of

N, D = 4, 3
QUERY, KEY = np.random.default_rng(0).normal(size=(2, N, D))

Call = Callable[[Callable[..., Any]], Any]  # given a maker of arrays by shape and dtype


def bad(error: type[Exception], *words: str, **calls: Call) -> list[tuple[str, Call, type[Exception], tuple[str, ...]]]:
    return [(name, call, error, words) for name, call in calls.items()]


# What is wrong: the error, what its message must hold (the argument, what came, what is allowed and the fix), the call.
BAD = [
    *bad(
        ValueError,
        *("query", "positive_key", "same number of rows N", "(4, 3)", "(5, 3)"),
        rows=lambda a: info_nce(a(4, 3), a(5, 3)),
        rows_of_the_gradient=lambda a: value_and_grad(info_nce)(a(4, 3), a(5, 3)),
        rows_of_the_object=lambda a: InfoNCE()(a(4, 3), a(5, 3)),
    ),
    *bad(
        ValueError,
        *("query", "negative_keys", "same number of features D", "(4, 3)", "(6, 2)"),
        features=lambda a: info_nce(a(4, 3), a(4, 3), a(6, 2)),
    ),
    *bad(
        ValueError,
        *("negative_keys", "3 dimensions", "(N, K, D)", 'negative_mode="paired"', "(6, 3)"),
        paired=lambda a: info_nce(a(4, 3), a(4, 3), a(6, 3), negative_mode="paired"),
    ),
    *bad(
        ValueError,
        *("negative_keys", "2 dimensions", "(M, D)", 'negative_mode="unpaired"', "(4, 6, 3)"),
        unpaired=lambda a: info_nce(a(4, 3), a(4, 3), a(4, 6, 3)),
    ),
    *bad(ValueError, "query", "2 dimensions", "(N, D)", "(3,)", vector=lambda a: info_nce(a(3), a(3))),
    *bad(ValueError, "query", "at least one feature", "(4, 0)", no_features=lambda a: info_nce(a(4, 0), a(4, 0))),
    *bad(ValueError, "mean", "query", "(0, 3)", '"sum"', '"none"', no_rows=lambda a: info_nce(a(0, 3), a(0, 3))),
    *bad(
        TypeError,
        *("positive_key", "float16, bfloat16, float32, float64", "received int64", "Cast to float"),
        integers=lambda a: info_nce(a(4, 3), a(4, 3, dtype="int64")),
    ),
    *bad(
        TypeError,
        *("negative_keys", "received bool", "Cast to float"),
        booleans=lambda a: info_nce(a(4, 3), a(4, 3), a(4, 3, dtype="bool")),
    ),
    *bad(
        TypeError,
        *("query", "received complex64", "real"),
        complex_numbers=lambda a: info_nce(a(4, 3, dtype="complex64"), a(4, 3)),
    ),
    *bad(
        TypeError,
        *("positive_key", "dense array", "received list beside query, a FRAMEWORK array", "Convert"),
        a_list=lambda a: info_nce(a(4, 3), [[1.0, 2.0, 3.0]] * 4),
    ),
    *bad(TypeError, "query", "dense array", "received float", number=lambda a: info_nce(1.0, a(4, 3))),
    *bad(TypeError, "positive_key", "dense array", "received NoneType", none=lambda a: info_nce(a(4, 3), None)),
    *bad(
        TypeError,
        *("positive_key", "dense array", "received the numpy type MaskedArray", "masked", "Make it a plain"),
        masked=lambda a: info_nce(a(4, 3), np.ma.array(np.ones((4, 3)))),
    ),
    *bad(
        TypeError,
        *("positive_key", "dense array", "received the numpy type matrix", "Make it a plain"),
        matrix=lambda a: info_nce(a(4, 3), np.ones((4, 3)).view(np.matrix)),
    ),
    *bad(
        ValueError,
        *("temperature", "(), (N,) or (N, 1)", "(3,)", "query", "(4, 3)"),
        temperature_shape=lambda a: info_nce(a(4, 3), a(4, 3), temperature=a(3)),
    ),
    *bad(
        TypeError,
        *("temperature", "received int32", "Cast to float"),
        temperature_dtype=lambda a: info_nce(a(4, 3), a(4, 3), temperature=a(4, dtype="int32")),
    ),
    *bad(
        ValueError,
        *("temperature", "positive", "0.0", "between 0.01 and 1"),
        temperature_zero=lambda a: info_nce(a(4, 3), a(4, 3), temperature=0.0),
    ),
    *bad(
        ValueError,
        *("temperature", "normal number of float32", "1e-40"),
        temperature_subnormal=lambda a: info_nce(a(4, 3, dtype="float32"), a(4, 3, dtype="float32"), temperature=1e-40),
    ),
    *bad(
        TypeError,
        *("temperature", "number", "'0.1'"),
        temperature_text=lambda a: info_nce(a(4, 3), a(4, 3), temperature="0.1"),
    ),
    *bad(
        ValueError,
        *("reduction", "'none', 'mean', 'sum'", "'avg'"),
        reduction=lambda a: info_nce(a(4, 3), a(4, 3), reduction="avg"),
    ),
    *bad(
        ValueError,
        *("negative_mode", "paired", "negative_keys", "(N, K, D)", "None"),
        mode=lambda a: info_nce(a(4, 3), a(4, 3), negative_mode="paired"),
    ),
    *bad(
        ValueError,
        *("symmetric", "negative_keys", "in_batch=True"),
        symmetric=lambda a: info_nce(a(4, 3), a(4, 3), a(4, 3), symmetric=True),
    ),
    *bad(ValueError, "block_size", "at least 1", "0", block=lambda a: info_nce(a(4, 3), a(4, 3), block_size=0)),
    *bad(ValueError, "at least two views", "(N, D)", "received 1", one_view=lambda a: nt_xent(a(4, 3))),
    *bad(
        ValueError,
        *("view 1", "view 3", "rows N", "(4, 3)", "(5, 3)"),
        views=lambda a: nt_xent(a(4, 3), a(4, 3), a(5, 3)),
        views_of_the_gradient=lambda a: value_and_grad(nt_xent)(a(4, 3), a(4, 3), a(5, 3)),
    ),
    *bad(
        ValueError,
        *("temperature", "(), (N,) or (N, 1)", "(3,)", "(4, 3)"),
        temperature_of_views=lambda a: nt_xent(a(4, 3), a(4, 3), temperature=a(3)),
    ),
    *bad(
        ValueError,
        *("value_and_grad", '"mean" or "sum"', '"none"'),
        gradient_of_rows=lambda a: value_and_grad(info_nce)(a(4, 3), a(4, 3), reduction="none"),
    ),
]


def message(name: str, call: Call, error: type[Exception]) -> str:
    """The message in one framework, with the framework's name blanked."""
    framework = framework_of(name)
    with framework.settings(), pytest.raises(error) as caught:
        call(framework.ones)
    return str(caught.value).replace(f"a {name} array", "a FRAMEWORK array")


@pytest.mark.parametrize(("title", "call", "error", "words"), BAD, ids=[title for title, *_ in BAD])
def test_refused_in_the_same_words_everywhere(
    title: str, call: Call, error: type[Exception], words: tuple[str, ...]
) -> None:
    messages = {name: message(name, call, error) for name in NAMES}
    assert set(messages.values()) == {messages["numpy"]}
    text = messages["numpy"]
    assert [word for word in words if word not in text] == []
    assert text.endswith(".")
    assert not re.search(r"<(class|function|module)|array\(|[tT]ensor\(", text), "objects by their short names"


@pytest.mark.parametrize("other", NAMES)
def test_arrays_of_two_frameworks(framework: Framework, other: str) -> None:
    if other == framework.name:
        return
    second = framework_of(other)
    with second.settings():
        foreign = second.array(KEY)
        temperature = second.array(np.asarray(0.1))
    query, key = framework.array(QUERY), framework.array(KEY)
    both = rf"must be arrays of the same framework; received a {framework.name} array and a {other} array. Convert"
    with pytest.raises(TypeError, match=f"^query and positive_key {both}"):
        info_nce(query, foreign)
    with pytest.raises(TypeError, match=f"^query and negative_keys {both}"):
        info_nce(query, key, foreign)
    with pytest.raises(TypeError, match=f"^query and temperature {both}"):
        info_nce(query, key, temperature=temperature)
    with pytest.raises(TypeError, match=f"^view 1 and view 2 {both}"):
        nt_xent(query, foreign)
    with pytest.raises(TypeError, match=f"^query and positive_key {both}"):
        value_and_grad(info_nce)(query, foreign)


class Frame:
    """As a data frame: it can be made an array, and is none."""

    def __array__(self, *_: Any, **__: Any) -> Any:
        return np.ones((N, D))

    shape = (N, D)
    dtypes = (np.float64,) * D


def test_what_is_no_array_is_named_by_its_type(framework: Framework) -> None:
    import scipy.sparse

    key = framework.array(KEY)
    for wrong in (Frame(), scipy.sparse.csr_array(np.eye(N, D)), range(3), {"a": 1}, "key", object()):
        words = (
            rf"query must be a dense array of .*; received {type(wrong).__name__} beside .*\. Convert it to an array"
        )
        with pytest.raises(TypeError, match=words):
            info_nce(wrong, key)
        with pytest.raises(TypeError, match=words.replace("query", "view 1", 1)):
            nt_xent(wrong, key)
    with pytest.raises(TypeError, match=r"query must be a dense array of .*; received list\. Convert"):
        info_nce([key], [key])


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta:UserWarning")
def test_sparse_and_nested_tensors_of_torch() -> None:
    import torch

    key = torch.ones(N, D)
    coo = torch.eye(N, D).to_sparse()
    nested = torch.nested.nested_tensor([torch.ones(2, D), torch.ones(3, D)], layout=torch.jagged)
    for wrong in (coo, coo.to_sparse_csr(), nested):
        words = f"must be a dense array; received the torch type {type(wrong).__name__}, which is sparse, ragged"
        with pytest.raises(TypeError, match=f"^query {words}"):
            info_nce(wrong, key)
        with pytest.raises(TypeError, match=f"^positive_key {words}"):
            info_nce(key, wrong)


def test_ragged_and_sparse_tensors_of_tensorflow() -> None:
    import tensorflow as tf

    key = tf.ones((N, D))
    for wrong in (
        tf.ragged.constant([[1.0], [1.0, 2.0]]),
        tf.sparse.from_dense(tf.eye(N, D)),
        tf.IndexedSlices(key, [0]),
    ):
        with pytest.raises(TypeError, match=f"received the tensorflow type {type(wrong).__name__}, which is sparse"):
            info_nce(wrong, key)


def test_sparse_matrices_of_jax() -> None:
    import jax.numpy as jnp
    from jax.experimental import sparse

    with pytest.raises(TypeError, match=r"query must be a dense array; received the jax type BCOO"):
        info_nce(sparse.BCOO.fromdense(jnp.eye(N, D)), jnp.ones((N, D)))


def test_big_endian_numbers_are_refused_and_named() -> None:
    swapped = KEY.astype(KEY.dtype.newbyteorder())
    assert not swapped.dtype.isnative
    with pytest.raises(TypeError, match=r"positive_key must have a dtype of .*; received >f8\. Convert it to"):
        info_nce(QUERY, swapped)


def test_two_devices_are_named() -> None:
    import torch

    here, there = torch.ones(N, D), torch.ones(N, D, device="meta")
    same = "must be on the same device; received cpu and meta. Move one of them."
    with pytest.raises(ValueError, match=f"^query and positive_key {same}"):
        info_nce(here, there)
    with pytest.raises(ValueError, match=f"^query and negative_keys {same}"):
        info_nce(here, here, there)
    with pytest.raises(ValueError, match=f"^query and temperature {same}"):
        info_nce(here, here, temperature=torch.ones(N, device="meta"))
    with pytest.raises(ValueError, match=f"^view 1 and view 2 {same}"):
        nt_xent(here, there)


@pytest.mark.parametrize("function", [info_nce, nt_xent])
def test_shapes_without_data(function: Any) -> None:
    """Meta tensors, fake tensors and jax.eval_shape: the checks and the answer's form need no values."""
    import jax
    import torch
    from torch._subclasses import FakeTensorMode

    meta = [torch.ones(N, D, device="meta", requires_grad=True) for _ in range(2)]
    assert function(*meta).shape == ()
    with FakeTensorMode():
        fake = [torch.ones(N, D, requires_grad=True) for _ in range(2)]
        assert function(*fake, reduction="none").shape == ((N,) if function is info_nce else (2 * N,))
    found = jax.eval_shape(function, *[jax.ShapeDtypeStruct((N, D), np.float32)] * 2)
    assert (found.shape, found.dtype) == ((), np.float32)
