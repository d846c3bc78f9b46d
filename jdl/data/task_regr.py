"""Regression tasks."""

import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from jdl.core.errors import JdlWarning, TaskError, shown
from jdl.data.column_type import column_type
from jdl.data.rows import as_positions
from jdl.data.source import column
from jdl.data.task import Task, read_only
from jdl.data.task_record import TaskRecord, check_no_missing, make_record


class TaskRegr(Task):
    """Data whose target is a number.

    Args:
      data: A pandas frame, a dict of columns, an array with two axes, or the path of a local CSV file.
      target: Name of the target column, or finite numbers, one per row.
      id: Name of the task; of a CSV file, the file's name if None.
      group: Name of a column; rows with equal values stay together in splits. It is no feature.
      strata: Name or names of columns whose combinations splits keep in proportion. They stay features.
      weights: Name of a column with the weight of each row in training and in scores: finite, at least 0; a row of
        weight 0 counts as absent. It is no feature.
      types: Types of features for which another than the inferred is meant, such as {"zip": "category"}.

    Raises:
      TaskError: The data or the target cannot be used.

    Examples:
    >>> TaskRegr(np.arange(6).reshape(3, 2), target=[1.0, 2.0, 4.5])
    TaskRegr 'task': 3 rows, 2 features
      features  2 int
      target    target: mean 2.5, sd 1.803, from 1 to 4.5
      missing   none
    """

    task_type = "regr"

    def __init__(
        self,
        data: Any,
        target: Any,
        *,
        id: str | None = None,
        group: str | None = None,
        strata: str | Sequence[str] | None = None,
        weights: str | None = None,
        types: Mapping[str, str] | None = None,
    ):
        record = make_record("TaskRegr", data, target, id=id, group=group, strata=strata, weights=weights, types=types)
        _check_target(record, f"TaskRegr '{record.id}'")
        super().__init__(record)

    @cached_property
    def target_values(self) -> Float[np.ndarray, "row"]:
        """The target of each row, float64."""
        return read_only(_numbers(self._record))

    def truth(self, rows: Any = None) -> np.ndarray:
        """Target values of all rows or of some, float64.

        Raises:
          TaskError: `rows` are no positions and no mask of the task's rows.
        """
        if rows is None:
            return self.target_values.copy()
        return self.target_values[as_positions(rows, self.n_rows, who=self.who)]

    def _describe_target(self) -> str:
        values = self.target_values
        sd = values.std(ddof=1) if len(values) > 1 else 0.0
        span = f"from {values.min():.6g} to {values.max():.6g}"
        return f"{self.target}: mean {values.mean():.4g}, sd {sd:.4g}, {span}"


def _numbers(record: TaskRecord) -> Float[np.ndarray, "row"]:
    # Always a copy: the frame shares its data with what the user holds.
    return np.array(column(record.frame, record.target).to_numpy(dtype=np.float64), dtype=np.float64)


def _check_target(record: TaskRecord, who: str) -> None:
    series, name = column(record.frame, record.target), record.target
    check_no_missing(record.frame, name, who)
    found = column_type(series, who=who)
    if found not in ("int", "float"):
        raise TaskError(
            f"{who}: the target '{name}' must be numeric, got {found} values such as {shown(series.iloc[0])}.\n"
            f"Hint: TaskClassif predicts classes; numbers kept as texts go through pandas.to_numeric."
        )
    values = _numbers(record)
    infinite = int(np.isinf(values).sum())
    if infinite:
        raise TaskError(
            f"{who}: the target '{name}' must be finite, "
            f"got infinite values in {infinite} of {len(series)} rows.\n"
            f"Hint: drop or repair those rows."
        )
    with np.errstate(over="ignore", invalid="ignore"):
        scale = (values.mean(), values.std())
    if not np.isfinite(scale).all():
        raise TaskError(
            f"{who}: the target '{name}' must have a finite mean and standard deviation in float64, got values up to "
            f"{np.abs(values).max():g}.\n"
            f"Hint: divide it by a constant first, or predict its logarithm."
        )
    _warn_of_lost_digits(series, name, who)


def _warn_of_lost_digits(series: pd.Series, name: str, who: str) -> None:
    """Warns where the target's spread is so small beside its size that float64 cannot hold it."""
    low, high = (value.item() if isinstance(value, np.generic) else value for value in (series.min(), series.max()))
    spread, size = float(high - low), max(abs(float(low)), abs(float(high)))  # of integers the exact difference
    if 0 < spread < 1e4 * float(np.finfo(np.float64).eps) * size:
        warnings.warn(
            f"{who}: the target '{name}' lies between {low} and {high}; it is standardised in float64, with 15 digits, "
            f"which loses most of its differences.\nHint: subtract a constant first: frame['{name}'] - {low}.",
            JdlWarning,
            stacklevel=5,
        )
