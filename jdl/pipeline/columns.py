"""Which columns of a table a stage acts on, and how it changes only those."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from jdl.core.arrays import namespace
from jdl.core.fields import Field
from jdl.data.selectors import Columns, Everything, as_selector
from jdl.data.table import Column, TableSpec

ALL_COLUMNS = Everything()
COLUMNS = Field(
    default=ALL_COLUMNS,
    convert=as_selector,
    doc="Selector of the columns it acts on; others pass through.",
)


def numeric_positions(spec: TableSpec, selector: Columns) -> Int[np.ndarray, "column"]:
    """Positions of the chosen columns in the numeric block.

    >>> numeric_positions(TableSpec.of([Column("x", "float"), Column("y", "int")]), "y")
    array([1])
    """
    return _positions(spec.numeric, spec, selector)


def coded_positions(spec: TableSpec, selector: Columns) -> Int[np.ndarray, "column"]:
    """Positions of the chosen columns in the block of codes."""
    return _positions(spec.categorical, spec, selector)


def _positions(columns: tuple[Column, ...], spec: TableSpec, selector: Columns) -> Int[np.ndarray, "column"]:
    chosen = set(as_selector(selector)(spec))
    return np.array([i for i, column in enumerate(columns) if column.name in chosen], dtype=int)


def changed_numeric(spec: TableSpec, selector: Columns, **changes: Any) -> TableSpec:
    """The spec with other attributes for the chosen numeric columns.

    >>> changed_numeric(TableSpec.of([Column("x", "int")]), Everything(), type="float").numeric[0].type
    'float'
    """
    return replace(spec, numeric=_changed(spec.numeric, numeric_positions(spec, selector), changes))


def changed_coded(spec: TableSpec, selector: Columns, **changes: Any) -> TableSpec:
    """The spec with other attributes for the chosen coded columns."""
    return replace(spec, categorical=_changed(spec.categorical, coded_positions(spec, selector), changes))


def _changed(
    columns: tuple[Column, ...], positions: Int[np.ndarray, "column"], changes: dict[str, Any]
) -> tuple[Column, ...]:
    chosen = set(positions.tolist())
    return tuple(replace(c, **changes) if i in chosen else c for i, c in enumerate(columns))


def change_at(
    block: Float[Any, "row column"],
    positions: Int[np.ndarray, "chosen"],
    function: Callable[[Float[Any, "row chosen"]], Float[Any, "row chosen"]],
) -> Float[Any, "row column"]:
    """The block with the columns at static `positions` replaced by the function of them.

    >>> change_at(np.ones((1, 3)), np.array([2]), lambda x: x + 1)
    array([[1., 1., 2.]])
    """
    if len(positions) == 0:
        return block
    if len(positions) == block.shape[1]:
        return function(block)
    changed = function(block[:, positions])
    if namespace(block, changed) is np:
        block = block.copy()
        block[:, positions] = changed
        return block
    return block.at[:, positions].set(changed)
