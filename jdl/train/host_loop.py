"""The training loop as host callbacks need it: Python between epochs or between steps.

The arithmetic is that of `run_chunk`, from the same functions; only where the compiled pieces end differs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jdl.core.errors import CallbackError
from jdl.train.callback import Event, HostCallback, call_in_scan
from jdl.train.compile import Layout
from jdl.train.loop import end_epoch, history_columns
from jdl.train.member import Member
from jdl.train.program import Program
from jdl.train.rows import RowSource, batch_at, position_weights
from jdl.train.scores import scores_of
from jdl.train.state import RunState, Status
from jdl.train.step import backward, update


@dataclass
class RunContext:
    """What host callbacks see. All arrays have a leading member axis, an entry per run in `iterations`.

    Where the number of runs is no multiple of that of the devices, `runs`, `grads` and `loss` go on with idle members.

    Args:
      program: What is static about the runs.
      total_epochs: Epochs asked for.
      epoch: Number of the epoch, from 1.
      step: Number of the step in its epoch, from 1; 0 outside of steps.
      runs: State of all runs; may be replaced.
      grads: Gradients at `on_after_backward`; may be replaced.
      loss: Mean loss of the batch of each run, at the batch stages.
      scores: Column of the history -> value of each run, from `on_valid_end` on.
      iterations: Positions of the runs in their population.
      done: Epochs done, over all runs of the population.
      total: Epochs asked for, over all runs of the population.
      last: Whether these are the last runs of the population.
    """

    program: Program
    total_epochs: int
    iterations: tuple[int, ...]
    total: int
    last: bool
    done: int = 0
    epoch: int = 0
    step: int = 0
    runs: RunState | Any = None
    grads: Any = None
    loss: Any = None
    scores: dict[str, np.ndarray] = field(default_factory=dict)
    stopped: bool = False

    @property
    def evaluated(self) -> bool:
        """Whether this epoch is one with validation."""
        due = self.epoch % self.program.eval_freq == 0 or self.epoch >= self.total_epochs
        return self.program.validate and due

    def stop(self) -> None:
        """Ends all runs after this epoch."""
        self.stopped = True


def call_host(callbacks: Sequence[HostCallback], stage: str, ctx: RunContext) -> None:
    """Calls `stage` of each callback that acts there, in order."""
    for callback in callbacks:
        if stage not in callback.stages:
            continue
        try:
            getattr(callback, stage)(ctx)
        except Exception as error:
            where = f"callback '{callback.id}' failed at stage '{stage}', epoch {ctx.epoch}"
            raise CallbackError(f"{where}: {type(error).__name__}: {error}") from error


@lru_cache(maxsize=32)
def step_functions(program: Program, layout: Layout) -> dict[str, Any]:
    """The compiled pieces of an epoch, over a layout's members."""

    def epoch_begin(table: Any, member: Member, run: RunState) -> Any:
        del table, member
        event = Event(state=run.train, epoch=run.epoch + 1, stop=jnp.zeros((), bool))
        memories, event = call_in_scan(program.callbacks, "on_epoch_begin", run.memories, event)
        return event.state, memories, jnp.asarray(event.stop)

    def gradients(table: Any, member: Member, run: RunState, carry: Any, order: Array, i: Array) -> Any:
        source = RowSource.of(program, table, member)
        source = source if program.shuffle else source.ordered(order)
        batch = batch_at(program, source, member, order, i)
        state, memories, stop = carry
        event = Event(state=state, epoch=run.epoch + 1, stop=stop, x=batch.x, target=batch.target)
        total_steps = -(-member.n_train // program.batch_size) * member.max_epochs
        event = event.replace(weights=batch.weights, total_steps=total_steps)
        memories, event = call_in_scan(program.callbacks, "on_batch_begin", memories, event)
        batch = replace(batch, x=event.x, target=event.target, weights=event.weights)
        grads, rest, info = backward(program, event.state, batch)
        event = event.replace(grads=grads, loss=info.loss)
        memories, event = call_in_scan(program.callbacks, "on_after_backward", memories, event)
        return (event.state, memories, jnp.asarray(event.stop)), event.grads, rest, info

    def apply(
        table: Any, member: Member, run: RunState, before: Any, carry: Any, grads: Any, rest: Any, i: Array
    ) -> Any:
        """The step; members without a row left, or at their end, keep what they had."""
        del table
        state, memories, stop = carry

        def step() -> Any:
            event = Event(state=update(program, state, grads, rest), epoch=run.epoch + 1, stop=stop)
            after, event = call_in_scan(program.callbacks, "on_batch_end", memories, event)
            return event.state, after, jnp.asarray(event.stop)

        active = (i * program.batch_size < member.n_train) & (run.status == int(Status.RUNNING))
        return jax.lax.cond(active, step, lambda: before)

    def finish(table: Any, member: Member, run: RunState, carry: Any, order: Array, loss: Array, outputs: Array) -> Any:
        source = RowSource.of(program, table, member)
        order = order[: outputs.shape[0]]  # without the padding that no step of any member reached
        weights = position_weights(0, order.shape[0], member.n_train)
        scores = scores_of(program, program.measures_train, member, order, outputs, weights)
        ended, row = end_epoch(program, source, member, run, carry, run.epoch + 1, {"train.loss": loss}, scores)
        row = {name: jnp.asarray(row[name], jnp.float32) for name in history_columns(program)}
        running = run.status == int(Status.RUNNING)
        return jax.tree.map(lambda new, old: jnp.where(running, new, old), ended, run), row

    return {
        "epoch_begin": layout.lift(epoch_begin),
        "gradients": layout.lift(gradients, n_common=1),
        "apply": layout.lift(apply, n_common=1),
        "finish": layout.lift(finish),
    }


def run_epoch_by_steps(
    program: Program,
    layout: Layout,
    table: Any,
    members: Any,
    runs: Any,
    orders: np.ndarray,
    callbacks: Sequence[HostCallback],
    ctx: RunContext,
    call: Callable[..., Any],
) -> tuple[Any, dict[str, np.ndarray]]:
    """One epoch of all members with the host at every step.

    Args:
      program: What is static.
      layout: Where the members are.
      table: All rows, placed.
      members: Stacked and placed.
      runs: Where they stand.
      orders: Order of this epoch by member.
      callbacks: Host callbacks.
      ctx: What they see.
      call: Calls a compiled piece, `call(function, *args)`, and keeps count of the time that compiling takes.

    Returns:
      The runs after the epoch and the history row of each.
    """
    functions = step_functions(replace(program, materialise=False), layout)
    orders_placed = jax.device_put(orders, layout.split())
    carry = call(functions["epoch_begin"], table, members, runs)
    n_steps = int(-(-np.max(np.asarray(members.n_train)) // program.batch_size))
    losses, weights, outputs = [], [], []
    for i in range(n_steps):
        ctx.step = i + 1
        ctx.runs = _with_carry(runs, carry)
        call_host(callbacks, "on_batch_begin", ctx)
        carry = _carry_of(ctx.runs, carry)
        index = np.int32(i)
        before = carry
        carry, ctx.grads, rest, info = call(functions["gradients"], table, members, runs, carry, orders_placed, index)
        ctx.loss = np.asarray(info.loss)
        call_host(callbacks, "on_after_backward", ctx)
        carry = call(functions["apply"], table, members, runs, before, carry, ctx.grads, rest, index)
        ctx.runs, ctx.grads = _with_carry(runs, carry), None
        call_host(callbacks, "on_batch_end", ctx)
        carry = _carry_of(ctx.runs, carry)
        losses.append(ctx.loss)
        weights.append(np.asarray(info.weight))
        outputs.append(info.output)
    ctx.step = 0
    weight = np.stack(weights)
    loss = (np.where(weight > 0, np.stack(losses), 0.0) * weight).sum(axis=0) / np.maximum(weight.sum(axis=0), 1.0)
    ctx.loss = loss
    ctx.runs = _with_carry(runs, carry)
    call_host(callbacks, "on_before_valid", ctx)
    if ctx.evaluated:
        call_host(callbacks, "on_batch_valid_begin", ctx)
        call_host(callbacks, "on_batch_valid_end", ctx)
    carry = _carry_of(ctx.runs, carry)
    seen = jnp.concatenate(outputs, axis=-2)
    loss = jax.device_put(np.asarray(loss, np.float32), layout.split())
    runs, row = call(functions["finish"], table, members, runs, carry, orders_placed, loss, seen)
    return runs, {name: np.atleast_1d(np.asarray(values)) for name, values in row.items()}


def _with_carry(runs: Any, carry: Any) -> Any:
    return replace(runs, train=carry[0], memories=carry[1])


def _carry_of(runs: Any, carry: Any) -> Any:
    return runs.train, runs.memories, carry[2]
