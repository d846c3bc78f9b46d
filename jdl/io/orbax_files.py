"""Named arrays in the files of Orbax."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jdl.core.errors import CheckpointError
from jdl.io.arrays import ArrayEntry


def write_arrays(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays as an Orbax checkpoint of nested dicts; empty ones, which Orbax does not take, are left out.

    Args:
      folder: Made by this.
      arrays: By name; slashes separate the keys of nested dicts.
    """
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        if array.size:
            *parents, last = name.split("/")
            node = tree
            for parent in parents:
                node = node.setdefault(parent, {})
            node[last] = array
    if tree:
        with _checkpointer() as checkpointer:
            checkpointer.save(folder.resolve(), tree)


def read_arrays(folder: Path, entries: Mapping[str, ArrayEntry]) -> dict[str, np.ndarray]:
    """Reads the arrays of a checkpoint that was verified before.

    Raises:
      CheckpointError: Orbax cannot read it, or it does not hold what `entries` says.
    """
    stored = {name for name, entry in entries.items() if entry.n_bytes}
    found: dict[str, np.ndarray] = {}
    if stored:
        try:
            with _checkpointer() as checkpointer:
                _collect(checkpointer.restore(folder.resolve()), (), found)
        except Exception as error:
            raise CheckpointError(f"Orbax cannot read its arrays: {type(error).__name__}: {error}") from error
    if set(found) != stored:
        name = sorted(set(found) ^ stored)[0]
        raise CheckpointError(f"array '{name}' is " + ("missing." if name in stored else "not listed."))
    for name, array in found.items():
        entry = entries[name]
        if (array.shape, array.dtype.name) != (entry.shape, entry.dtype):
            what = f"{array.dtype.name} of shape {array.shape}"
            raise CheckpointError(f"array '{name}' is {what}, expected {entry.dtype} of shape {entry.shape}.")
    empty = {n: np.zeros(e.shape, e.dtype) for n, e in entries.items() if n not in stored}
    return {name: found[name] if name in stored else empty[name] for name in entries}


def _collect(node: Any, path: tuple[str, ...], found: dict[str, np.ndarray]) -> None:
    if isinstance(node, dict):
        for key, child in node.items():
            _collect(child, (*path, str(key)), found)
    else:
        found["/".join(path)] = np.asarray(node)


def _checkpointer() -> Any:
    import orbax.checkpoint as ocp

    # Uncompressed: weights hardly shrink, and no file can claim to hold more than its size.
    return ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_compression=False))
