"""NT-Xent against its dense formula, in every framework and every way of calling it."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
import pytest

from infonce import info_nce, nt_xent, self_similarity, value_and_grad
from infonce.blocks import ON_CPU
from infonce.conformance.data import round_to
from infonce.conformance.model import Program
from infonce.conformance.variants._load import load
from infonce.conformance.variants._variant import Step, Task, Variant, loss_dtype, values
from infonce.jax._arithmetic import JAXArithmetic
from infonce.numpy._arithmetic import ArrayAPIArithmetic, NumPyArithmetic
from infonce.tensorflow import _autodiff
from infonce.tensorflow._arithmetic import TensorFlowArithmetic
from infonce.torch._arithmetic import TorchArithmetic

from ._dense import Dense, Floats, check
from ._dense import nt_xent as dense
from ._frameworks import NAMES, Framework
from ._frameworks import framework as framework_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:there are no negatives:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),  # Dynamo's own doing
]

FEATURES = 4
PLAIN = ("numpy", "array_api_strict", "torch")  # no compilation: every combination is run
VARIANTS = (
    *("numpy", "numpy:readonly", "array_api_strict", "array_api_strict:no-float64"),
    *("torch", "torch:compile", "torch:func", "torch:vmap", "torch:grad(vmap)", "torch:vmap(grad)", "torch:no_grad"),
    *("torch:inference", "torch:autocast-float16", "torch:autocast-bfloat16", "torch:value_and_grad"),
    *("jax", "jax:jit", "jax:vmap", "jax:shard_map", "jax:shard_map:unchecked", "jax:x32", "jax:value_and_grad"),
    *("tensorflow", "tensorflow:function", "tensorflow:jit", "tensorflow:dynamic", "tensorflow:variable"),
    "tensorflow:value_and_grad",
)
REPLICATED = ("jax:shard_map", "jax:shard_map:unchecked")
SINGLE = ("array_api_strict:no-float64", "torch:autocast-float16", "torch:autocast-bfloat16", "jax:x32")


@dataclass(frozen=True)
class Views(Task):
    """`nt_xent` as the suite's variants call a loss; `per_row` says how shard_map takes the views."""

    count: int = 2
    replicated: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        views = tuple(f"view {i + 1}" for i in range(self.count))
        return views if self.program.temperature == "number" else (*views, "temperature")

    @property
    def per_row(self) -> tuple[bool, ...]:
        return tuple(name != "temperature" and not self.replicated for name in self.names)

    def split(self, number: float | None, arrays: Sequence[Any]) -> tuple[Sequence[Any], dict[str, Any]]:
        temperature = number if number is not None else arrays[self.count]
        return arrays[: self.count], {"temperature": temperature, **self.keywords}

    def __call__(self, number: float | None, *arrays: Any) -> Any:
        views, keywords = self.split(number, arrays)
        return nt_xent(*views, **keywords)


def own_gradients(task: Views) -> Step:
    """As the suite's variants of `value_and_grad`, for views."""
    if task.by_row:
        return values(task)

    def step(arrays: Sequence[Any], number: float | None, cotangent: Any) -> tuple[Any, Sequence[Any]]:
        views, keywords = task.split(number, arrays)
        loss, found = value_and_grad(nt_xent)(*views, **keywords)
        assert set(found) == ({"temperature", "views"} if number is None else {"views"})
        assert isinstance(found["views"], tuple)
        return loss, [*found["views"], *([found["temperature"]] if number is None else [])]

    return step


def views_task(
    count: int, rows: int, block_size: int | None, normalize: bool, reduction: str, temperature: str
) -> Views:
    options = (("reduction", reduction), ("normalize", normalize), ("block_size", block_size))
    name = f"{count}x{rows}-{block_size}-{'cosine' if normalize else 'dot'}-{reduction}-{temperature}"
    program = Program(name, rows, FEATURES, temperature=temperature, options=options)  # type: ignore[arg-type]
    return Views(nt_xent, program, count)


