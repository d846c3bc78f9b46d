"""The pages of docs/ are true: generated lists are current, code blocks run, links lead somewhere."""

import importlib.util
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.glob("*.md"))


def generator():
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["layers.md", "tabular-learners.md"])
def test_generated_lists_are_current(name):
    assert (DOCS / name).read_text(encoding="utf-8") == generator().PAGES[name](), "run python docs/generate.py"


@pytest.mark.parametrize("name", ["architectures.md", "own-layers.md"])
def test_code_blocks_run(name, capsys):
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / name).read_text(encoding="utf-8"), re.S)
    assert len(blocks) >= 2
    exec(compile("\n".join(blocks), name, "exec"), {})


@pytest.mark.parametrize("page", [*PAGES, DOCS.parent / "README.md"], ids=lambda page: page.name)
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target
