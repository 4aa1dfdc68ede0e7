"""NT-Xent: values that are known without any formula of ours, and what it refuses."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from infonce import info_nce, nt_xent, value_and_grad
from infonce.conformance.data import round_to

from ._dense import check
from ._dense import nt_xent as dense
from ._frameworks import Framework
from ._frameworks import framework as framework_of
from ._nt_xent import FEATURES

pytestmark = pytest.mark.filterwarnings("ignore:there are no negatives:UserWarning")


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
