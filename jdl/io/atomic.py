"""Folders that appear whole or not at all."""

import ctypes
import errno
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_AT_FDCWD = -100  # linux: paths are relative to the working directory
_RENAME_EXCHANGE = 2  # linux/fs.h


@contextmanager
def new_directory(path: Path, *, replace: bool) -> Iterator[Path]:
    """An empty folder beside `path` that takes its place when the block ends well, and vanishes when it does not.

    Everything in it is on the disk before it is renamed, so that a crash leaves what was there before, or the
    new folder, complete.

    Args:
      path: Where it is to be in the end; folders above it are made.
      replace: Whether a folder that is there already is replaced; it stays untouched until then.

    Raises:
      FileExistsError: Something has appeared at `path` meanwhile.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with new_directory(Path(folder) / "a", replace=False) as new:
    ...         _ = (new / "file").write_text("text")
    ...     sorted(os.listdir(folder))
    ['a']
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{secrets.token_hex(6)}.tmp"
    temporary.mkdir()
    try:
        yield temporary
        _flush(temporary)
        if replace and path.exists():
            _exchange(temporary, path)
        else:
            _rename_to_nothing(temporary, path)
        _flush_one(path.parent)
    finally:
        # What was replaced lies here now, or what was begun and not completed.
        shutil.rmtree(temporary, ignore_errors=True)


def _rename_to_nothing(source: Path, target: Path) -> None:
    if target.exists() or target.is_symlink():  # rename would replace an empty folder
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    os.rename(source, target)


def _exchange(new: Path, old: Path) -> None:
    """Swaps two folders, in one step where the system can."""
    if sys.platform == "linux" and _swapped_at_once(new, old):
        return
    aside = old.parent / f"{new.name}.old"
    os.rename(old, aside)
    try:
        os.rename(new, old)
    except BaseException:
        os.rename(aside, old)
        raise
    os.rename(aside, new)


def _swapped_at_once(new: Path, old: Path) -> bool:
    swap = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if swap is None:
        return False
    return swap(_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(old), _RENAME_EXCHANGE) == 0


def _flush(folder: Path) -> None:
    """Waits until all that is in a folder is on the disk."""
    for parent, _, files in os.walk(folder, topdown=False):
        for name in files:
            _flush_one(Path(parent) / name)
        _flush_one(Path(parent))


def _flush_one(path: Path) -> None:
    if os.name == "nt" and path.is_dir():  # Windows opens no folders
        return
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
