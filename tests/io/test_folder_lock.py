"""The lock on a folder: one holder, in this process and among processes, and none after a kill."""

import subprocess
import sys

import pytest

from jdl.core.errors import CheckpointError
from jdl.io.folder_lock import FolderLock

HOLD = """
import sys
from jdl.io.folder_lock import FolderLock
FolderLock(sys.argv[1]).acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_one_holder_in_a_process(tmp_path):
    with FolderLock(tmp_path), pytest.raises(CheckpointError, match="another run"):
        FolderLock(tmp_path).acquire()
    with FolderLock(tmp_path):
        pass


def test_one_holder_among_processes_and_none_after_a_kill(tmp_path):
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(CheckpointError, match="another run"):
            FolderLock(tmp_path).acquire()
        other.kill()
    with FolderLock(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written to"):
        FolderLock(tmp_path / "file").acquire()
