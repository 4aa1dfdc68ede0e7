"""The package passes its own suite: every variant, on every device and in every dtype that this machine has."""

from __future__ import annotations

import pytest

from infonce.conformance import all_cases, run

# Written out, so that a variant that goes missing fails here.
VARIANTS = {
    "numpy": ["", "readonly"],
    "array_api_strict": ["", "no-float64"],
    "torch": [
        *("", "compile", "inductor", "func", "vmap", "grad(vmap)", "vmap(grad)", "no_grad", "inference"),
        *("autocast-float16", "autocast-bfloat16", "scaler", "value_and_grad"),
    ],
    "jax": ["", "jit", "vmap", "shard_map", "shard_map:unchecked", "x32", "value_and_grad"],
    "tensorflow": ["", "function", "jit", "dynamic", "variable", "value_and_grad"],
}
NAMES = [f"{framework}:{name}".removesuffix(":") for framework, names in VARIANTS.items() for name in names]


@pytest.mark.parametrize("name", [pytest.param(x, marks=pytest.mark.xdist_group(x.partition(":")[0])) for x in NAMES])
def test_variant_passes(name: str) -> None:
    report = run(variants=[name], require=[name.partition(":")[0]])
    failures = [result for line in report.lines for result in line.failures]
    assert not failures, "\n".join(f"{x.case}: {x.outcome.messages[0]}\n{x.command}" for x in failures[:10])
    assert report.passed, report.absences
    assert report.lines
    if name != "torch:inductor":  # ten cases by design
        assert all(len(line.results) >= 200 for line in report.lines)


def test_every_variant_is_listed() -> None:
    from infonce.conformance.variants import FRAMEWORKS, load

    assert sorted(x.name for framework in FRAMEWORKS for x in load(framework).variants()) == sorted(NAMES)


def test_compiled_variants_share_few_programs() -> None:
    programs = {program for case in all_cases() if case.compiled for program in case.programs}
    assert len(programs) <= 24
