"""What makes a training run the run that it is: only the same run may go on from a checkpoint."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jdl.core.errors import CheckpointError


@dataclass(frozen=True)
class RunIdentity:
    """What a checkpoint must agree in with the runs that go on from it, as plain values.

    Args:
      parts: Name of a part ("data", "rows", "key", ...) -> what it is, in words or as a digest.
      layout: How the runs are spread over devices: where it differs, results are equal to rounding only.
      learner: The learner's hyperparameters as texts.
      spec: The learner, as plain values of JSON; for readers of the checkpoint.
    """

    parts: Mapping[str, str] = field(default_factory=dict)
    layout: str = ""
    learner: Mapping[str, str] = field(default_factory=dict)
    spec: Any = None

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {"parts": dict(self.parts), "layout": self.layout, "learner": dict(self.learner), "spec": self.spec}

    def check(self, saved: Mapping[str, Any], folder: Any) -> None:
        """Refuses the identity of other runs.

        Args:
          saved: What `to_json` gave when the checkpoint was written.
          folder: Of the checkpoint.

        Raises:
          CheckpointError: Names what differs.
        """
        for name, here in self.parts.items():
            there = saved.get("parts", {}).get(name)
            if there != here:
                raise CheckpointError(
                    f"{folder}: its runs had the {name} {there}, now {here}.\n"
                    "Hint: resume with what the checkpoint was written with, or begin in another folder."
                )
        theirs = saved.get("learner", {})
        for name in sorted({*self.learner, *theirs}):
            if self.learner.get(name) != theirs.get(name):
                raise CheckpointError(
                    f"{folder}: its learner had {name}={theirs.get(name, '(none)')}, this one has "
                    f"{name}={self.learner.get(name, '(none)')}.\n"
                    "Hint: resume with the learner that the checkpoint was written by; only 'epochs' may be more."
                )


def digest(arrays: Iterable[np.ndarray | None]) -> str:
    """A short hash of arrays: shapes, types and contents.

    >>> digest([np.arange(3)]) == digest([np.arange(3)]), digest([np.arange(3)]) == digest([np.arange(3.0)])
    (True, False)
    """
    made = hashlib.sha256()
    for array in arrays:
        if array is None:
            made.update(b"none")
            continue
        made.update(f"{array.dtype}{array.shape}".encode())
        made.update(repr(array.tolist()).encode() if array.dtype == object else np.ascontiguousarray(array).tobytes())
    return made.hexdigest()[:16]
