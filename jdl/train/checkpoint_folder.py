"""A folder of checkpoints: their names, which are complete, which are kept."""

import os
import re
import shutil
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jdl.core.errors import CheckpointError, JdlWarning
from jdl.core.version import VERSION
from jdl.io.directory import HEAD, read_directory, read_head, write_directory
from jdl.io.folder_lock import LOCK, FolderLock

_NAME = re.compile(r"^runs-(\d+)-(\d+)-epoch-(\d+)$")
_LEFT_OVER = re.compile(r"^\.runs-.*\.(tmp|old|removed)$|^\.runs-.*\.tmp\.old$")


@dataclass(frozen=True, order=True)
class CheckpointName:
    """Which runs a checkpoint holds, the first and the last, and after which epoch.

    >>> name = CheckpointName(0, 9, 20)
    >>> str(name)
    'runs-0-9-epoch-20'
    >>> CheckpointName.of("runs-0-9-epoch-20") == name, CheckpointName.of("notes") is None
    (True, True)
    """

    first: int
    last: int
    epoch: int

    def __str__(self) -> str:
        return f"runs-{self.first}-{self.last}-epoch-{self.epoch}"

    @classmethod
    def of(cls, name: str) -> "CheckpointName | None":
        """From the name of a folder; None for other names."""
        found = _NAME.match(name)
        return None if found is None else cls(*map(int, found.groups()))


@dataclass
class CheckpointFolder:
    """Checkpoints of one population, each a folder that is written whole.

    Args:
      path: The folder.
    """

    path: Path
    _lock: FolderLock | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.path = Path(os.path.realpath(self.path))

    def names(self) -> list[CheckpointName]:
        """All checkpoints that look complete, in order."""
        if not self.path.is_dir():
            return []
        found = {CheckpointName.of(p.name): p for p in self.path.iterdir()}
        return sorted(name for name, p in found.items() if name is not None and (p / HEAD).is_file())

    def check_usable(self) -> None:
        """Refuses a path at which something else lies.

        Raises:
          CheckpointError: Names it.
        """
        if not os.path.lexists(self.path):
            return
        if not self.path.is_dir():
            raise CheckpointError(f"{self.path}: is no folder.\nHint: the checkpoints need a folder of their own.")
        for entry in sorted(p.name for p in self.path.iterdir()):
            if entry != LOCK and CheckpointName.of(entry) is None and not _LEFT_OVER.match(entry):
                raise CheckpointError(
                    f"{self.path}: holds '{entry}', which is no checkpoint.\n"
                    "Hint: the checkpoints need a folder of their own."
                )

    def open(self) -> None:
        """Takes the folder for this run alone, and clears what an interrupted one left half written.

        Raises:
          CheckpointError: Another run is writing there.
        """
        lock = FolderLock(self.path)
        lock.acquire()
        self._lock = lock
        for entry in self.path.iterdir():
            if _LEFT_OVER.match(entry.name):
                shutil.rmtree(entry, ignore_errors=True)

    def close(self) -> None:
        """Gives the folder back."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def write(self, name: CheckpointName, spec: Any, arrays: Any) -> None:
        """Writes a checkpoint.

        Raises:
          CheckpointError: It cannot be written; the earlier ones are unharmed.
        """
        target = self.path / str(name)
        if target.exists():
            try:
                read_head(target)
            except CheckpointError:  # a damaged one, whose epoch was trained again
                self.remove(name)
        write_directory(target, spec, arrays, overwrite=True)

    def read(self, name: CheckpointName, like: Any) -> tuple[Any, Any]:
        """The spec of a checkpoint, and its arrays in the structure of `like`.

        Raises:
          CheckpointError: It is damaged, or holds something else.
        """
        return read_directory(self.path / str(name), like)

    def spec(self, name: CheckpointName) -> Any:
        """The spec alone.

        Raises:
          CheckpointError: It is damaged.
        """
        head = read_head(self.path / str(name))
        if head.get("jdl") != VERSION:
            warnings.warn(
                f"{self.path / str(name)}: written by jdl {head.get('jdl')}, this is jdl {VERSION}.",
                JdlWarning,
                stacklevel=2,
            )
        return head["spec"]

    def remove(self, name: CheckpointName) -> None:
        """Removes a checkpoint, so that it is never seen in part."""
        aside = self.path / f".{name}.removed"
        shutil.rmtree(aside, ignore_errors=True)
        os.rename(self.path / str(name), aside)
        shutil.rmtree(aside, ignore_errors=True)
