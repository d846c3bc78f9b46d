"""The history of all runs as one table, while they train."""

import math
from typing import Any, ClassVar

import pandas as pd

from jdl.train.callback import HostCallback


class History(HostCallback):
    """Collects losses, scores and learning rate of every epoch and run in one table, which grows while they train.

    A fitted learner has its own history without this; the callback is for those who want it of all runs together, or
    before they have ended. It forces no chunks.

    >>> History().to_pandas().empty
    True
    """

    id: ClassVar[str] = "history"
    forces_chunks: ClassVar[bool] = False

    def __init__(self) -> None:
        self._rows: dict[tuple[int, int], dict[str, Any]] = {}

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A dict per run and epoch, in the order of training."""
        return list(self._rows.values())

    def opened(self, info: Any) -> None:
        """Forgets what another training has left."""
        del info
        self._rows = {}

    def on_epoch_end(self, ctx: Any) -> None:
        """Takes the new rows; those of epochs that are trained again take the place of the earlier ones."""
        self._take(ctx.new_rows)

    def _take(self, rows: list[dict[str, Any]]) -> None:
        self._rows |= {(row["iteration"], row["epoch"]): row for row in rows}

    def state(self) -> list[dict[str, Any]]:
        """The rows so far, as JSON has them: what is not finite as a text."""
        return [
            {name: value if math.isfinite(value) else str(value) for name, value in row.items()} for row in self.rows
        ]

    def restore(self, state: list[dict[str, Any]]) -> None:
        """Goes on behind these rows, and those there are of runs that were in flight before."""
        self._take(
            [{name: float(value) if isinstance(value, str) else value for name, value in row.items()} for row in state]
        )

    def to_pandas(self) -> pd.DataFrame:
        """A row per run (`iteration`) and epoch, in the order of training."""
        return pd.DataFrame(self.rows)
