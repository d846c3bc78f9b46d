"""Zeroes columns that tell nothing."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from jdl.core.arrays import namespace
from jdl.core.fields import Field
from jdl.data.selectors import Columns
from jdl.data.table import Table, TableSpec
from jdl.pipeline.columns import ALL_COLUMNS, COLUMNS, change_at, coded_positions, numeric_positions
from jdl.pipeline.stage import Stage
from jdl.pipeline.statistic import code_counts, over_columns, span


@dataclass(frozen=True)
class RemoveConstants(Stage):
    """Sets columns to 0 that hold fewer than two different values in the training rows.

    Which columns these are differs between folds, so the columns stay and only what they say is removed: numbers
    become 0 and categories code 0, missing values too. Missing values do not count as a value.

    Args:
      columns: Columns to look at; all by default.

    >>> import numpy as np
    >>> from jdl.data.table import Column
    >>> spec = TableSpec.of([Column("x", "float"), Column("y", "float")])
    >>> table = Table(np.array([[7.0, 1.0], [7.0, 2.0]], np.float32), np.zeros((2, 0), np.int32))
    >>> state = RemoveConstants().fit(spec, table, np.ones(2), None)
    >>> RemoveConstants().apply(spec, state, table, None, False).numeric.tolist()
    [[0.0, 1.0], [0.0, 2.0]]
    """

    name: ClassVar[str] = "removeconstants"
    fields: ClassVar[dict[str, Field]] = {"columns": COLUMNS}

    columns: Columns = ALL_COLUMNS

    def out_spec(self, spec: TableSpec) -> TableSpec:
        """The same columns."""
        return spec

    def fit(self, spec: TableSpec, table: Table, weights: Float[Any, "row"], key: Any) -> dict[str, Any]:
        """1 for each column that stays as it is, 0 for a constant one."""
        del key
        xp = namespace(table.numeric, table.codes, weights)
        least, greatest = over_columns(span, table.numeric, weights, numeric_positions(spec, self.columns))
        coded = coded_positions(spec, self.columns)
        n_levels = tuple(len(spec.categorical[j].levels) for j in coded)
        occurring = [(each > 0).sum() for each in code_counts(table.codes, weights, coded, n_levels)]
        return {
            "numeric": (greatest > least).astype(np.float32),
            "codes": (xp.stack(occurring) > 1 if occurring else xp.zeros(0)).astype(np.float32),
        }

    def apply(self, spec: TableSpec, state: dict[str, Any], table: Table, key: Any, train: bool) -> Table:
        """The rows, their constant columns 0."""
        del key, train
        xp = namespace(table.numeric, table.codes, *state.values())
        keep_numeric, keep_codes = state["numeric"][None, :] > 0, state["codes"][None, :] > 0
        return Table(
            change_at(
                table.numeric,
                numeric_positions(spec, self.columns),
                lambda x: xp.where(keep_numeric, x, np.float32(0)),
            ),
            change_at(
                table.codes,
                coded_positions(spec, self.columns),
                lambda x: xp.where(keep_codes, x, np.int32(0)),
            ),
        )
