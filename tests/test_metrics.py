"""What people watch beside the loss: against dense formulas, in every framework, and without any trace in the loss."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from infonce import info_nce, metrics, value_and_grad

from ._frameworks import AUTODIFF, Framework
from ._frameworks import framework as framework_of

Floats = NDArray[np.float64]
Answer = tuple[Any, dict[str, Any]]  # a loss, and metrics by name
UNCOMPILED = ("numpy", "array_api_strict", "torch")  # at home; the others take a second for each new case
DTYPES = (("float64", 3), ("float32", 1), ("float32", None))  # and block sizes
NAMES = ("accuracy", "positive_similarity", "negative_similarity", "log_sum_exp")  # of return_metrics
TOP_K = (1, 2, 3, 50)
N, M, K, D = 7, 5, 3, 4
RNG = np.random.default_rng(3)
QUERY = RNG.normal(size=(N, D))
KEY = 0.5 * QUERY + RNG.normal(size=(N, D))  # some queries find theirs
SHARED: dict[str, Any] = {"negative_keys": RNG.normal(size=(M, D))}
OWN: dict[str, Any] = {"negative_keys": RNG.normal(size=(N, K, D)), "negative_mode": "paired"}
BATCH = {"in_batch": True}
ZERO = KEY * (np.arange(N) % 3 > 0)[:, None]
IDS = np.asarray([0, 0, 1, 2, 3, 4, 0])
SHARED_IDS = {"ids": IDS, "negative_ids": np.arange(M)}
OWN_IDS = {"ids": IDS, "negative_ids": np.arange(N * K).reshape(N, K) % 5}
MASK = RNG.random((N, N + M)) < 0.6
LONELY = (np.arange(N) % 2 > 0)[:, None]  # every other row has no negatives
ROWS = np.linspace(0.1, 0.6, N)  # a temperature of each row

# Arguments of `metrics` beside the pairs, or in place of them.
METRICS: dict[str, dict[str, Any]] = {
    "in-batch": {},
    "unpaired": SHARED,
    "paired": OWN,
    "in-batch and unpaired": SHARED | BATCH,
    "in-batch and paired": OWN | BATCH,
    "dot products": SHARED | BATCH | {"normalize": False, "temperature": np.asarray(0.7)},
    "ids": {"ids": IDS},
    "ids and unpaired": SHARED | SHARED_IDS,
    "ids and both": SHARED | BATCH | SHARED_IDS,
    "ids and paired": OWN | BATCH | OWN_IDS,
    "mask": SHARED | BATCH | {"mask": MASK},
    "mask of columns": OWN | BATCH | {"mask": MASK[1, : N + K], "ids": IDS},
    "temperatures": OWN | BATCH | {"temperature": ROWS},
    "temperatures and mask": {"temperature": ROWS[:, None], "mask": MASK[:, :N]},
    "rows without negatives": SHARED | BATCH | {"mask": LONELY, "temperature": ROWS},
    "no negatives at all": {"ids": np.zeros(N, dtype=np.int64)},
}
# Of `info_nce` only.
BIAS = RNG.normal(size=(N, N + M))
LOSSES: dict[str, dict[str, Any]] = {
    "bias": SHARED | {"bias": BIAS[0, :M]},
    "bias of keys": SHARED | BATCH | {"bias": BIAS[0], "ids": IDS},
    "bias of pairs": SHARED | BATCH | {"bias": BIAS, "mask": MASK, "temperature": ROWS},
    "symmetric": {"symmetric": True},
    "symmetric, all options": SHARED
    | BATCH
    | SHARED_IDS
    | {"symmetric": True, "temperature": ROWS, "bias": BIAS[0], "margin": 0.2, "hardness": 0.5, "mask": MASK},
    "symmetric and smoothed": {"symmetric": True, "label_smoothing": 0.1, "mask": MASK[:, :N]},
    "hardness": SHARED | BATCH | {"hardness": 1.5},
    "hardness and debias": OWN | {"hardness": 0.5, "debias": 0.1, "temperature": ROWS},
    "hardness without negatives": {"hardness": 0.5, "mask": LONELY},
    "debias": SHARED | {"debias": 0.3, "temperature": np.asarray(0.5)},
    "decoupled": OWN | BATCH | {"decoupled": True, "mask": LONELY},
    "smoothed": SHARED | BATCH | {"label_smoothing": 0.2, "ids": IDS},
    "margin": SHARED | BATCH | {"margin": 0.3},
    "weighted sum": OWN | {"weight": np.linspace(0, 1, N), "reduction": "sum"},
}


def reference(
    query: Floats,
    positive_key: Floats,
    negative_keys: Floats | None = None,
    temperature: Any = 0.1,
    *,
    in_batch: bool | None = None,
    normalize: bool = True,
    ids: Any = None,
    negative_ids: Any = None,
    mask: Any = True,
    bias: Any = 0.0,
    margin: float = 0.0,
    **_: Any,  # what changes the loss alone
) -> dict[str, float]:
    """All metrics from their formulas, with the whole matrix of logits; a zero row has the cosine 0 with all others."""
    n, in_batch = len(query), negative_keys is None if in_batch is None else in_batch
    u, v = unit(query), unit(positive_key)
    q, p = (u, v) if normalize else (query, positive_key)
    parts, absent = [], []
    if in_batch:
        parts.append(q @ p.T)
        absent.append(np.eye(n, dtype=bool) if ids is None else ids[:, None] == ids)
    if negative_keys is not None:
        negatives = unit(negative_keys) if normalize else negative_keys
        parts.append(np.einsum("nd,nkd->nk", q, negatives) if negatives.ndim == 3 else q @ negatives.T)
        absent.append(np.broadcast_to(False if negative_ids is None else ids[:, None] == negative_ids, parts[-1].shape))
    s = np.concatenate(parts, axis=1)
    counts = ~np.concatenate(absent, axis=1) & mask
    t, own = np.reshape(temperature, (-1, 1)), np.sum(q * p, axis=1)
    positive = (own[:, None] - margin) / t
    if in_batch:
        positive = positive + np.broadcast_to(bias, s.shape).diagonal()[:, None]
    z = np.where(counts, s / t + bias, -math.inf)
    e = np.exp(z)
    total = np.sum(e, axis=1)
    lse = np.log(total + np.exp(positive[:, 0]))
    rank = 1 + np.sum(z >= positive, axis=1)
    squares = np.sum(e**2, axis=1)
    return {
        "loss": np.mean(lse - positive[:, 0]),
        "accuracy": np.mean(np.max(z, axis=1) < positive[:, 0]),
        "positive_similarity": np.mean(own),
        "negative_similarity": np.mean(s[counts]) if np.any(counts) else 0.0,
        "log_sum_exp": np.mean(lse),
        **{f"top_{k}": np.mean(rank <= k) for k in TOP_K},
        "mean_reciprocal_rank": np.mean(1 / rank),
        "effective_negatives": np.mean(total**2 / np.where(squares == 0, 1, squares)),
        "alignment": np.mean(2 - 2 * np.sum(u * v, axis=1)),
        "uniformity": (uniformity(u) + uniformity(v)) / 2,
    }


def unit(x: Floats) -> Floats:
    length = np.linalg.norm(x, axis=-1, keepdims=True)
    return x / np.where(length == 0, 1, length)


def uniformity(u: Floats) -> float:
    """log E exp(-2 |u_i - u_j|^2) over the pairs of distinct rows."""
    apart = ~np.eye(len(u), dtype=bool)
    return math.log(np.mean(np.exp(-4 + 4 * u @ u.T)[apart])) if len(u) > 1 else 0.0


def arguments(framework: Framework, case: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    """A case's arguments as the framework's own arrays, the floating ones in this dtype."""
    every = {"query": QUERY, "positive_key": KEY, **case}
    return {
        name: framework.array(x, dtype if x.dtype == np.float64 else None) if isinstance(x, np.ndarray) else x
        for name, x in every.items()
    }


def wanted(framework: Framework, given: Mapping[str, Any]) -> dict[str, float]:
    """What the formulas say of the arrays as they were rounded."""
    plain = (bool, int, float, str)
    exact: dict[str, Any] = {name: x if isinstance(x, plain) else framework.values(x) for name, x in given.items()}
    return reference(**{**exact, "mask": np.asarray(exact.get("mask", True), dtype=bool)})


def check(framework: Framework, found: Mapping[str, Any], want: Mapping[str, float], dtype: str) -> None:
    """Names, dtypes and values: Z the largest |logit|, 8e-15 (1 + Z) in float64 and 1e-6 Z in float32."""
    assert found.keys() == want.keys()
    for name, x in found.items():
        what = f"{name} in {framework}"
        assert framework.dtype(x) == ("float64" if dtype == "float64" else "float32"), what
        assert framework.values(x).shape == (), what
        z = 16.0  # that of the cases, and of the uniformity 4
        unit = 8e-15 * (1 + z) if dtype == "float64" else 1e-6 * z
        atol = unit * max(1.0, abs(want[name]))
        np.testing.assert_allclose(framework.values(x), want[name], rtol=0, atol=atol, err_msg=what)


def of_loss(want: Mapping[str, float]) -> dict[str, float]:
    return {name: want[name] for name in NAMES}


# The values.


@pytest.mark.parametrize("case", METRICS)
def test_metrics_equal_the_formulas(framework: Framework, case: str) -> None:
    turn = [*METRICS].index(case) % 3  # what is compiled for each takes one of them
    for dtype, block_size in DTYPES if framework.name in UNCOMPILED else DTYPES[turn:][:1]:
        given = arguments(framework, METRICS[case], dtype)
        found = metrics(**given, top_k=TOP_K, block_size=block_size)
        check(framework, found, wanted(framework, given), dtype)


@pytest.mark.parametrize("framework", UNCOMPILED, indirect=True)
@pytest.mark.parametrize("case", METRICS | LOSSES)
def test_those_of_the_loss_equal_the_formulas(framework: Framework, case: str) -> None:
    """For the others together with the gradients."""
    for dtype, block_size in DTYPES:
        given = arguments(framework, (METRICS | LOSSES)[case], dtype)
        _, found = info_nce(**given, return_metrics=True, block_size=block_size)
        check(framework, found, of_loss(wanted(framework, given)), dtype)


@pytest.mark.parametrize("case", ["in-batch", "ids and paired"])
def test_half_precision_is_measured_in_float32(autodiff: Framework, case: str) -> None:
    given = arguments(autodiff, METRICS[case], "bfloat16")
    want = wanted(autodiff, given)
    check(autodiff, metrics(**given, top_k=TOP_K), want, "float32")
    check(autodiff, info_nce(**given, return_metrics=True)[1], of_loss(want), "float32")


@pytest.mark.parametrize("wide", ["query", "positive_key", "negative_keys"])
def test_one_embedding_in_float64_makes_all_of_them_float64(framework: Framework, wide: str) -> None:
    given = arguments(framework, SHARED | BATCH, "float32")
    given[wide] = framework.array(framework.values(given[wide]))
    want = wanted(framework, given)
    check(framework, info_nce(**given, return_metrics=True)[1], of_loss(want), "float64")
    check(framework, metrics(**given, top_k=TOP_K), want, "float64")


# Where a definition has to say what it means.


def test_a_negative_with_the_own_logit_ranks_first(framework: Framework) -> None:
    """One-hot rows and powers of two: their products are exact."""
    rows = np.eye(3)[[0, 0, 1, 2]]
    pairs = {"query": rows, "positive_key": rows, "temperature": 0.5, "normalize": False}
    twins = {
        "in-batch": (pairs, [2, 2, 1, 1]),
        "paired": (
            pairs | {"negative_keys": rows[[[0, 1], [2, 3], [2, 2], [0, 1]]], "negative_mode": "paired"},
            [3, 1, 3, 1],
        ),
        "both": (pairs | BATCH | {"negative_keys": rows[1:]}, [3, 3, 2, 2]),
        "same id": (pairs | {"ids": np.asarray([5, 5, 6, 7])}, [1, 1, 1, 1]),
    }
    for name, (case, ranks) in twins.items():
        given, rank = arguments(framework, case, "float32"), np.asarray(ranks)
        found = metrics(**given, top_k=TOP_K)
        values = {key: float(framework.values(x)) for key, x in found.items()}
        assert values["accuracy"] == np.mean(rank == 1), name
        assert [values[f"top_{k}"] for k in TOP_K] == [np.mean(rank <= k) for k in TOP_K], name
        assert values["mean_reciprocal_rank"] == pytest.approx(np.mean(1 / rank), rel=1e-6), name
        assert framework.values(info_nce(**given, return_metrics=True)[1]["accuracy"]) == np.mean(rank == 1), name
        check(framework, found, wanted(framework, given), "float32")


def test_collapsed_embeddings_show(framework: Framework) -> None:
    """All rows alike: nothing is found, all negatives are equally hard, and nothing is spread."""
    rows = framework.array(np.eye(2)[[0] * 5])
    found = {name: float(framework.values(x)) for name, x in metrics(rows, rows, top_k=(4, 5)).items()}
    exact = {"accuracy": 0, "top_4": 0, "top_5": 1, "effective_negatives": 4, "alignment": 0}
    assert {name: found[name] for name in exact} == exact
    assert found["mean_reciprocal_rank"] == pytest.approx(1 / 5)
    assert found["loss"] == pytest.approx(math.log(5))
    assert found["uniformity"] == pytest.approx(0, abs=8e-15)


@pytest.mark.parametrize("case", [{}, {"negative_keys": np.zeros((0, D))}, {"hardness": 1.0}])
def test_a_single_row_has_found_its_key(framework: Framework, case: dict[str, Any]) -> None:
    given = arguments(framework, {"query": QUERY[:1], "positive_key": KEY[:1], **case}, "float64")
    want = reference(QUERY[:1], KEY[:1])
    assert (want["accuracy"], want["effective_negatives"], want["uniformity"]) == (1, 0, 0)
    with pytest.warns(UserWarning, match="no negatives"):
        _, found = info_nce(**given, return_metrics=True)
    check(framework, found, of_loss(want), "float64")
    if "hardness" not in given:
        with pytest.warns(UserWarning, match="no negatives"):
            found = metrics(**given, top_k=TOP_K)
        check(framework, found, want, "float64")


@pytest.mark.parametrize("case", [{}, OWN | BATCH | {"normalize": False}], ids=["in-batch", "dot products"])
@pytest.mark.parametrize("name", ["query", "positive_key"])
def test_zero_rows_are_orthogonal_to_all(framework: Framework, name: str, case: dict[str, Any]) -> None:
    given = arguments(framework, case | {"temperature": 0.5, name: ZERO}, "float64")
    want = wanted(framework, given)
    check(framework, info_nce(**given, return_metrics=True)[1], of_loss(want), "float64")
    check(framework, metrics(**given, top_k=TOP_K), want, "float64")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_any_hardness_leaves_the_log_sum_exp(framework: Framework, dtype: str) -> None:
    """That of the plain logits, where exp(hardness z) leaves the dtype's range."""
    given = arguments(framework, {"hardness": 200.0, "temperature": np.asarray(0.1)}, dtype)
    check(framework, info_nce(**given, return_metrics=True)[1], of_loss(wanted(framework, given)), dtype)