ALL = tuple(
    itertools.starmap(
        views_task,
        itertools.product(
            (2, 3, 4, 5), (1, 2, 5, 16), (1, 3, None), (True, False), ("mean", "sum", "none"), ("number", "scalar")
        ),
    )
)
# Few enough to compile: rows even, odd and fewer than a block, halves that end within a block and with it.
CHOSEN = (
    views_task(2, 1, 1, True, "sum", "scalar"),
    views_task(2, 5, 3, True, "none", "scalar"),
    views_task(2, 16, None, True, "mean", "number"),
    views_task(3, 5, 3, True, "mean", "scalar"),
    views_task(3, 1, None, False, "mean", "scalar"),
    views_task(4, 2, 1, False, "none", "number"),
    views_task(5, 16, 16, True, "sum", "scalar"),
)


@functools.cache
def variant_of(name: str) -> Variant:
    return next(v for v in load(name.partition(":")[0]).variants() if v.name == name)


@functools.cache
def step_of(name: str, task: Views) -> Step:
    variant = variant_of(name)
    return own_gradients(task) if variant.own else variant.build(task)


def sets(task: Views) -> list[tuple[list[Floats], float]]:
    """Views and a temperature: unrelated ones, and near copies in one cone at a low temperature."""
    rng = np.random.default_rng(task.program.rows)
    unrelated = [*rng.normal(size=(task.count, task.program.rows, FEATURES))]
    sample = 1 + 0.3 * rng.normal(size=(task.program.rows, FEATURES))
    near = [sample + 0.05 * rng.normal(size=sample.shape) for _ in range(task.count)]
    return [(unrelated, 0.5), (near, 0.07)]


def rounded(dtype: str, views: Sequence[Floats]) -> list[Floats]:
    return [round_to(dtype, view) for view in views]


def exact(task: Views, views: Sequence[Floats], t: float, cotangent: Floats | None = None) -> Dense:
    options = task.program.keywords
    return dense(views, t, options["reduction"], options["normalize"], cotangent)


def judge(name: str, task: Views, views: Sequence[Floats], t: float, dtype: str) -> None:
    """Run one variant on one data set: values, dtypes, shapes, and inputs left as they were."""
    framework, variant = framework_of(name.partition(":")[0]), variant_of(name)
    views = rounded(dtype, views)
    number = t if task.program.temperature == "number" else None
    t = t if number is not None else float(round_to(dtype, t))
    weights = np.random.default_rng(3).normal(size=task.count * task.program.rows) if task.by_row else None
    weights = None if weights is None else round_to(loss_dtype(dtype), weights)
    with framework.settings(), variant.settings():
        inputs = [*views, *([] if number is not None else [np.asarray(t)])]
        arrays = [variant.prepare(framework.array(x, dtype)) for x in inputs]
        cotangent = None if weights is None else framework.array(weights, loss_dtype(dtype))
        loss, gradients = step_of(name, task)(arrays, number, cotangent)
        assert framework.dtype(loss) == loss_dtype(dtype)
        differentiable = variant.differentiable and not (variant.own and task.by_row)
        assert len(gradients) == (len(arrays) if differentiable else 0)
        for gradient, given in zip(gradients, inputs, strict=False):
            assert framework.dtype(gradient) == dtype
            assert tuple(gradient.shape) == given.shape
        for array, given in zip(arrays, inputs, strict=True):
            np.testing.assert_array_equal(framework.values(array), given)
        got = framework.values(loss), [framework.values(gradient) for gradient in gradients]
    assert got[0].shape == ((task.count * task.program.rows,) if task.by_row else ())
    check(got, exact(task, views, t, weights), views, dtype)
    if task.program.rows == 1 and task.count == 2:
        assert not any(np.any(x) for x in (got[0], *got[1])), "without negatives all is exactly 0"


ARITHMETICS: dict[str, type] = {
    "numpy": NumPyArithmetic,
    "array_api_strict": ArrayAPIArithmetic,
    "torch": TorchArithmetic,
    "jax": JAXArithmetic,
    "tensorflow": TensorFlowArithmetic,
}


