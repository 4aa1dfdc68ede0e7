"""`sup_con`, and the options that `nt_xent` shares with it, against their dense formulas, in every framework."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from infonce.conformance.data import round_to

from . import _dense_sup_con as dense
from ._frameworks import AUTODIFF, NAMES, Framework
from ._frameworks import framework as framework_of
from ._gradients import differentiate

pytestmark = [
    pytest.mark.filterwarnings("ignore:there are no negatives:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),  # Dynamo's own doing
]

Floats = NDArray[np.float64]
Arrays = dict[str, NDArray[Any]]

FEATURES = 4
LABELS = np.array([3, -1, 3, 7, 3, -1, 5])  # of 7 samples; two are alone
IDS = np.array([0, 1, 0, 2, 3, 3, 4])


@dataclass(frozen=True)
class Case:
    """A call: the loss, how its positives, temperature and weights are given, and its other options."""

    name: str
    loss: str = "sup_con"
    views: int = 0  # of `sup_con` 0 for (N, D)
    positives: str = "labels"  # "labels", "booleans" or "weights"; of `nt_xent` "ids" or "distinct"
    temperature: str = "number"  # "number", "scalar" or "samples"
    weighted: bool = False
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def by_row(self) -> bool:
        return dict(self.options).get("reduction") == "none"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the loss."""
        n = len(LABELS)
        by_sample = (n, self.views) if self.views else (n,)
        return () if not self.by_row else (self.views * n,) if self.loss == "nt_xent" else by_sample

    def data(self) -> tuple[Arrays, Arrays]:
        """What has a gradient, and what has none."""
        rng, n = np.random.default_rng(zlib.crc32(self.name.encode())), len(LABELS)
        if self.loss == "nt_xent":
            leaves = {f"view{i}": view for i, view in enumerate(rng.normal(size=(self.views, n, FEATURES)))}
            fixed = {"ids": IDS} if self.positives == "ids" else {}
        else:
            leaves = {"embeddings": rng.normal(size=(n, self.views, FEATURES) if self.views else (n, FEATURES))}
            fixed = {"labels": LABELS} if self.positives == "labels" else {"positives": self.matrix(rng)}
        if self.temperature != "number":
            leaves["temperature"] = rng.uniform(0.2, 0.6, size=n if self.temperature == "samples" else ())
        if self.weighted:
            leaves["weight"] = rng.uniform(0.1, 2, size=n)
        return leaves, fixed

    def matrix(self, rng: np.random.Generator) -> NDArray[Any]:
        """Not symmetric, with a diagonal that does not count, a row without positives and one without negatives."""
        rows = len(LABELS) * max(self.views, 1)
        chosen = rng.random((rows, rows)) < 0.3
        chosen[1], chosen[2] = np.arange(rows) == 1, True
        return chosen if self.positives == "booleans" else np.where(chosen, rng.uniform(0.2, 3, chosen.shape), 0.0)

    def call(self, losses: Callable[[str], Any], arrays: dict[str, Any]) -> Any:
        arrays = dict(arrays)
        views = [arrays.pop(f"view{i}") for i in range(self.views if self.loss == "nt_xent" else 0)]
        if self.temperature == "number":
            arrays["temperature"] = 0.3
        return losses(self.loss)(*views, **arrays, **dict(self.options))


def case(name: str, loss: str = "sup_con", views: int = 0, positives: str = "", /, **options: Any) -> Case:
    temperature, weighted = options.pop("temperature", "number"), options.pop("weighted", False)
    positives = positives or ("labels" if loss == "sup_con" else "distinct")
    return Case(name, loss, views, positives, temperature, weighted, tuple(options.items()))


