"""A lock that one process at a time holds on a folder; it ends with the process, however that ends."""

import os
from pathlib import Path
from types import TracebackType

from jdl.core.errors import CheckpointError

LOCK = "lock"
_held: set[str] = set()  # by this process, whose own second attempt the system would let through


class FolderLock:
    """Held from `acquire` to `release`, or to the end of the process.

    Args:
      folder: Is made if it does not exist.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, FolderLock(folder):
    ...     FolderLock(folder).acquire()  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    jdl.core.errors.CheckpointError: ...: another run is writing there.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = Path(os.path.realpath(folder))
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Takes the lock.

        Raises:
          CheckpointError: Another run holds it, or the folder cannot be written to.
        """
        name = str(self.folder)
        if name in _held:
            raise self._refusal()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise CheckpointError(f"{self.folder}: cannot be written to: {error.strerror or error}.") from error
        try:
            _lock(descriptor)
        except OSError as error:
            os.close(descriptor)
            raise self._refusal() from error
        self._descriptor = descriptor
        _held.add(name)

    def release(self) -> None:
        """Gives the lock back; does nothing without it."""
        if self._descriptor is None:
            return
        os.close(self._descriptor)  # which unlocks it
        self._descriptor = None
        _held.discard(str(self.folder))

    def _refusal(self) -> CheckpointError:
        return CheckpointError(
            f"{self.folder}: another run is writing there.\nHint: wait for its end, or give each run a folder of its "
            "own."
        )

    def __enter__(self) -> "FolderLock":
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


def _lock(descriptor: int) -> None:
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # pyright: ignore[reportAttributeAccessIssue]
        return
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
