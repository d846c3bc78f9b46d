"""Losses and scores as lines of a CSV file."""

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from jdl.core.errors import ConfigError, ConfigTypeError, shown
from jdl.train.callback import HostCallback


class CSVLog(HostCallback):
    """Writes a line per run and epoch: iteration, epoch, losses, scores, learning rate. It forces no chunks.

    Runs that go on from a checkpoint go on in the file: their lines behind the checkpoint's epoch are dropped, and
    those that it lacks are written again.

    Args:
      path: Of the file, which must not be there yet.
      overwrite: Whether it may be.

    Raises:
      ConfigError: The file is there and is no log of the run that goes on, or its folder is not there.

    >>> CSVLog("run.csv").stages
    ('on_begin', 'on_epoch_end')
    """

    id: ClassVar[str] = "csv_log"
    forces_chunks: ClassVar[bool] = False

    def __init__(self, path: str | Path, *, overwrite: bool = False):
        if not isinstance(path, str | os.PathLike):
            raise ConfigTypeError(f"callback '{self.id}': 'path' must be the path of a file, got {shown(path)}.")
        self.path = Path(path)
        self.overwrite = overwrite
        self._columns: list[str] = []
        self._resumed = self._begun = False

    def opened(self, info: Any) -> None:
        """Looks for what is in the way; the file itself is begun with the first line."""
        self._columns = ["iteration", "epoch", *info.columns]
        if self.path.is_dir():
            raise ConfigError(f"callback '{self.id}': '{self.path}' is a folder.\nHint: give the path of a file.")
        own = info.resumed and self.path.exists() and self._is_own()
        if self.path.exists() and not (self.overwrite or own):
            what = (
                f"is no log of this run, whose first line is '{','.join(self._columns)}'"
                if info.resumed
                else ("is there already")
            )
            raise ConfigError(f"callback '{self.id}': '{self.path}' {what}.\nHint: another path, or overwrite=True.")
        if not self.path.parent.is_dir():
            raise ConfigError(f"callback '{self.id}': there is no folder '{self.path.parent}'.\nHint: make it first.")
        self._resumed, self._begun = info.resumed, own

    def on_begin(self, ctx: Any) -> None:
        """Brings the lines of runs that go on to where these are; those of other runs stay."""
        if not self._resumed:
            return
        kept = {(row["iteration"], row["epoch"]): self._line(row) for row in ctx.rows}
        lines, seen = [], set()
        for line in self._lines() if self._begun else ():
            key = _key(line, len(self._columns))
            if key is None or key in seen or (key[0] in ctx.iterations and key not in kept):
                continue
            seen.add(key)
            lines.append(line)
        lines += [line for key, line in kept.items() if key not in seen]
        self._replace(lines)

    def on_epoch_end(self, ctx: Any) -> None:
        """Appends the new lines; the first ones begin the file."""
        with self.path.open("a" if self._begun else "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if not self._begun:
                writer.writerow(self._columns)
            writer.writerows(self._line(row) for row in ctx.new_rows)
        self._begun = True

    def _line(self, row: dict[str, Any]) -> list[Any]:
        return [row[name] for name in self._columns]

    def _is_own(self) -> bool:
        """Whether the file begins as it would begin one."""
        try:
            with self.path.open(newline="", encoding="utf-8") as file:
                return next(csv.reader(file), None) == self._columns
        except (UnicodeDecodeError, csv.Error):
            return False

    def _lines(self) -> list[list[str]]:
        """The lines below the first; one that was cut off in the middle is none."""
        whole, end, _ = self.path.read_text(encoding="utf-8").rpartition("\n")
        return list(csv.reader((whole + end).splitlines()))[1:]

    def _replace(self, lines: Iterable[Sequence[Any]]) -> None:
        """Another file in the place of this one, complete or not at all."""
        part = self.path.with_name(f"{self.path.name}.part")
        with part.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([self._columns, *lines])
        part.replace(self.path)
        self._begun = True


def _key(line: Sequence[str], n_columns: int) -> tuple[int, int] | None:
    """Iteration and epoch of a line, if it is one of a log."""
    if len(line) != n_columns or not (line[0].isdigit() and line[1].isdigit()):
        return None
    return int(line[0]), int(line[1])
