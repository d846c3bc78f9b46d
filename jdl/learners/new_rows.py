"""Rows to predict: from what a user hands in to arrays in the coding of the training task."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from jdl.core.errors import TaskError
from jdl.data.column_type import column_type
from jdl.data.rows import as_positions
from jdl.data.schema import Schema, plain_frame
from jdl.data.source import column
from jdl.data.table import Table, TableSpec
from jdl.data.task import Task, as_task
from jdl.data.task_record import label_codes, row_weights
from jdl.learners.checks import check_rows
from jdl.learners.target import Target


@dataclass(frozen=True)
class NewRows:
    """Rows that a fitted learner is to predict.

    Args:
      table: The rows, raw, in NumPy.
      positions: Where they stood in the data that was passed.
      truth: Their targets; None if the data has no column of them.
      weights: Their weights in scores; None if all count alike.
    """

    table: Table
    positions: np.ndarray
    truth: np.ndarray | None
    weights: np.ndarray | None = None

    @classmethod
    def of(cls, learner: Any, known: "Known", spec: TableSpec, data: Any, rows: Any) -> "NewRows":
        """The rows of a task (or the name of one), a data frame or a dict of arrays.

        Args:
          learner: The learner that was trained.
          known: What it knows of the training task.
          spec: Feature columns, flagged as in the rows that it was trained on.
          data: Has these columns, and perhaps the target; others are ignored.
          rows: Positions or a mask; all by default.

        Raises:
          ConfigError: A task of another type.
          TaskError: A column is absent, of another type, or holds what the learner does not take; or the target
            cannot be used, or holds a class that the training task did not have.
        """
        who = f"learner '{learner.id}'"
        data = as_task(data, names_only=True)
        task = data if isinstance(data, Task) else None
        frame = None
        if task is not None:
            learner.check_task(task)
        if task is not None and task.schema == known.schema:
            found, table = task.spec, task.table
        else:
            frame = plain_frame(data if task is None else task.to_pandas(), who=who)
            found, table = known.schema.encode(frame, who=who)
        positions = np.arange(table.n_rows) if rows is None else as_positions(rows, table.n_rows, who=who)
        if rows is not None:
            table = table.take(positions)
        check_rows(learner, found, table, fitted=spec, where=" in the data to predict")
        if task is not None:
            truth = known.checked(task.truth(positions), who, f"task '{task.id}'")
            return cls(table, positions, truth, task.weights_of(positions))
        assert frame is not None
        if known.target not in frame.columns:
            return cls(table, positions, None)
        weights = None
        if known.weights is not None and known.weights in frame.columns:
            weights = row_weights(frame.iloc[positions], known.weights, who)
        return cls(table, positions, known.truth(frame, positions, who), weights)


@dataclass(frozen=True)
class Known:
    """What a fitted learner knows of the task that it was trained on.

    Args:
      schema: The feature columns.
      target: Name of the target column.
      class_names: The classes; None in regression.
      positive: The positive class; None unless there are two.
      weights: Name of the column of weights; None where all rows count alike.
    """

    schema: Schema
    target: str
    class_names: tuple[Any, ...] | None
    positive: Any
    weights: str | None = None

    @classmethod
    def of(cls, task: Task) -> "Known":
        """What there is to know of a task."""
        target = Target.of(task)
        return cls(task.schema, task.target, target.class_names, target.positive, task.weights)

    def truth(self, frame: pd.DataFrame, positions: np.ndarray, who: str) -> np.ndarray:
        """The target of some rows of a frame.

        Raises:
          TaskError: It cannot be used, or holds a class that the training task did not have.
        """
        series = column(frame, self.target).iloc[positions]
        drop = f"Hint: without the column '{self.target}' the rows are predicted without their truth."
        n_missing = int(series.isna().sum())
        if n_missing:
            raise TaskError(f"{who}: the target '{self.target}' is missing in {n_missing} rows to predict.\n{drop}")
        if self.class_names is not None:
            codes, unknown = label_codes(series, self.class_names)
            self._refuse_classes(unknown, who, "the data to predict")
            return np.asarray(self.class_names)[codes]
        kind = column_type(series, who=who) if len(series) else "float"
        values = series.to_numpy(dtype=np.float64) if kind in ("int", "float") else np.array([np.nan])
        if not np.isfinite(values).all():
            raise TaskError(f"{who}: the target '{self.target}' of rows to predict must be finite numbers.\n{drop}")
        return values

    def checked(self, truth: np.ndarray, who: str, where: str) -> np.ndarray:
        """The target of a task's rows.

        Raises:
          TaskError: It holds a class that the training task did not have.
        """
        if self.class_names is not None:
            self._refuse_classes(sorted(set(truth.tolist()) - set(self.class_names), key=str), who, where)
        return truth

    def _refuse_classes(self, unknown: list[Any], who: str, where: str) -> None:
        if unknown:
            raise TaskError(
                f"{who}: knows the classes {', '.join(map(repr, self.class_names or ()))}, but {where} has "
                f"{', '.join(map(repr, unknown[:5]))} too.\nHint: drop the column '{self.target}' from the frame to "
                "predict without the truth."
            )
