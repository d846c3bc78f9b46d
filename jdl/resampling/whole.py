"""Splits without chance: leave one out, and testing on the training rows."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from jdl.core.random import RandomKey
from jdl.resampling.roles import roles_of
from jdl.resampling.splitter import Pair, Splitter, by_mask, check_units


@dataclass(frozen=True, kw_only=True)
class LeaveOneOut(Splitter):
    """Each row is the test set once, or each group if the task has groups; all others train.

    >>> from jdl.data.task_regr import TaskRegr
    >>> task = TaskRegr({"x": [1.0, 2.0, 3.0, 4.0], "y": [0.0, 1.0, 4.0, 9.0]}, target="y")
    >>> LeaveOneOut().split(task).test_sets[1].tolist()
    [1]
    """

    id: ClassVar[str] = "loo"

    def pairs(self, task: Any, key: RandomKey) -> list[Pair]:
        """A pair per row or group, in their order."""
        del key
        roles = roles_of(task, False, self.who)
        check_units(self.who, roles, 2, "a training and a test set")
        return [by_mask(roles.units != unit) for unit in range(roles.n_units)]


@dataclass(frozen=True, kw_only=True)
class Insample(Splitter):
    """All rows train and all rows test: how well the learner fits what it has seen.

    >>> from jdl.data.task_regr import TaskRegr
    >>> task = TaskRegr({"x": [1.0, 2.0, 3.0, 4.0], "y": [0.0, 1.0, 4.0, 9.0]}, target="y")
    >>> Insample().split(task).test_sets[0].tolist()
    [0, 1, 2, 3]
    """

    id: ClassVar[str] = "insample"

    def pairs(self, task: Any, key: RandomKey) -> list[Pair]:
        """One pair."""
        del key
        rows = np.arange(task.n_rows)
        return [(rows, rows)]
