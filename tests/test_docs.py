"""The pages of docs/ are true: generated lists are current, code blocks run, links lead somewhere."""

import importlib.util
import re
from pathlib import Path

import pytest
from flax import nnx

import jdl

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.glob("*.md"))


def generator():
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "name", ["layers.md", "tabular-learners.md", "optimizers.md", "losses.md", "callbacks-list.md"]
)
def test_generated_lists_are_current(name):
    assert (DOCS / name).read_text(encoding="utf-8") == generator().PAGES[name](), "run python docs/generate.py"


def test_learners_show_where_their_defaults_are_others():
    sections = (DOCS / "tabular-learners.md").read_text(encoding="utf-8").split("\n## ")
    realmlp = next(section for section in sections if section.startswith("realmlp\n"))
    assert "| `drop_last` | `True` |" in realmlp and "lr=0.04" in realmlp and "in regression `lr=0.2`." in realmlp
    assert not any("| `drop_last` |" in s for s in sections if not s.startswith(("realmlp", "What all")))


PAGES_THAT_RUN = (
    "architectures",
    "own-layers",
    "optimizers",
    "losses",
    "saving",
    "checkpoints",
    "callbacks",
    "callbacks-list",
)


@pytest.mark.parametrize("name", [f"{page}.md" for page in PAGES_THAT_RUN])
def test_code_blocks_run(name, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / name).read_text(encoding="utf-8"), re.S)
    assert len(blocks) >= 2
    exec(compile("\n".join(blocks), name, "exec"), {})


@pytest.mark.parametrize("name", ["layers.md", "tabular-learners.md"])
def test_every_entry_of_a_list_has_an_example_that_runs(name):
    entries = (DOCS / name).read_text(encoding="utf-8").split("\n## ")[1:]
    for entry in entries:
        example = re.search(r"```python\n(.*?)```", entry, re.S)
        assert example or entry.startswith("What all networks share"), entry.partition("\n")[0]
        if example:
            exec(compile(example[1], entry[:20], "exec"), {"jdl": jdl, "nnx": nnx})


@pytest.mark.parametrize("page", [*PAGES, DOCS.parent / "README.md"], ids=lambda page: page.name)
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target
