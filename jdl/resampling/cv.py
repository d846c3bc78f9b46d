"""Cross-validation: every row is tested once, or once per repeat."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from jdl.core.errors import ConfigError
from jdl.core.fields import Field
from jdl.core.random import RandomKey
from jdl.resampling.allocate import deal
from jdl.resampling.roles import Roles, check_spread, roles_of
from jdl.resampling.splitter import STRATIFY, Pair, Splitter, by_mask, count

FOLDS = count(10, "Number of folds.", low=2)


@dataclass(frozen=True, kw_only=True)
class CV(Splitter):
    """Cross-validation: each fold of the rows is the test set once, the others train.

    Folds differ by one row at most, and so do their parts of each stratum; with groups they are as even as the
    groups allow.

    Args:
      folds: Number of folds, at least 2.
      stratify: Whether folds hold strata, or else classes, in proportion; None does where there are any.

    >>> from jdl.data.task_regr import TaskRegr
    >>> task = TaskRegr({"x": [1.0, 2.0, 3.0, 4.0], "y": [0.0, 1.0, 4.0, 9.0]}, target="y")
    >>> sorted(int(row) for _, test in CV(folds=2).split(task) for row in test)
    [0, 1, 2, 3]
    """

    id: ClassVar[str] = "cv"
    fields: ClassVar[dict[str, Field]] = {"folds": FOLDS, "stratify": STRATIFY}
    folds: int = 10
    stratify: bool | None = None

    def pairs(self, task: Any, key: RandomKey) -> list[Pair]:
        """A pair per fold."""
        return by_folds(self.who, roles_of(task, self.stratify, self.who), self.folds, [key])


@dataclass(frozen=True, kw_only=True)
class RepeatedCV(Splitter):
    """Cross-validation, repeated with new folds; iteration `repeat * folds + fold`.

    Args:
      folds: Number of folds, at least 2.
      repeats: Number of cross-validations.
      stratify: Whether folds hold strata, or else classes, in proportion; None does where there are any.

    >>> from jdl.data.task_regr import TaskRegr
    >>> task = TaskRegr({"x": [1.0, 2.0, 3.0, 4.0], "y": [0.0, 1.0, 4.0, 9.0]}, target="y")
    >>> len(RepeatedCV(folds=2, repeats=5).split(task))
    10
    """

    id: ClassVar[str] = "repeated_cv"
    fields: ClassVar[dict[str, Field]] = {
        "folds": FOLDS,
        "repeats": count(10, "Number of cross-validations."),
        "stratify": STRATIFY,
    }
    folds: int = 10
    repeats: int = 10
    stratify: bool | None = None

    def pairs(self, task: Any, key: RandomKey) -> list[Pair]:
        """A pair per fold and repeat."""
        roles = roles_of(task, self.stratify, self.who)
        return by_folds(self.who, roles, self.folds, [key.fold(i) for i in range(self.repeats)])


def by_folds(who: str, roles: Roles, n_folds: int, keys: list[RandomKey]) -> list[Pair]:
    """The pairs of one cross-validation per key.

    Raises:
      ConfigError: More folds than rows or groups, or than rows of an explicit stratum.
    """
    if n_folds > roles.n_units:
        raise ConfigError(
            f"{who}: folds={n_folds} needs at least {n_folds} {roles.noun}, got {roles.n_units}.\n"
            + (f"Hint: folds={roles.n_units} or fewer." if roles.n_units > 1 else f"Hint: more {roles.noun}.")
        )
    folds = np.stack([deal(key.generator(), roles, n_folds) for key in keys])
    # One mask per fold and repeat.
    testing = (folds[:, None, :] == np.arange(n_folds)[None, :, None]).reshape(-1, roles.n_rows)
    check_spread(roles, testing, who, f"the {n_folds} folds")
    return [by_mask(~mask) for mask in testing]
