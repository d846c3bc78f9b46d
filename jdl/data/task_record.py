"""What a task holds, checked once when a user makes a task from data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jdl.core.errors import TaskError, shown, suggest
from jdl.data.column_type import column_type, plain
from jdl.data.schema import Schema
from jdl.data.source import as_frame, column, count_missing


@dataclass(frozen=True, eq=False)
class TaskRecord:
    """The parts of a task; derived tasks replace some of them.

    Args:
      frame: All columns, with features, target and roles, and an index from 0.
      schema: The features.
      target: Name of the target column.
      id: Name of the task.
      group: Name of the group column.
      strata: Names of the columns whose combinations are the strata.
      weights: Name of the column with the weight of each row.
      class_names: Sorted labels of a classification target.
      positive: The positive one of two classes.
      validation: A task with rows to validate on.
      names: Text names of columns -> the names that they came with, where those were no texts.
    """

    frame: pd.DataFrame
    schema: Schema
    target: str
    id: str
    group: str | None = None
    strata: tuple[str, ...] = ()
    weights: str | None = None
    class_names: tuple[Any, ...] = ()
    positive: Any = None
    validation: Any = None
    names: Mapping[str, Any] = field(default_factory=dict)


def make_record(
    kind: str,
    data: Any,
    target: Any,
    *,
    id: str | None,
    group: str | None,
    strata: str | Sequence[str] | None,
    weights: str | None,
    types: Mapping[str, str] | None,
) -> TaskRecord:
    """The record of a new task, its target not yet looked at.

    Raises:
      TaskError: The data cannot be used, or a column that is named does not exist.
    """
    id = str(id) if id else (Path(data).stem if isinstance(data, str | Path) else "task")
    who = f"{kind} '{id}'"
    frame = as_frame(data, who=who)
    if frame.empty:
        raise TaskError(
            f"{who}: the data must have at least one row and one column, got {frame.shape[0]} rows "
            f"and {frame.shape[1]} columns.\nHint: check the filter or file that made it."
        )
    _check_same_index(data, target, who)
    frame, name = _with_target(frame, target, who)
    group, roles, weights = _name(group, "group", who), _names(strata, who), _name(weights, "weights", who)
    for role, role_column in [("group", group), ("weights", weights), *(("strata", s) for s in roles)]:
        if role_column is not None and role_column not in list(frame.columns):
            raise TaskError(
                f"{who}: there is no column '{role_column}' for {role}. {suggest(role_column, frame.columns)}"
            )
    if group == name:
        raise TaskError(
            f"{who}: the target '{name}' cannot be the group too.\nHint: groups need a column of their own."
        )
    if group is not None and count_missing(frame, group):
        raise TaskError(
            f"{who}: the group column '{group}' must have no missing values, "
            f"got {count_missing(frame, group)}.\n"
            f"Hint: give rows without a group a group of their own."
        )
    if weights is not None:
        _check_weights_column(
            frame, weights, [("target", name), ("group", group), *(("strata", s) for s in roles)], who
        )
    features = [feature for feature in frame.columns if feature not in (name, group, weights)]
    if not features:
        raise TaskError(f"{who}: the data must have a feature column beside '{name}'.\nHint: add one.")
    schema = Schema.infer(frame, features, types=types, who=who)
    return TaskRecord(
        frame=frame,
        schema=schema,
        target=name,
        id=id,
        group=group,
        strata=roles,
        weights=weights,
        names=_names_given(data),
    )


def _check_weights_column(frame: pd.DataFrame, name: str, others: Sequence[tuple[str, str | None]], who: str) -> None:
    for role, other in others:
        if other == name:
            raise TaskError(
                f"{who}: the column '{name}' cannot be {role} and weights too.\n"
                "Hint: weights need a column of their own."
            )
    if not row_weights(frame, name, who).any():
        raise TaskError(f"{who}: the weights in '{name}' must not all be 0.\nHint: a row of weight 0 counts as absent.")


def row_weights(frame: pd.DataFrame, name: str, who: str) -> np.ndarray:
    """The weights in a column, float64; always a copy.

    Raises:
      TaskError: They are not numbers, or some are missing, infinite or below 0.
    """
    series = column(frame, name)
    if column_type(series, who=who) not in ("bool", "int", "float"):
        raise TaskError(
            f"{who}: the weights in '{name}' must be numbers, got values such as {shown(series.iloc[0])}.\n"
            "Hint: pandas.to_numeric makes numbers of texts."
        )
    values = np.array(series.to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if len(wrong):
        raise TaskError(
            f"{who}: the weights in '{name}' must be finite and at least 0, got {values[wrong[0]]:g} in row {wrong[0]}"
            + (f" and others in {len(wrong)} rows in all" if len(wrong) > 1 else "")
            + ".\nHint: 0 for a row that is not to count, or drop it."
        )
    return values


def _names_given(data: Any) -> dict[str, Any]:
    """The names of columns that are no texts, by what they are called here."""
    names = data.columns if isinstance(data, pd.DataFrame) else data if isinstance(data, Mapping) else ()
    return {str(name): name for name in names if not isinstance(name, str)}


def _name(column: Any, role: str, who: str) -> str | None:
    """The name of the column with a role."""
    if column is None or isinstance(column, str):
        return column
    if np.ndim(column) or isinstance(column, pd.Series | pd.Index | Mapping):
        raise TaskError(
            f"{who}: `{role}` must be the name of a column, got {shown(column)}.\n"
            f"Hint: make it a column of the data, such as frame['{role}'] = values, and give {role}='{role}'."
        )
    return str(column)


def _names(strata: Any, who: str) -> tuple[str, ...]:
    several = strata if isinstance(strata, list | tuple) else [strata]
    names = [_name(column, "strata", who) for column in several]
    return tuple(name for name in names if name is not None)


def _check_same_index(data: Any, target: Any, who: str) -> None:
    """Refuses a target whose values may belong to other rows than those they stand beside."""
    if not isinstance(data, pd.DataFrame) or not isinstance(target, pd.Series) or len(data) != len(target):
        return
    if not data.index.equals(target.index):
        raise TaskError(
            f"{who}: the indexes of data and target differ, so that rows and labels may not belong together.\n"
            f"Hint: target.to_numpy() where both are in the same order, else target.reindex(frame.index)."
        )


def _with_target(frame: pd.DataFrame, target: Any, who: str) -> tuple[pd.DataFrame, str]:
    """The frame with its target column, and the column's name."""
    if isinstance(target, list | tuple) and len(target) == 1 < len(frame) and str(target[0]) in frame.columns:
        target = target[0]
    if np.ndim(target) == 0 and not isinstance(target, pd.Series):
        name = str(target)
        if name not in frame.columns:
            raise TaskError(
                f"{who}: there is no target column {name!r}. {suggest(name, frame.columns)}\n"
                f"Hint: `target` is the name of a column, or an array of labels, one per row."
            )
        return frame, name
    given_name = getattr(target, "name", None)
    name = given_name if isinstance(given_name, str) else "target"
    if name in frame.columns:
        raise TaskError(
            f"{who}: the target is given as an array named '{name}', but the data has such a column too.\n"
            f"Hint: target='{name}' uses that column; else drop it from the data, or it would be a feature."
        )
    if isinstance(target, pd.Series | pd.Index | pd.api.extensions.ExtensionArray):
        values = pd.Series(target).reset_index(drop=True)
    else:
        values = pd.Series(list(target) if isinstance(target, tuple | list) else _one_axis(target, who))
    if len(values) != len(frame):
        raise TaskError(
            f"{who}: the target must have a value for each of the {len(frame)} rows, got {len(values)}.\n"
            f"Hint: data and target must come from the same rows, in the same order."
        )
    frame = frame.copy(deep=False)
    frame[name] = values.copy()
    return frame, name


