"""Every example in the documentation and in the docstrings runs."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def module_names() -> list[str]:
    """Every module of the package, as it is imported: backends/X is infonce.X; but those that import Triton."""
    names = []
    for folder, package in (("infonce", "infonce"), ("backends", "infonce")):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            names.append(".".join([package, *(part for part in parts if part != "__init__")]))
    return [name for name in names if not name.endswith("__main__") and "._triton" not in name]


def run_page(text: str, name: str) -> int:
    """Run the page's python blocks in one namespace, top to bottom; return how many there were."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    blocks = list(FENCE.finditer(text))
    for block in blocks:
        line = text[: block.start()].count("\n") + 2
        if ">>>" in block[1]:
            example = doctest.DocTestParser().get_doctest(block[1], namespace, name, name, line)
            runner = doctest.DocTestRunner()
            assert not runner.run(example, clear_globs=False).failed, f"{name}:{line}"
            namespace.update(example.globs)
        else:
            exec(compile("\n" * (line - 1) + block[1], name, "exec"), namespace)
    return len(blocks)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_examples_run(page: Path) -> None:
    run_page(page.read_text(), str(page.relative_to(ROOT)))


def test_readme_has_examples() -> None:
    assert FENCE.search((ROOT / "README.md").read_text())


@pytest.mark.parametrize("name", module_names())
def test_docstring_examples_run(name: str) -> None:
    assert not doctest.testmod(importlib.import_module(name)).failed


def test_a_wrong_example_is_noticed() -> None:
    with pytest.raises(AssertionError, match=r"page\.md:4"):
        run_page("text\n\n```python\n>>> 1 + 1\n3\n```\n", "page.md")
    with pytest.raises(ZeroDivisionError):
        run_page("```python\nx = 1\n```\n```python\nx / 0\n```\n", "page.md")
