"""The training loop of one member, compiled as a whole: epochs, steps, validation, stopping.

`run_chunk` is what every population strategy maps over members. Epoch counts are run-time numbers, so one
compiled body serves every chunking; a member that stops leaves the loop.
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jdl.data.table import Table
from jdl.train.callback import Event, call_in_scan
from jdl.train.events import epoch_steps, event_of
from jdl.train.loss import padded_loss
from jdl.train.member import Member
from jdl.train.program import Program
from jdl.train.rows import RowSource, batch_at, filled, outputs_at, position_weights, weights_at
from jdl.train.scores import monitored, scores_of
from jdl.train.state import RunState, Status, TrainState, begin, end, evaluation_weights, final_weights
from jdl.train.step import step_with_callbacks


def history_columns(program: Program) -> tuple[str, ...]:
    """Columns of a history row: losses, scores, learning rate."""
    return (
        "train.loss",
        *(["valid.loss"] if program.validate else []),
        *(f"train.{m.id}" for m in program.measures_train),
        *(f"valid.{m.id}" for m in program.measures_valid),
        "lr",
    )


def run_chunk(
    program: Program,
    table: Table,
    member: Member,
    run: RunState,
    fresh: Array | None,
    n_epochs: Array,
    *,
    capacity: int,
    lockstep: bool = False,
) -> tuple[RunState, Float[Array, "epoch column"], Float[Array, "test output"]]:
    """Up to `n_epochs` epochs of one member, and its predictions once it has ended.

    Args:
      program: What is static.
      table: All rows, raw.
      member: What is the member's own.
      run: Where it stands; ignored (and only its shapes used) if `fresh`.
      fresh: Whether the run begins here; None, where it never does, saves a copy of the run's state.
      n_epochs: Epochs to do, at most `capacity`.
      capacity: Rows of the history buffer.
      lockstep: Whether members run under `vmap`, where a step that only some members take costs a copy of
        all their states.

    Returns:
      The run, its history (NaN where nothing was measured), and outputs for the member's test rows (zeros
      while it is running).
    """
    if fresh is not None:
        run = jax.lax.cond(fresh, lambda: begin(program, member), lambda: run)
    source = RowSource.of(program, table, member)
    # For a single epoch, to lay all rows out would be another pass over them.
    once = program.shuffle or capacity == 1
    training = source if once else source.ordered(filled(jnp.asarray(member.orders)[0], 0, member.n_train)[0])
    columns = history_columns(program)

    def body(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        run, history, i = carry
        order = jnp.asarray(member.orders)[i if program.shuffle else 0]
        run, row = run_epoch(program, source, training, member, order, run, lockstep)
        values = jnp.stack([jnp.asarray(row[c], jnp.float32) for c in columns])
        return run, jax.lax.dynamic_update_index_in_dim(history, values, i, 0), i + 1

    def running(carry: tuple[Any, ...]) -> Array:
        run, _, i = carry
        return (run.status == int(Status.RUNNING)) & (i < n_epochs)

    history = jnp.full((capacity, len(columns)), jnp.nan, jnp.float32)
    run, history, _ = jax.lax.while_loop(running, body, (run, history, jnp.zeros((), jnp.int32)))
    return run, history, _predictions(program, source, member, run, lockstep)


def run_epoch(
    program: Program,
    source: RowSource,
    training: RowSource,
    member: Member,
    order: Array,
    run: RunState,
    lockstep: bool,
) -> tuple[RunState, dict[str, Array]]:
    """One epoch: its steps, validation, the decision whether to go on."""
    epoch = run.epoch + 1
    event = event_of(program, member, run.train, epoch)
    memories, event = call_in_scan(program.callbacks, "on_epoch_begin", run.memories, event)
    steps = (event.state, memories, jnp.asarray(event.stop))
    steps, loss, outputs = run_steps(program, training, member, order, steps, epoch, lockstep)
    state, memories, stop = steps
    row = {"train.loss": loss}
    rows, weights = filled(order, 0, member.n_train)
    weights = weights_at(member, rows, weights)
    train_scores = scores_of(program, program.measures_train, member, rows, outputs, weights, state.hyper)
    carry = (state, memories, stop)
    return end_epoch(program, source, member, run, carry, epoch, row, train_scores, lockstep=lockstep)


def run_steps(
    program: Program,
    source: RowSource,
    member: Member,
    order: Array,
    carry: tuple[TrainState, Any, Array],
    epoch: Array,
    lockstep: bool,
) -> tuple[tuple[TrainState, Any, Array], Array, Array]:
    """All steps of an epoch: the carry after them, the mean loss, and the outputs if a measure needs them."""
    n_steps = epoch_steps(program, member)
    keep = bool(program.measures_train)
    outputs = jnp.zeros((order.shape[0] if keep else 0, program.n_outputs), jnp.float32)
    zero = jnp.zeros((), jnp.float32)

    def body(i: Any, carry: tuple[Any, ...]) -> tuple[Any, ...]:
        (state, memories, stop), loss, weight, outputs = carry
        batch = batch_at(program, source, member, order, jnp.asarray(i, jnp.int32))
        event = event_of(program, member, state, epoch, stop)
        state, memories, stop, info = step_with_callbacks(program, event, memories, batch, i == n_steps - 1)
        if keep:
            start = i * program.batch_size
            outputs = jax.lax.dynamic_update_slice_in_dim(outputs, info.output, start, 0)
        return (state, memories, stop), loss + info.loss * info.weight, weight + info.weight, outputs

    everything = (carry, zero, zero, outputs)
    guaranteed = program.full_steps if lockstep else 0
    if guaranteed:
        everything = jax.lax.fori_loop(0, guaranteed, body, everything)
    if not lockstep or order.shape[0] > guaranteed * program.batch_size:
        everything = jax.lax.fori_loop(guaranteed, n_steps, body, everything)
    carry, loss, weight, outputs = everything
    return carry, loss / jnp.maximum(weight, 1e-12), outputs


def end_epoch(
    program: Program,
    source: RowSource,
    member: Member,
    run: RunState,
    carry: tuple[TrainState, Any, Array],
    epoch: Array,
    row: dict[str, Array],
    train_scores: dict[str, Array],
    *,
    lockstep: bool = False,
) -> tuple[RunState, dict[str, Array]]:
    """Validation, stopping and the history row of an epoch whose steps are done."""
    state, memories, stop = carry
    lr = state.hyper.get("opt.lr", jnp.asarray(jnp.nan))
    evaluated = (epoch % program.eval_freq == 0) | (epoch >= member.max_epochs)
    event = event_of(program, member, state, epoch, stop, loss=row["train.loss"])
    memories, event = call_in_scan(program.callbacks, "on_before_valid", memories, event)
    scores = {f"train.{name}": value for name, value in train_scores.items()}
    if program.validate:
        memories, event, valid = _validate(program, source, member, memories, event, evaluated, lockstep)
        scores |= valid
    scores = {name: jnp.where(evaluated, value, jnp.nan) for name, value in scores.items()}
    event = event.replace(scores=row | scores)
    if program.validate:
        signed = monitored(program, scores)
        event = event.replace(score=signed if event.minimize else -signed)
        event, memories = _on_valid_end(program, event, memories, evaluated)
    run = _decide(program, member, run, event, memories, evaluated)
    event = event.replace(state=run.train)
    memories, event = call_in_scan(program.callbacks, "on_epoch_end", memories, event)
    run = _advance(member, run, event, memories, epoch, row["train.loss"])
    return end(program, member, run), row | scores | {"lr": lr}


def _validate(
    program: Program,
    source: RowSource,
    member: Member,
    memories: Any,
    event: Event,
    evaluated: Array,
    lockstep: bool,
) -> tuple[Any, Event, dict[str, Array]]:
    rows = jnp.asarray(member.valid_rows)

    def evaluate() -> tuple[Any, Event, dict[str, Array]]:
        after, begun = call_in_scan(program.callbacks, "on_batch_valid_begin", memories, event)
        state = begun.state
        params = evaluation_weights(program, state, after)
        outputs = outputs_at(program, source, params, rows, member.n_valid, state.hyper)
        weights = weights_at(member, rows, position_weights(0, rows.shape[0], member.n_valid))
        loss_now = program.loss.evaluation.at(state.hyper)
        weighted = member.weights is not None
        loss = padded_loss(loss_now, outputs, jnp.asarray(member.target)[rows], weights, weighted=weighted)
        scores = scores_of(program, program.measures_valid, member, rows, outputs, weights, state.hyper)
        scores = {"valid.loss": loss} | {f"valid.{name}": value for name, value in scores.items()}
        after, ended = call_in_scan(program.callbacks, "on_batch_valid_end", after, begun.replace(scores=scores))
        return after, ended.replace(stop=jnp.asarray(ended.stop)), scores

    # Under vmap the condition would copy all rows for each member: computing what is not asked for is cheaper.
    if program.eval_freq == 1 or (lockstep and not program.callbacks):
        return evaluate()
    names = ["valid.loss", *(f"valid.{m.id}" for m in program.measures_valid)]
    nothing = {name: jnp.asarray(jnp.nan, jnp.float32) for name in names}
    return jax.lax.cond(evaluated, evaluate, lambda: (memories, event.replace(scores=nothing), nothing))


def _on_valid_end(program: Program, event: Event, memories: Any, evaluated: Array) -> tuple[Event, Any]:
    if not any("on_valid_end" in callback.stages for callback in program.callbacks):
        return event, memories

    def call() -> tuple[Any, Any]:
        memories_after, after = call_in_scan(program.callbacks, "on_valid_end", memories, event)
        return memories_after, after.replace(stop=jnp.asarray(after.stop))

    memories, event = jax.lax.cond(evaluated, call, lambda: (memories, event))
    return event, memories


def _decide(
    program: Program, member: Member, run: RunState, event: Event, memories: tuple[Any, ...], evaluated: Array
) -> RunState:
    """The run with the outcome of this epoch's evaluation: best weights, stagnation."""
    if not program.validate:
        return replace(run, train=event.state)
    assert event.scores is not None
    score = monitored(program, event.scores)
    # NaN compares as false: an undefined score is no improvement, and does not switch stopping off.
    bound = run.best_score - member.min_delta
    improved = evaluated & ((score <= bound) if program.later_ties else (score < bound))
    failed = evaluated & ~improved
    best = run.best
    if program.keep_best:
        best = jax.lax.cond(improved, lambda: evaluation_weights(program, event.state, memories), lambda: run.best)
    return replace(
        run,
        train=event.state,
        best=best,
        best_score=jnp.where(improved, score, run.best_score),
        best_epoch=jnp.where(improved, run.epoch + 1, run.best_epoch),
        stagnation=jnp.where(improved, 0, run.stagnation + failed.astype(jnp.int32)),
    )


