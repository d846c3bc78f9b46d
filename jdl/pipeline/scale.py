"""Stages that shift and scale numeric columns linearly."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from jdl.core.arrays import namespace
from jdl.core.errors import ConfigError
from jdl.core.fields import Field
from jdl.data.selectors import Columns
from jdl.data.table import Table, TableSpec
from jdl.pipeline.columns import ALL_COLUMNS, COLUMNS, change_at, changed_numeric, numeric_positions
from jdl.pipeline.stage import Stage
from jdl.pipeline.statistic import moments, over_columns, span


@dataclass(frozen=True)
class Scale(Stage):
    """Centers numbers at their column's mean and divides them by its standard deviation.

    The standard deviation is that of the population (divisor n). A column that is constant in the training rows
    becomes 0, wherever it is not missing. Missing values stay missing. The columns' type becomes float.

    Args:
      columns: Numeric columns to scale; all by default.
      center: Whether the mean is subtracted.
      scale: Whether to divide by the standard deviation.

    Differs from R: the divisor is n, not n - 1; without centering it is still the standard deviation.

    >>> import numpy as np
    >>> from jdl.data.table import Column
    >>> spec = TableSpec.of([Column("x", "float")])
    >>> table = Table(np.array([[1.0], [3.0]], np.float32), np.zeros((2, 0), np.int32))
    >>> state = Scale().fit(spec, table, np.ones(2), None)
    >>> Scale().apply(spec, state, table, None, False).numeric[:, 0].tolist()
    [-1.0, 1.0]
    """

    name: ClassVar[str] = "scale"
    fields: ClassVar[dict[str, Field]] = {
        "columns": COLUMNS,
        "center": Field("bool", True, doc="Whether the mean is subtracted."),
        "scale": Field("bool", True, doc="Whether to divide by the standard deviation."),
    }

    columns: Columns = ALL_COLUMNS
    center: bool = True
    scale: bool = True

    def out_spec(self, spec: TableSpec) -> TableSpec:
        """The same columns, the chosen ones of type float."""
        return changed_numeric(spec, self.columns, type="float")

    def fit(self, spec: TableSpec, table: Table, weights: Float[Any, "row"], key: Any) -> dict[str, Any]:
        """What is subtracted, and then multiplied with."""
        del key
        positions = numeric_positions(spec, self.columns)
        mean, sd = over_columns(moments, table.numeric, weights, positions)
        xp = namespace(mean)
        return {
            "center": mean if self.center else xp.zeros_like(mean),
            "factor": _reciprocal(sd) if self.scale else xp.ones_like(sd),
        }

    def apply(self, spec: TableSpec, state: dict[str, Any], table: Table, key: Any, train: bool) -> Table:
        """The rows, scaled."""
        del key, train
        center, factor = state["center"][None, :], state["factor"][None, :]
        positions = numeric_positions(spec, self.columns)
        return Table(change_at(table.numeric, positions, lambda x: (x - center) * factor), table.codes)


@dataclass(frozen=True)
class ScaleRange(Stage):
    """Maps the range of each numeric column in the training rows to [lower, upper].

    Numbers outside of that range come out of [lower, upper]. A column that is constant in the training rows becomes
    0, wherever it is not missing. Missing values stay missing. The columns' type becomes float.

    Args:
      columns: Numeric columns to scale; all by default.
      lower: What the least value becomes.
      upper: What the greatest value becomes.

    Raises:
      ConfigError: `lower` is not below `upper`.

    >>> import numpy as np
    >>> from jdl.data.table import Column
    >>> spec = TableSpec.of([Column("x", "float")])
    >>> table = Table(np.array([[1.0], [2.0], [5.0]], np.float32), np.zeros((3, 0), np.int32))
    >>> state = ScaleRange().fit(spec, table, np.ones(3), None)
    >>> ScaleRange().apply(spec, state, table, None, False).numeric[:, 0].tolist()
    [0.0, 0.25, 1.0]
    """

    name: ClassVar[str] = "scalerange"
    fields: ClassVar[dict[str, Field]] = {
        "columns": COLUMNS,
        "lower": Field("float", 0.0, doc="What the least value becomes."),
        "upper": Field("float", 1.0, doc="What the greatest value becomes."),
    }

    columns: Columns = ALL_COLUMNS
    lower: float = 0.0
    upper: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not -np.inf < self.lower < self.upper < np.inf:
            raise ConfigError(
                f"{self._owner}: 'lower' must be below 'upper' and both finite, got {self.lower:g} and {self.upper:g}."
            )

    def out_spec(self, spec: TableSpec) -> TableSpec:
        """The same columns, the chosen ones of type float."""
        return changed_numeric(spec, self.columns, type="float")

    def fit(self, spec: TableSpec, table: Table, weights: Float[Any, "row"], key: Any) -> dict[str, Any]:
        """The least values, what the distance from them is multiplied with, and what is added then."""
        del key
        positions = numeric_positions(spec, self.columns)
        least, greatest = over_columns(span, table.numeric, weights, positions)
        factor = _reciprocal((greatest - least) / (self.upper - self.lower))
        base = namespace(factor).where(factor > 0, self.lower, 0.0).astype(np.float32)
        return {"least": least, "factor": factor, "base": base}

    def apply(self, spec: TableSpec, state: dict[str, Any], table: Table, key: Any, train: bool) -> Table:
        """The rows, scaled."""
        del key, train
        least, factor, base = (state[name][None, :] for name in ("least", "factor", "base"))
        positions = numeric_positions(spec, self.columns)
        return Table(change_at(table.numeric, positions, lambda x: (x - least) * factor + base), table.codes)


def _reciprocal(size: Float[Any, "column"]) -> Float[Any, "column"]:
    """One over the size; 0 where that is no finite float32 number."""
    xp = namespace(size)
    usable = size > float(np.finfo(np.float32).tiny)
    return xp.where(usable, 1.0 / xp.where(usable, size, 1.0), 0.0).astype(np.float32)