def _one_axis(target: Any, who: str) -> np.ndarray:
    values = np.asarray(target)
    if values.ndim != 1:
        raise TaskError(
            f"{who}: the target must have one axis, got shape {values.shape}.\n"
            f"Hint: one column per task; for one-hot labels, names[onehot.argmax(axis=1)]."
        )
    return values


def check_no_missing(frame: pd.DataFrame, target: str, who: str) -> None:
    """Refuse missing target values.

    Raises:
      TaskError: There are some.
    """
    n_missing = count_missing(frame, target)
    if n_missing:
        raise TaskError(
            f"{who}: the target '{target}' must have no missing values, "
            f"got {n_missing} in {len(frame)} rows.\n"
            f"Hint: drop those rows, frame.dropna(subset=['{target}'])."
        )


def label_codes(series: pd.Series, classes: Sequence[Any]) -> tuple[np.ndarray, list[Any]]:
    """Index in `classes` of each label (int32), and the labels that are no class (their index is -1)."""
    raw, uniques = pd.factorize(series)
    index = {label: i for i, label in enumerate(classes)}
    labels = [plain(label) for label in uniques]
    lookup = np.array([*(index.get(label, -1) for label in labels), -1], dtype=np.int32)
    return lookup[raw], [label for label in labels if label not in index]
