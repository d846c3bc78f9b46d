"""Whether data suits a learner, and which stage would help where it does not."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from jdl.core.errors import TaskError
from jdl.data.schema import check_finite
from jdl.data.selectors import Named, Selector
from jdl.data.table import Table, TableSpec
from jdl.pipeline.compose import out_specs
from jdl.pipeline.stage import Stage


def check_columns(learner: Any, spec: TableSpec, where: str = "", *, hint: str = "") -> None:
    """Refuses columns of a type that the learner does not take, and missing values where it takes none.

    Args:
      learner: Has `id`, `feature_types` and `takes_missing`.
      spec: The columns that reach it, after the stages.
      where: Where the data is from, for the message.
      hint: What to do about missing values, where that is not to impute.

    Raises:
      TaskError: Names the columns and the stage that would help.
    """
    wrong = [c for c in spec.columns if c.type not in learner.feature_types]
    if wrong:
        types = sorted({c.type for c in wrong})
        raise TaskError(
            f"learner '{learner.id}' takes {', '.join(learner.feature_types)} columns, but {_names(wrong)} of "
            f"type {' and '.join(types)}{where}.\nHint: put jdl.po('encode') before the learner, or leave them out "
            "with jdl.po('select')."
        )
    taken = learner.takes_missing, learner.takes_missing or learner.takes_missing_categories
    missing = [c for c in spec.columns if c.missing and not taken[not c.is_numeric]]
    if missing:
        coded = [c for c in missing if not c.is_numeric]
        stage = "imputemode" if coded else "imputemedian"
        raise TaskError(
            f"learner '{learner.id}' takes no missing values, but {_names(missing, 'has', 'have')} some{where}.\n"
            + (hint or f"Hint: put jdl.po('{stage}') before the learner, or leave columns out with task.select(...).")
        )
    if not spec.columns:
        raise TaskError(f"learner '{learner.id}' needs at least one feature, but none reaches it{where}.")


def check_used_rows(
    learner: Any, spec: TableSpec, table: Table, jobs: Sequence[Any], n_task: int, *, fitted: TableSpec
) -> None:
    """Refuses what a learner does not take in rows that some job trains on, validates on or predicts.

    Args:
      learner: See `check_rows`.
      spec: Columns of the table.
      table: Raw rows: `n_task` of the task, behind them those of a validation task.
      jobs: Have `rows` and `test`.
      n_task: Rows of the task.
      fitted: See `check_rows`.

    Raises:
      TaskError: Names the columns.
    """
    used = np.zeros(table.n_rows, bool)
    used[n_task:] = True
    for job in jobs:
        used[job.rows] = True
        if job.test is not None:
            used[job.test] = True
    check_rows(learner, spec, table, np.flatnonzero(used), fitted=fitted)


def check_rows(
    learner: Any,
    spec: TableSpec,
    table: Table,
    rows: np.ndarray | None = None,
    *,
    fitted: TableSpec,
    where: str = "",
) -> None:
    """Refuses rows that hold what a learner, with the stages before it, does not take.

    Args:
      learner: Has `id`, `stages`, `feature_types` and `takes_missing`.
      spec: Columns of the table; those not flagged are not searched for missing values.
      table: Raw rows.
      rows: Positions of the rows that are used; all if None.
      fitted: The same columns, flagged as in the training rows: by these flags the stages chose theirs.
      where: Where the data is from, for the message.

    Raises:
      TaskError: Names the columns and the stage that would help.
    """
    spec = spec.with_missing(missing_among(spec, table, rows))
    hint = ""
    stages = learner.all_stages
    if chooses_by_missing(stages, fitted):
        stages = _with_choice_made(stages, fitted)
        if not any(column.missing for column in out_specs(stages, fitted)[-1].columns):
            hint = (
                "Hint: selectors.missing() chose columns by the rows that train; choose them otherwise, such as by "
                "selectors.type('float', 'int'), or drop these rows."
            )
    check_columns(learner, out_specs(stages, spec)[-1], where, hint=hint)
    check_finite(spec, table, rows, who=f"learner '{learner.id}'")


def chooses_by_missing(stages: Sequence[Stage], spec: TableSpec) -> bool:
    """Whether it depends on the flags of missing values what the stages do with columns such as these.

    >>> from jdl.data import selectors
    >>> from jdl.data.table import Column
    >>> from jdl.pipeline.impute import ImputeMean
    >>> spec = TableSpec.of([Column("a", "float"), Column("b", "float", missing=True)])
    >>> [chooses_by_missing([ImputeMean(columns)], spec) for columns in ("a", selectors.all(), ~selectors.missing())]
    [False, False, True]
    """
    for stage in stages:
        flagged, plain = spec.with_missing(spec.names), spec.with_missing(())
        if any(selector(flagged) != selector(plain) for selector in _selectors(stage).values()):
            return True
        after = stage.out_spec(plain)
        if stage.out_spec(flagged).with_missing(()) != after.with_missing(()):
            return True
        spec = after
    return False


def _with_choice_made(stages: Sequence[Stage], spec: TableSpec) -> list[Stage]:
    """The stages with the columns by name that their selectors choose where columns are flagged as in `spec`."""
    made = []
    for stage in stages:
        chosen: dict[str, Any] = {name: Named(selector(spec)) for name, selector in _selectors(stage).items()}
        made.append(replace(stage, **chosen))
        spec = stage.out_spec(spec)
    return made


def _selectors(stage: Stage) -> dict[str, Selector]:
    values = {field.name: getattr(stage, field.name) for field in fields(stage)}
    return {name: value for name, value in values.items() if isinstance(value, Selector)}


def missing_among(spec: TableSpec, table: Table, rows: np.ndarray | None) -> list[str]:
    """Names of the columns with missing values in these rows; a column at a time, so that masks stay small."""
    chosen = slice(None) if rows is None else rows
    numeric = [c.name for j, c in enumerate(spec.numeric) if c.missing and np.isnan(table.numeric[chosen, j]).any()]
    coded = [c.name for j, c in enumerate(spec.categorical) if c.missing and (table.codes[chosen, j] == 0).any()]
    return numeric + coded


def _names(columns: list[Any], one: str = "is", many: str = "are") -> str:
    names = [repr(c.name) for c in columns]
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"column {shown} {one}" if len(names) == 1 else f"columns {shown} {many}"
