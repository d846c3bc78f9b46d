"""Runs of a population that are trained together: chunk after chunk, with host callbacks and checkpoints between."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import numpy as np

from jdl.core.errors import CallbackError
from jdl.train.callback import HostCallback, chunk_length, chunking
from jdl.train.callbacks.checkpoint import Snapshot
from jdl.train.checkpoint_folder import CheckpointName
from jdl.train.compile import (
    EXECUTABLES,
    Layout,
    begin_function,
    chunk_function,
    copy_function,
    execute,
    stop_function,
)
from jdl.train.host_loop import call_all, call_host, run_epoch_by_steps, valid_output_function
from jdl.train.loop import history_columns
from jdl.train.plan import Plan
from jdl.train.program import Program
from jdl.train.progress import Report
from jdl.train.resume import Resumption, callback_states, restore_callbacks
from jdl.train.run_arrays import continued, history_rows, refilled, saved_arrays, saved_shapes
from jdl.train.run_context import RunContext
from jdl.train.run_identity import RunIdentity
from jdl.train.runs import RunOutcome, RunRequest, outcome_of
from jdl.train.scores import monitored
from jdl.train.stacked_members import blank_runs, orders_of, stacked
from jdl.train.state import Status


@dataclass(frozen=True)
class Population:
    """What all runs share, whichever are in flight.

    Args:
      program: What is static.
      table: All rows, raw, placed.
      requests: One per run.
      plan: Strategy, devices, members in flight.
      layout: Where members lie.
      capacity: Epochs of the longest chunk.
      hosted: Whether Python comes between chunks, so that beginning and ending are functions apart.
      callbacks: Host callbacks, in order.
      report: Called after each chunk with epochs done and epochs in all, over all runs.
      name: Of the experiment, for callbacks.
      identity: Of the runs, for checkpoints.
      resume: Checkpoints from which the runs go on.
    """

    program: Program
    table: Any
    requests: Sequence[RunRequest]
    plan: Plan
    layout: Layout
    capacity: int
    hosted: bool
    callbacks: Sequence[HostCallback]
    report: Report
    name: str
    identity: RunIdentity | None
    resume: Resumption | None


class RunsInFlight:
    """The runs of a population that are trained together."""

    def __init__(self, population: Population, first: int):
        plan, all_requests = population.plan, population.requests
        requests = list(all_requests[first : first + plan.group])
        self.program, self.table = population.program, population.table
        self.plan, self.layout = plan, population.layout
        self.capacity, self.hosted, self.callbacks = population.capacity, population.hosted, population.callbacks
        self.report, self.identity, self.resume = population.report, population.identity, population.resume
        self.requests = requests
        self.longest = max(r.epochs for r in requests)
        self.asked = [r.epochs for r in requests]
        self.members = [r.make() for r in requests]
        self.epochs = np.zeros(len(requests), np.int64)
        self.stacked = self._place(replace(stacked(self.members, plan), orders=self._orders()))
        self.runs: Any = None
        self.outputs: Any = None
        self.histories: list[list[np.ndarray]] = [[] for _ in requests]
        self.begun = False
        self.compile_seconds = self.run_seconds = 0.0
        self.executable: Any = None  # of the last chunk, which looking up again would take as long as a copy
        self.before = sum(r.epochs for r in all_requests[:first])
        self.ctx = RunContext(
            program=self.program,
            name=population.name,
            callbacks={callback.id: callback for callback in self.callbacks},
            budget=np.asarray(self.asked),
            devices=plan.devices,
            hypers=tuple(member.hyper for member in self.members),
            get_valid_output=self._valid_output if self.program.validate else None,
            take_snapshot=self._snapshot,
            iterations=tuple(range(first, first + len(requests))),
            total=sum(r.epochs for r in all_requests),
            last=first + plan.group >= len(all_requests),
            done=self.before,
        )

    def train(self) -> None:
        """All epochs, in the longest chunks that the host callbacks allow.

        Raises:
          CallbackError: A host callback raised; `result` holds what was trained.
        """
        try:
            if self.hosted:
                self._train_with_host()
            else:
                self._train_in_one()
        except BaseException as error:
            try:
                if isinstance(error, CallbackError):
                    error.result = self._recovered(error)
            finally:
                call_all(self.callbacks, "on_exit", self.ctx, error)
            raise
        try:
            call_all(self.callbacks, "on_exit", self.ctx)
        except CallbackError as error:
            error.result = self.outcomes()
            raise

    def _train_in_one(self) -> None:
        """One compiled function begins, trains and predicts; callbacks see the runs between its chunks."""
        ctx, asked = self.ctx, self.requests
        self.runs = self._place(blank_runs(self.program, self.members[0], self.plan))
        call_host(self.callbacks, "on_begin", ctx)
        self._take_budget()
        if self.requests is not asked:
            self._next_orders()
        done = 0
        while True:
            n_epochs = 0 if ctx.stopped else min(self.capacity, self.longest - done)
            done += self._run_chunk(fresh=done == 0, n_epochs=n_epochs)
            self.begun, ctx.epoch = True, done
            if ctx.stopped:
                break
            self._report()
            call_host(self.callbacks, "on_epoch_end", ctx)
            self._take_changes()
            if done >= self.longest or not self._running() or ctx.stopped:
                break
            self._next_orders()
        ended = ctx.held
        self._call_on_end()
        if self._running() or ctx.held is not ended:
            self._end()

    def _train_with_host(self) -> None:
        """Chunks of an epoch or of a step, with the host between them; all that is not compiling counts as running."""
        start = time.perf_counter()
        ctx, by = self.ctx, chunking(self.callbacks)
        restored = self._restored()
        if restored and (not self._running() or ctx.stopped or ctx.epoch >= self.longest):
            self._report()
            self._end()
            return
        if not restored:
            self.runs = ctx.held = self._call(begin_function(self.program, self.layout), self.table, self.stacked)
        self.begun = True
        call_host(self.callbacks, "on_begin", ctx)
        self._take_changes()
        while ctx.epoch < self.longest and self._running() and not ctx.stopped:
            self._host_chunk(by)
            self._report()
            call_host(self.callbacks, "on_epoch_end", ctx)
            self._take_changes()
        self._call_on_end()
        self._end()
        self.run_seconds = time.perf_counter() - start - self.compile_seconds

    def _call_on_end(self) -> None:
        """What callbacks change at the end counts, though one of them raises: a checkpoint holds it."""
        try:
            call_all(self.callbacks, "on_end", self.ctx)
        finally:
            self._take_changes()

    def _end(self) -> None:
        """Ends the runs that are still going on, and predicts."""
        if self._running():
            self.runs = self._call(stop_function(self.program, self.layout), self.table, self.stacked, self.runs)
        self._run_chunk(fresh=False, n_epochs=0)

    def _recovered(self, error: CallbackError) -> list[RunOutcome] | None:
        """What there is of the runs after an error between two epochs or within one: up to the last whole epoch."""
        if not self.begun:
            return None
        try:
            self._end()
            return self.outcomes()
        except Exception as second:
            if str(second) != str(error):  # where a callback in the scan raises while traced, nothing was trained
                error.add_note(f"What was trained until then is lost: {type(second).__name__}: {second}")
            return None

    def _take_changes(self) -> None:
        """Takes over what callbacks have changed."""
        if self.ctx.held is not self.runs:
            self.runs = self.ctx.held = self._place(self.ctx.held)
            self._fit_history()
        self._take_budget()

    def _fit_history(self) -> None:
        """Brings the history to the epochs at which the runs are: one may have been set back, or to another's state."""
        epochs, ctx = self._epochs_done(), self.ctx
        if (epochs != self.epochs).any():
            for i, n in enumerate(epochs):
                kept = self._history(i)[:n]
                self.histories[i] = [np.pad(kept, ((0, n - len(kept)), (0, 0)), constant_values=np.nan)]
            at = dict(zip(ctx.iterations, epochs, strict=True))
            ctx.rows = [row for row in ctx.rows if row["epoch"] <= at[row["iteration"]]]
        self.epochs = epochs

    def _take_budget(self) -> None:
        budget = [int(epochs) for epochs in self.ctx.budget]
        if budget == [r.epochs for r in self.requests]:
            return
        self.ctx.total += sum(budget) - sum(r.epochs for r in self.requests)
        self.requests = [replace(r, epochs=n) for r, n in zip(self.requests, budget, strict=True)]
        self.longest = max(budget)
        if self.plan.strategy == "loop":
            max_epochs = np.asarray(budget[0], np.int32)
        else:
            max_epochs = np.asarray(budget + [0] * (self.plan.group - len(budget)), np.int32)
        self.stacked = replace(self.stacked, max_epochs=self._place(max_epochs))

    # -- checkpoints

    def _snapshot(self) -> Snapshot:
        """The whole state of the runs now."""
        ctx, n = self.ctx, len(self.requests)
        histories = [self._history(i) for i in range(n)]
        spec = {
            "identity": {} if self.identity is None else self.identity.to_json(),
            "epoch": ctx.epoch,
            "asked": [int(epochs) for epochs in self.asked],
            "budget": [int(epochs) for epochs in ctx.budget],
            "stopped": ctx.stopped,
            "n_epochs": int(self.epochs.max()),
            "callbacks": callback_states(ctx.callbacks),
        }
        name = CheckpointName(ctx.iterations[0], ctx.iterations[-1], ctx.epoch)
        return Snapshot(name, spec, partial(saved_arrays, ctx.runs, histories), self._mean_score())

    def _mean_score(self) -> float:
        """Mean over the runs of the last score that decides, less is better; NaN where a run has none."""
        if not self.program.validate:
            return float("nan")
        columns, last = history_columns(self.program), []
        for i in range(len(self.requests)):
            by_epoch = np.asarray(monitored(self.program, dict(zip(columns, self._history(i).T, strict=True))))
            finite = by_epoch[np.isfinite(by_epoch)]
            last.append(finite[-1] if len(finite) else np.nan)
        return float(np.mean(last))

    def _restored(self) -> bool:
        """Takes over the newest checkpoint of these runs, if there is one."""
        if self.resume is None:
            return False
        ctx, n, columns = self.ctx, len(self.requests), history_columns(self.program)
        blank = blank_runs(self.program, self.members[0], self.plan)
        found = self.resume.newest(
            ctx.iterations[0],
            ctx.iterations[-1],
            lambda spec: saved_shapes(blank, n, (spec["n_epochs"], len(columns))),
        )
        if found is None:
            return False
        spec, arrays = found
        if spec["asked"] == self.asked:
            ctx.budget = np.asarray(spec["budget"])  # which a callback may have changed
            self._take_budget()
        self.resume.check_epochs(spec["epoch"], max(self.longest, *self.asked))
        runs = arrays["runs"]
        if not spec["stopped"]:
            runs = continued(runs, spec["epoch"], ctx.budget)
        self.epochs = np.asarray(runs.epoch, np.int64)
        self.histories = [[history[:done]] for history, done in zip(arrays["history"], self.epochs, strict=True)]
        ctx.rows = history_rows(arrays["history"], columns, ctx.iterations, np.zeros_like(self.epochs), self.epochs)
        ctx.epoch, ctx.stopped = int(spec["epoch"]), bool(spec["stopped"])
        ctx.done = self.before + int(self.epochs.sum())
        restore_callbacks(ctx.callbacks, spec["callbacks"])
        self.runs = ctx.held = self._place(refilled(runs, self.plan.group))
        self.resume.say_stopped(runs.status, all_stopped=ctx.stopped)
        return True

    def _valid_output(self) -> Any:
        function = valid_output_function(self.program, self.layout)
        return self._call(function, self.table, self.stacked, self._place(self.ctx.held))

    def _report(self) -> None:
        """Counts the epochs done."""
        self.ctx.done = self.before + int(self.epochs.sum())
        self.report(self.ctx.done, self.ctx.total)

    def _host_chunk(self, by: str) -> None:
        ctx, done = self.ctx, self.ctx.epoch
        n_epochs = min(chunk_length(self.callbacks, self.capacity, done), self.longest - done)
        ctx.epoch = done + n_epochs
        call_host(self.callbacks, "on_epoch_begin", ctx)
        self._take_changes()
        self._next_orders()
        if by == "step":
            self._run_steps()
        else:
            ctx.epoch = done + self._run_chunk(fresh=False, n_epochs=n_epochs)
        if ctx.evaluated:
            call_host(self.callbacks, "on_valid_end", ctx)

    def _run_steps(self) -> None:
        """An epoch with the host at each step."""
        order = np.asarray(self.stacked.orders)[:, 0]
        self.runs, row = run_epoch_by_steps(
            self.program,
            self.layout,
            self.table,
            self.stacked,
            self.runs,
            order,
            self.callbacks,
            self.ctx,
            self._call,
        )
        self.ctx.held = self.runs
        self._note(np.stack([row[name] for name in history_columns(self.program)], axis=-1)[:, None])

    def _run_chunk(self, *, fresh: bool, n_epochs: int) -> int:
        """Up to so many epochs; those that the longest run has done, for all may have ended before."""
        function = chunk_function(self.program, self.layout, self.capacity, begins=not self.hosted)
        if self.ctx.lent:  # a chunk takes the memory of its runs over
            self.runs, self.ctx.lent = self._call(copy_function(self.layout), self.runs), False
        begins = () if self.hosted else (np.bool_(fresh),)
        args = (self.table, self.stacked, self.runs, *begins, np.int32(n_epochs))
        if self.executable is None:
            self.executable, seconds = EXECUTABLES.get(function, args)
            self.compile_seconds += seconds
        start = time.perf_counter()
        self.runs, history, self.outputs = execute(self.executable, args)
        self.ctx.held = self.runs  # at once: what it was is gone, and waiting for the numbers may be interrupted
        history = np.asarray(history)
        self.run_seconds += time.perf_counter() - start
        return self._note((history[None] if self.plan.strategy == "loop" else history)[:, :n_epochs])

    def _note(self, block: np.ndarray) -> int:
        """Takes the history of a chunk: of each run the epochs that it has done in it. Returns the most of these.

        Args:
          block: Rows by run and epoch; what a run has not done is anything.
        """
        ctx, before = self.ctx, self.epochs
        self.epochs = self._epochs_done()
        done = self.epochs - before
        n_epochs = int(done.max())
        if not n_epochs:
            return 0
        for history, rows, n in zip(self.histories, block, done, strict=False):
            history.append(rows[:n])
        if self.callbacks:
            columns = history_columns(self.program)
            ctx.new_rows = history_rows(block, columns, ctx.iterations, before, self.epochs)
            ctx.rows += ctx.new_rows
            last = np.where((done == n_epochs)[:, None], block[: len(done), n_epochs - 1], np.nan)
            ctx.scores = dict(zip(columns, np.moveaxis(last, -1, 0), strict=True))
        return n_epochs

    def _history(self, i: int) -> np.ndarray:
        """All epochs of a run so far."""
        if len(self.histories[i]) != 1:
            nothing = np.zeros((0, len(history_columns(self.program))), np.float32)
            self.histories[i] = [np.concatenate([nothing, *self.histories[i]])]
        return self.histories[i][0]

    def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        result, seconds = EXECUTABLES.call(function, args)
        self.compile_seconds += seconds
        return result

    def _epochs_done(self) -> np.ndarray:
        return np.atleast_1d(np.asarray(self.runs.epoch))[: len(self.requests)]

    def _running(self) -> bool:
        return bool((np.atleast_1d(np.asarray(self.runs.status))[: len(self.requests)] == Status.RUNNING).any())

    def _place(self, tree: Any) -> Any:
        return jax.device_put(tree, self.layout.split())

    def _orders(self) -> np.ndarray:
        return orders_of(self.program, self.requests, self.plan, self.epochs, self.capacity)

    def _next_orders(self) -> None:
        if self.program.shuffle:
            self.stacked = replace(self.stacked, orders=self._place(self._orders()))

    def release(self) -> None:
        """Lets go of what would keep these runs in memory until Python looks for cycles."""
        self.ctx.get_valid_output = self.ctx.take_snapshot = None

    def outcomes(self) -> list[RunOutcome]:
        """What came of each run."""
        runs, outputs = jax.tree.map(np.asarray, (self.runs, self.outputs))
        if self.plan.strategy == "loop":
            runs, outputs = jax.tree.map(lambda leaf: leaf[None], (runs, outputs))
        return [
            outcome_of(
                self.program,
                request,
                member,
                jax.tree.map(lambda leaf, i=i: leaf[i], runs),
                self._history(i),
                outputs[i],
                self.run_seconds / len(self.requests),
                self.compile_seconds / len(self.requests),
            )
            for i, (request, member) in enumerate(zip(self.requests, self.members, strict=True))
        ]
