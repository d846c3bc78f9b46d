"""Tasks: data with a target, and what each of its columns is for."""

import abc
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from jdl.core.errors import JdlError, TaskError, suggest
from jdl.data.rows import as_positions
from jdl.data.schema import Schema
from jdl.data.source import count_missing, own_copy
from jdl.data.table import ColumnType, Table, TableSpec
from jdl.data.task_record import TaskRecord, row_weights

Selector = Callable[[TableSpec], Iterable[str]]
_OF_TARGET = ("target_codes", "target_values")
_OF_ROWS = (*_OF_TARGET, "spec", "table", "strata_codes", "group_codes", "row_weights")


class Task(metaclass=abc.ABCMeta):
    """Data with a target. Immutable: methods return new tasks.

    Made as `TaskClassif` or `TaskRegr`. Rows are positions from 0, whatever index a frame had.
    """

    task_type: ClassVar[str] = ""
    _record: TaskRecord

    def __init__(self, record: TaskRecord):
        vars(self)["_record"] = record

    def __setattr__(self, name: str, value: Any) -> None:
        raise TaskError(
            f"{self.who}: tasks never change; '{name}' cannot be set.\n"
            f"Hint: filter(), select() and with_validation() return new tasks."
        )

    def _replace(self, rows: Int[np.ndarray, "selected"] | None = None, **parts: Any) -> Self:
        """A task of the same class with other parts, and `rows` of the frame."""
        new = object.__new__(type(self))
        if rows is not None:
            parts["frame"] = self._record.frame.iloc[rows].reset_index(drop=True)
            for name in _OF_TARGET:
                if name in self.__dict__:
                    vars(new)[name] = read_only(self.__dict__[name][rows])
        vars(new)["_record"] = replace(self._record, **parts)
        return new

    @property
    def who(self) -> str:
        """Class and id, as errors name the task."""
        return f"{type(self).__name__} '{self._record.id}'"

    @property
    def id(self) -> str:
        """Name of the task."""
        return self._record.id

    @property
    def target(self) -> str:
        """Name of the target column."""
        return self._record.target

    @property
    def group(self) -> str | None:
        """Name of the column whose equal values keep rows together in splits; no feature."""
        return self._record.group

    @property
    def strata(self) -> list[str]:
        """Names of the columns whose combinations splits keep in proportion."""
        return list(self._record.strata)

    @property
    def weights(self) -> str | None:
        """Name of the column with the weight of each row in training and in scores; no feature."""
        return self._record.weights

    @property
    def validation(self) -> "Task | None":
        """A task with the rows to validate on, set by `with_validation`."""
        return self._record.validation

    @property
    def schema(self) -> Schema:
        """The feature columns."""
        return self._record.schema

    @property
    def feature_names(self) -> list[str]:
        """Names of the features, in the data's order."""
        return list(self.schema.names)

    @property
    def feature_types(self) -> dict[str, ColumnType]:
        """Type of each feature: bool, int, float, category, or ordered."""
        return self.schema.types

    def levels(self) -> dict[str, list[Any]]:
        """Levels of each category and ordered feature, also those that no row has."""
        return {name: list(levels) for name, levels in self.schema.levels.items()}

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self._record.frame)

    @property
    def n_features(self) -> int:
        """Number of features."""
        return len(self.schema.columns)

    @cached_property
    def spec(self) -> TableSpec:
        """The features as blocks of `table`, with flags for those that hold missing values."""
        frame = self._record.frame
        return self.schema.spec.with_missing(name for name in self.schema.names if count_missing(frame, name))

    @cached_property
    def table(self) -> Table:
        """The features of all rows as NumPy arrays, encoded when first asked for."""
        return self.schema.encode(self._record.frame, who=self.who)[1]

    @cached_property
    def strata_codes(self) -> Int[np.ndarray, "row"] | None:
        """Number of each row's stratum, or None; a missing value is a stratum of its own."""
        names = self._record.strata
        return read_only(_combinations(self._record.frame, names)) if names else None

    @cached_property
    def group_codes(self) -> Int[np.ndarray, "row"] | None:
        """Number of each row's group, or None."""
        name = self._record.group
        return read_only(_combinations(self._record.frame, (name,))) if name else None

    @cached_property
    def row_weights(self) -> Float[np.ndarray, "row"] | None:
        """Weight of each row, float64, or None."""
        name = self._record.weights
        return read_only(row_weights(self._record.frame, name, self.who)) if name else None

    def weights_of(self, rows: Any = None) -> Float[np.ndarray, "row"] | None:
        """Weight of all rows or of some, or None.

        Raises:
          TaskError: `rows` are no positions and no mask of the task's rows.
        """
        weights = self.row_weights
        return weights if weights is None or rows is None else weights[as_positions(rows, self.n_rows, who=self.who)]

    def missings(self) -> pd.Series:
        """Number of missing values per feature, and of the target."""
        names = [*self.schema.names, self.target]
        return pd.Series([count_missing(self._record.frame, name) for name in names], index=names, name="missings")

    @abc.abstractmethod
    def truth(self, rows: Any = None) -> np.ndarray:
        """Target values as the user gave them, of all rows or of some.

        Raises:
          TaskError: `rows` are no positions and no mask of the task's rows.
        """

    def filter(self, rows: Any) -> Self:
        """The task with these rows only, in this order; a position may repeat. Levels and classes are kept.

        Raises:
          TaskError: `rows` are no positions and no mask of the task's rows, or none is left.
        """
        positions = as_positions(rows, self.n_rows, who=self.who)
        if not len(positions):
            raise TaskError(f"{self.who}: filter must leave at least one row, got none.\nHint: check the condition.")
        return self._replace(rows=positions)

    def select(self, names: str | Iterable[str] | Selector) -> Self:
        """The task with these features only, in the task's order.

        Args:
          names: Names, or a function from the spec of the features to names (see `jdl.selectors`).

        Raises:
          TaskError: A name is no feature, or none is left.
        """
        if callable(names):
            names = self._chosen_by(names)
        keep = [names] if isinstance(names, str) or not isinstance(names, Iterable) else list(names)
        for name in keep:
            if name not in self.schema.names:
                raise TaskError(f"{self.who}: '{name}' is no feature. {suggest(name, self.schema.names)}")
        if not keep:
            raise TaskError(f"{self.who}: select must leave at least one feature, got none.\nHint: name some.")
        record = self._record
        used = {*keep, record.target, record.group, record.weights, *record.strata}
        validation = None if record.validation is None else record.validation.select(keep)
        return self._replace(
            frame=record.frame[[name for name in record.frame.columns if name in used]],
            schema=record.schema.select(keep),
            validation=validation,
        )._knowing(self, (*_OF_TARGET, "row_weights"))

    def _chosen_by(self, selector: Selector) -> Iterable[str]:
        try:
            return selector(self.spec)
        except JdlError:
            raise
        except Exception as error:
            raise TaskError(
                f"{self.who}: the function given to select raised {type(error).__name__}: {error}.\n"
                f"Hint: it gets a TableSpec, and returns names: lambda spec: [c.name for c in spec.numeric]."
            ) from error

    def with_validation(self, rows_or_task: Any) -> Self:
        """The task with rows to validate on: some of its own, which leave it, or those of another task.

        Args:
          rows_or_task: Positions or a mask of rows; or a task with the same features and target.

        Raises:
          TaskError: No row is left on one side, or the other task's columns differ.
        """
        if isinstance(rows_or_task, Task):
            return self._replace(validation=self._like_own(rows_or_task))._knowing(self, _OF_ROWS)
        positions = as_positions(rows_or_task, self.n_rows, who=self.who)
        rest = np.setdiff1d(np.arange(self.n_rows), positions)
        if not len(positions) or not len(rest):
            raise TaskError(
                f"{self.who}: with_validation must leave rows on both sides, "
                f"got {len(positions)} to validate on and {len(rest)} to train on.\n"
                f"Hint: with_validation(rows) names the rows to validate on."
            )
        plain = self._replace(validation=None)._knowing(self, _OF_ROWS)
        return plain._replace(rows=rest, validation=plain.filter(positions))

    def _like_own(self, other: "Task") -> "Task":
        """The other task in this one's coding of levels and classes."""
        if type(other) is not type(self) or other.target != self.target:
            raise TaskError(
                f"{self.who}: a task to validate on must be a {type(self).__name__} "
                f"with target '{self.target}', got a {type(other).__name__} with '{other.target}'.\n"
                f"Hint: make both from one frame."
            )
        same_names = set(other.feature_names) == set(self.feature_names)
        differing = sorted(set(other.feature_names) ^ set(self.feature_names))
        if not same_names:
            raise TaskError(
                f"{self.who}: a task to validate on must have the same features, but {differing[:10]} "
                f"are in one of the two only.\nHint: select() the common ones."
            )
        if self.weights is not None and self.weights not in other._record.frame.columns:
            raise TaskError(
                f"{self.who}: a task to validate on must have the weights '{self.weights}' too, got none.\n"
                f"Hint: make both from one frame."
            )
        self.schema.encode(other._record.frame.iloc[:0], who=f"{self.who}, validation")
        parts = {name: getattr(self._record, name) for name in ("schema", "class_names", "positive", "weights")}
        like = other._replace(validation=None, **parts)
        like._check_validation()
        return like

    def _check_validation(self) -> None:
        """Look at everything that could fail later."""
        _ = self.table, self.row_weights

    def _knowing(self, other: "Task", names: Iterable[str]) -> Self:
        """This task, with what the other has computed already and shares."""
        for name in names:
            if name in other.__dict__:
                vars(self)[name] = other.__dict__[name]
        return self

    def to_pandas(self, rows: Any = None) -> pd.DataFrame:
        """All columns with their original names and types, and an index from 0.

        Raises:
          TaskError: `rows` are no positions and no mask of the task's rows.
        """
        if rows is None:
            frame = own_copy(self._record.frame)
        else:
            positions = as_positions(rows, self.n_rows, who=self.who)
            frame = self._record.frame.iloc[positions].reset_index(drop=True)
        names = self._record.names
        if names:
            frame.columns = pd.Index([names.get(name, name) for name in frame.columns])
        return frame

    def __repr__(self) -> str:
        record = self._record
        types = list(self.feature_types.values())
        counts = [f"{types.count(t)} {t}" for t in ("float", "int", "bool", "category", "ordered") if t in types]
        roles = ([f"group {record.group}"] if record.group else []) + (
            [f"strata {', '.join(record.strata)}"] if record.strata else []
        )
        roles += [f"weights {record.weights}"] if record.weights else []
        missing = {name: count for name, count in self.missings().items() if count}
        lines = [
            f"{self.who}: {self.n_rows} rows, {self.n_features} feature{'s' if self.n_features > 1 else ''}",
            f"  features  {', '.join(counts)}",
            f"  target    {self._describe_target()}",
            *([f"  roles     {'; '.join(roles)}"] if roles else []),
            f"  missing   {_shorten([f'{name} {count}' for name, count in missing.items()]) or 'none'}",
        ]
        if record.validation is not None:
            lines.append(f"  validation {record.validation.n_rows} rows")
        return "\n".join(lines)

    @abc.abstractmethod
    def _describe_target(self) -> str: ...


