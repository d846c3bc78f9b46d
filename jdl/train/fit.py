"""Training and prediction as pure functions of a program, a table and a member."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jdl.core.errors import ConfigError
from jdl.data.table import Table
from jdl.train.checks import check_table
from jdl.train.loop import history_columns, run_chunk
from jdl.train.member import Member
from jdl.train.program import Program
from jdl.train.state import RunState, TrainState, begin, final_weights, predicting


def fit(
    program: Program, table: Table, member: Member, *, epochs: int | None = None
) -> tuple[RunState, dict[str, Array]]:
    """Trains one member from its initial values: all epochs, validation and stopping included.

    Pure: `jit`, `vmap` over members (or over any leaf of one, such as a learning rate in `member.hyper`) and
    `shard_map` apply. Without those, call it under `jit`, or each step is run by itself.

    Args:
      program: What is static; mark it so, or close over it.
      table: All rows.
      member: From `draw`.
      epochs: Length of the returned history; by default the epochs that `draw` made orders for. Without shuffling
        there is one order for all, and the number must be given.

    Returns:
      The run at its end, and its history by column with a value per epoch (NaN where nothing was measured).

    Raises:
      ConfigError: No epoch, or more than the member has orders for.
      ShapeError: A table of other columns than the program's, or of fewer rows than the member was drawn for.
    """
    check_table(program, table, "fit", member)
    capacity = _capacity(program, member, epochs)
    blank: RunState = jax.eval_shape(lambda m: begin(program, m), member)
    run = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), blank)
    run, history, _ = run_chunk(
        program,
        jax.tree.map(jnp.asarray, table),  # a NumPy table that was closed over cannot be indexed by traced rows
        member,
        run,
        jnp.asarray(True),
        jnp.asarray(capacity, jnp.int32),
        capacity=capacity,
        lockstep=True,
    )
    return run, {name: history[:, i] for i, name in enumerate(history_columns(program))}


def _capacity(program: Program, member: Member, epochs: int | None) -> int:
    capacity = _capacity_asked(program, member, epochs)
    if capacity < 1:
        raise ConfigError(f"fit: expected at least one epoch, got {capacity}.\nHint: draw(..., epochs=10).")
    return capacity


def _capacity_asked(program: Program, member: Member, epochs: int | None) -> int:
    drawn = member.orders.shape[0]
    if not program.shuffle:
        if epochs is None:
            raise ConfigError(
                "fit: 'epochs' is needed, since a program without shuffling has one order for all of them.\n"
                "Hint: fit(program, table, member, epochs=10)."
            )
        return epochs
    if epochs is not None and epochs > drawn:
        raise ConfigError(
            f"fit: 'epochs' is {epochs}, but the member has orders for {drawn}.\nHint: draw(..., epochs={epochs})."
        )
    return drawn if epochs is None else epochs


def predict(
    program: Program,
    state: RunState | TrainState,
    table: Table,
    stage_states: Any = (),
    *,
    weights: Float[Array, "row"] | None = None,
) -> Float[Array, "row output"]:
    """Outputs of a trained network for raw rows. Pure.

    Args:
      program: The program that the state was trained by.
      state: A run (its best weights are used where they are kept) or a train state.
      table: Rows, raw.
      stage_states: The member's stage states.
      weights: 0 for rows that only fill up a shape, which layers that look at a whole batch must not see.

    Raises:
      ShapeError: A table of other columns than the program's.
    """
    check_table(program, table, "predict")
    train = state.train if isinstance(state, RunState) else state
    params, rest = final_weights(program, state) if isinstance(state, RunState) else predicting(program, train)
    x = program.transform(stage_states, table, train=False)
    return program.forward(params, rest, x, train=False, weights=weights, hyper=train.hyper)[0]
