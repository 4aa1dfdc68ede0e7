"""NT-Xent as the variants of the conformance suite call it, judged against its dense formula."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from infonce import nt_xent, value_and_grad
from infonce.conformance.data import round_to
from infonce.conformance.model import Program
from infonce.conformance.variants._load import load
from infonce.conformance.variants._variant import Step, Task, Variant, loss_dtype, values

from ._dense import Dense, Floats, check
from ._dense import nt_xent as dense
from ._frameworks import framework as framework_of

FEATURES = 4


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
