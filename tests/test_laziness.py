"""The core imports no framework; a call loads that of its arguments and no other."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

CORE = Path(__file__).parents[1] / "infonce"
LIBRARIES = frozenset(
    [
        "array_api_strict",
        "cupy",
        "dask",
        "jax",
        "jaxlib",
        "keras",
        "mlx",
        "paddle",
        "sparse",
        "tensorflow",
        "torch",
        "triton",
    ]
)

ARRAYS = {
    "numpy": "import numpy; x = numpy.eye(3)",
    "array_api_strict": "import array_api_strict; x = array_api_strict.eye(3)",
    "torch": "import torch; x = torch.eye(3)",
    "jax": "import jax; x = jax.numpy.eye(3)",
    "tensorflow": "import tensorflow; x = tensorflow.eye(3)",
}


def run_python(code: str) -> str:
    """Run `code` in a fresh interpreter; return what it prints last."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def loaded_after(*statements: str) -> list[set[str]]:
    """The libraries that are loaded after each statement, in one fresh interpreter."""
    lines = ["import json, sys", "seen = []"]
    for statement in statements:
        lines += [statement, f"seen.append(sorted({set(LIBRARIES)!r} & set(sys.modules)))"]
    return [set(names) for names in json.loads(run_python("\n".join([*lines, "print(json.dumps(seen))"])))]


def imports_of(source: str) -> set[str]:
    """The top-level names of all that `source` imports absolutely, inside functions too."""
    nodes = list(ast.walk(ast.parse(source)))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    from_ = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {name.partition(".")[0] for name in plain | from_}


@pytest.mark.parametrize("module", ["infonce", "infonce.numpy", "infonce.conformance"])
def test_import_loads_no_framework(module: str) -> None:
    assert loaded_after(f"import {module}") == [set()]


@pytest.mark.parametrize("framework", ARRAYS)
def test_call_loads_no_other_framework(framework: str) -> None:
    # TensorFlow itself loads jax and keras: what counts is that nothing comes on top.
    before, after = loaded_after(ARRAYS[framework], "import infonce; infonce.value_and_grad(infonce.info_nce)(x, x)")
    assert after == before


def test_numpy_works_where_no_framework_can_be_imported() -> None:
    absent = "".join(f"sys.modules[{name!r}] = None; " for name in sorted(LIBRARIES))
    code = f"import sys; {absent}{ARRAYS['numpy']}; import infonce; print(infonce.info_nce(x, x, temperature=1.0))"
    assert float(run_python(code)) == pytest.approx(0.551444713932051)  # log(1 + 2 / e)


def test_core_never_imports_a_framework() -> None:
    sources = sorted(CORE.glob("*.py"))
    assert sources
    for path in sources:
        assert not imports_of(path.read_text()) & LIBRARIES, path.name


def test_checks_can_fail() -> None:
    assert loaded_after("import infonce", "import array_api_strict") == [set(), {"array_api_strict"}]
    assert imports_of("def f():\n    import torch.nn\n    from jax import numpy\n") == {"torch", "jax"}
    with pytest.raises(AssertionError, match="ModuleNotFoundError"):
        run_python("import sys; sys.modules['torch'] = None; import infonce.torch")
