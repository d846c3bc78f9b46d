"""A thread that always works on the newest thing it was given."""

import threading
import time
from collections.abc import Callable
from typing import Any

LONGEST_REST = 10.0  # seconds


class LatestWins:
    """Calls a function in the background with the newest value given; values that were overtaken are dropped.

    An error of the function is raised by the next `give` or by `finish`, after which it takes values again.

    Args:
      work: Called with one value at a time.
      rest: How many times as long as the last call took nothing is called after it, up to `LONGEST_REST`.

    >>> seen = []
    >>> worker = LatestWins(seen.append)
    >>> worker.give(1)
    >>> worker.finish()
    >>> seen
    [1]
    """

    def __init__(self, work: Callable[[Any], None], rest: float = 0.0):
        self._work, self._rest = work, rest
        self._condition = threading.Condition()
        self._waiting: list[Any] = []  # at most one
        self._thread: threading.Thread | None = None
        self._finishing = False
        self._error: BaseException | None = None

    def give(self, value: Any) -> None:
        """Hands in a value; does not wait.

        Raises:
          BaseException: What the function raised since the last call; the value is dropped then.
        """
        with self._condition:
            self._raise_error()
            self._waiting = [value]
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="jdl-latest-wins", daemon=True)
                self._thread.start()

    @property
    def idle(self) -> bool:
        """Whether a value would be worked on at once: it neither works nor rests."""
        return self._thread is None

    def finish(self) -> None:
        """Waits until the newest value is worked on, which then is at once.

        Raises:
          BaseException: What the function raised since the last call.
        """
        with self._condition:
            self._wait()
            self._raise_error()

    def drop(self) -> None:
        """Drops what waits, and waits until nothing is worked on; errors are dropped too."""
        with self._condition:
            self._waiting = []
            self._wait()
            self._error = None

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy has a thread of its own and nothing to do."""
        return LatestWins, (self._work, self._rest)

    def _wait(self) -> None:
        self._finishing = True
        self._condition.notify_all()
        try:
            while self._thread is not None:
                self._condition.wait()
        finally:  # also after an interrupt
            self._finishing = False

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self) -> None:
        while True:
            with self._condition:
                if not self._waiting:
                    self._thread = None
                    self._condition.notify_all()
                    return
                value = self._waiting.pop()
            start = time.perf_counter()
            try:
                self._work(value)
            except BaseException as error:  # handed to the thread that gives values
                with self._condition:
                    self._error, self._waiting = error, []
            del value  # it may hold much memory
            rest = min(self._rest * (time.perf_counter() - start), LONGEST_REST)
            with self._condition:
                self._condition.wait_for(lambda: self._finishing, timeout=rest)
