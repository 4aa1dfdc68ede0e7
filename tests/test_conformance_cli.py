"""The command `infonce conformance`: its output, files and exit codes."""

from __future__ import annotations

import io
import json
import shlex
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from infonce.conformance import Case, Outcome, Program, Subject, cli

QUICK = ["conformance", "--variant", "numpy", "--dtype", "float64"]


def _case(name: str, error: float = 0.5, message: str = "") -> Case:
    def judge(subject: Subject) -> Outcome:
        return Outcome(error, (message,) if message else ())

    return Case(name, "agreement", (Program("tiny", 2, 2),), judge)


GOOD = _case("agreement/fake/good")
BAD = _case("agreement/fake/bad [1]", 3.25, "loss = 1.0, but should be 2.0 \x1b[0m<&>")


@pytest.fixture
def cases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "all_cases", lambda: (GOOD, BAD))


@pytest.fixture
def good_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "all_cases", lambda: (GOOD,))


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    return capsys.readouterr().err


@pytest.mark.usefixtures("good_case")
def test_all_passed_is_exit_code_0_with_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(QUICK) == 0
    output = capsys.readouterr().out
    assert "numpy on cpu in float64: 1 of 1 cases passed, worst error 0.5" in output
    rows = [line.split() for line in output.splitlines()]
    assert ["variant", "device", "dtype", "cases", "passed", "failed", "worst", "error"] in rows
    assert ["numpy", "cpu", "float64", "1", "1", "0.5"] in rows
    assert output.endswith("passed: all 1 cases\n")


@pytest.mark.usefixtures("cases")
def test_a_failure_is_exit_code_1_and_prints_a_line_that_repeats_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(QUICK) == 1
    output = capsys.readouterr().out
    assert "loss = 1.0, but should be 2.0" in output
    assert "Failed: 1 of 2 in agreement" in output
    (line,) = [line.strip() for line in output.splitlines() if line.strip().startswith("infonce conformance --")]
    assert cli.main(shlex.split(line)[1:]) == 1
    assert "FAILED: 1 of 1 cases failed" in capsys.readouterr().out


@pytest.mark.usefixtures("cases")
def test_many_failures_are_cut_short(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    many = tuple(_case(f"agreement/fake/{number}", 2.0, "wrong") for number in range(9))
    monkeypatch.setattr(cli, "all_cases", lambda: many)
    assert cli.main(QUICK) == 1
    output = capsys.readouterr().out
    assert output.count("infonce conformance --variant") == 3
    assert "and 6 more" in output


@pytest.mark.usefixtures("cases")
def test_json_and_junit_hold_every_failure(tmp_path: Path) -> None:
    cli.main([*QUICK, "--json", str(tmp_path / "r.json"), "--junit", str(tmp_path / "r.xml")])
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["passed"], report["target"]) == (False, "infonce:info_nce")
    assert report["groups"] == {"agreement": {"cases": 2, "passed": 1}}
    (line,) = report["lines"]
    assert (line["variant"], line["cases"], line["passed"], line["error"]) == ("numpy", 2, 1, 3.25)
    assert line["errors"] == {"info_nce": 3.25}
    (failure,) = line["failures"]
    assert failure["case"] == BAD.name
    assert failure["messages"] == list(BAD.judge(None).messages)  # type: ignore[arg-type]

    root = ElementTree.parse(tmp_path / "r.xml").getroot()
    suite = root.find("testsuite[@name='numpy.cpu.float64']")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert [test.get("name") for test in suite] == [GOOD.name, BAD.name]
    (found,) = suite.iter("failure")
    assert found.get("message") == "loss = 1.0, but should be 2.0 [0m<&>"
    assert failure["command"] in (found.text or "")


@pytest.mark.usefixtures("good_case")
def test_a_missing_required_framework_is_exit_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "jax", None)
    assert cli.main([*QUICK, "--require", "torch,jax", "--junit", str(tmp_path / "r.xml")]) == 1
    output = capsys.readouterr().out
    assert "absent: jax: not installed; to add it: pip install 'infonce-xp[jax]'" in output
    assert "FAILED: jax is required and absent" in output
    missing = ElementTree.parse(tmp_path / "r.xml").getroot().find("testsuite/testcase[@name='jax']/failure")
    assert missing is not None


@pytest.mark.usefixtures("cases")
def test_only_the_case_that_is_named_or_matches_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*QUICK, "--case", "agreement/*/good"]) == 0
    assert cli.main([*QUICK, "--case", BAD.name]) == 1
    assert "1 of 1 cases failed" in capsys.readouterr().out
    assert "no case is named 'nothing'" in refusal([*QUICK, "--case", "nothing"], capsys)


@pytest.mark.usefixtures("cases")
def test_list_prints_the_names_and_runs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["conformance", "--list"]) == 0
    assert capsys.readouterr().out.splitlines() == [GOOD.name, BAD.name]
    assert cli.main(["conformance", "--list", "--group", "errors"]) == 0
    assert capsys.readouterr().out.strip() == ""


@pytest.mark.usefixtures("cases")
@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("no_such_package.module:function", "cannot be imported"),
        ("math:no_such_function", "cannot be imported"),
        ("math:pi", "is a float, not a function"),
        ("math.sqrt", "not of the form package.module:function"),
    ],
)
def test_a_target_that_is_none_is_a_usage_error(target: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert words in refusal(["conformance", "--target", target], capsys)


@pytest.mark.usefixtures("cases")
@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("--framework", "theano"),
        ("--device", "abacus"),
        ("--group", "vibes"),
        ("--dtype", "float8"),
        ("--require", "theano"),
        ("--variant", "numpy:fast"),
    ],
)
def test_an_unknown_name_is_a_usage_error(option: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert repr(name) in refusal(["conformance", "--framework", "numpy", option, name], capsys)


@pytest.mark.usefixtures("good_case")
def test_a_target_in_the_current_directory_is_judged(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "my_losses.py").write_text("def my_loss(query, positive_key, *others):\n    return query.sum()\n")
    monkeypatch.chdir(tmp_path)
    arguments = ["conformance", "--target", "my_losses:my_loss", "--framework", "numpy,torch", "--variant", "torch"]
    assert cli.main([*arguments, "--framework", "torch", "--dtype", "float64,float32"]) == 0
    output = capsys.readouterr().out
    assert "infonce conformance of my_losses:my_loss" in output
    assert "torch on cpu in float32: 1 of 1 cases passed" in output
    assert str(tmp_path) not in sys.path


@pytest.mark.usefixtures("cases")
def test_a_terminal_gets_a_bar_and_no_plain_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(cli, "Console", lambda: Console(file=screen, force_terminal=True, width=120))
    cli.main(QUICK)
    assert "loading the frameworks" in screen.getvalue()
    assert "cases passed, worst error" not in screen.getvalue() + capsys.readouterr().out


def test_the_module_runs_as_a_command_without_a_terminal() -> None:
    name = "agreement/ordinary/in-batch-mean/normal-t0.1"
    words = [sys.executable, "-m", "infonce", *QUICK, "--variant", "numpy:readonly", "--case", name]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "numpy:readonly on cpu in float64: 1 of 1 cases passed" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("option", ["--json", "--junit"])
def test_a_report_that_cannot_be_written_is_found_before_the_run(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "there is no folder" in refusal([*QUICK, option, str(tmp_path / "absent" / "report")], capsys)


def test_a_reader_that_leaves_early_gets_no_traceback() -> None:
    command = [sys.executable, "-m", "infonce", "conformance", "--list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        run.stdout.readline()
        run.stdout.close()
        assert "Traceback" not in run.stderr.read()


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith("infonce-xp ")
