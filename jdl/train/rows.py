"""How rows reach the network: gathered by position from data that lies on the device once."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jdl.data.table import Table
from jdl.train.member import Member
from jdl.train.program import Program
from jdl.train.step import Batch


@dataclass(frozen=True)
class RowSource:
    """The rows of a member: transformed once, or transformed whenever they are gathered.

    Args:
      program: Its stages apply where `states` are given.
      table: Raw rows, or rows as the network sees them.
      states: The member's stage states; None if the table is transformed already.
      in_order: Whether the rows lie as an epoch visits them, so that batches are slices.
    """

    program: Program
    table: Table
    states: Any
    in_order: bool = False

    @classmethod
    def of(cls, program: Program, table: Table, member: Member) -> "RowSource":
        """The rows of a table for one member."""
        if program.materialises:
            return cls(program, program.transform(member.stage_states, table, train=False), None)
        return cls(program, table, member.stage_states if program.stages else None)

    def take(self, rows: Int[Array, "row"], *, train: bool) -> Table:
        """The rows at these positions, as the network sees them."""
        return self._transformed(self.table.take(rows), train)

    def slice(self, start: Int[Array, ""], size: int, *, train: bool) -> Table:
        """`size` rows in a row, as the network sees them."""
        piece = jax.tree.map(lambda block: jax.lax.dynamic_slice_in_dim(block, start, size), self.table)
        return self._transformed(piece, train)

    def ordered(self, rows: Int[Array, "row"]) -> "RowSource":
        """The same rows in this order."""
        return RowSource(self.program, self.table.take(rows), self.states, in_order=True)

    def _transformed(self, table: Table, train: bool) -> Table:
        if self.states is None:
            return table
        return self.program.transform(self.states, table, train=train)


def batch_at(
    program: Program, source: RowSource, member: Member, order: Int[Array, "position"], step: Int[Array, ""]
) -> Batch:
    """The batch of one step of an epoch. A row's weight follows from its position: it is not shipped."""
    start = step * program.batch_size
    rows = jax.lax.dynamic_slice_in_dim(order, start, program.batch_size)
    rows, weights = filled(rows, start, member.n_train)
    if source.in_order:
        x = source.slice(start, program.batch_size, train=True)
    else:
        x = source.take(rows, train=True)
    weights = weights_at(member, rows, weights)
    return Batch(x=x, target=jnp.asarray(member.target)[rows], weights=weights)


def filled(
    order: Int[Array, "position"], start: Any, n_real: Any
) -> tuple[Int[Array, "position"], Float[Array, "position"]]:
    """A piece of an order as rows that there are, with their weights: 0 for padding and for places left empty.

    Args:
      order: Rows; the complement of one stands in a place that a sampler left empty.
      start: Position of the piece in its epoch.
      n_real: Positions of the epoch that are no padding.
    """
    weights = position_weights(start, order.shape[0], n_real) * (order >= 0)
    return jnp.where(order >= 0, order, ~order), weights


def position_weights(start: Any, size: int, n_real: Any) -> Float[Array, "size"]:
    """1 for the positions from `start` on that lie before `n_real`, else 0."""
    return (start + jnp.arange(size) < n_real).astype(jnp.float32)


def weights_at(member: Member, rows: Int[Array, "row"], weights: Float[Array, "row"]) -> Float[Array, "row"]:
    """Weights by position, times those of the rows at these positions where the member has some."""
    return weights if member.weights is None else weights * jnp.asarray(member.weights)[rows]


def outputs_at(
    program: Program, source: RowSource, weights: tuple[Any, Any], rows: Int[Array, "row"], n_real: Any, hyper: Any
) -> Float[Array, "row output"]:
    """Outputs of the network, in evaluation mode, for the rows at these positions, of which the first are real."""
    params, rest = weights
    size = program.batch_size_predict

    def predict_batch(batch: tuple[Array, Array]) -> Array:
        rows, real = batch
        x = source.take(rows, train=False)
        return program.forward(params, rest, x, train=False, weights=real, hyper=hyper)[0]

    n_rows = rows.shape[0]
    real = position_weights(0, n_rows, n_real)
    if n_rows <= size:
        return predict_batch((rows, real))
    assert n_rows % size == 0, "rows must be padded to whole prediction batches"
    return jax.lax.map(predict_batch, (rows.reshape(-1, size), real.reshape(-1, size))).reshape(n_rows, -1)
