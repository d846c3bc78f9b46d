"""Where data enters a network: each ingress node reads some columns of a table as one array."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Shaped

from jdl.core.errors import ShapeError
from jdl.core.fields import Field, check_values, with_defaults
from jdl.core.graph import checked_id
from jdl.data.selectors import Everything, as_selector
from jdl.data.table import NUMERIC_TYPES, Column, ColumnType, Table, TableSpec
from jdl.networks.array_spec import ArraySpec, Unknowns
from jdl.networks.operator import NetworkOperator

_COLUMNS = Field("any", Everything(), convert=as_selector, doc="Selector of the columns that it reads.")


@dataclass(frozen=True)
class Reader:
    """How an ingress reads rows: which block of a table, which of its columns, and the shape of a row.

    Args:
      block: "numeric" or "codes".
      positions: Columns of the block; None takes all.
      shape: Shape of a row; None keeps (column,).
    """

    block: str
    positions: tuple[int, ...] | None = None
    shape: tuple[int, ...] | None = None

    def __call__(self, table: Table) -> Shaped[Array, "row ..."]:
        """The rows as one array."""
        rows = getattr(table, self.block)
        if self.positions is not None:
            rows = rows[:, np.asarray(self.positions, np.int32)]
        return rows if self.shape is None else rows.reshape(rows.shape[0], *self.shape)


@dataclass(frozen=True, repr=False)
class Ingress(NetworkOperator):
    """A node that begins a path: table in, array out.

    Args:
      kind: "ingress_num", "ingress_categ" or "ingress_tensor".
      values: Pairs of name and value of its hyperparameters.
      id: As given; None takes the kind.
    """

    kind: str
    values: tuple[tuple[str, Any], ...]
    id: str | None = None

    @property
    def default_id(self) -> str:
        """Of its node."""
        return self.kind

    @property
    def types(self) -> tuple[ColumnType, ...]:
        """Types of the columns that it reads."""
        return ("category", "ordered") if self.kind == "ingress_categ" else NUMERIC_TYPES

    @property
    def fields(self) -> Mapping[str, Field]:
        """Its hyperparameters."""
        return INGRESS_FIELDS[self.kind]

    def params(self) -> dict[str, Any]:
        """Their values."""
        return dict(self.values)

    def set(self, **values: Any) -> "Ingress":
        """The same node with other hyperparameters."""
        checked = check_values(f"node '{self.node_id}'", self.fields, values)
        return replace(self, values=tuple({**self.params(), **checked}.items()))

    def columns(self, spec: TableSpec) -> tuple[Column, ...]:
        """The columns that it reads of a table."""
        chosen = set(self.params()["columns"](spec))
        return tuple(c for c in spec.columns if c.type in self.types and c.name in chosen)

    def reader(self, spec: TableSpec) -> Reader:
        """How it reads rows of such a table."""
        block = spec.categorical if self.kind == "ingress_categ" else spec.numeric
        names = {c.name for c in self.columns(spec)}
        positions = tuple(i for i, c in enumerate(block) if c.name in names)
        return Reader(
            "codes" if self.kind == "ingress_categ" else "numeric",
            None if len(positions) == len(block) else positions,
            self.params().get("shape"),
        )

    def array_spec(self, spec: TableSpec, unknowns: Unknowns) -> ArraySpec:
        """What it gives for rows of a table.

        Raises:
          ShapeError: It finds no column, or other ones than its hyperparameters say.
        """
        columns = self.columns(spec)
        if not columns:
            raise ShapeError(
                f"node '{self.node_id}' reads {', '.join(self.types)} columns, but it finds none among "
                f"{', '.join(spec.names[:10]) or 'no columns'}.\nHint: leave its path out, or choose other columns."
            )
        self._check_number(columns)
        return self._of(len(columns), tuple(len(c.levels) + 1 for c in columns), unknowns)

    def expected_spec(self, unknowns: Unknowns) -> ArraySpec:
        """What it will give, as far as its hyperparameters say it, before there is data."""
        given = self.params()
        cardinalities = given.get("cardinalities")
        n = given.get("n_features") if cardinalities is None else len(cardinalities)
        return self._of(n, cardinalities, unknowns)

    def _of(self, n: int | None, cardinalities: tuple[int, ...] | None, unknowns: Unknowns) -> ArraySpec:
        shape = self.params().get("shape") or (n,)
        shape = unknowns.shape(self.node_id, (None, *shape))
        if self.kind == "ingress_categ":
            return ArraySpec(shape, jnp.int32, cardinalities)
        return ArraySpec(shape)

    def _check_number(self, columns: tuple[Column, ...]) -> None:
        given = self.params()
        wanted = given.get("n_features")
        if given.get("shape") is not None:
            wanted = math.prod(given["shape"])
        if given.get("cardinalities") is not None:
            wanted = len(given["cardinalities"])
        if wanted is not None and wanted != len(columns):
            raise ShapeError(f"node '{self.node_id}' expects {wanted} columns ({self!r}), but it reads {len(columns)}.")
        for column, cardinality in zip(columns, given.get("cardinalities") or (), strict=False):
            if len(column.levels) + 1 != cardinality:
                raise ShapeError(
                    f"node '{self.node_id}' expects {cardinality} codes of column '{column.name}', but it has "
                    f"{len(column.levels)} levels, and code 0 for missing and unseen ones."
                )

    def __repr__(self) -> str:
        shown = [f"{n}={v!r}" for n, v in self.values if v != self.fields[n].default]
        return f"<{self.node_id}>" + (" " + ", ".join(shown) if shown else "")


INGRESS_FIELDS: dict[str, dict[str, Field]] = {
    "ingress_num": {
        "columns": _COLUMNS,
        "n_features": Field("int", None, low=1, optional=True, doc="Their number, if it must be known before data is."),
    },
    "ingress_categ": {
        "columns": _COLUMNS,
        "cardinalities": Field(
            "ints", None, low=2, optional=True, doc="Codes of each column, code 0 included, if they must be known."
        ),
    },
    "ingress_tensor": {
        "columns": _COLUMNS,
        "shape": Field("ints", low=1, doc="Shape of a row, without the batch axis, channels last."),
    },
}


def _maker(kind: str, doc: str) -> Callable[..., Ingress]:
    def make(*, id: str | None = None, **hyperparameters: Any) -> Ingress:
        owner = f"node '{kind}'"
        values = with_defaults(owner, INGRESS_FIELDS[kind], hyperparameters)
        return Ingress(kind, tuple(values.items()), None if id is None else checked_id(owner, id))

    make.__name__, make.__doc__ = kind, doc
    return make


ingress_num = _maker("ingress_num", "Numeric columns (bool, int, float) as one array: (batch, column).")
ingress_categ = _maker(
    "ingress_categ", "Codes of category and ordered columns, 0 for missing and unseen ones: (batch, column)."
)
ingress_tensor = _maker("ingress_tensor", "Numeric columns as tensors of a shape, such as images: (batch, *shape).")
INGRESSES: dict[str, Callable[..., Ingress]] = {
    "ingress_num": ingress_num,
    "ingress_categ": ingress_categ,
    "ingress_tensor": ingress_tensor,
}
