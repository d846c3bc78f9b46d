"""Which files a folder holds, with their sizes and SHA-256: whether it is still what was written."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from jdl.core.errors import CheckpointError


def list_files(folder: Path, *, leave_out: str = "") -> dict[str, dict[str, Any]]:
    """Size in bytes and SHA-256 of every file below a folder, by its relative name.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "a").write_text("text")
    ...     list_files(Path(folder))["a"]["size"]
    4
    """
    return {
        name: {"size": (folder / name).stat().st_size, "sha256": sha256_of(folder / name)}
        for name in file_names(folder)
        if name != leave_out
    }


def file_names(folder: Path) -> list[str]:
    """Relative names of all files, and links, below a folder, with slashes, sorted."""
    found = []
    for parent, folders, files in os.walk(folder):
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        found += [(Path(parent) / name).relative_to(folder).as_posix() for name in [*files, *links]]
    return sorted(found)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_files(folder: Path, listed: Mapping[str, Mapping[str, Any]], *, leave_out: str = "") -> None:
    """Compares a folder with what was listed when it was written.

    Args:
      folder: To be searched.
      listed: As `list_files` gave it.
      leave_out: Name of a file that cannot list itself.

    Raises:
      CheckpointError: Names the first file that is missing, truncated, altered, no plain file, or not listed.
    """
    for name in listed:
        if not is_plain_name(name):
            raise CheckpointError(f"{folder}: the file name {name!r} in its listing leads out of the folder.")
    found = [name for name in file_names(folder) if name != leave_out]
    for name in sorted({*listed, *found}):
        if name not in found:
            raise CheckpointError(f"{folder}: the file '{name}' is missing.\nHint: copy the folder as a whole.")
        if name not in listed:
            raise CheckpointError(
                f"{folder}: the file '{name}' is no part of what was saved.\nHint: keep other files elsewhere."
            )
        _check_file(folder, name, listed[name])


def _check_file(folder: Path, name: str, listed: Mapping[str, Any]) -> None:
    path = folder / name
    if path.is_symlink() or not path.is_file():
        raise CheckpointError(f"{folder}: '{name}' is no plain file.")
    size = path.stat().st_size
    if size != listed.get("size"):
        how = "truncated" if size < listed.get("size", 0) else "altered"
        raise CheckpointError(f"{folder}: the file '{name}' is {how}: {size} bytes, expected {listed.get('size')}.")
    if sha256_of(path) != listed.get("sha256"):
        raise CheckpointError(f"{folder}: the file '{name}' is altered: its SHA-256 is not the one that was saved.")


def is_plain_name(name: Any) -> bool:
    """Whether a name stays inside its folder: relative, and without steps upwards.

    >>> is_plain_name("arrays/d/1"), is_plain_name("../a"), is_plain_name("/etc/hosts")
    (True, False, False)
    """
    if not isinstance(name, str) or not name or "\\" in name or ":" in name:
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and path.as_posix() == name