@pytest.fixture
def kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """Makes the framework `name` hold blocks of so few pairs as those of `rows` in `count` views; what was asked."""
    name, total = request.getfixturevalue("name"), request.getfixturevalue("count") * request.getfixturevalue("rows")
    blocks = ON_CPU._replace(whole=4, kept=total * total // 4, pairs=4, rows=6)  # visits of half of the pairs
    answers, keeps = [], self_similarity.keeps

    def asked(*given: Any) -> bool:
        answers.append(keeps(*given))
        return answers[-1]

    monkeypatch.setattr(self_similarity, "keeps", asked)
    monkeypatch.setattr(ARITHMETICS[name.partition(":")[0]], "blocks", lambda _: blocks)
    forget_traces()
    yield answers
    forget_traces()


def forget_traces() -> None:
    """Those of other blocks."""
    step_of.cache_clear()
    jax.clear_caches()  # type: ignore[no-untyped-call]
    _autodiff.graph.cache_clear()


@pytest.mark.parametrize("name", ["numpy", "array_api_strict", "torch", "torch:func", "jax", "tensorflow"])
@pytest.mark.parametrize(("count", "rows"), [(2, 5), (2, 8), (2, 9), (3, 5), (5, 4)])
def test_blocks_that_are_kept_for_the_slopes(kept: list[bool], name: str, count: int, rows: int) -> None:
    task = views_task(count, rows, None, True, "mean", "number")
    judge(name, task, sets(task)[0][0], 0.5, "float64")
    assert kept
    assert all(kept)


@pytest.mark.parametrize("name", ["jax", "jax:jit", "tensorflow", "tensorflow:function", "tensorflow:jit"])
@pytest.mark.parametrize(("count", "rows"), [(2, 5), (3, 4)])
def test_second_derivatives_of_blocks_that_are_kept(kept: list[bool], name: str, count: int, rows: int) -> None:
    views, along = np.random.default_rng(0).normal(size=(2, count, rows, FEATURES))
    with framework_of(name.partition(":")[0]).settings():
        want = second_derivative(name, functools.partial(nt_xent, block_size=3), views, along)
        assert not any(kept)
        kept.clear()
        found = second_derivative(name, nt_xent, views, along)
    assert kept
    assert all(kept)
    np.testing.assert_allclose(found, want, rtol=1e-11, atol=1e-12)


def second_derivative(name: str, loss: Any, views: Floats, along: Floats) -> Floats:
    """Of the loss twice, once along a direction."""
    import tensorflow as tf

    if name.startswith("jax"):
        gradient = jax.grad(lambda x: loss(*x))
        gradient = jax.jit(gradient) if name == "jax:jit" else gradient
        return np.asarray(jax.grad(lambda x: jax.numpy.sum(along * gradient(x)))(jax.numpy.asarray(views)))

    def second(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                value = loss(*tf.unstack(x))
            slope = tf.reduce_sum(along * inner.gradient(value, x))
        return outer.gradient(slope, x)

    if ":" in name:
        second = tf.function(second, autograph=False, jit_compile=name == "tensorflow:jit")
    return np.asarray(second(tf.constant(views)))


@pytest.mark.parametrize("task", CHOSEN, ids=lambda task: task.program.name)
def test_formula_has_the_gradient_of_its_value(task: Views) -> None:
    for views, t in sets(task):
        x, shape = np.array(views), np.array(views).shape
        weights = np.random.default_rng(5).normal(size=task.count * task.program.rows) if task.by_row else None
        found = exact(task, views, t, weights)

        def value(x: Floats, t: float, weights: Floats | None = weights) -> float:
            loss = exact(task, [*x], t).loss
            return float(loss if weights is None else loss @ weights)

        step, flat = 1e-6, []
        for at in np.ndindex(shape):
            move = np.zeros(shape)
            move[at] = step
            flat.append((value(x + move, t) - value(x - move, t)) / (2 * step))
        tolerance = 1e-6 * np.max(found.terms)
        np.testing.assert_allclose(np.reshape(flat, shape), np.array(found.views), rtol=0, atol=tolerance)
        of_t = (value(x, t + step * t) - value(x, t - step * t)) / (2 * step * t)
        assert of_t == pytest.approx(found.temperature, rel=1e-6, abs=1e-6 * found.temperature_terms)


def programs() -> list[Any]:
    """(variant, task): where each program is compiled, what is derived from the plain way runs three of them."""
    return [
        pytest.param(name, task, id=f"{name}-{task.program.name}")
        for name in VARIANTS
        for task in (CHOSEN[1:6:2] if name.startswith(("jax:", "tensorflow:")) else CHOSEN)
    ]


@pytest.mark.parametrize(("name", "task"), programs())
def test_value_and_every_gradient_are_those_of_the_formula(name: str, task: Views) -> None:
    for views, t in sets(task):
        judge(name, task, views, t, "float32" if name in SINGLE else "float64")


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_combination_of_options_and_shapes(name: str, dtype: str) -> None:
    for task in ALL[::7] if name == "array_api_strict" else ALL:  # which checks every operation, and is slow
        for views, t in sets(task):
            judge(name, task, views, t, dtype)


@pytest.mark.parametrize("name", REPLICATED)
def test_views_that_all_devices_share_in_shard_map(name: str) -> None:
    task = replace(CHOSEN[3], replicated=True)
    for views, t in sets(task):
        judge(name, task, views, t, "float64")


@pytest.mark.parametrize("block_size", [3, None], ids=["blocks", "no whole block"])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_one_trace_of_open_shape_for_all_batch_sizes(jit_compile: bool, block_size: int | None) -> None:
    import tensorflow as tf

    def step(*views: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            tape.watch(views)
            loss = nt_xent(*views, block_size=block_size)
        return loss, tape.gradient(loss, views)

    open_rows = tf.TensorSpec([None, FEATURES], tf.float64)
    traced = tf.function(step, input_signature=[open_rows] * 3, jit_compile=jit_compile)
    for rows in (1, 2, 5, 16):
        views = [*np.random.default_rng(rows).normal(size=(3, rows, FEATURES))]
        loss, gradients = traced(*map(tf.constant, views))
        check((loss.numpy(), [g.numpy() for g in gradients]), dense(views), views)
    loss, gradients = traced(*tf.zeros((3, 0, FEATURES), tf.float64))
    assert np.isnan(loss.numpy())
    assert [g.shape for g in gradients] == [(0, FEATURES)] * 3


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_gradients_of_halves_are_those_of_float32_rounded_once(framework: Framework, dtype: str) -> None:
    if dtype in framework.toolkit.lacking():
        assert framework.name in ("numpy", "array_api_strict")
        return
    for task in (CHOSEN[2], CHOSEN[3]):
        for views, t in sets(task):
            judge(framework.name, task, views, t, dtype)


def test_variants_are_those_of_the_conformance_suite() -> None:
    found = {variant.name for name in NAMES for variant in load(name).variants()}
    assert found - set(VARIANTS) == {"torch:inductor", "torch:scaler"}
    assert set(VARIANTS) <= found


# Values that are known without any formula of ours.


@pytest.mark.parametrize(("t", "want"), [(0.07, 15.481043443439548), (0.5, 3.4061338355493107)])
def test_value_that_peers_give(framework: Framework, t: float, want: float) -> None:
    query, key = np.random.default_rng(0).standard_normal((2, 6, 5))
    loss = nt_xent(framework.array(query), framework.array(key), temperature=t)
    assert float(framework.values(loss)) == pytest.approx(want, rel=8e-15 * (1 + 1 / t))


def test_default_temperature_is_one_half(framework: Framework) -> None:
    query, key = np.random.default_rng(0).standard_normal((2, 6, 5))
    loss = nt_xent(framework.array(query), framework.array(key))
    assert float(framework.values(loss)) == pytest.approx(3.4061338355493107, rel=3e-14)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_tiny_losses_do_not_cancel(framework: Framework, dtype: str) -> None:
    t = 0.05
    views = [framework.array(np.eye(2), dtype) for _ in range(2)]
    loss, found = value_and_grad(nt_xent)(*views, temperature=t)
    want = math.log1p(2 * math.exp(-1 / t))
    relative = 5e-5 if dtype == "float32" else 8e-15 * 21
    assert float(framework.values(loss)) == pytest.approx(want, rel=relative)
    # Row 1 moves against the other sample alone: p = e^(-1/t) / (1 + 2 e^(-1/t)) from each of its two rows, as the
    # query and as a candidate, over 4 rows and the temperature.
    p = math.exp(-1 / t) / (1 + 2 * math.exp(-1 / t))
    moved = 2 * 2 * p / t / 4
    for gradient in found["views"]:
        np.testing.assert_allclose(framework.values(gradient), [[0, moved], [moved, 0]], rtol=relative, atol=0)


@pytest.mark.parametrize(("samples", "t"), [(2, 0.5), (7, 0.1)])
@pytest.mark.parametrize("count", [2, 3])
def test_closed_forms(framework: Framework, samples: int, t: float, count: int) -> None:
    equal = [framework.array(np.ones((samples, 3))) for _ in range(count)]
    assert float(framework.values(nt_xent(*equal, temperature=t))) == pytest.approx(
        math.log(count * samples - 1), rel=1e-13
    )
    orthonormal = [framework.array(np.eye(samples)) for _ in range(count)]
    others = count * (samples - 1) * math.exp(-1 / t)
    assert float(framework.values(nt_xent(*orthonormal, temperature=t))) == pytest.approx(
        math.log(count - 1 + others), rel=1e-12
    )


# Properties.


def random_views(framework: Framework, count: int, rows: int = 5, dtype: str = "float64") -> list[Any]:
    return [framework.array(x, dtype) for x in np.random.default_rng(count).normal(size=(count, rows, FEATURES))]


@pytest.mark.parametrize("count", [2, 3, 4])
def test_symmetric_in_its_views(framework: Framework, count: int) -> None:
    views = random_views(framework, count)
    loss, found = value_and_grad(nt_xent)(*views)
    for order in itertools.permutations(range(count)):
        other, permuted = value_and_grad(nt_xent)(*(views[i] for i in order))
        assert float(framework.values(other)) == pytest.approx(float(framework.values(loss)), rel=1e-14)
        for place, i in enumerate(order):
            np.testing.assert_allclose(
                framework.values(permuted["views"][place]), framework.values(found["views"][i]), rtol=0, atol=1e-14
            )


def test_losses_of_rows_follow_the_views_and_add_up(framework: Framework) -> None:
    views = random_views(framework, 3)
    rows = framework.values(nt_xent(*views, reduction="none"))
    assert rows.shape == (15,)
    assert float(framework.values(nt_xent(*views, reduction="sum"))) == pytest.approx(rows.sum(), rel=1e-14)
    assert float(framework.values(nt_xent(*views))) == pytest.approx(rows.mean(), rel=1e-14)
    turned = framework.values(nt_xent(*views[1:], views[0], reduction="none"))
    np.testing.assert_allclose(turned, np.roll(rows, -5), rtol=1e-14)


def test_two_views_are_info_nce_against_all_other_rows(framework: Framework) -> None:
    query, key = np.random.default_rng(1).normal(size=(2, 5, FEATURES))
    others = np.array([np.delete(query, i, axis=0) for i in range(5)])
    arrays = [framework.array(x) for x in (query, key, others)]
    want = info_nce(*arrays, 0.2, "none", "paired", in_batch=True)
    got = nt_xent(*arrays[:2], temperature=0.2, reduction="none")
    np.testing.assert_allclose(framework.values(got)[:5], framework.values(want), rtol=1e-13)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_zero_rows_have_cosine_zero_and_no_gradient(framework: Framework, dtype: str) -> None:
    views = [round_to(dtype, x) for x in np.random.default_rng(1).normal(size=(3, 4, FEATURES))]
    views[0][1], views[2][3] = 0, 0
    arrays = [framework.array(x, dtype) for x in views]
    loss, found = value_and_grad(nt_xent)(*arrays, temperature=0.3)
    gradients = [framework.values(g) for g in found["views"]]
    check((framework.values(loss), gradients), dense(views, 0.3), views, dtype)
    assert not np.any(gradients[0][1])
    assert not np.any(gradients[2][3])


@pytest.mark.parametrize("scale", [3e38, 1e20, 1e-25, 1e-37])
def test_extreme_rows_in_float32_are_those_of_length_one(framework: Framework, scale: float) -> None:
    rng = np.random.default_rng(1)
    sign, size = rng.choice([-1, 1], size=(3, 4, FEATURES)), rng.uniform(0.5, 1, size=(3, 4, FEATURES))
    views = [round_to("float32", x) for x in sign * size * scale]
    unit = [x / scale for x in views]
    loss, found = value_and_grad(nt_xent)(*(framework.array(x, "float32") for x in views), temperature=0.3)
    want = dense(unit, 0.3)
    gradients = []
    for gradient, exact_one in zip(found["views"], want.views, strict=True):
        got = framework.values(gradient) * scale
        flushed = (got == 0) & (np.abs(exact_one) < 2.0**-126 * scale)  # below the least normal number
        gradients.append(np.where(flushed, exact_one, got))
    check((framework.values(loss), gradients), want, unit, "float32")


@pytest.mark.parametrize("block_size", [1, 2, 7, 100])
def test_block_size_changes_nothing_but_rounding(framework: Framework, block_size: int) -> None:
    views = random_views(framework, 3)
    loss, found = value_and_grad(nt_xent)(*views)
    other, blocks = value_and_grad(nt_xent)(*views, block_size=block_size)
    assert float(framework.values(other)) == pytest.approx(float(framework.values(loss)), rel=1e-14)
    for got, want in zip(blocks["views"], found["views"], strict=True):
        np.testing.assert_allclose(framework.values(got), framework.values(want), rtol=0, atol=1e-15)


def test_same_object_as_both_views(framework: Framework) -> None:
    values = np.random.default_rng(1).normal(size=(5, FEATURES))
    view = framework.array(values)
    loss, found = value_and_grad(nt_xent)(view, view)
    gradients = [framework.values(g) for g in found["views"]]
    check((framework.values(loss), gradients), dense([values, values]), [values, values])


@pytest.mark.parametrize("dtypes", [("float32", "float64"), ("float16", "bfloat16"), ("bfloat16", "float32")])
def test_mixed_dtypes_promote_and_each_gradient_keeps_its_own(autodiff: Framework, dtypes: tuple[str, str]) -> None:
    views = [
        round_to(t, x) for t, x in zip(dtypes, np.random.default_rng(1).normal(size=(2, 5, FEATURES)), strict=True)
    ]
    arrays = [autodiff.array(x, dtype) for x, dtype in zip(views, dtypes, strict=True)]
    loss, found = value_and_grad(nt_xent)(*arrays, temperature=0.3)
    compute = "float64" if "float64" in dtypes else "float32"
    assert autodiff.dtype(loss) == autodiff.dtype(nt_xent(*arrays)) == compute
    assert [autodiff.dtype(g) for g in found["views"]] == list(dtypes)
    lowest = next(t for t in ("bfloat16", "float16", "float32") if t in dtypes)
    gradients = [autodiff.values(g) for g in found["views"]]
    check((autodiff.values(loss), []), dense(views, 0.3), views, compute)
    check((dense(views, 0.3).loss, gradients), dense(views, 0.3), views, lowest)


def test_mixed_dtypes_in_numpy_and_array_api_strict() -> None:
    values = np.random.default_rng(1).normal(size=(2, 5, FEATURES))
    views = [round_to("float32", values[0]), values[1]]
    for name in ("numpy", "array_api_strict"):
        framework = framework_of(name)
        arrays = [framework.array(views[0], "float32"), framework.array(views[1])]
        loss, found = value_and_grad(nt_xent)(*arrays)
        assert [framework.dtype(x) for x in (loss, *found["views"])] == ["float64", "float32", "float64"]
        check((framework.values(loss), []), dense(views), views)


# Refusals; tests/test_inputs.py compares their wording between frameworks.


def test_no_negatives_is_zero_with_a_warning(framework: Framework) -> None:
    views = random_views(framework, 2, rows=1)
    with pytest.warns(UserWarning, match="there are no negatives"):
        loss, found = value_and_grad(nt_xent)(*views)
    assert not any(np.any(framework.values(x)) for x in (loss, *found["views"]))


def test_no_rows(framework: Framework) -> None:
    empty = [framework.array(np.zeros((0, FEATURES))) for _ in range(3)]
    assert float(framework.values(nt_xent(*empty, reduction="sum"))) == 0
    assert framework.values(nt_xent(*empty, reduction="none")).shape == (0,)
    _, found = value_and_grad(nt_xent)(*empty, reduction="sum")
    assert [tuple(g.shape) for g in found["views"]] == [(0, FEATURES)] * 3
    with pytest.raises(ValueError, match=r"view 1 has shape \(0, 4\)"):
        nt_xent(*empty)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_views(framework: Framework, count: int) -> None:
    with pytest.raises(ValueError, match=rf"at least two views, each \(N, D\); received {count}"):
        nt_xent(*random_views(framework, count) if count else [])


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ([(5, 4), (6, 4)], r"view 1 and view 2 .*rows N; received shapes \(5, 4\) and \(6, 4\)"),
        ([(5, 4), (5, 4), (5, 3)], r"view 1 and view 3 .*features D; received shapes \(5, 4\) and \(5, 3\)"),
        ([(5,), (5,)], r"view 1 must have 2 dimensions, \(N, D\); received shape \(5,\)"),
        ([(5, 4), (2, 5, 4)], r"view 2 must have 2 dimensions, \(N, D\); received shape \(2, 5, 4\)"),
        ([(5, 0), (5, 0)], r"view 1 must have at least one feature, \(N, D\); received shape \(5, 0\)"),
    ],
)
def test_shapes_that_do_not_fit(framework: Framework, shapes: list[tuple[int, ...]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        nt_xent(*(framework.array(np.ones(shape)) for shape in shapes))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"temperature": 0.0}, ValueError, "temperature must be positive"),
        ({"temperature": -1}, ValueError, "temperature must be positive"),
        ({"temperature": math.nan}, ValueError, "temperature must be positive"),
        ({"temperature": math.inf}, ValueError, "temperature must be positive"),
        ({"temperature": True}, TypeError, "temperature must be a number.*True"),
        ({"temperature": "0.5"}, TypeError, "temperature must be a number.*'0.5'"),
        ({"temperature": None}, TypeError, "temperature must be a number.*None"),
        ({"reduction": "avg"}, ValueError, "reduction must be one of 'none', 'mean', 'sum'; received 'avg'"),
        ({"normalize": 1}, TypeError, "normalize must be True or False; received 1"),
        ({"block_size": 0}, ValueError, "block_size must be at least 1"),
        ({"block_size": 2.0}, TypeError, "block_size must be an int"),
        ({"symmetric": True}, TypeError, "symmetric"),
    ],
)
def test_options_that_are_wrong(
    framework: Framework, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        nt_xent(*random_views(framework, 2), **options)


def test_temperature_of_another_shape_is_refused(framework: Framework) -> None:
    views = random_views(framework, 2)
    for shape in ((1,), (10,), (5, 2), (1, 5)):
        with pytest.raises(ValueError, match=r"temperature must be a number or an array of shape \(\), \(N,\) or"):
            nt_xent(*views, temperature=framework.array(np.ones(shape)))
    with pytest.raises(TypeError, match="temperature must be a number, or a floating-point array"):
        nt_xent(*views, temperature="0.5")


def test_no_gradient_by_value_and_grad_for_one_loss_per_row(framework: Framework) -> None:
    with pytest.raises(ValueError, match='reduction must be "mean" or "sum"; received "none"'):
        value_and_grad(nt_xent)(*random_views(framework, 2), reduction="none")
