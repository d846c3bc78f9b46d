"""The callback that writes checkpoints while training goes on."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from jdl.core.errors import CheckpointError, ConfigTypeError, shown
from jdl.core.fields import Field, with_defaults
from jdl.io.latest import LatestWins
from jdl.train.callback import HostCallback
from jdl.train.checkpoint_folder import CheckpointFolder, CheckpointName

# Writing takes processor time from the training: a twentieth, unless a write takes longer than half a second.
REST = 19.0
_FIELDS = {
    "freq": Field("int", 1, low=1, doc="Epochs between checkpoints; the last epoch is always written."),
    "keep": Field("int", 1, low=1, doc="Latest checkpoints that are kept."),
    "keep_best": Field("bool", False, doc="Whether the one with the best score is kept as well."),
}


@dataclass(frozen=True)
class Snapshot:
    """A moment of runs, to be written.

    Args:
      name: What it is called.
      spec: Plain values.
      arrays: Fetches the arrays from their devices.
      score: Mean monitored score of the runs, less is better; NaN where nothing was evaluated.
    """

    name: CheckpointName
    spec: Any
    arrays: Callable[[], Any]
    score: float = np.nan


class Checkpoint(HostCallback):
    """Writes the whole state of a run into a folder, from which `resume=` goes on bit by bit.

    A checkpoint holds parameters, the states of the optimizer, of schedules and of callbacks, best weights, history,
    epoch and the learner. Training goes on while one is written. After each the writer rests nineteen times as long, up
    to ten seconds, and epochs that end meanwhile are left out; the last one never is. Each appears complete or not at
    all.

    Args:
      path: The folder, or a function that is called once and returns it. It needs to be the checkpoints' own.
      freq: Epochs between checkpoints.
      keep: Latest checkpoints of the runs in flight that are kept.
      keep_best: Whether that with the best validation score, the mean over runs, is kept as well.

    Raises:
      ConfigError: A value out of range.

    >>> Checkpoint("runs/first", freq=5).every
    5
    """

    id: ClassVar[str] = "checkpoint"
    weight: float = float("inf")

    def __init__(self, path: Any, freq: int = 1, keep: int = 1, keep_best: bool = False):
        if not callable(path) and not isinstance(path, str | os.PathLike):
            raise ConfigTypeError(f"callback 'checkpoint': 'path' must be a path, got {shown(path)}.")
        given = {"freq": freq, "keep": keep, "keep_best": keep_best}
        self.path: str | os.PathLike[str] | Callable[[], Any] = path
        self.values = with_defaults("callback 'checkpoint'", _FIELDS, given)
        self._folder: CheckpointFolder | None = None
        self._taken: CheckpointFolder | None = None  # by the run that is going on
        self._writer = LatestWins(self._write, REST)
        self._scores: dict[CheckpointName, float] = {}

    @property
    def every(self) -> int:
        """Epochs of the chunks that it asks for."""
        return self.values["freq"]

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy writes for runs of its own."""
        return _remade, (self.path, self.values, self.weight)

    def folder(self, *, anew: bool = False) -> CheckpointFolder:
        """The folder of the run; a function that gives its path is called once for each run.

        Args:
          anew: Whether a run begins.
        """
        if self._folder is None or (anew and callable(self.path)):
            path = self.path() if callable(self.path) else self.path
            self._folder = CheckpointFolder(Path(path))
        return self._folder

    def opened(self, info: Any) -> None:
        """Takes the folder, which holds no checkpoint yet unless the run resumes from it.

        Raises:
          CheckpointError: It holds something else, or another run writes there.
        """
        if self._taken is not None:
            raise CheckpointError(
                f"{self._taken.path}: another training of this learner is writing there.\n"
                "Hint: each training that goes on at the same time needs a folder of its own."
            )
        folder = self.folder(anew=not info.resumed_from)
        folder.check_usable()
        if info.resumed_from != folder.path and folder.names():
            raise CheckpointError(
                f"{folder.path}: holds checkpoints of another run, up to '{folder.names()[-1]}'.\n"
                "Hint: resume=True goes on from them; or give another folder."
            )
        self._writer.drop()  # what an interrupted run may have left it with
        scores = self._scores_in(folder) if self.values["keep_best"] else {}
        folder.open()
        self._taken, self._scores = folder, scores

    def on_epoch_end(self, ctx: Any) -> None:
        """Hands the state over to be written, every `freq` epochs; that of the last epoch follows at the end."""
        if ctx.epoch % self.every == 0 and ctx.epoch < ctx.total_epochs and self._writer.idle:
            self._give(ctx)

    def on_end(self, ctx: Any) -> None:
        """Writes the last state, and waits for it."""
        self._give(ctx)
        self._writer.finish()

    def on_exit(self, ctx: Any) -> None:
        """Waits for what is being written."""
        del ctx
        self._writer.finish()

    def closed(self) -> None:
        """Gives the folder back, when nothing is written any more."""
        taken, self._taken = self._taken, None
        try:
            self._writer.drop()
        finally:
            if taken is not None:
                taken.close()

    def _scores_in(self, folder: CheckpointFolder) -> dict[CheckpointName, float]:
        scores = {}
        for name in folder.names():
            try:
                scores[name] = _number(folder.spec(name).get("score"))
            except CheckpointError:
                continue  # a damaged one is the best of none
        return scores

    def _give(self, ctx: Any) -> None:
        self._writer.give((self._taken, ctx.snapshot()))

    def _write(self, work: tuple[CheckpointFolder, Snapshot]) -> None:
        folder, snapshot = work
        name = snapshot.name
        folder.write(name, {**snapshot.spec, "score": _plain(snapshot.score)}, snapshot.arrays())
        self._scores[name] = snapshot.score
        own = [n for n in folder.names() if (n.first, n.last) == (name.first, name.last)]
        kept = set(own[-self.values["keep"] :]) | {name}
        scored = [n for n in own if np.isfinite(self._scores.get(n, np.nan))]
        if self.values["keep_best"] and scored:
            kept.add(min(scored, key=lambda n: (self._scores[n], n)))
        for old in own:
            if old not in kept:
                folder.remove(old)

    def __repr__(self) -> str:
        return f"Checkpoint({self.path!r}, freq={self.every})"


def _remade(path: Any, values: dict[str, Any], weight: float) -> Checkpoint:
    made = Checkpoint(path, **values)
    made.weight = weight
    return made


def _plain(score: float) -> float | None:
    return float(score) if np.isfinite(score) else None


def _number(score: Any) -> float:
    return np.nan if score is None else float(score)
