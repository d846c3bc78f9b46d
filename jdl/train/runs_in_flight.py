"""Runs of a population that are trained together: chunk after chunk, with host callbacks and checkpoints between."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np

from jdl.core.errors import CallbackError, ConfigError
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
from jdl.train.host_loop import call_exit, call_host, run_epoch_by_steps, valid_output_function
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


class RunsInFlight:
    """The runs of a population that are trained together."""

    def __init__(
        self,
        program: Program,
        table: Any,
        population: Sequence[RunRequest],
        first: int,
        plan: Plan,
        layout: Layout,
        capacity: int,
        hosted: bool,
    ):
        requests = list(population[first : first + plan.group])
        self.program, self.table, self.requests, self.plan = program, table, requests, plan
        self.layout, self.capacity, self.hosted = layout, capacity, hosted
        self.longest = max(r.epochs for r in requests)
        self.asked = [r.epochs for r in requests]
        self.members = [r.make() for r in requests]
        self.stacked = self._place(replace(stacked(self.members, plan), orders=self._orders(0)))
        self.runs: Any = None
        self.outputs: Any = None
        self.histories: list[np.ndarray] = []
        self.epochs = np.zeros(len(requests), np.int64)
        self.begun = False
        self.identity: RunIdentity | None = None
        self.resume: Resumption | None = None
        self.compile_seconds = self.run_seconds = 0.0
        self.chunk: Any = None  # the executable of the last chunk, which looking up again would take as long as a copy
        self.before = sum(r.epochs for r in population[:first])
        self.ctx = RunContext(
            program=program,
            budget=np.asarray([r.epochs for r in requests]),
            devices=plan.devices,
            hypers=tuple(member.hyper for member in self.members),
            get_valid_output=self._valid_output if program.validate else None,
            take_snapshot=self._snapshot,
            iterations=tuple(range(first, first + len(requests))),
            total=sum(r.epochs for r in population),
            last=first + plan.group >= len(population),
            done=self.before,
        )

    def train(self, callbacks: Sequence[HostCallback], report: Report) -> None:
        """All epochs, in the longest chunks that the host callbacks allow."""
        failure: BaseException | None = None
        try:
            if self.hosted:
                self._train_with_host(callbacks, report)
            else:
                self._train_in_one(callbacks, report)
        except BaseException as error:
            failure = error
            if isinstance(error, CallbackError):
                error.result = self._recovered()
            raise
        finally:
            call_exit(callbacks, self.ctx, failure)

    def _train_in_one(self, callbacks: Sequence[HostCallback], report: Report) -> None:
        """One compiled function begins, trains and predicts; callbacks see the runs between its chunks."""
        ctx, asked = self.ctx, self.requests
        self.runs = self._place(blank_runs(self.program, self.members[0], self.plan))
        call_host(callbacks, "on_begin", ctx)
        if ctx.held is not None:
            raise ConfigError(
                "callbacks: ctx.runs was set before the runs begin, which callbacks with forces_chunks=False cannot.\n"
                "Hint: forces_chunks = True."
            )
        self._take_budget()
        if self.requests is not asked:
            self._next_orders(0)
        done = 0
        while True:
            n_epochs = 0 if ctx.stopped else min(self.capacity, self.longest - done)
            self._run_chunk(fresh=done == 0, n_epochs=n_epochs)
            self.histories[-1] = self.histories[-1][..., :n_epochs, :]
            self.begun = True
            done += n_epochs
            ctx.epoch, ctx.held = done, self.runs
            if ctx.stopped:
                break
            self._progressed(report, bool(callbacks))
            call_host(callbacks, "on_epoch_end", ctx)
            self._take_changes()
            if done >= self.longest or not self._running() or ctx.stopped:
                break
            self._next_orders(done)
        ended = ctx.held
        call_host(callbacks, "on_end", ctx)
        self._take_changes()
        if self._running() or ctx.held is not ended:
            self._end()

    def _train_with_host(self, callbacks: Sequence[HostCallback], report: Report) -> None:
        """Chunks of an epoch or of a step, with the host between them; all that is not compiling counts as running."""
        start = time.perf_counter()
        ctx, by = self.ctx, chunking(callbacks)
        restored = self._restored()
        if restored and not self._running():
            self._progressed_before(report)
            self._end()
            return
        if not restored:
            self.runs = ctx.held = self._call(begin_function(self.program, self.layout), self.table, self.stacked)
        self.begun = True
        call_host(callbacks, "on_begin", ctx)
        self._take_changes()
        while ctx.epoch < self.longest and self._running() and not ctx.stopped:
            self._host_chunk(callbacks, ctx, by)
            self._progressed(report)
            call_host(callbacks, "on_epoch_end", ctx)
            self._take_changes()
        call_host(callbacks, "on_end", ctx)
        self._take_changes()
        self._end()
        self.run_seconds = time.perf_counter() - start - self.compile_seconds

    def _end(self) -> None:
        """Ends the runs that are still going on, and predicts."""
        if self._running():
            self.runs = self._call(stop_function(self.program, self.layout), self.table, self.stacked, self.runs)
        self._next_orders(self.ctx.epoch)
        self._run_chunk(fresh=False, n_epochs=0)
        self.ctx.held = self.runs

    def _recovered(self) -> list[RunOutcome] | None:
        """What there is of the runs after an error between two epochs or within one: up to the last whole epoch."""
        if not self.begun:
            return None
        self._end()
        return self.outcomes()

    def _take_changes(self) -> None:
        """Takes over what callbacks have changed."""
        if self.ctx.held is not self.runs:
            self.runs = self.ctx.held = self._place(self.ctx.held)
            self.chunk = None  # they may have other types now
            self.epochs = self._epochs_done()  # a run may have been set to where it once was
        self._take_budget()

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

    def _snapshot(self, ended: bool) -> Snapshot:
        """The whole state of the runs now."""
        ctx, n = self.ctx, len(self.requests)
        histories = tuple(self.histories)
        spec = {
            "identity": {} if self.identity is None else self.identity.to_json(),
            "epoch": ctx.epoch,
            "asked": [int(epochs) for epochs in self.asked],
            "budget": [int(epochs) for epochs in ctx.budget],
            "ended": ended,
            "stopped": ctx.stopped,
            "n_epochs": sum(block.shape[1] for block in histories),
            "callbacks": callback_states(ctx.callbacks),
            "seconds": {"compile": self.compile_seconds},
        }
        name = CheckpointName(ctx.iterations[0], ctx.iterations[-1], ctx.epoch)
        return Snapshot(name, spec, partial(saved_arrays, ctx.runs, histories, n), self._mean_score())

    def _mean_score(self) -> float:
        """Mean over the runs of the score that decides, less is better; NaN where there is none."""
        if not self.program.validate or not self.ctx.scores:
            return float("nan")
        return float(np.mean(np.asarray(monitored(self.program, self.ctx.scores))))

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
        if spec["asked"] == [int(epochs) for epochs in self.asked]:
            ctx.budget = np.asarray(spec["budget"])  # which a callback may have changed
            self._take_budget()
        self.resume.check_epochs(spec["epoch"], self.longest)
        runs = continued(arrays["runs"], ctx.budget)
        filling = self.plan.group - n
        self.histories = [np.pad(arrays["history"], ((0, filling), (0, 0), (0, 0)), constant_values=np.nan)]
        self.epochs = np.asarray(runs.epoch, np.int64)
        ctx.rows = history_rows(arrays["history"], columns, ctx.iterations, np.zeros_like(self.epochs), self.epochs)
        ctx.epoch = int(spec["epoch"])
        if spec["stopped"]:
            runs = replace(runs, status=np.where(runs.status == Status.RUNNING, int(Status.STOPPED_EARLY), runs.status))
        restore_callbacks(ctx.callbacks, spec["callbacks"])
        self.runs = ctx.held = self._place(refilled(runs, self.plan.group))
        self.resume.say_stopped(runs.status)
        return True

    def _valid_output(self) -> Any:
        function = valid_output_function(self.program, self.layout)
        return self._call(function, self.table, self.stacked, self._place(self.ctx.held))

    def _progressed(self, report: Report, noting: bool = True) -> None:
        """Counts the epochs done, and notes their history for callbacks."""
        ctx, start = self.ctx, int(self.epochs.max(initial=0))
        epochs = self._epochs_done()
        ctx.done = self.before + int(epochs.sum())
        if noting:
            block = self.histories[-1]
            block = block[None] if block.ndim == 2 else block
            columns = history_columns(self.program)
            ctx.new_rows = history_rows(block, columns, ctx.iterations, self.epochs, epochs, start)
            ctx.rows += ctx.new_rows
        self.epochs = epochs
        report(ctx.done, ctx.total)

    def _progressed_before(self, report: Report) -> None:
        """Counts the epochs of runs that had ended before they were resumed."""
        self.ctx.done = self.before + int(self.epochs.sum())
        report(self.ctx.done, self.ctx.total)

    def _host_chunk(self, callbacks: Sequence[HostCallback], ctx: RunContext, by: str) -> None:
        done = ctx.epoch
        n_epochs = min(chunk_length(callbacks, self.capacity, done), self.longest - done)
        self._next_orders(done)
        ctx.epoch = done + n_epochs
        call_host(callbacks, "on_epoch_begin", ctx)
        self._take_changes()
        if by == "step":
            order = np.asarray(self.stacked.orders)[:, 0]
            self.runs, row = run_epoch_by_steps(
                self.program, self.layout, self.table, self.stacked, self.runs, order, callbacks, ctx, self._call
            )
            block = np.stack([row[name] for name in history_columns(self.program)], axis=-1)[:, None]
            self.histories.append(block)
        else:
            self._run_chunk(fresh=False, n_epochs=n_epochs)
            self.histories[-1] = self.histories[-1][:, :n_epochs]
        ctx.held = self.runs
        columns = history_columns(self.program)
        last = self.histories[-1][: len(self.requests), -1]
        ctx.scores = dict(zip(columns, np.moveaxis(last, -1, 0), strict=True))
        if ctx.evaluated:
            call_host(callbacks, "on_valid_end", ctx)

    def _run_chunk(self, *, fresh: bool, n_epochs: int) -> None:
        function = chunk_function(self.program, self.layout, self.capacity, begins=not self.hosted)
        if self.ctx.lent:  # a chunk takes the memory of its runs over
            self.runs, self.ctx.lent = self._call(copy_function(self.layout), self.runs), False
        begins = () if self.hosted else (np.bool_(fresh),)
        args = (self.table, self.stacked, self.runs, *begins, np.int32(n_epochs))
        if self.chunk is None:
            self.chunk, seconds = EXECUTABLES.get(function, args)
            self.compile_seconds += seconds
        start = time.perf_counter()
        self.runs, history, self.outputs = execute(self.chunk, args)
        self.histories.append(np.asarray(history))
        self.run_seconds += time.perf_counter() - start

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

    def _orders(self, done: int) -> np.ndarray:
        return orders_of(self.program, self.requests, self.plan, done, self.capacity)

    def _next_orders(self, done: int) -> None:
        if self.program.shuffle:
            self.stacked = replace(self.stacked, orders=self._place(self._orders(done)))

    def outcomes(self) -> list[RunOutcome]:
        """What came of each run."""
        runs = jax.tree.map(np.asarray, self.runs)
        if self.plan.strategy == "loop":
            runs, outputs = jax.tree.map(lambda leaf: leaf[None], (runs, np.asarray(self.outputs)))
            history = np.concatenate(self.histories)[None]
        else:
            outputs, history = np.asarray(self.outputs), np.concatenate(self.histories, axis=1)
        return [
            outcome_of(
                self.program,
                request,
                member,
                jax.tree.map(lambda leaf, i=i: leaf[i], runs),
                history[i],
                outputs[i],
                self.run_seconds / len(self.requests),
                self.compile_seconds / len(self.requests),
            )
            for i, (request, member) in enumerate(zip(self.requests, self.members, strict=True))
        ]
