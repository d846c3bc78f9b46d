"""A progress bar for one experiment: one line, total known, quiet where nobody looks."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar

from jdl.train.callback import HostCallback

Report = Callable[[int, int], None]


@contextmanager
def progress_line(label: str, shown: bool | None = None) -> Iterator[Report]:
    """A function that takes (done, of) and draws a line while the block runs.

    Args:
      label: What is running.
      shown: Whether to draw; None draws if the error stream is a terminal.

    >>> with progress_line("nothing to see", shown=False) as report:
    ...     report(1, 2)
    """
    if not (sys.stderr.isatty() if shown is None else shown):
        yield _silent
        return
    # Loaded only where something is drawn: importing jdl must stay light.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        line = bar.add_task(label, total=None)

        def report(done: int, of: int) -> None:
            bar.update(line, completed=done, total=of)

        yield report
        # Runs that stopped early leave epochs undone; the line still ends full.
        bar.update(line, completed=bar.tasks[0].total or 1, total=bar.tasks[0].total or 1)


def _silent(done: int, of: int) -> None:
    """Draws nothing."""


class Progress(HostCallback):
    """Draws the progress of a training run as a callback. It takes the chunks as they come and forces none.

    Args:
      label: What the line says.
      shown: Whether to draw; None draws if the error stream is a terminal.

    >>> Progress().stages
    ('on_begin', 'on_epoch_end', 'on_exit')
    """

    id: ClassVar[str] = "progress"
    forces_chunks: ClassVar[bool] = False

    def __init__(self, label: str = "training", shown: bool | None = None):
        self.label = label
        self.shown = shown
        self._line: AbstractContextManager[Report] | None = None
        self._report: Report = _silent

    def __getstate__(self) -> dict[str, Any]:
        # A line on the screen is that of this process and this run.
        return self.__dict__ | {"_line": None, "_report": _silent}

    def on_begin(self, ctx: Any) -> None:
        """Opens the line, once for all groups of runs."""
        if self._line is None:
            self._line = progress_line(self.label, self.shown)
            self._report = self._line.__enter__()
        self._report(ctx.done, ctx.total)

    def on_epoch_end(self, ctx: Any) -> None:
        """Moves the bar to the epochs done over all runs."""
        self._report(ctx.done, ctx.total)

    def on_exit(self, ctx: Any) -> None:
        """Closes the line after the last group of runs."""
        if ctx.last and self._line is not None:
            self._line.__exit__(None, None, None)
            self._line, self._report = None, _silent