def _advance(member: Member, run: RunState, event: Event, memories: Any, epoch: Array, loss: Array) -> RunState:
    """The run after the epoch, with its status."""
    patience = jnp.asarray(member.patience)
    stop = event.stop | ((patience > 0) & (run.stagnation >= patience))
    status = jnp.where(epoch >= member.max_epochs, int(Status.COMPLETE), int(Status.RUNNING))
    status = jnp.where(stop & (epoch < member.max_epochs), int(Status.STOPPED_EARLY), status)
    status = jnp.where(jnp.isfinite(loss), status, int(Status.DIVERGED)).astype(jnp.int32)
    return replace(run, train=event.state, epoch=epoch, status=status, memories=memories)


def _predictions(program: Program, source: RowSource, member: Member, run: RunState, lockstep: bool) -> Array:
    rows = jnp.asarray(member.test_rows)
    nothing = jnp.zeros((rows.shape[0], program.n_outputs), jnp.float32)
    if rows.shape[0] == 0:
        return nothing

    def predict() -> Array:
        return outputs_at(program, source, final_weights(program, run), rows, member.n_test, run.train.hyper)

    # A condition that differs between vmapped members would copy all rows for each of them.
    return predict() if lockstep else jax.lax.cond(run.status == int(Status.RUNNING), lambda: nothing, predict)
