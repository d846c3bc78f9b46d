"""Stages that replace missing values by one value per column: mean, median, or mode."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from jdl.core.arrays import namespace
from jdl.core.fields import Field
from jdl.core.once import warn_once
from jdl.data.selectors import Columns
from jdl.data.table import Table, TableSpec
from jdl.pipeline.columns import (
    ALL_COLUMNS,
    COLUMNS,
    change_at,
    changed_coded,
    changed_numeric,
    coded_positions,
    numeric_positions,
)
from jdl.pipeline.stage import Stage
from jdl.pipeline.statistic import code_counts, median, mode, moments, over_columns


@dataclass(frozen=True)
class ImputeMean(Stage):
    """Replaces missing numbers by their column's mean.

    A column without any observed value in the training rows gets 0. A column keeps its type: the mean of an int
    column is not rounded.

    Args:
      columns: Numeric columns to impute; all by default.

    >>> import numpy as np
    >>> from jdl.data.table import Column
    >>> spec = TableSpec.of([Column("x", "float", missing=True)])
    >>> table = Table(np.array([[1.0], [3.0], [np.nan]], np.float32), np.zeros((3, 0), np.int32))
    >>> state = ImputeMean().fit(spec, table, np.ones(3), None)
    >>> ImputeMean().apply(spec, state, table, None, False).numeric[:, 0].tolist()
    [1.0, 3.0, 2.0]
    """

    name: ClassVar[str] = "imputemean"
    fields: ClassVar[dict[str, Field]] = {"columns": COLUMNS}

    columns: Columns = ALL_COLUMNS

    def out_spec(self, spec: TableSpec) -> TableSpec:
        """The same columns, the chosen ones complete."""
        return changed_numeric(spec, self.columns, missing=False)

    def fit(self, spec: TableSpec, table: Table, weights: Float[Any, "row"], key: Any) -> dict[str, Any]:
        """The means."""
        del key
        positions = numeric_positions(spec, self.columns)
        value = over_columns(moments, table.numeric, weights, positions)[0]
        _warn_of_empty(self, spec, table, weights, positions, value)
        return {"value": value}

    def apply(self, spec: TableSpec, state: dict[str, Any], table: Table, key: Any, train: bool) -> Table:
        """The rows without missing values in the chosen columns."""
        del key, train
        return Table(_filled(spec, self.columns, table, state["value"]), table.codes)


@dataclass(frozen=True)
class ImputeMedian(Stage):
    """Replaces missing numbers by their column's median.

    A column without any observed value in the training rows gets 0. A column keeps its type.

    Args:
      columns: Numeric columns to impute; all by default.

    >>> import numpy as np
    >>> from jdl.data.table import Column
    >>> spec = TableSpec.of([Column("x", "float", missing=True)])
    >>> table = Table(np.array([[1.0], [9.0], [2.0], [np.nan]], np.float32), np.zeros((4, 0), np.int32))
    >>> ImputeMedian().fit(spec, table, np.ones(4), None)["value"]
    array([2.], dtype=float32)
    """

    name: ClassVar[str] = "imputemedian"
    fields: ClassVar[dict[str, Field]] = {"columns": COLUMNS}

    columns: Columns = ALL_COLUMNS

    def out_spec(self, spec: TableSpec) -> TableSpec:
        """The same columns, the chosen ones complete."""
        return changed_numeric(spec, self.columns, missing=False)

    def fit(self, spec: TableSpec, table: Table, weights: Float[Any, "row"], key: Any) -> dict[str, Any]:
        """The medians."""
        del key
        positions = numeric_positions(spec, self.columns)
        value = over_columns(median, table.numeric, weights, positions)[0]
        _warn_of_empty(self, spec, table, weights, positions, value)
        return {"value": value}

    def apply(self, spec: TableSpec, state: dict[str, Any], table: Table, key: Any, train: bool) -> Table:
        """The rows without missing values in the chosen columns."""
        del key, train
        return Table(_filled(spec, self.columns, table, state["value"]), table.codes)


@dataclass(frozen=True)
class ImputeMode(Stage):
    """Replaces missing values, numbers and categories, by their column's most frequent value.

    Of equally frequent values the smallest number, or the first level, is taken. Where the training rows hold no
    observed value, numbers become 0 and categories missing (code 0), which later stages and networks take as
    a level of its own. A level that the training rows do not hold counts as missing, whether the task knows it or not.

    Args:
      columns: Columns to impute; all by default.

    >>> import numpy as np
    >>> from jdl.data.table import Column
    >>> spec = TableSpec.of([Column("c", "category", ("a", "b"), missing=True)])
    >>> table = Table(np.zeros((4, 0), np.float32), np.array([[2], [0], [2], [1]]))
    >>> state = ImputeMode().fit(spec, table, np.ones(4), None)
    >>> ImputeMode().apply(spec, state, table, None, False).codes[:, 0].tolist()
    [2, 2, 2, 1]
    """

    name: ClassVar[str] = "imputemode"
    fields: ClassVar[dict[str, Field]] = {"columns": COLUMNS}

    columns: Columns = ALL_COLUMNS

    def out_spec(self, spec: TableSpec) -> TableSpec:
        """The same columns, the chosen ones complete."""
        spec = changed_numeric(spec, self.columns, missing=False)
        return changed_coded(spec, self.columns, missing=False)

    def fit(self, spec: TableSpec, table: Table, weights: Float[Any, "row"], key: Any) -> dict[str, Any]:
        """The modes of numbers, and what each code of each coded column becomes (as float32), column by column."""
        del key
        xp = namespace(table.codes, weights)
        coded = coded_positions(spec, self.columns)
        n_levels = tuple(len(spec.categorical[j].levels) for j in coded)
        # Code 0 counts no row, so that it is the mode only where no code has one.
        becomes = [
            xp.where(counts > 0, xp.arange(len(counts)), xp.argmax(counts)).astype(np.float32)
            for counts in code_counts(table.codes, weights, coded, n_levels)
        ]
        positions = numeric_positions(spec, self.columns)
        value = over_columns(mode, table.numeric, weights, positions)[0]
        _warn_of_empty(self, spec, table, weights, positions, value)
        return {
            "value": value,
            "code": xp.concatenate(becomes) if becomes else xp.zeros(0, np.float32),
        }

    def apply(self, spec: TableSpec, state: dict[str, Any], table: Table, key: Any, train: bool) -> Table:
        """The rows without missing values in the chosen columns."""
        del key, train
        coded = coded_positions(spec, self.columns)
        n_codes = np.array([1 + len(spec.categorical[j].levels) for j in coded], np.int32)
        first = np.cumsum(n_codes, dtype=np.int32) - n_codes
        becomes = namespace(table.codes, state["code"]).asarray(state["code"], table.codes.dtype)
        codes = change_at(
            table.codes,
            coded,
            # What an absent row holds may be no code at all.
            lambda chosen: becomes[first[None, :] + chosen.clip(0, n_codes[None, :] - 1)],
        )
        return Table(_filled(spec, self.columns, table, state["value"]), codes)


def _warn_of_empty(stage: Stage, spec: TableSpec, table: Table, weights: Any, positions: Any, value: Any) -> None:
    """Warns of columns without any observed value; on the host, since nothing can be said inside a program."""
    if namespace(table.numeric, weights) is not np:
        return
    present = np.asarray(weights) > 0
    if not present.any():
        return
    for j in positions[np.asarray(value) == 0]:  # what an empty column gets
        if np.isnan(table.numeric[present, j]).all():
            name = spec.numeric[j].name
            warn_once(
                f"pipeline operator '{stage.stage_id}': column '{name}' has no observed value in the training rows of "
                f"some run, and becomes 0 there.\nHint: leave it out with task.select(...) or jdl.po('select')."
            )


def _filled(spec: TableSpec, columns: Columns, table: Table, value: Float[Any, "chosen"]) -> Float[Any, "row numeric"]:
    xp = namespace(table.numeric, value)
    return change_at(
        table.numeric,
        numeric_positions(spec, columns),
        lambda chosen: xp.where(xp.isnan(chosen), value[None, :], chosen),
    )
