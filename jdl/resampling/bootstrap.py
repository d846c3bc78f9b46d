"""Bootstrap: training rows drawn with replacement, tested on those that were not drawn."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from jdl.core.errors import ConfigError
from jdl.core.fields import Field
from jdl.core.random import RandomKey
from jdl.resampling.allocate import redraw
from jdl.resampling.roles import Roles, complain_of_rare, roles_of
from jdl.resampling.splitter import STRATIFY, Pair, Splitter, check_units, count

ATTEMPTS = 100


@dataclass(frozen=True, kw_only=True)
class Bootstrap(Splitter):
    """Training rows drawn with replacement; the rows that were never drawn are the test set.

    With groups, whole groups are drawn. A draw that leaves no row out is drawn anew.

    Args:
      ratio: Drawn rows as a multiple of all rows.
      repeats: Number of iterations.
      stratify: Whether each stratum, or else class, is drawn in proportion; None does where there are any.

    References: Efron, Bootstrap methods: another look at the jackknife, 1979.

    >>> from jdl.data.task_regr import TaskRegr
    >>> task = TaskRegr({"x": [1.0, 2.0, 3.0, 4.0], "y": [0.0, 1.0, 4.0, 9.0]}, target="y")
    >>> train, test = next(iter(Bootstrap(repeats=1).split(task)))
    >>> len(train), len(set(train.tolist()) & set(test.tolist()))
    (4, 0)
    """

    id: ClassVar[str] = "bootstrap"
    fields: ClassVar[dict[str, Field]] = {
        "ratio": Field("float", 1.0, low=0.0, open_low=True, tags=("split",), doc="Drawn rows per row of the task."),
        "repeats": count(30, "Number of iterations."),
        "stratify": STRATIFY,
    }
    ratio: float = 1.0
    repeats: int = 30
    stratify: bool | None = None

    def pairs(self, task: Any, key: RandomKey) -> list[Pair]:
        """A pair per repeat."""
        roles = roles_of(task, self.stratify, self.who)
        check_units(self.who, roles, 2, "a drawn row and one that is left")
        n_units = (roles.counts() > 0).sum(axis=0)
        complain_of_rare(roles, np.flatnonzero(n_units < 2), self.who, "the drawn and the left rows")
        return [self._draw(roles, key.fold(i).generator()) for i in range(self.repeats)]

    def _draw(self, roles: Roles, generator: np.random.Generator) -> Pair:
        for _ in range(ATTEMPTS):
            times = redraw(generator, roles, self.ratio)
            if times.any() and not times.all():
                return np.repeat(np.arange(roles.n_rows), times), np.flatnonzero(times == 0)
        raise ConfigError(
            f"{self.who}: ratio={self.ratio:g} of {roles.n_units} {roles.noun} leaves the training or the test set "
            "empty.\nHint: a ratio nearer to 1, or stratify=False."
        )