@pytest.mark.parametrize("cosine", [1, -1])
def test_any_number_of_hard_negatives_is_counted(framework: Framework, cosine: int) -> None:
    """Even where their exponentials, of logits of 40, add up to a number whose square leaves float32's range."""
    pair = framework.array(np.eye(2)[[0, 0]], "float32")
    negatives = framework.array(np.eye(2)[[0] * 7000] * cosine, "float32")
    found = metrics(pair, pair, negatives, temperature=0.025)
    assert float(framework.values(found["effective_negatives"])) == pytest.approx(7000, rel=1e-5)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_reduction_is_that_of_the_loss_alone(framework: Framework, reduction: str) -> None:
    given = arguments(framework, SHARED | BATCH | {"weight": np.linspace(0, 1, N), "reduction": reduction}, "float64")
    loss, found = info_nce(**given, return_metrics=True)
    assert framework.values(loss).shape == ((N,) if reduction == "none" else ())
    same(framework, {"loss": loss}, {"loss": info_nce(**given)})
    check(framework, found, of_loss(wanted(framework, given)), "float64")


# The loss and its gradients are what they are without metrics, which have no gradient.


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


def same(framework: Framework, found: Mapping[str, Any], want: Mapping[str, Any]) -> None:
    assert found.keys() == want.keys()
    for name, gradient in want.items():
        np.testing.assert_allclose(
            framework.values(found[name]), framework.values(gradient), rtol=1e-12, atol=1e-13, err_msg=name
        )


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


