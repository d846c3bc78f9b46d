"""`kill -9` at random moments: what resumes ends bit-equal to a run that was never stopped."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.bits

SCRIPT = """
import sys
import numpy as np
import jax
import jdl
from jdl.train.callbacks import checkpoint
from jdl.train.callbacks.checkpoint import Checkpoint

checkpoint.REST = 0.0  # it writes nearly all the time, so that many are killed while it does
folder, out, epochs = sys.argv[1], sys.argv[2], int(sys.argv[3])
callbacks = [Checkpoint(folder, keep=2)] if folder != "none" else []
learner = jdl.po("scale") >> jdl.lrn(
    "classif.mlp", neurons=(48, 48), dropout=0.1, epochs=epochs, batch_size=8, validate=0.2, restore_best=True,
    callbacks=callbacks, resume=bool(callbacks) or None,
)
print("ready", flush=True)
result = jdl.resample(jdl.tsk("iris"), learner, jdl.rsmp("cv", folds=3), key=2, progress=False)
leaves = [leaf for o in result.outcomes for leaf in jax.tree.leaves((o.fitted.run.params, o.fitted.run.history))]
np.savez(out, *leaves)
"""
EPOCHS = 600


def started(folder: Path | str, out: Path) -> subprocess.Popen:
    args = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(folder), str(out), str(EPOCHS)]
    return subprocess.Popen(args, stdout=subprocess.PIPE, text=True)


def finished(folder: Path | str, out: Path) -> list[np.ndarray]:
    with started(folder, out) as process:
        assert process.wait(timeout=300) == 0
    with np.load(out) as arrays:
        return list(arrays.values())


def newest(folder: Path) -> int:
    return max((int(p.name.rpartition("-")[2]) for p in folder.glob("runs-*")), default=0)


def killed_at_random(folder: Path, out: Path, draw: random.Random) -> int:
    """Kills a run some time after its first new checkpoint; the epoch of the newest one."""
    before = newest(folder)
    with started(folder, out) as process:
        deadline = time.monotonic() + 120
        while newest(folder) <= before and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(draw.uniform(0.0, 0.25))  # a write takes some hundredths of a second: many kills fall into one
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
    return newest(folder)


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_runs_end_as_if_they_had_not_been(tmp_path, kills):
    whole = finished("none", tmp_path / "whole.npz")
    draw = random.Random(kills)
    for i in range(kills):
        folder = tmp_path / f"ck{i}"
        reached = [killed_at_random(folder, tmp_path / "killed.npz", draw)]
        if i == 0:  # and once more on the way
            reached.append(killed_at_random(folder, tmp_path / "killed.npz", draw))
        assert 0 < reached[0] <= reached[-1] < EPOCHS
        resumed = finished(folder, tmp_path / f"resumed{i}.npz")
        assert len(resumed) == len(whole)
        for a, b in zip(whole, resumed, strict=True):
            np.testing.assert_array_equal(a, b)
