"""A folder that holds a spec and arrays, is written whole, and is read only if it still is what was written.

Layout: `jdl.json` (format, versions, spec, description of the arrays, listing of all other files, and a SHA-256 of all
that) and `arrays/`, an Orbax checkpoint.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from jdl.core.errors import CheckpointError, ConfigError, ConfigTypeError, shown
from jdl.core.version import VERSION
from jdl.io.arrays import ArrayEntry, fill, flatten, unflatten
from jdl.io.atomic import new_directory
from jdl.io.listing import check_files, file_names, list_files
from jdl.io.orbax_files import read_arrays, write_arrays

FORMAT = "jdl"
FORMAT_VERSION = 1
HEAD = "jdl.json"
_ARRAYS = "arrays"
_MOST_BYTES = 1 << 28  # of the head; a damaged file is not read into memory whole


def write_directory(path: str | os.PathLike[str], spec: Any, arrays: Any = None, overwrite: bool = False) -> None:
    """Writes a folder with a spec and arrays; it appears complete, or not at all.

    Args:
      path: The folder; nothing may be there unless `overwrite`.
      spec: Plain values of JSON: dicts with texts as keys, lists, texts, finite numbers, booleans, None.
      arrays: A pytree of NumPy or JAX arrays, random keys included.
      overwrite: Whether a folder that was written by this function is replaced. It stays whole until the new one is.

    Raises:
      CheckpointError: Something is at `path` that is not to be replaced, or the disk is full or not writable; what was
        there before is unharmed then.
      ConfigTypeError: The spec or a leaf of the arrays is something else.

    >>> import tempfile, numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_directory(folder + "/a", {"kind": "example"}, {"x": np.arange(3)})
    ...     read_directory(folder + "/a")
    ({'kind': 'example'}, {'x': array([0, 1, 2])})
    """
    target = Path(os.path.realpath(check_path(path, "write_directory")))
    check_free(target, overwrite)
    named, entries, structure = flatten(arrays)
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "jdl": VERSION,
        "spec": spec,
        "arrays": {name: entry.to_json() for name, entry in entries.items()},
        "structure": structure,
    }
    _text(content)
    try:
        with new_directory(target, replace=overwrite) as folder:
            write_arrays(folder / _ARRAYS, named)
            content["files"] = list_files(folder)
            text = _text({**content, "sha256": _digest(content)})
            (folder / HEAD).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CheckpointError(
            f"{target}: cannot be written: {error.strerror or error}.\nNothing was changed.\nHint: check the free "
            "space and the permissions of the folder above."
        ) from error
    except (ValueError, RuntimeError) as error:  # what tensorstore makes of errors of the disk
        raise CheckpointError(f"{target}: its arrays cannot be written: {error}\nNothing was changed.") from error


def read_directory(path: str | os.PathLike[str], like: Any = None) -> tuple[Any, Any]:
    """The spec and the arrays of a folder that `write_directory` wrote. Runs no code from it.

    Args:
      path: The folder.
      like: A pytree of arrays or `jax.ShapeDtypeStruct`s; the arrays come in its structure, and must have its names,
        shapes and types. By default dicts, lists and tuples as they were written, and dicts for other containers.

    Returns:
      The spec, and the pytree: NumPy arrays, and random keys of JAX.

    Raises:
      CheckpointError: Names the file, array or version for which the folder is not what was written.
    """
    folder = Path(os.path.realpath(check_path(path, "read_directory")))
    content = read_head(folder)
    check_files(folder, content["files"], leave_out=HEAD)
    try:
        entries = {name: ArrayEntry.from_json(name, plain) for name, plain in content["arrays"].items()}
        claimed = sum(entry.n_bytes for entry in entries.values())
        stored = sum(file["size"] for file in content["files"].values())
        if claimed > stored:
            raise CheckpointError(f"arrays of {claimed} bytes cannot be in files of {stored} bytes.")
        arrays = read_arrays(folder / _ARRAYS, entries)
        if like is not None:
            return content["spec"], fill(like, arrays, entries)
        return content["spec"], unflatten(content["structure"], arrays, entries)
    except CheckpointError as error:
        raise CheckpointError(f"{folder}: {error}") from error.__cause__


def read_head(folder: Path) -> dict[str, Any]:
    """The checked content of `jdl.json`.

    Raises:
      CheckpointError: There is none, it is damaged, or of a newer format.
    """
    head = folder / HEAD
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: there is no such folder.\nHint: it is the path that was given to save.")
    if head.is_symlink() or not head.is_file():
        raise CheckpointError(f"{folder}: the file '{HEAD}' is missing, so that it is nothing that jdl has saved.")
    if head.stat().st_size > _MOST_BYTES:
        raise CheckpointError(f"{folder}: the file '{HEAD}' is larger than any that jdl writes.")
    try:
        content = json.loads(head.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{folder}: the file '{HEAD}' is truncated or altered: {error}.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{folder}: the file '{HEAD}' is none that jdl has written.")
    version = content.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise CheckpointError(
            f"{folder}: it has format {shown(version)}, written by jdl {shown(content.get('jdl'))}, but this is jdl "
            f"{VERSION}, which reads formats up to {FORMAT_VERSION}.\nHint: install a newer jdl."
        )
    digest = content.pop("sha256", None)
    if digest != _digest(content):
        raise CheckpointError(f"{folder}: the file '{HEAD}' is altered: its SHA-256 is not the one that was saved.")
    if not all(isinstance(content.get(name), dict) for name in ("arrays", "files")):
        raise CheckpointError(f"{folder}: the file '{HEAD}' lacks parts.")
    return content


def check_free(target: Path, overwrite: bool) -> None:
    """Refuses a path at which something is that is not to be replaced.

    Raises:
      CheckpointError: Says what is there.
    """
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise CheckpointError(
            f"{target}: there is something already.\nHint: overwrite=True replaces what jdl has saved."
        )
    if not target.is_dir():
        raise CheckpointError(f"{target}: is no folder, and is not replaced.\nHint: choose another path.")
    others = file_names(target)
    if not others and not any(target.iterdir()):
        return
    known = _listed(target)
    strange = [name for name in others if name not in known]
    if strange:
        raise CheckpointError(
            f"{target}: holds '{strange[0]}', which jdl has not saved, and is not replaced.\nHint: choose another path."
        )


def _listed(folder: Path) -> set[str]:
    """Names of the files that a folder's `jdl.json` lists; none if there is no such file."""
    try:
        content = json.loads((folder / HEAD).read_text(encoding="utf-8"))
        return {HEAD, *content["files"]} if content["format"] == FORMAT else set()
    except (OSError, ValueError, LookupError, TypeError):
        return set()


def _text(content: Any) -> str:
    try:
        return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise ConfigTypeError(f"write_directory: 'spec' must be plain values of JSON: {error}.") from error


def _digest(content: Any) -> str:
    text = json.dumps(content, ensure_ascii=True, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def check_path(path: Any, who: str) -> Path:
    """The path that was given.

    Raises:
      ConfigTypeError: No path.
      ConfigError: An empty one.
    """
    if not isinstance(path, str | os.PathLike):
        raise ConfigTypeError(f"{who}: 'path' must be a path, got {shown(path)}.")
    if not os.fspath(path):
        raise ConfigError(f"{who}: 'path' is empty.")
    return Path(path)