# What is refused.


@pytest.mark.parametrize(
    ("top_k", "error", "words"),
    [
        ((0,), ValueError, ("at least 1", "received 0")),
        ([5, -1], ValueError, ("at least 1", "received -1")),
        ((1.0,), TypeError, ("int", "received 1.0")),
        ((True,), TypeError, ("int", "received True")),
        (("1",), TypeError, ("int", "received '1'")),
        (5, TypeError, ("sequence", "received 5")),
    ],
)
def test_bad_top_k_is_refused(framework: Framework, top_k: Any, error: type[Exception], words: tuple[str, ...]) -> None:
    x = framework.array(KEY)
    with pytest.raises(error, match="top_k") as raised:
        metrics(x, x, top_k=top_k)
    for word in words:
        assert word in str(raised.value)


def test_each_k_has_its_name(framework: Framework) -> None:
    x = framework.array(KEY)
    for top_k, names in (((), []), ([np.int64(3), 1, 3], ["top_3", "top_1"])):
        assert [name for name in metrics(x, x, top_k=top_k) if name.startswith("top_")] == names
    assert "top_5" in metrics(x, x)


@pytest.mark.parametrize("wrong", [1, "yes", None])
def test_return_metrics_is_a_flag(wrong: Any) -> None:
    with pytest.raises(TypeError, match="return_metrics must be True or False"):
        info_nce(QUERY, KEY, return_metrics=wrong)


def test_every_autodiff_is_judged() -> None:
    assert AUTODIFF == ("torch", "jax", "tensorflow")
