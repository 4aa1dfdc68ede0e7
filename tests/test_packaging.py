"""The wheel is what git holds, and its types are what a user's checker sees from another directory."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE_FOLDERS = {"infonce": "infonce", "backends": "infonce"}  # on disk: as installed

# One worker takes them all, so that the distributions are built once.
pytestmark = pytest.mark.xdist_group("packaging")


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def files_of_git() -> list[str]:
    """The files of the working tree that git tracks or would track."""
    listed = run(
        "git", "-c", f"safe.directory={ROOT}", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT
    )
    return [name for name in listed.splitlines() if (ROOT / name).exists()]


def installed_names(files: list[str]) -> set[str]:
    """The package's files among `files`, under the names they have once installed."""
    parts = [name.partition("/") for name in files]
    return {f"{PACKAGE_FOLDERS[folder]}/{rest}" for folder, _, rest in parts if folder in PACKAGE_FOLDERS}


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist, and the wheel that was built from it."""
    source, output = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in files_of_git():  # a copy, because setuptools reuses and leaves a build folder
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, source / name)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", output, source, cwd=output)
    (sdist,), (wheel,) = output.glob("*.tar.gz"), output.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="session")
def installed(distributions: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment that holds the wheel, and sees this one's other packages."""
    environment = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=environment)
    python = environment / "bin" / "python"
    (site_packages,) = environment.glob("lib/python*/site-packages")
    # Only the folder itself: a .pth file found by way of another one, such as that of an editable install, is not read.
    (site_packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--no-deps",
        "--no-index",
        distributions[1],
        cwd=environment,
    )
    return python


def test_wheel_holds_the_package_files_of_git_and_no_others(distributions: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(distributions[1]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == installed_names(files_of_git())
    assert "infonce/py.typed" in names


def test_sdist_holds_the_package_files_of_git(distributions: tuple[Path, Path]) -> None:
    with tarfile.open(distributions[0]) as sdist:
        names = [member.name.partition("/")[2] for member in sdist if member.isfile()]
    assert installed_names(names) == installed_names(files_of_git())
    assert {"LICENSE", "README.md", "pyproject.toml"} <= set(names)


def test_wheel_carries_the_license_and_the_command(distributions: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(distributions[1]) as wheel:
        metadata = {name.partition(".dist-info/")[2]: name for name in wheel.namelist()}
        assert "infonce contributors" in wheel.read(metadata["licenses/LICENSE"]).decode()
        assert "infonce = infonce.conformance.cli:main" in wheel.read(metadata["entry_points.txt"]).decode()


def test_no_symlinks() -> None:
    assert [name for name in files_of_git() if (ROOT / name).is_symlink()] == []


def test_installed_package_is_the_wheel(installed: Path, tmp_path: Path) -> None:
    code = "import infonce, infonce.numpy; print(infonce.__file__); print(infonce.numpy.__file__)"
    for line in run(installed, "-c", code, cwd=tmp_path).splitlines():
        assert Path(line).is_relative_to(installed.parents[1])


def test_installed_command_runs(installed: Path, tmp_path: Path) -> None:
    assert "conformance" in run(installed.with_name("infonce"), "--help", cwd=tmp_path)


def test_installed_types_are_strict_and_as_a_user_sees_them(installed: Path, tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests" / "typing_user.py", tmp_path)
    run(
        sys.executable, "-m", "mypy", "--python-executable", installed, "--config-file", ROOT / "pyproject.toml",
        "--cache-dir", ROOT / ".mypy_cache", "--package", "infonce", "--module", "typing_user",
        cwd=tmp_path,
    )  # fmt: skip
