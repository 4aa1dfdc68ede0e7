"""A suite that cannot fail proves nothing: the correct implementations pass all of it, each broken one fails.

`Correct` is the plain loss in every dtype, `Family` every option and every loss in float64, without any checks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import pytest

from infonce.conformance.cases import _family, _family_properties, _family_refused, _views_properties, all_cases
from infonce.conformance.model import Case

from . import _behaviour, _gradients, _options, _values
from ._correct import Correct
from ._family import Family

OF_THE_FAMILY = (*_family.cases(), *_family_properties.cases(), *_views_properties.cases())
REFUSED = _family_refused.cases()
_OTHERS = {case.name for case in (*OF_THE_FAMILY, *REFUSED)}
CASES = [case for case in all_cases() if case.name not in _OTHERS]

# Each with the dtype in which it is tried and the group of cases that must notice.
BROKEN: tuple[tuple[type[Correct], str, str], ...] = (
    (_values.WrongMask, "float64", "agreement"),
    (_values.PositiveCountedTwice, "float64", "agreement"),
    (_values.OneCandidateMore, "float64", "agreement"),
    (_values.EqualKeysDropped, "float64", "agreement"),
    (_values.NoMaxShift, "float32", "numerics"),
    (_values.NoMaxShift, "float64", "numerics"),
    (_values.ShiftOfTheBlock, "float32", "numerics"),
    (_values.LogSumExpMinusPositive, "float32", "numerics"),
    (_values.LogSumExpMinusPositive, "float64", "numerics"),
    (_values.HalfSums, "float32", "agreement"),
    (_values.HalfSums, "float16", "numerics"),
    (_values.HalfLogits, "float32", "agreement"),
    (_values.HalfLogits, "bfloat16", "numerics"),
    (_values.HalfUnitRows, "bfloat16", "numerics"),
    (_values.HalfUnitRows, "float16", "numerics"),
    (_values.SingleForDouble, "float64", "agreement"),
    (_gradients.GradientOffByAFactor, "float64", "agreement"),
    (_gradients.GradientOffByAFactor, "float32", "agreement"),
    (_gradients.GradientRoundedTwice, "float16", "numerics"),
    (_gradients.NoTemperatureGradient, "float64", "agreement"),
    (_gradients.TemperatureGradientOfTheNegatives, "float32", "agreement"),
    (_values.TimesTheTemperature, "float64", "agreement"),
    (_values.MeanTemperature, "float64", "options"),
    (_values.EpsilonInTheNorm, "float32", "numerics"),
    (_values.NormOfRawSquares, "float32", "numerics"),
    (_values.NormOfRawSquares, "bfloat16", "numerics"),
    (_values.ClampedNorm, "float32", "numerics"),
    (_values.ZeroRowsDivided, "float32", "numerics"),
    (_gradients.NoProjection, "float64", "agreement"),
    (_values.NormalizeIgnored, "float64", "options"),
    (_values.SymmetricForgotten, "float64", "options"),
    (_values.SymmetricSummed, "float64", "options"),
    (_values.TemperatureOfTheOther, "float64", "options"),
    (_values.InBatchIgnored, "float64", "options"),
    (_values.InBatchAlways, "float64", "agreement"),
    (_behaviour.SumForMean, "float64", "agreement"),
    (_gradients.MeanInTheValueAlone, "float64", "agreement"),
    (_gradients.CotangentIgnored, "float64", "agreement"),
    (_gradients.FirstCotangentForAll, "float64", "agreement"),
    (_behaviour.RowsReversed, "float64", "agreement"),
    (_gradients.KeysGradientOfThePositivesAlone, "float64", "agreement"),
    (_gradients.NoGradientForNegatives, "float64", "agreement"),
    (_values.NegativesOfTheNextRow, "float64", "agreement"),
    (_behaviour.RemainderDropped, "float64", "options"),
    (_behaviour.LastBlockTwice, "float64", "options"),
    (_behaviour.WrongDtype, "float32", "agreement"),
    (_behaviour.InputsModified, "float64", "agreement"),
    (_behaviour.NotDeterministic, "float32", "agreement"),
    (_behaviour.NanHidden, "float64", "errors"),
    (_behaviour.NanSpread, "float64", "errors"),
    (_behaviour.NoChecks, "float64", "errors"),
    (_behaviour.Assertions, "float64", "errors"),
    (_behaviour.SpeechlessErrors, "float64", "errors"),
    (_behaviour.AnotherDefault, "float64", "agreement"),
)


# What is wrong with an option or with a loss of several positives.
BROKEN_OPTIONS: tuple[type[Family], ...] = (
    _options.IdsDropTheOwnPositive,
    _options.IdsInSinglePrecision,
    _options.IdsOfTheNegativesIgnored,
    _options.MaskInverted,
    _options.MaskBeforeTheExplicit,
    _options.MaskNotTurned,
    _options.MaskForgottenBackwards,
    _options.EmptyRowsLeftOut,
    _options.SmoothingOverMaskedColumns,
    _options.SmoothingOverTheNegatives,
    _options.MarginOnAllLogits,
    _options.MarginOnTheLogit,
    _options.BiasNotOnThePositive,
    _options.BiasDividedByTheTemperature,
    _options.NoGradientForTheBias,
    _options.PositiveStaysInTheDecoupled,
    _options.DecoupledWithoutNegatives,
    _options.DebiasWithoutTheClamp,
    _options.DebiasClampedAtZero,
    _options.DebiasFloorWithoutTemperature,
    _options.DebiasOrHardness,
    _options.MaskedColumnsCounted,
    _options.HardnessDetached,
    _options.HardnessWithoutTheCount,
    _options.WeightNotNormalised,
    _options.WeightConstantInTheMean,
    _options.AllRowsCounted,
    _options.OwnRowIsACandidate,
    _options.MeanInsideTheLog,
    _options.MeanOutsideTheLog,
    _options.PositivesByColumns,
    _options.WeightsOfPositivesIgnored,
    _options.PositivesAddedUp,
    _options.PositivesNotExcluded,
    _options.SinglePositiveCancels,
    _options.LabelsOfTheNextSample,
    _options.TemperatureOfTheNextSample,
)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_the_correct_one_passes_every_case(dtype: str) -> None:
    subject = Correct(dtype)
    failed = [
        (case.name, found.messages)
        for case in CASES
        if dtype in case.dtypes and not (found := case.judge(subject)).passed
    ]
    assert not failed


@pytest.mark.parametrize(("broken", "dtype", "group"), BROKEN, ids=lambda x: getattr(x, "__name__", x))
def test_each_broken_one_fails_in_its_group(broken: type[Correct], dtype: str, group: str) -> None:
    subject = broken(dtype)
    cases = [case for case in CASES if case.group == group and dtype in case.dtypes]
    assert any(not case.judge(subject).passed for case in cases)


def failures(family: Family, cases: Iterable[Case]) -> Iterator[str]:
    """The cases that fail, one by one."""
    subject = family.subject()
    return (case.name for case in cases if not case.judge(subject).passed)


def test_the_correct_family_passes_every_case_of_options() -> None:
    assert not [*failures(Family(), OF_THE_FAMILY)]


@pytest.mark.parametrize("broken", BROKEN_OPTIONS, ids=lambda broken: broken.__name__)
def test_each_broken_option_fails(broken: type[Family]) -> None:
    assert next(failures(broken(), OF_THE_FAMILY), None)


def test_every_broken_option_is_listed() -> None:
    defined = {x for x in vars(_options).values() if isinstance(x, type) and x.__module__ == _options.__name__}
    assert defined == set(BROKEN_OPTIONS)


def test_a_family_without_checks_fails_every_refusal() -> None:
    cases = [case for case in REFUSED if "float64" in case.dtypes]
    assert [*failures(Family(), cases)] == [case.name for case in cases]


def test_there_are_at_least_twenty_and_each_group_notices_some() -> None:
    assert len({broken for broken, _, _ in BROKEN}) >= 20
    assert {group for _, _, group in BROKEN} == {"agreement", "numerics", "errors", "options"}


def test_case_names_are_unique_and_begin_with_their_group() -> None:
    cases = all_cases()
    assert not [name for name, count in Counter(case.name for case in cases).items() if count > 1]
    assert all(case.name.startswith(f"{case.group}/") for case in cases)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_compiled_variants_get_two_hundred_cases_of_24_programs(dtype: str) -> None:
    compiled = [case for case in all_cases() if case.compiled and dtype in case.dtypes]
    assert len(compiled) >= 200
    assert len({program for case in compiled for program in case.programs}) <= 24