CASES = (
    case("labels"),
    case("labels-in", form="in", reduction="sum", block_size=3),
    case("labels-zero", rows_without_positives="zero", temperature="samples", weighted=True, block_size=1),
    case("labels-none", "sup_con", 0, reduction="none", temperature="scalar"),
    case("views", "sup_con", 2, temperature="samples"),
    case("views-in", "sup_con", 3, form="in", weighted=True, block_size=3),
    case("views-none", "sup_con", 2, reduction="none", temperature="samples", weighted=True, block_size=1),
    case("booleans", "sup_con", 0, "booleans", temperature="scalar"),
    case("booleans-in-zero", "sup_con", 2, "booleans", form="in", rows_without_positives="zero", block_size=3),
    case("weights", "sup_con", 0, "weights", weighted=True, temperature="samples"),
    case("weights-in", "sup_con", 2, "weights", form="in", block_size=3),
    case("weights-none", "sup_con", 0, "weights", reduction="none", weighted=True),
    case("dot", normalize=False, margin=0.2, temperature="scalar"),
    case("margin", "sup_con", 2, margin=-0.3, temperature="samples"),
    case("margin-in", "sup_con", 0, "weights", form="in", margin=0.25),
    case("smoothing", "sup_con", 0, "weights", label_smoothing=0.2, margin=0.1, temperature="samples"),
    case("smoothing-in", form="in", label_smoothing=0.1, reduction="none"),
    case("decoupled", decoupled=True, temperature="scalar"),
    case("decoupled-in", "sup_con", 2, "weights", form="in", decoupled=True, margin=0.1),
    case("debias", debias=0.05, temperature="samples"),
    case("debias-in", "sup_con", 2, "weights", form="in", debias=0.1, temperature="scalar"),
    case("hardness", "sup_con", 0, "booleans", hardness=1.5, temperature="samples", weighted=True),
    case("corrected", hardness=0.5, debias=0.3, margin=0.1, temperature="samples", reduction="none"),
    case("corrected-decoupled", form="in", hardness=0.5, debias=0.05, decoupled=True, temperature="scalar"),
    case("excluded", "sup_con", 2, exclude_positives=True, margin=0.1, temperature="samples"),
    case("excluded-weights", "sup_con", 0, "weights", exclude_positives=True, weighted=True, reduction="none"),
    case("excluded-corrected", exclude_positives=True, hardness=1.0, debias=0.1, temperature="samples"),
    case("ntxent-ids", "nt_xent", 2, "ids", temperature="scalar"),
    case("ntxent-samples", "nt_xent", 3, "ids", temperature="samples", weighted=True, block_size=3),
    case("ntxent-none", "nt_xent", 2, "ids", temperature="samples", weighted=True, reduction="none", block_size=3),
    case("ntxent-smoothing", "nt_xent", 3, "ids", label_smoothing=0.2, margin=0.1, weighted=True, reduction="sum"),
    case("ntxent-decoupled", "nt_xent", 2, decoupled=True, margin=0.1, temperature="scalar"),
    case("ntxent-decoupled-3", "nt_xent", 3, "ids", decoupled=True, temperature="samples", block_size=1),
    case("ntxent-debias", "nt_xent", 2, debias=0.1, temperature="scalar", weighted=True),
    case("ntxent-debias-3", "nt_xent", 3, "ids", debias=0.3, temperature="samples"),
    case("ntxent-hardness", "nt_xent", 2, "ids", hardness=1.0, temperature="scalar"),
    case("ntxent-corrected", "nt_xent", 2, debias=0.1, hardness=1.0, temperature="samples", block_size=3),
    case("ntxent-excluded", "nt_xent", 3, "ids", exclude_positives=True, margin=0.1, temperature="samples"),
    case("ntxent-excluded-none", "nt_xent", 3, exclude_positives=True, reduction="none", weighted=True),
    case("ntxent-dot", "nt_xent", 3, "ids", normalize=False, label_smoothing=0.1, temperature="scalar"),
)
BY_NAME = {case.name: case for case in CASES}
# Few enough to compile.
COMPILED = ("views-in", "weights-none", "smoothing", "debias-in", "excluded", "ntxent-none", "ntxent-corrected")


def programs() -> list[Any]:
    """(framework, compiled or not, case): eager or not, JAX compiles each, so it gets a third of them."""
    chosen = [(name, False, case) for name in NAMES for case in list(BY_NAME)[:: 3 if name == "jax" else 1]]
    chosen += [(name, True, case) for name in AUTODIFF for case in COMPILED]
    return [pytest.param(*x, id=f"{x[0]}{':compiled' * x[1]}-{x[2]}") for x in chosen]


def exact(case: Case, leaves: Arrays, fixed: Arrays, cotangent: Floats | None) -> tuple[Floats, Arrays]:
    """The dense loss, in float64, and its gradients."""
    tensors = {name: torch.tensor(x, requires_grad=True) for name, x in leaves.items()}
    others = {name: torch.tensor(x) for name, x in fixed.items()}
    dense_case = Case(**{**vars(case), "options": tuple(x for x in case.options if x[0] != "block_size")})
    loss = dense_case.call(lambda name: getattr(dense, name), {**tensors, **others})
    by_loss = None if cotangent is None else torch.tensor(cotangent)
    found = dense.gradients(loss, list(tensors.values()), by_loss)
    return loss.detach().numpy(), {name: g.numpy() for name, g in zip(tensors, found, strict=True)}


def solved(
    framework: Framework,
    case: Case,
    leaves: Arrays,
    fixed: Arrays,
    cotangent: Floats | None,
    *,
    dtype: str = "float64",
    compiled: bool = False,
) -> tuple[Floats, dict[str, Floats]]:
    """Ours, with every dtype and shape as it should be."""
    arrays = {name: framework.array(x, dtype) for name, x in leaves.items()}
    others = {name: framework.array(x, dtype if x.dtype == np.float64 else None) for name, x in fixed.items()}
    compute = "float64" if dtype == "float64" else "float32"
    by_loss = None if cotangent is None else framework.array(cotangent, compute)
    loss, gradients = differentiate(
        framework,
        lambda given: case.call(given.__getitem__, {name: given[name] for name in [*arrays, *others]}),
        arrays,
        others,
        cotangent=by_loss,
        compiled=compiled,
    )
    assert framework.dtype(loss) == compute
    assert set(gradients) == (set() if case.by_row and framework.name not in AUTODIFF else set(leaves))
    for name, gradient in gradients.items():
        assert framework.dtype(gradient) == dtype
        assert tuple(gradient.shape) == leaves[name].shape
    return framework.values(loss), {name: framework.values(g) for name, g in gradients.items()}


