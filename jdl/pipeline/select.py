"""Keeps some columns."""

from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float

from jdl.core.errors import ConfigError
from jdl.core.fields import REQUIRED, Field
from jdl.data.selectors import Columns, as_selector
from jdl.data.table import Table, TableSpec
from jdl.pipeline.columns import coded_positions, numeric_positions
from jdl.pipeline.stage import Stage


@dataclass(frozen=True)
class Select(Stage):
    """Keeps the columns that a selector chooses, in their order, and drops the others.

    Args:
      selector: Of the columns to keep; a name or several do too.

    Raises:
      ConfigError: No selector is given.

    >>> import numpy as np
    >>> from jdl.data.table import Column
    >>> spec = TableSpec.of([Column("x", "float"), Column("y", "float")])
    >>> table = Table(np.array([[7.0, 1.0]], np.float32), np.zeros((1, 0), np.int32))
    >>> Select("y").apply(spec, {}, table, None, False).numeric.tolist()
    [[1.0]]
    """

    name: ClassVar[str] = "select"
    fields: ClassVar[dict[str, Field]] = {
        "selector": Field(convert=as_selector, doc="Selector of the columns to keep.")
    }

    selector: Columns = REQUIRED

    def __post_init__(self) -> None:
        if self.selector is REQUIRED:
            raise ConfigError(
                f"{self._owner}: 'selector' is required: which columns to keep.\n"
                "Hint: jdl.selectors.type('float'), jdl.selectors.name('age')."
            )
        super().__post_init__()

    def out_spec(self, spec: TableSpec) -> TableSpec:
        """The chosen columns."""
        numeric, coded = self._positions(spec)
        return TableSpec(tuple(spec.numeric[j] for j in numeric), tuple(spec.categorical[j] for j in coded))

    def fit(self, spec: TableSpec, table: Table, weights: Float[Any, "row"], key: Any) -> dict[str, Any]:
        """Nothing: what is kept follows from the spec."""
        del spec, table, weights, key
        return {}

    def apply(self, spec: TableSpec, state: dict[str, Any], table: Table, key: Any, train: bool) -> Table:
        """The rows with the chosen columns."""
        del state, key, train
        numeric, coded = self._positions(spec)
        return Table(table.numeric[:, numeric], table.codes[:, coded])

    def _positions(self, spec: TableSpec) -> tuple[Any, Any]:
        return numeric_positions(spec, self.selector), coded_positions(spec, self.selector)
