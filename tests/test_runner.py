"""The runner: what runs, what fails, what is absent; on cases small enough to judge in no time."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import infonce
from infonce.conformance import Outcome, Subject, judgements, run
from infonce.conformance.plan import _select
from infonce.conformance.variants import DTYPES, Variant

from ._cases import BY_ROW, PROGRAM, case, fails, on_numpy, only, raises, some_loss


def test_a_line_counts_its_cases_and_holds_the_worst_error() -> None:
    report = on_numpy(case(), case(lambda _: Outcome(0.75), "agreement/fake/two"))
    line = only(report)
    assert (line.variant, line.device, line.dtype) == ("numpy", "cpu", "float64")
    assert [result.case for result in line.results] == ["agreement/fake/one", "agreement/fake/two"]
    assert line.error == 0.75
    assert not line.failures
    assert report.passed
    assert report.verdict == "passed: all 2 cases"
    assert report.versions["numpy"] == np.__version__


def test_a_failing_case_fails_the_run_and_says_how_to_repeat_it() -> None:
    report = on_numpy(case(), case(fails, "agreement/fake/bad"))
    (failure,) = only(report).failures
    assert failure.case == "agreement/fake/bad"
    repeats = "infonce conformance --variant numpy --device cpu --dtype float64 --case agreement/fake/bad"
    assert failure.command == repeats
    assert not report.passed
    assert report.verdict == "FAILED: 1 of 2 cases failed"


def test_an_exception_is_a_failure_with_its_name_and_gist() -> None:
    (failure,) = only(on_numpy(case(raises))).failures
    assert failure.outcome.messages == ("raised RuntimeError: what | where | ... | cause | fix",)
    assert failure.outcome.error == float("inf")


def test_a_run_of_nothing_does_not_pass() -> None:
    report = on_numpy(case(dtypes=("bfloat16",)))
    assert report.lines == ()
    assert not report.passed
    assert report.verdict == "FAILED: no case ran"


@pytest.fixture
def no_jax(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax", None)  # its import raises ModuleNotFoundError


@pytest.mark.usefixtures("no_jax")
def test_a_missing_framework_is_named_with_how_to_add_it() -> None:
    report = run(frameworks=["numpy", "jax"], cases=[case()])
    (absence,) = [absence for absence in report.absences if absence.what == "jax"]
    assert "pip install 'infonce-xp[jax]'" in absence.reason
    assert not absence.required
    assert report.passed


@pytest.mark.usefixtures("no_jax")
def test_a_missing_framework_that_is_required_fails_the_run() -> None:
    report = run(frameworks=["numpy"], require=["jax"], cases=[case()])
    assert [absence.what for absence in report.missing] == ["jax"]
    assert not report.passed
    assert "jax is required and absent" in report.verdict


@pytest.mark.usefixtures("no_jax")
def test_pytest_helper_refuses_to_hide_a_missing_framework() -> None:
    with pytest.raises(ImportError, match=r"jax: not installed.*infonce-xp\[jax\]"):
        judgements(frameworks=["jax"], cases=[case()])


def test_a_required_framework_that_is_there_changes_nothing() -> None:
    report = on_numpy(case(), require=["torch"])
    assert report.passed
    assert [line.variant for line in report.lines] == ["numpy"]
    assert "torch" in report.versions


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("frameworks", "theano"),
        ("devices", "tpu9"),
        ("groups", "vibes"),
        ("dtypes", "float8"),
        ("variants", "numpy:fast"),
        ("variants", "theano:fast"),
        ("require", "theano"),
    ],
)
def test_an_unknown_name_is_refused_with_the_names_there_are(option: str, name: str) -> None:
    options: dict[str, Any] = {"frameworks": ["numpy"], option: [name]}
    with pytest.raises(ValueError, match=r"unknown .*there are ") as refusal:
        run(cases=[case()], **options)
    assert name.partition(":")[0] in str(refusal.value)


def test_dtypes_and_devices_that_a_library_lacks_are_named() -> None:
    report = run(frameworks=["numpy", "array_api_strict"], devices=["cpu", "cuda"], cases=[case(dtypes=DTYPES)])
    absent = {absence.what for absence in report.absences}
    assert absent >= {"numpy bfloat16", "array_api_strict float16", "array_api_strict bfloat16", "numpy cuda"}
    assert {(line.variant, line.dtype) for line in report.lines} == {
        ("numpy", "float64"),
        ("numpy", "float32"),
        ("numpy", "float16"),
        ("numpy:readonly", "float64"),
        ("numpy:readonly", "float32"),
        ("numpy:readonly", "float16"),
        ("array_api_strict", "float64"),
        ("array_api_strict", "float32"),
        ("array_api_strict:no-float64", "float32"),
    }


def test_another_function_is_judged_by_its_frameworks_autodiff_and_not_on_options() -> None:
    cases = [case(), case(fails, "options/fake/ours", group="options")]
    report = run(some_loss, frameworks=["numpy", "torch"], variants=["numpy", "torch"], cases=cases, dtypes=["float64"])
    line = only(report)
    assert line.variant == "torch"
    assert [result.case for result in line.results] == ["agreement/fake/one"]
    assert line.results[0].command.endswith(f"--target {some_loss.__module__}:some_loss")
    (numpy,) = [absence for absence in report.absences if absence.what == "numpy"]
    assert "value_and_grad" in numpy.reason
    with pytest.raises(ValueError, match="options"):
        run(some_loss, groups=["options"], cases=cases)


def test_the_packages_own_loss_may_be_named_and_stays_the_packages_own() -> None:
    cases = [case(group="options")]
    assert only(run(infonce.info_nce, variants=["numpy"], dtypes=["float64"], cases=cases)).results


def test_bad_arguments_are_judged_once_in_each_framework_where_calls_are_plain() -> None:
    report = run(frameworks=["numpy"], cases=[case(group="errors", dtypes=DTYPES)])
    assert [(line.variant, line.dtype) for line in report.lines] == [("numpy", "float64")]
    report = run(frameworks=["numpy"], dtypes=["float32"], cases=[case(group="errors", dtypes=DTYPES)])
    assert [(line.variant, line.dtype) for line in report.lines] == [("numpy", "float32")]


def test_compiled_variants_run_the_cases_that_share_programs() -> None:
    variant = Variant("torch:fake", build=lambda task: lambda *_: (0, ()), compiled=True)
    cases = [case(name="agreement/a"), case(name="agreement/b", compiled=False)]
    assert [case.name for case in _select(cases, variant, "float64", DTYPES)] == ["agreement/a"]


def test_a_variant_with_a_limit_takes_a_case_of_each_program_first() -> None:
    variant = Variant("torch:fake", build=lambda task: lambda *_: (0, ()), limit=3)
    names = [("a1", PROGRAM), ("a2", PROGRAM), ("a3", PROGRAM), ("b1", BY_ROW), ("b2", BY_ROW)]
    cases = [case(name=name, programs=(program,)) for name, program in names]
    assert [case.name for case in _select(cases, variant, "float64", DTYPES)] == ["a1", "b1", "a2"]


def test_reduction_none_asks_value_and_grad_for_no_gradients() -> None:
    seen = []

    def judge(subject: Subject) -> Outcome:
        seen.append(subject.differentiable)
        return Outcome()

    on_numpy(case(judge), case(judge, "agreement/fake/none", programs=(BY_ROW,)))
    assert seen == [True, False]


def test_judgements_are_tests_of_your_own() -> None:
    good, bad = judgements(frameworks=["numpy"], variants=["numpy"], dtypes=["float64"], cases=[case(), case(fails)])
    assert str(good) == "numpy-cpu-float64-agreement/fake/one"
    good.check()
    with pytest.raises(AssertionError, match=r"loss = 1\.0, but should be 2\.0[^$]*\ninfonce conformance --variant"):
        bad.check()
