"""Indicators of missing values."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int

from jdl.core.arrays import namespace
from jdl.core.errors import GraphError
from jdl.core.fields import Field
from jdl.data.selectors import Columns, as_selector, missing
from jdl.data.table import Column, Table, TableSpec
from jdl.pipeline.columns import numeric_positions
from jdl.pipeline.stage import Stage

WITH_MISSING = missing()


@dataclass(frozen=True)
class MissingIndicator(Stage):
    """Adds a column `missing_<name>` for each chosen numeric column: 1 where its value is missing, else 0.

    Put it before what fills the gaps. Coded columns need none: code 0 says that a value is missing.

    Args:
      columns: Columns to look at; by default those with missing values in the rows that train.

    >>> spec = TableSpec.of([Column("x", "float", missing=True), Column("y", "float")])
    >>> table = Table(np.array([[np.nan, 1.0], [2.0, 3.0]], np.float32), np.zeros((2, 0), np.int32))
    >>> MissingIndicator().apply(spec, (), table, None, False).numeric[:, 2].tolist()
    [1.0, 0.0]
    """

    name: ClassVar[str] = "missind"
    fields: ClassVar[dict[str, Field]] = {
        "columns": Field("any", WITH_MISSING, convert=as_selector, doc="Selector of the columns that get an indicator.")
    }

    columns: Columns = WITH_MISSING

    def out_spec(self, spec: TableSpec) -> TableSpec:
        """The columns and the indicators.

        Raises:
          GraphError: A new column would have the name of another.
        """
        added = [Column(f"missing_{spec.numeric[j].name}", "bool") for j in self._chosen(spec)]
        taken = next((c.name for c in added if c.name in spec.names), None)
        if taken is not None:
            raise GraphError(f"{self._owner}: there is a column '{taken}' already.\nHint: rename it.")
        return TableSpec((*spec.numeric, *added), spec.categorical)

    def fit(self, spec: TableSpec, table: Table, weights: Float[Any, "row"], key: Any) -> tuple[()]:
        """Nothing is learned."""
        del spec, table, weights, key
        return ()

    def apply(self, spec: TableSpec, state: tuple[()], table: Table, key: Any, train: bool) -> Table:
        """The rows with the indicators."""
        del state, key, train
        chosen = self._chosen(spec)
        if len(chosen) == 0:
            return table
        xp = namespace(table.numeric)
        gaps = xp.isnan(table.numeric[:, chosen]).astype(table.numeric.dtype)
        return Table(xp.concatenate([table.numeric, gaps], axis=1), table.codes)

    def _chosen(self, spec: TableSpec) -> Int[np.ndarray, "chosen"]:
        return numeric_positions(spec, self.columns)
