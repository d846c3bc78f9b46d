"""The training loop as host callbacks need it: Python between epochs or between steps.

The arithmetic is that of `run_chunk`, from the same functions; only where the compiled pieces end differs.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jdl.core.errors import CallbackError, JdlError, JdlWarning
from jdl.train.callback import HostCallback, call_in_scan
from jdl.train.compile import Layout
from jdl.train.events import event_of
from jdl.train.loop import end_epoch, history_columns
from jdl.train.member import Member
from jdl.train.program import Program
from jdl.train.rows import RowSource, batch_at, filled, outputs_at, weights_at
from jdl.train.run_context import RunContext, RunInfo
from jdl.train.scores import scores_of
from jdl.train.state import RunState, Status, evaluation_weights
from jdl.train.step import backward, update


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


def call_all(
    callbacks: Sequence[HostCallback], stage: str, ctx: RunContext, failure: BaseException | None = None
) -> None:
    """Calls `stage` of each callback, whatever others raise; the first error is raised in the end.

    Args:
      callbacks: Host callbacks.
      stage: One of those at the end.
      ctx: What they see.
      failure: What is being raised already. It, or else the first error, takes the further ones as notes.
    """
    first = failure
    for callback in callbacks:
        try:
            call_host([callback], stage, ctx)
        except CallbackError as error:
            if first is None:
                first = error
            else:
                first.add_note(str(error))
    if first is not None and failure is None:
        raise first


@contextmanager
def opened_callbacks(callbacks: Sequence[HostCallback], info: RunInfo) -> Iterator[None]:
    """Calls `opened` of each callback, and in the end `closed` of those that opened, last ones first.

    What `closed` raises becomes a warning: the runs are over.

    Raises:
      CallbackError: `opened` of a callback raised something else than an error of jdl's.
    """
    with ExitStack() as opened:
        for callback in callbacks:
            _open(callback, info)
            opened.callback(_close, callback)
        yield


def _open(callback: HostCallback, info: RunInfo) -> None:
    try:
        callback.opened(info)
    except JdlError:
        raise
    except Exception as error:
        where = f"callback '{callback.id}' failed before the runs began ('opened')"
        raise CallbackError(f"{where}: {type(error).__name__}: {error}") from error


def _close(callback: HostCallback) -> None:
    try:
        callback.closed()
    except Exception as error:
        where = f"callback '{callback.id}' failed after the runs ('closed')"
        warnings.warn(f"{where}: {type(error).__name__}: {error}", JdlWarning, stacklevel=2)


@lru_cache(maxsize=8)  # five programs each
def step_functions(program: Program, layout: Layout) -> dict[str, Any]:
    """The compiled pieces of an epoch, over a layout's members."""

    def epoch_begin(table: Any, member: Member, run: RunState) -> Any:
        del table
        event = event_of(program, member, run.train, run.epoch + 1)
        memories, event = call_in_scan(program.callbacks, "on_epoch_begin", run.memories, event)
        return event.state, memories, jnp.asarray(event.stop)

    def gradients(table: Any, member: Member, run: RunState, carry: Any, order: Array, i: Array) -> Any:
        batch = batch_at(program, RowSource.of(program, table, member), member, order, i)
        state, memories, stop = carry
        event = event_of(program, member, state, run.epoch + 1, stop)
        event = event.replace(x=batch.x, target=batch.target, weights=batch.weights)
        memories, event = call_in_scan(program.callbacks, "on_batch_begin", memories, event)
        batch = replace(batch, x=event.x, target=event.target, weights=event.weights)
        grads, rest, info = backward(program, event.state, batch)
        event = event.replace(grads=grads, loss=info.loss)
        memories, event = call_in_scan(program.callbacks, "on_after_backward", memories, event)
        return (event.state, memories, jnp.asarray(event.stop)), event.grads, rest, info

    def apply(
        table: Any, member: Member, run: RunState, before: Any, carry: Any, grads: Any, rest: Any, weight: Any, i: Array
    ) -> Any:
        """The step; members without a row left, or at their end, keep what they had."""
        del table
        state, memories, stop = carry
        last = (i + 1) * program.batch_size >= member.n_train

        def step() -> Any:
            trained = update(program, state, grads, rest, weight, last)
            event = event_of(program, member, trained, run.epoch + 1, stop)
            after, event = call_in_scan(program.callbacks, "on_batch_end", memories, event)
            return event.state, after, jnp.asarray(event.stop)

        active = (i * program.batch_size < member.n_train) & (run.status == int(Status.RUNNING))
        return jax.lax.cond(active, step, lambda: before)

    def finish(table: Any, member: Member, run: RunState, carry: Any, order: Array, loss: Array, outputs: Array) -> Any:
        source = RowSource.of(program, table, member)
        order = order[: outputs.shape[0]]  # without the padding that no step of any member reached
        rows, weights = filled(order, 0, member.n_train)
        weights = weights_at(member, rows, weights)
        scores = scores_of(program, program.measures_train, member, rows, outputs, weights, carry[0].hyper)
        ended, row = end_epoch(program, source, member, run, carry, run.epoch + 1, {"train.loss": loss}, scores)
        row = {name: jnp.asarray(row[name], jnp.float32) for name in history_columns(program)}
        running = run.status == int(Status.RUNNING)
        return jax.tree.map(lambda new, old: jnp.where(running, new, old), ended, run), row

    def batch(table: Any, member: Member, order: Array, i: Array) -> Any:
        return batch_at(program, RowSource.of(program, table, member), member, order, i)

    return {
        "batch": layout.lift(batch, n_common=1),
        "epoch_begin": layout.lift(epoch_begin),
        "gradients": layout.lift(gradients, n_common=1),
        "apply": layout.lift(apply, n_common=1),
        "finish": layout.lift(finish),
    }


