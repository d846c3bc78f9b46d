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
        self.rows: list[dict[str, Any]] = []

    def opened(self, info: Any) -> None:
        """Forgets what another training has left."""
        del info
        self.rows = []

    def on_epoch_end(self, ctx: Any) -> None:
        """Takes the new rows."""
        self.rows += ctx.new_rows

    def state(self) -> list[dict[str, Any]]:
        """The rows so far, as JSON has them: what is not finite as a text."""
        return [
            {name: value if math.isfinite(value) else str(value) for name, value in row.items()} for row in self.rows
        ]

    def restore(self, state: list[dict[str, Any]]) -> None:
        """Goes on behind these rows."""
        self.rows = [
            {name: float(value) if isinstance(value, str) else value for name, value in row.items()} for row in state
        ]

    def to_pandas(self) -> pd.DataFrame:
        """A row per run (`iteration`) and epoch, in the order of training."""
        return pd.DataFrame(self.rows)