def judge(framework: Framework, case: Case, *, compiled: bool = False) -> None:
    leaves, fixed = case.data()
    cotangent = np.random.default_rng(3).normal(size=case.shape) if case.by_row else None
    want, gradients = exact(case, leaves, fixed, cotangent)
    got, found = solved(framework, case, leaves, fixed, cotangent, compiled=compiled)
    assert got.shape == want.shape == case.shape
    assert_close(got, want, f"{case.name}: loss")
    for name, gradient in found.items():
        assert_close(gradient, gradients[name], f"{case.name}: gradient of {name}")


def assert_close(got: Floats, want: Floats, what: str, unit: float = 1e-12) -> None:
    largest = max(1.0, float(np.max(np.abs(want))))
    np.testing.assert_allclose(got, want, rtol=0, atol=unit * largest, err_msg=what)


# The formula itself.


def test_formula_gives_known_numbers() -> None:
    q, k = torch.tensor(np.random.default_rng(0).standard_normal((2, 6, 5)))
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    assert float(dense.sup_con(q, labels)) == pytest.approx(3.611680649608875, rel=1e-13)
    assert float(dense.nt_xent(q, k)) == pytest.approx(3.4061338355493107, rel=1e-13)
    assert float(dense.nt_xent(q, k, temperature=0.07)) == pytest.approx(15.481043443439548, rel=1e-13)


# Values and gradients.


@pytest.mark.parametrize(("name", "compiled", "chosen"), programs())
def test_value_and_every_gradient_are_those_of_the_formula(name: str, compiled: bool, chosen: str) -> None:
    framework = framework_of(name)
    with framework.settings():
        judge(framework, BY_NAME[chosen], compiled=compiled)


KINDS: tuple[dict[str, Any], ...] = (
    {},
    {"margin": 0.2},
    {"label_smoothing": 0.2},
    {"decoupled": True},
    {"debias": 0.1},
    {"hardness": 0.5, "debias": 0.05, "margin": -0.1},
    {"exclude_positives": True},
)
TARGETS = ((0, "labels"), (2, "labels"), (0, "booleans"), (2, "weights"))


def combinations() -> list[Case]:
    product = itertools.product(
        ("out", "in"), ("mean", "sum", "none"), ("ignore", "zero"), (1, 3, None), TARGETS, KINDS
    )
    return [
        case(
            f"{form}-{reduction}-{lonely}-{block_size}-{views}-{positives}-{'-'.join(kind)}",
            "sup_con",
            views,
            positives,
            form=form,
            reduction=reduction,
            rows_without_positives=lonely,
            block_size=block_size,
            temperature="samples",
            weighted=True,
            **kind,
        )
        for form, reduction, lonely, block_size, (views, positives), kind in product
        if not (form == "in" and kind.get("exclude_positives"))
    ]


@pytest.mark.parametrize(("name", "step"), [("numpy", 5), ("torch", 5), ("array_api_strict", 23)])
def test_combinations_of_options(name: str, step: int) -> None:
    framework = framework_of(name)
    with framework.settings():
        for chosen in combinations()[NAMES.index(name) :: step]:  # no step divides a factor: all values meet
            judge(framework, chosen)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("chosen", ["weights-in", "excluded", "ntxent-samples"])
def test_lower_precision_is_computed_in_float32(framework: Framework, dtype: str, chosen: str) -> None:
    if dtype in framework.toolkit.lacking():
        assert framework.name in ("numpy", "array_api_strict")
        return
    case = BY_NAME[chosen]
    leaves, fixed = case.data()
    leaves = {name: round_to(dtype, x) for name, x in leaves.items()}
    fixed = {name: round_to(dtype, x) if x.dtype == np.float64 else x for name, x in fixed.items()}
    want, gradients = exact(case, leaves, fixed, None)
    got, found = solved(framework, case, leaves, fixed, None, dtype=dtype)
    largest_logit = 1 / 0.2
    assert_close(got, want, "loss", 2e-6 * largest_logit)
    for name, gradient in found.items():
        rounding = 1.01 * 2.0**-8 * np.abs(gradients[name]) if dtype == "bfloat16" else 0.0
        error = np.abs(gradient - gradients[name]) - rounding
        assert np.max(error) <= 2e-6 * largest_logit * np.max(np.abs(gradients[name])), f"gradient of {name}"
