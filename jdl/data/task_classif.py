"""Classification tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Int

from jdl.core.errors import TaskError, shown, suggest
from jdl.data.column_type import column_type, plain
from jdl.data.rows import as_positions
from jdl.data.source import column
from jdl.data.task import Task, read_only
from jdl.data.task_record import TaskRecord, check_no_missing, label_codes, make_record


class TaskClassif(Task):
    """Data whose target is one of two or more classes.

    Args:
      data: A pandas frame, a dict of columns, an array with two axes, or the path of a local CSV file.
      target: Name of the target column, or labels, one per row: texts, integers, or bools.
      id: Name of the task; of a CSV file, the file's name if None.
      positive: The positive one of two classes; the last in `class_names` if None.
      group: Name of a column; rows with equal values stay together in splits. It is no feature.
      strata: Name or names of columns whose combinations splits keep in proportion. They stay features.
      weights: Name of a column with the weight of each row in training and in scores: finite, at least 0; a row of
        weight 0 counts as absent. It is no feature.
      types: Types of features for which another than the inferred is meant, such as {"zip": "category"}.

    Raises:
      TaskError: The data or the target cannot be used.

    Examples:
    >>> task = TaskClassif({"x": [1.5, 2.0, 3.5], "y": ["no", "yes", "no"]}, target="y")
    >>> task.class_names, task.positive, task.target_codes.tolist()
    (['no', 'yes'], 'yes', [0, 1, 0])
    >>> task
    TaskClassif 'task': 3 rows, 1 feature
      features  1 float
      target    y: no 2, yes 1 (positive: yes)
      missing   none
    """

    task_type = "classif"

    def __init__(
        self,
        data: Any,
        target: Any,
        *,
        id: str | None = None,
        positive: Any = None,
        group: str | None = None,
        strata: str | Sequence[str] | None = None,
        weights: str | None = None,
        types: Mapping[str, str] | None = None,
    ):
        record = make_record(
            "TaskClassif", data, target, id=id, group=group, strata=strata, weights=weights, types=types
        )
        who = f"TaskClassif '{record.id}'"
        class_names = _classes(record, who)
        super().__init__(
            replace(record, class_names=class_names, positive=_positive(positive, class_names, record.target, who))
        )

    @property
    def class_names(self) -> list[Any]:
        """The labels, sorted, as Python values."""
        return list(self._record.class_names)

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self._record.class_names)

    @property
    def positive(self) -> Any:
        """The positive class of a binary task; None where there are more than two classes."""
        return self._record.positive

    @cached_property
    def target_codes(self) -> Int[np.ndarray, "row"]:
        """Index in `class_names` of each row's label, int32."""
        return read_only(label_codes(column(self._record.frame, self.target), self._record.class_names)[0])

    def truth(self, rows: Any = None) -> np.ndarray:
        """Labels of all rows or of some, of the type that the class names have.

        Raises:
          TaskError: `rows` are no positions and no mask of the task's rows.
        """
        codes = self.target_codes
        if rows is not None:
            codes = codes[as_positions(rows, self.n_rows, who=self.who)]
        return np.asarray(self.class_names)[codes]

    def _check_validation(self) -> None:
        super()._check_validation()
        unknown = label_codes(column(self._record.frame, self.target), self._record.class_names)[1]
        if unknown:
            raise TaskError(
                f"{self.who}: a task to validate on must have the classes {self.class_names}, "
                f"got {unknown[:5]} too.\n"
                f"Hint: make both tasks from one frame, and with_validation(rows)."
            )

    def _describe_target(self) -> str:
        counts = np.bincount(self.target_codes, minlength=self.n_classes)
        shown = [f"{label} {count}" for label, count in zip(self.class_names[:8], counts[:8], strict=True)]
        more = f", ... ({self.n_classes} classes)" if self.n_classes > 8 else ""
        positive = f" (positive: {self.positive})" if self.n_classes == 2 else ""
        return f"{self.target}: {', '.join(shown)}{more}{positive}"


def _classes(record: TaskRecord, who: str) -> tuple[Any, ...]:
    """The sorted labels that occur."""
    series, name = column(record.frame, record.target), record.target
    check_no_missing(record.frame, name, who)
    column_type(series, who=who)
    labels = {plain(label) for label in series.unique()}
    if any(isinstance(label, float) for label in labels):
        raise TaskError(
            f"{who}: the labels in '{name}' must be texts, integers, or bools, got fractions such as "
            f"{next(v for v in labels if isinstance(v, float))}.\n"
            f"Hint: TaskRegr predicts numbers; else make classes of them, for instance with pandas.cut."
        )
    if len({isinstance(label, str) for label in labels}) > 1:
        raise TaskError(
            f"{who}: the labels in '{name}' must be all texts or all numbers, got both.\n"
            f"Hint: frame['{name}'].astype(str)."
        )
    if len(labels) < 2:
        raise TaskError(
            f"{who}: the target '{name}' must have at least two classes, got only {next(iter(labels))!r}.\n"
            f"Hint: check the column and how the rows were chosen."
        )
    return tuple(sorted(labels))


def _positive(given: Any, class_names: tuple[Any, ...], target: str, who: str) -> Any:
    first, *_, last = class_names
    if len(class_names) > 2:
        if given is not None:
            raise TaskError(
                f"{who}: `positive` needs a target with two classes, but '{target}' has {len(class_names)}.\n"
                f"Hint: leave `positive` out."
            )
        return None
    if given is None:
        return last
    if plain(given) not in class_names:
        alike = [name for name in class_names if str(name) == str(given)]
        help = f"Hint: positive={alike[0]!r}." if alike else suggest(given, map(str, class_names))
        raise TaskError(
            f"{who}: `positive` must be a class of '{target}', {first!r} or {last!r}, got {shown(given)}. {help}"
        )
    return class_names[class_names.index(plain(given))]
