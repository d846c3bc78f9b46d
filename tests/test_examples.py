"""Every example runs as it stands, in a process of its own, and says something."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
# What a line of the output must hold.
SAID = {
    "01_quickstart.py": "MLP (100, 100)",
    "02_functional.py": "lr 1e-03",
    "03_network_graph.py": "(batch, 20)",
    "04_residual_blocks.py": "8 blocks, silu",
    "05_two_paths.py": "two paths: AUC",
    "06_own_module.py": "gated: RMSE",
    "07_callbacks.py": "by epoch for 'watch'",
}
MAX_LINES = {"02_functional.py": 60}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_runs(path):
    environment = os.environ | {"JDL_CPU_DEVICES": "2"}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path)], capture_output=True, text=True, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert any(SAID[path.name] in line for line in done.stdout.splitlines()), done.stdout
    assert not re.search(r"\bnan\b", done.stdout)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_is_short_and_numbered(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) < MAX_LINES.get(path.name, 120)
    assert path.name[:2].isdigit()
