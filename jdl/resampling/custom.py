"""Splits that the user lays down."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from jdl.core.errors import ConfigError, ConfigTypeError, UnknownNameError, shown
from jdl.core.fields import REQUIRED, Field
from jdl.core.random import RandomKey
from jdl.data.rows import as_positions
from jdl.resampling.splitter import Pair, Splitter, by_mask

RowSets = tuple[tuple[Any, ...], ...]


def _as_sets(value: Any) -> RowSets:
    """Nested tuples, so that equal splitters compare equal."""
    try:
        return tuple(tuple(np.asarray(rows).tolist()) for rows in value)
    except (TypeError, ValueError):
        raise ConfigTypeError(
            f"Resampling 'custom': needs a list with a set of rows per iteration, got {shown(value)}.\n"
            "Hint: train_sets=[[0, 1, 2], [3, 4, 5]]; a single set is [[0, 1, 2]]."
        ) from None


def _as_factor(value: Any) -> tuple[Any, ...] | None:
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Iterable) or np.ndim(np.asarray(value)) != 1:
        raise ConfigTypeError(
            f"Resampling 'custom_cv': 'factor' must hold a value per row, got {shown(value)}.\n"
            "Hint: name a column by 'column'."
        )
    return tuple(np.asarray(value).tolist())


@dataclass(frozen=True, kw_only=True)
class Custom(Splitter):
    """Sets of rows as given, one pair per iteration. Groups and strata play no part; sets may overlap.

    Args:
      train_sets: Training rows of each iteration: positions, or a mask of all rows.
      test_sets: Test rows of each iteration.

    >>> from jdl.data.task_regr import TaskRegr
    >>> task = TaskRegr({"x": [1.0, 2.0, 3.0, 4.0], "y": [0.0, 1.0, 4.0, 9.0]}, target="y")
    >>> splits = Custom(train_sets=[[0, 1]], test_sets=[[False, False, True, True]]).split(task)
    >>> splits.test_sets[0].tolist()
    [2, 3]
    """

    id: ClassVar[str] = "custom"
    fields: ClassVar[dict[str, Field]] = {
        "train_sets": Field("any", REQUIRED, tags=("split",), convert=_as_sets, doc="Training rows, by iteration."),
        "test_sets": Field("any", REQUIRED, tags=("split",), convert=_as_sets, doc="Test rows, by iteration."),
    }
    train_sets: Any = REQUIRED
    test_sets: Any = REQUIRED

    def pairs(self, task: Any, key: RandomKey) -> list[Pair]:
        """The given pairs."""
        del key
        if len(self.train_sets) != len(self.test_sets):
            raise ConfigError(
                f"{self.who}: needs as many training sets as test sets, got {len(self.train_sets)} and "
                f"{len(self.test_sets)}.\nHint: give one of each per iteration."
            )
        return [
            (self._rows("train_sets", i, train, task.n_rows), self._rows("test_sets", i, test, task.n_rows))
            for i, (train, test) in enumerate(zip(self.train_sets, self.test_sets, strict=True))
        ]

    def _rows(self, name: str, iteration: int, rows: tuple[Any, ...], n_rows: int) -> np.ndarray:
        who = f"{self.who}, {name}[{iteration}]"
        positions = as_positions(rows, n_rows, who=who)
        if not len(positions):
            raise ConfigError(f"{who}: needs at least one row, got none.\nHint: leave out that iteration.")
        return positions


@dataclass(frozen=True, kw_only=True)
class CustomCV(Splitter):
    """Cross-validation with folds by the values of a column or an array, in sorted order.

    Args:
      column: Name of a column of the task.
      factor: A value per row.

    >>> from jdl.data.task_regr import TaskRegr
    >>> task = TaskRegr({"x": [1.0, 2.0, 3.0, 4.0], "y": [0.0, 1.0, 4.0, 9.0]}, target="y")
    >>> splits = CustomCV(factor=["b", "a", "a", "c"]).split(task)
    >>> [test.tolist() for test in splits.test_sets]
    [[1, 2], [0], [3]]
    """

    id: ClassVar[str] = "custom_cv"
    fields: ClassVar[dict[str, Field]] = {
        "column": Field("str", None, optional=True, tags=("split",), doc="Name of the column of folds."),
        "factor": Field("any", None, optional=True, tags=("split",), convert=_as_factor, doc="Fold of each row."),
    }
    column: str | None = None
    factor: Any = None

    def pairs(self, task: Any, key: RandomKey) -> list[Pair]:
        """A pair per value."""
        del key
        codes, levels = pd.factorize(self._values(task), sort=True)
        if (codes < 0).any():
            raise ConfigError(
                f"{self.who}: every row needs a fold, but {int((codes < 0).sum())} values are missing.\n"
                "Hint: fill them, or drop these rows from the task."
            )
        if len(levels) < 2:
            raise ConfigError(
                f"{self.who}: needs at least two different values, got {list(levels)}.\nHint: name another column."
            )
        return [by_mask(codes != code) for code in range(len(levels))]

    def _values(self, task: Any) -> Any:
        if (self.column is None) == (self.factor is None):
            given = "neither" if self.factor is None else "both"
            raise ConfigError(f"{self.who}: needs either 'column' or 'factor', got {given}.")
        if self.factor is not None:
            if len(self.factor) != task.n_rows:
                raise ConfigError(
                    f"{self.who}: 'factor' must hold a value for each of the {task.n_rows} rows, "
                    f"got {len(self.factor)}."
                )
            return pd.array(list(self.factor))
        frame = task.to_pandas()
        if self.column not in frame:
            raise UnknownNameError.of("column", self.column, map(str, frame.columns), owner=f"task '{task.id}'")
        return frame[self.column]
