"""Columns as two blocks of arrays, and the static description of what is in them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
from jaxtyping import Float, Int

ColumnType = Literal["bool", "int", "float", "category", "ordered"]
NUMERIC_TYPES = ("bool", "int", "float")


@dataclass(frozen=True)
class Column:
    """Name, type and levels of one column; `missing` says whether it may hold missing values.

    Args:
      name: Unique in its table.
      type: bool, int and float columns are numeric, category and ordered ones are coded.
      levels: Values of a coded column; code `i + 1` is `levels[i]`, code 0 is missing or unseen.
      missing: Whether missing values occur.
    """

    name: str
    type: ColumnType
    levels: tuple[Any, ...] = ()
    missing: bool = False

    @property
    def is_numeric(self) -> bool:
        """Whether it lies in the numeric block."""
        return self.type in NUMERIC_TYPES


@dataclass(frozen=True)
class TableSpec:
    """What a `Table` holds: the columns of its numeric block and of its code block, in order."""

    numeric: tuple[Column, ...] = ()
    categorical: tuple[Column, ...] = ()

    @classmethod
    def of(cls, columns: Iterable[Column]) -> "TableSpec":
        """The spec of columns in any order."""
        columns = tuple(columns)
        return cls(
            numeric=tuple(c for c in columns if c.is_numeric),
            categorical=tuple(c for c in columns if not c.is_numeric),
        )

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns, the numeric ones first."""
        return self.numeric + self.categorical

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all columns, the numeric ones first."""
        return tuple(c.name for c in self.columns)

    def with_missing(self, names: Iterable[str]) -> "TableSpec":
        """The same columns, of which exactly those named may hold missing values."""
        missing = set(names)

        def flagged(columns: tuple[Column, ...]) -> tuple[Column, ...]:
            return tuple(
                c if c.missing == (c.name in missing) else replace(c, missing=c.name in missing) for c in columns
            )

        return TableSpec(flagged(self.numeric), flagged(self.categorical))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Table:
    """Rows of features. A pytree of NumPy or JAX arrays, described by a `TableSpec`.

    Args:
      numeric: One column per numeric column; NaN is missing.
      codes: One column per coded column; 0 is missing or unseen, `i + 1` the level `i`.
    """

    numeric: Float[Any, "row numeric"]
    codes: Int[Any, "row categorical"]

    def take(self, rows: Sequence[int] | Any) -> "Table":
        """The rows at these positions, in this order; a position may repeat."""
        return jax.tree.map(lambda block: block[rows], self)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.numeric.shape[0]
