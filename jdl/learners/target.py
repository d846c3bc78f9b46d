"""The target of a task, as learners use it."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from jdl.data.task import Task
from jdl.data.task_classif import TaskClassif
from jdl.data.task_regr import TaskRegr


@dataclass(frozen=True)
class Target:
    """Class codes with the classes they stand for, or values.

    Args:
      values: Class codes (int32), or target values (float64).
      class_names: The classes; None in regression.
      positive: The positive class; None unless there are two.
      weights: Weight of each row; None where all count alike.
    """

    values: Shaped[np.ndarray, "row"]
    class_names: tuple[Any, ...] | None = None
    positive: Any = None
    weights: Float[np.ndarray, "row"] | None = None

    @classmethod
    def of(cls, task: Task) -> "Target":
        """The target of all rows of a task."""
        if isinstance(task, TaskClassif):
            return cls(task.target_codes, tuple(task.class_names), task.positive, task.row_weights)
        assert isinstance(task, TaskRegr)
        return cls(task.target_values, weights=task.row_weights)

    def take(self, rows: np.ndarray) -> "Target":
        """The target of the rows at these positions."""
        weights = None if self.weights is None else self.weights[rows]
        return replace(self, values=self.values[rows], weights=weights)

    @property
    def labels(self) -> Shaped[np.ndarray, "row"]:
        """The classes of the rows as the user gave them, or the values."""
        return self.values if self.class_names is None else np.asarray(self.class_names)[self.values]

    @property
    def n_classes(self) -> int:
        """Number of classes; 0 in regression."""
        return len(self.class_names or ())
