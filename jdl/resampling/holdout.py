"""Splits by a ratio: once, or again and again."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from jdl.core.errors import ConfigError
from jdl.core.fields import Field
from jdl.core.random import RandomKey
from jdl.resampling.allocate import draw
from jdl.resampling.roles import Roles, check_spread, roles_of
from jdl.resampling.splitter import RATIO, STRATIFY, Pair, Splitter, by_mask, check_units, count


@dataclass(frozen=True, kw_only=True)
class Holdout(Splitter):
    """One training set of a share of the rows; the rest is the test set.

    Args:
      ratio: Share of training rows, in (0, 1).
      stratify: Whether sets hold strata, or else classes, in proportion; None does where there are any.

    >>> from jdl.data.task_regr import TaskRegr
    >>> task = TaskRegr({"x": [1.0, 2.0, 3.0, 4.0], "y": [0.0, 1.0, 4.0, 9.0]}, target="y")
    >>> [(len(train), len(test)) for train, test in Holdout(ratio=0.75).split(task)]
    [(3, 1)]
    """

    id: ClassVar[str] = "holdout"
    fields: ClassVar[dict[str, Field]] = {"ratio": RATIO, "stratify": STRATIFY}
    ratio: float = 2 / 3
    stratify: bool | None = None

    def pairs(self, task: Any, key: RandomKey) -> list[Pair]:
        """One pair."""
        roles = roles_of(task, self.stratify, self.who)
        training = by_ratio(self.who, roles, self.ratio, [key])
        return [by_mask(training[0])]


@dataclass(frozen=True, kw_only=True)
class Subsampling(Splitter):
    """Holdout, repeated with new draws.

    Args:
      ratio: Share of training rows, in (0, 1).
      repeats: Number of iterations.
      stratify: Whether sets hold strata, or else classes, in proportion; None does where there are any.

    >>> from jdl.data.task_regr import TaskRegr
    >>> task = TaskRegr({"x": [1.0, 2.0, 3.0, 4.0], "y": [0.0, 1.0, 4.0, 9.0]}, target="y")
    >>> Subsampling(repeats=5).split(task)
    Splits of task 'task': 5 iterations over 4 rows
    """

    id: ClassVar[str] = "subsampling"
    fields: ClassVar[dict[str, Field]] = {
        "ratio": RATIO,
        "repeats": count(30, "Number of iterations."),
        "stratify": STRATIFY,
    }
    ratio: float = 2 / 3
    repeats: int = 30
    stratify: bool | None = None

    def pairs(self, task: Any, key: RandomKey) -> list[Pair]:
        """A pair per repeat."""
        roles = roles_of(task, self.stratify, self.who)
        training = by_ratio(self.who, roles, self.ratio, [key.fold(i) for i in range(self.repeats)])
        return [by_mask(mask) for mask in training]


def by_ratio(who: str, roles: Roles, ratio: float, keys: list[RandomKey]) -> list[np.ndarray]:
    """A mask of training rows for each key.

    Raises:
      ConfigError: One of the sets would be empty, or without a row of an explicit stratum.
    """
    n_train = round(ratio * roles.n_rows)
    if not 0 < n_train < roles.n_rows:
        side = "test" if n_train else "training"
        raise ConfigError(
            f"{who}: ratio={ratio:g} of {roles.n_rows} rows leaves the {side} set empty.\n"
            "Hint: a ratio nearer to 0.5, or more rows."
        )
    check_units(who, roles, 2, "a training and a test set")
    masks = [draw(key.generator(), roles, n_train) for key in keys]
    sides = np.stack([side for mask in masks for side in (mask, ~mask)])
    check_spread(roles, sides, who, f"the training and test sets of ratio={ratio:g}")
    return masks
