"""One-hot encoding of coded columns."""

from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int

from jdl.core.arrays import namespace
from jdl.core.errors import GraphError
from jdl.core.fields import Field
from jdl.data.selectors import Columns
from jdl.data.table import Column, Table, TableSpec
from jdl.pipeline.columns import ALL_COLUMNS, COLUMNS, coded_positions
from jdl.pipeline.stage import Stage
from jdl.pipeline.statistic import code_counts


@dataclass(frozen=True)
class Encode(Stage):
    """Replaces each categorical column by one 0/1 column per level (one-hot).

    The new columns are numeric, of type bool, called `<column>.<level>`, and follow the numeric ones. A missing value,
    an unseen level, and a level that does not occur in the training rows give 0 in all columns: there is no weight
    that training could have learned for them.

    Args:
      columns: Coded columns to encode; all by default.

    >>> import numpy as np
    >>> from jdl.data.table import Column
    >>> spec = TableSpec.of([Column("c", "category", ("a", "b"))])
    >>> table = Table(np.zeros((3, 0), np.float32), np.array([[1], [0], [2]]))
    >>> state = Encode().fit(spec, table, np.ones(3), None)
    >>> Encode().apply(spec, state, table, None, False).numeric.tolist()
    [[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]
    """

    name: ClassVar[str] = "encode"
    fields: ClassVar[dict[str, Field]] = {"columns": COLUMNS}

    columns: Columns = ALL_COLUMNS

    def out_spec(self, spec: TableSpec) -> TableSpec:
        """The numeric columns and those of the levels; the coded columns that were not chosen.

        Raises:
          GraphError: A new column would have the name of another.
        """
        chosen = coded_positions(spec, self.columns)
        added = [
            Column(f"{spec.categorical[j].name}.{level}", "bool")
            for j in chosen
            for level in spec.categorical[j].levels
        ]
        kept = tuple(spec.categorical[j] for j in self._kept(spec, chosen))
        out = TableSpec((*spec.numeric, *added), kept)
        twice = [name for name, n in Counter(out.names).items() if n > 1]
        if twice:
            raise GraphError(
                f"{self._owner}: names of columns must differ, but '{twice[0]}' would be there twice, once for a "
                "level of a categorical column.\nHint: rename the column or the level."
            )
        return out

    def fit(self, spec: TableSpec, table: Table, weights: Float[Any, "row"], key: Any) -> dict[str, Any]:
        """1 for each level that occurs, else 0."""
        del key
        xp = namespace(table.codes, weights)
        chosen = coded_positions(spec, self.columns)
        n_levels = tuple(len(spec.categorical[j].levels) for j in chosen)
        counts = [each[1:] for each in code_counts(table.codes, weights, chosen, n_levels)]
        occurs = xp.concatenate(counts) > 0 if counts else xp.zeros(0)
        return {"occurs": occurs.astype(np.float32)}

    def apply(self, spec: TableSpec, state: dict[str, Any], table: Table, key: Any, train: bool) -> Table:
        """The rows with the levels' columns."""
        del key, train
        xp = namespace(table.numeric, table.codes, state["occurs"])
        chosen = coded_positions(spec, self.columns)
        column, code = _levels(spec, chosen)
        if len(column) == 0:
            return Table(table.numeric, table.codes[:, self._kept(spec, chosen)])
        hot = xp.where(table.codes[:, column] == code[None, :], state["occurs"][None, :], 0.0)
        numeric = xp.concatenate([table.numeric, hot.astype(table.numeric.dtype)], axis=1)
        return Table(numeric, table.codes[:, self._kept(spec, chosen)])

    def _kept(self, spec: TableSpec, chosen: Int[np.ndarray, "chosen"]) -> Int[np.ndarray, "kept"]:
        return np.setdiff1d(np.arange(len(spec.categorical)), chosen)


def _levels(spec: TableSpec, chosen: Int[np.ndarray, "chosen"]) -> tuple[np.ndarray, np.ndarray]:
    """For each new column the coded column that it looks at, and the code that it looks for."""
    sizes = [len(spec.categorical[j].levels) for j in chosen]
    codes = [np.arange(1, size + 1) for size in sizes]
    return np.repeat(chosen, sizes), np.concatenate([np.zeros(0, int), *codes]).astype(np.int32)