@lru_cache(maxsize=32)
def valid_output_function(program: Program, layout: Layout) -> Any:
    """The jitted outputs of all runs for their validation rows: (table, members, runs)."""

    def outputs(table: Any, member: Member, run: RunState) -> Any:
        source = RowSource.of(program, table, member)
        weights = evaluation_weights(program, run.train, run.memories)
        return outputs_at(program, source, weights, jnp.asarray(member.valid_rows), member.n_valid, run.train.hyper)

    return layout.lift(outputs)


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

    def stage(name: str, carry: Any) -> Any:
        """Calls a stage; the carry with what callbacks have made of it."""
        ctx.held = shown = replace(runs, train=carry[0], memories=carry[1])
        call_host(callbacks, name, ctx)
        if ctx.held is shown:
            return carry
        made = (ctx.held.train, ctx.held.memories)
        return (
            *jax.tree.map(lambda a, b: a if a is b else jax.device_put(a, layout.split()), made, carry[:2]),
            carry[2],
        )

    functions = step_functions(replace(program, materialise=False), layout)
    orders_placed = jax.device_put(orders, layout.split())
    ctx.within_epoch = True
    carry = call(functions["epoch_begin"], table, members, runs)
    n_steps = int(-(-np.max(np.asarray(members.n_train)) // program.batch_size))
    losses, weights, outputs = [], [], []
    for i in range(n_steps):
        ctx.step = i + 1
        index = np.int32(i)
        ctx.get_batch = partial(call, functions["batch"], table, members, orders_placed, index)
        waiting = stage("on_batch_begin", carry)  # of members that do not take the step
        args = (waiting, orders_placed, index)
        carry, ctx.held_grads, rest, info = call(functions["gradients"], table, members, runs, *args)
        ctx.loss, ctx.output = np.asarray(info.loss), info.output
        changed = stage("on_after_backward", carry)
        waiting = _with_changes(waiting, carry, changed)
        args = (waiting, changed, ctx.held_grads, rest, info.weight)
        carry = call(functions["apply"], table, members, runs, *args, index)
        ctx.held_grads = None
        carry = stage("on_batch_end", carry)
        losses.append(ctx.loss)
        weights.append(np.asarray(info.weight))
        outputs.append(info.output)
    ctx.step, ctx.get_batch, ctx.output = 0, None, None
    weight = np.stack(weights)
    loss = (np.where(weight > 0, np.stack(losses), 0.0) * weight).sum(axis=0) / np.maximum(weight.sum(axis=0), 1e-12)
    ctx.loss = loss
    carry = stage("on_before_valid", carry)
    if ctx.evaluated:
        carry = stage("on_batch_valid_end", stage("on_batch_valid_begin", carry))
    ctx.within_epoch = False
    seen = jnp.concatenate(outputs, axis=-2)
    loss = jax.device_put(np.asarray(loss, np.float32), layout.split())
    runs, row = call(functions["finish"], table, members, runs, carry, orders_placed, loss, seen)
    return runs, {name: np.atleast_1d(np.asarray(values)) for name, values in row.items()}


def _with_changes(waiting: Any, shown: Any, changed: Any) -> Any:
    """The carry of members that do not take a step, with what a callback has changed in that of those that do."""
    if changed is shown:
        return waiting
    old = dict(jax.tree_util.tree_flatten_with_path(shown)[0])
    new = {path: leaf for path, leaf in jax.tree_util.tree_flatten_with_path(changed)[0] if leaf is not old.get(path)}
    return jax.tree_util.tree_map_with_path(lambda path, leaf: new.get(path, leaf), waiting)
