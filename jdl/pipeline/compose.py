"""Chains of stages as plain functions.

On the host a large table goes through a chain in pieces of some thousand rows, so that beside the result there are
only temporaries of that size.
"""

import zlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from jdl.core.arrays import namespace
from jdl.core.random import RandomKey
from jdl.data.table import Table, TableSpec
from jdl.pipeline.stage import Stage

_PIECE = 4096


def out_specs(stages: Sequence[Stage], spec: TableSpec) -> list[TableSpec]:
    """The columns before each stage, and after the last.

    Raises:
      JdlError: A stage cannot take the columns that it gets.
    """
    specs = [spec]
    for stage in stages:
        specs.append(stage.out_spec(specs[-1]))
    return specs


def fit_chain(
    stages: Sequence[Stage], spec: TableSpec, table: Table, weights: Float[Any, "row"], key: Any
) -> tuple[Any, ...]:
    """The state of each stage, fitted on the rows as the stages before it leave them.

    On the host at most one transformed copy of the rows exists at a time, and none for a single stage.

    Args:
      stages: In the order in which they are applied.
      spec: Describes `table`.
      table: Raw rows.
      weights: How often each row counts; 0 leaves it out.
      key: Each stage has a stream of its own, named by its id. None if no stage draws.
    """
    specs = out_specs(stages, spec)
    states: list[Any] = []
    current = table
    for i, stage in enumerate(stages):
        states.append(stage.fit(specs[i], current, weights, _below(key, stage.stage_id)))
        if i + 1 == len(stages):
            break
        if not _in_pieces(current, states):
            current = _through(stages[i : i + 1], specs[i:], states[i:], current, key, True)
        elif current is not table and _sizes(specs[i]) == _sizes(specs[i + 1]):
            _fill(current, stages[i : i + 1], specs[i:], states[i:], current, key, True)
        else:
            current = table  # lets go of the earlier copy before the next one is made
            current = apply_chain(stages[: i + 1], spec, states, table, key, True)
    return tuple(states)


def apply_chain(
    stages: Sequence[Stage], spec: TableSpec, states: Sequence[Any], table: Table, key: Any, train: bool
) -> Table:
    """The rows after all stages. Without stages the table itself; the given arrays are never written to.

    Args:
      stages: In order.
      spec: Describes the rows that the chain was fitted on.
      states: From `fit_chain`.
      table: Raw rows.
      key: None, except where a stage draws random numbers per row.
      train: Whether these are training rows.
    """
    specs = out_specs(stages, spec)
    if len(stages) == 0 or not _in_pieces(table, states):
        return _through(stages, specs, states, table, key, train)
    n_numeric, n_codes = _sizes(specs[-1])
    out = Table(
        numeric=np.empty((table.n_rows, n_numeric), np.float32),
        codes=np.empty((table.n_rows, n_codes), table.codes.dtype),
    )
    _fill(out, stages, specs, states, table, key, train)
    return out


def _through(
    stages: Sequence[Stage],
    specs: Sequence[TableSpec],
    states: Sequence[Any],
    table: Table,
    key: Any,
    train: bool,
) -> Table:
    for stage, spec, state in zip(stages, specs, states, strict=False):
        # Rows of weight 0 may hold infinities, which nobody wants to be warned of.
        with np.errstate(invalid="ignore", over="ignore"):
            table = stage.apply(spec, state, table, _below(key, stage.stage_id), train)
    return table


def _fill(
    out: Table,
    stages: Sequence[Stage],
    specs: Sequence[TableSpec],
    states: Sequence[Any],
    table: Table,
    key: Any,
    train: bool,
) -> None:
    """Writes the transformed rows into `out`, which may be `table`."""
    for start in range(0, table.n_rows, _PIECE):
        rows = slice(start, start + _PIECE)
        piece = _through(stages, specs, states, table.take(rows), _below(key, start), train)
        out.numeric[rows] = piece.numeric
        out.codes[rows] = piece.codes


def _in_pieces(table: Table, states: Sequence[Any]) -> bool:
    arrays = (table.numeric, table.codes, *jax.tree.leaves(states))
    return table.n_rows > _PIECE and namespace(*arrays) is np


def _sizes(spec: TableSpec) -> tuple[int, int]:
    return len(spec.numeric), len(spec.categorical)


def _below(key: Any, part: int | str) -> Any:
    """The stream of a key that a name or number leads to."""
    if key is None:
        return None
    if isinstance(key, RandomKey):
        return key.fold(part)
    return jax.random.fold_in(key, part if isinstance(part, int) else zlib.crc32(part.encode()))