def as_task(task: Any, *, names_only: bool = False) -> Any:
    """The ready-made task of that name; anything else as it is.

    Args:
      task: A name, or what is said to be a task.
      names_only: Whether a text that names no task is left as it is, too.

    Raises:
      UnknownNameError: No task has the name.

    >>> as_task("iris").n_rows
    150
    """
    if not isinstance(task, str):
        return task
    # Loaded here: who brings their own data need not wait for ours.
    from jdl.data.datasets.catalogue import TASKS

    return task if names_only and task not in TASKS else TASKS.make(task)


def read_only(array: np.ndarray) -> np.ndarray:
    """The array, closed to changes: tasks hand out what they hold."""
    array.setflags(write=False)
    return array


def _combinations(frame: pd.DataFrame, names: Iterable[str]) -> Int[np.ndarray, "row"]:
    """Number of the combination of values that each row has."""
    codes = np.zeros(len(frame), dtype=np.int64)
    for name in names:
        raw, uniques = pd.factorize(frame[name], sort=True)
        # Renumbered after every column, so that the product cannot overflow.
        codes = np.unique(codes * (len(uniques) + 1) + raw + 1, return_inverse=True)[1]
    return codes.astype(np.int64)


def _shorten(parts: list[str], most: int = 6) -> str:
    more = f", and {len(parts) - most} more" if len(parts) > most else ""
    return ", ".join(parts[:most]) + more
