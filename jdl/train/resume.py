"""Going on from a folder of checkpoints."""

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jdl.core.errors import CallbackError, CheckpointError, JdlWarning, shown
from jdl.train.callback import HostCallback
from jdl.train.checkpoint_folder import CheckpointFolder, CheckpointName
from jdl.train.run_identity import RunIdentity
from jdl.train.state import Status


@dataclass(frozen=True)
class Resumption:
    """Where runs go on from.

    Args:
      folder: Of the checkpoints; one without any means to start from scratch.
      identity: Of the runs now.
    """

    folder: CheckpointFolder
    identity: RunIdentity

    @classmethod
    def of(cls, path: Path, identity: RunIdentity, groups: Sequence[tuple[int, int]], *, own: bool) -> "Resumption":
        """From a path, after a look at what lies there.

        Args:
          path: The folder of the checkpoints.
          identity: Of the runs now.
          groups: First and last of the runs that are in flight together.
          own: Whether it is the folder that this run writes its checkpoints to, which may not exist yet.

        Raises:
          CheckpointError: It does not exist, holds something else, or the checkpoints of other runs.
        """
        folder = CheckpointFolder(path)
        if not own and not folder.path.is_dir():
            raise CheckpointError(f"resume: there is no folder {folder.path}.\nHint: the path given to 'checkpoint'.")
        folder.check_usable()
        made = cls(folder, identity)
        made._check(groups)
        return made

    def _check(self, groups: Sequence[tuple[int, int]]) -> None:
        names = self.folder.names()
        for name in reversed(names):
            try:
                spec = self.folder.spec(name)
            except CheckpointError:
                continue  # reported when its runs are read
            if not isinstance(spec, dict) or "identity" not in spec:
                raise CheckpointError(f"{self.folder.path}: '{name}' is no checkpoint of a run in training.")
            self.identity.check(spec["identity"], self.folder.path)
            for first, last in groups:
                self._check_grouping(names, first, last)
            if spec["identity"]["layout"] != self.identity.layout:
                warnings.warn(
                    f"{self.folder.path}: its runs trained {spec['identity']['layout']}, now {self.identity.layout}: "
                    "the numbers will be equal to rounding, not bit by bit.",
                    JdlWarning,
                    stacklevel=2,
                )
            return

    def newest(self, first: int, last: int, like: Callable[[Any], Any]) -> tuple[Any, Any] | None:
        """Spec and arrays of the newest checkpoint of some runs that is whole; None without any.

        Args:
          first: Position of the first of the runs in their population.
          last: Position of the last.
          like: From the spec to the structure, shapes and types of the arrays.

        Raises:
          CheckpointError: No checkpoint of these runs is whole, or they were grouped in another way.
        """
        names = self.folder.names()
        own = [name for name in names if (name.first, name.last) == (first, last)]
        damage: list[CheckpointError] = []
        for name in reversed(own):
            try:
                return self.folder.read(name, like(self.folder.spec(name)))
            except CheckpointError as error:
                damage.append(error)
                earlier = [n for n in own if n < name]
                if earlier:
                    warnings.warn(
                        f"resume: the newest checkpoint is damaged, '{earlier[-1]}' is used instead.\n{error}",
                        JdlWarning,
                        stacklevel=2,
                    )
        if damage:
            raise CheckpointError(f"resume: no checkpoint is whole; the newest one:\n{damage[0]}") from damage[0]
        return None

    def check_epochs(self, done: int, asked: int) -> None:
        """Refuses fewer epochs in all than were done already.

        Raises:
          CheckpointError: Says how many there are.
        """
        if done > asked:
            raise CheckpointError(
                f"{self.folder.path}: {done} epochs are done, but epochs={asked} were asked for.\n"
                f"Hint: 'epochs' counts those before the checkpoint too; epochs={done} or more."
            )

    def say_stopped(self, status: Any, *, all_stopped: bool) -> None:
        """Warns where early stopping, or a callback, had ended runs: they are not trained further.

        Args:
          status: Of each run.
          all_stopped: Whether a callback had asked for the end of those that were running.
        """
        ended = (Status.STOPPED_EARLY, Status.RUNNING) if all_stopped else (Status.STOPPED_EARLY,)
        stopped = int(np.isin(np.asarray(status), [int(one) for one in ended]).sum())
        if stopped:
            warnings.warn(
                f"{self.folder.path}: {stopped} of {len(status)} runs had been stopped early; they stay as they are.",
                JdlWarning,
                stacklevel=2,
            )

    def _check_grouping(self, names: list[CheckpointName], first: int, last: int) -> None:
        for name in names:
            overlaps = name.first <= last and first <= name.last
            if overlaps and (name.first, name.last) != (first, last):
                raise CheckpointError(
                    f"{self.folder.path}: runs {name.first} to {name.last} were in flight together, now it would be "
                    f"{first} to {last}.\nHint: resume with the same strategy, devices and memory_budget."
                )


def callback_states(callbacks: Mapping[str, HostCallback]) -> dict[str, Any]:
    """States of host callbacks by id, with the class that each is of."""
    states = {id: callback.state() for id, callback in callbacks.items()}
    for id, state in states.items():
        try:
            if json.loads(json.dumps(state, allow_nan=False)) != state:
                raise ValueError(f"{shown(state)} would not come back as it is")
        except (TypeError, ValueError) as error:
            raise CheckpointError(
                f"callback '{id}': its state cannot be saved: {error}.\nHint: numbers, texts, lists and dicts of them, "
                "as JSON has them (keys are texts); float(x) makes a number of NumPy's, None may stand for NaN."
            ) from error
    return {id: {"class": _class_of(callbacks[id]), "state": s} for id, s in states.items() if s is not None}


def restore_callbacks(callbacks: Mapping[str, HostCallback], saved: Mapping[str, Any]) -> None:
    """Hands saved states to the callbacks of the same ids.

    Raises:
      CheckpointError: A callback of another class has the id.
    """
    for id, entry in saved.items():
        if id not in callbacks:
            warnings.warn(f"resume: this run has no callback '{id}'; its state is left out.", JdlWarning, stacklevel=2)
            continue
        if _class_of(callbacks[id]) != entry["class"]:
            raise CheckpointError(
                f"resume: callback '{id}' was a {entry['class']}, now it is a {_class_of(callbacks[id])}.\n"
                "Hint: resume with the callback that the checkpoint was written with, or give this one another id."
            )
        try:
            callbacks[id].restore(entry["state"])
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise CallbackError(f"callback '{id}' failed to take its saved state back ('restore'): {what}") from error


def _class_of(callback: HostCallback) -> str:
    return f"{type(callback).__module__}.{type(callback).__qualname__}"
