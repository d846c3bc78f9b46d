"""A population of runs that share one program: placed, and trained in groups that are in flight together."""

from collections.abc import Sequence

import jax

from jdl.core.errors import CallbackError
from jdl.data.table import Table
from jdl.train.callback import HostCallback, by_weight, chunk_capacity
from jdl.train.compile import Layout
from jdl.train.host_loop import opened_callbacks
from jdl.train.loop import history_columns
from jdl.train.plan import Plan
from jdl.train.program import Program
from jdl.train.progress import Report
from jdl.train.resume import Resumption
from jdl.train.run_context import RunInfo
from jdl.train.run_identity import RunIdentity
from jdl.train.runs import RunOutcome, RunRequest
from jdl.train.runs_in_flight import Population, RunsInFlight


def run_population(
    program: Program,
    table: Table,
    requests: Sequence[RunRequest],
    plan: Plan,
    capacity: int,
    *,
    callbacks: Sequence[HostCallback] = (),
    report: Report = lambda done, of: None,
    name: str = "",
    identity: RunIdentity | None = None,
    resume: Resumption | None = None,
) -> list[RunOutcome]:
    """Trains all runs by the plan.

    Args:
      program: Shared by all.
      table: All rows, raw, in NumPy; placed once.
      requests: One per run.
      plan: Strategy, devices, members in flight.
      capacity: Epochs of the longest chunk.
      callbacks: Host callbacks; they are called for each group of members in flight.
      report: Called after each chunk with epochs done and epochs in all, over all members.
      name: Of the experiment, for callbacks.
      identity: Of the runs, for checkpoints.
      resume: Checkpoints from which the runs go on.

    Raises:
      CheckpointError: The checkpoints are damaged, or cannot be gone on from.
      CallbackError: A host callback raised; `result` holds the outcomes of all runs that had begun.
    """
    callbacks = by_weight(callbacks)
    longest = max((r.epochs for r in requests), default=0)
    resumed_from = None if resume is None else resume.folder.path
    resumed = resume is not None and bool(resume.folder.names())
    info = RunInfo(name, program, len(requests), longest, history_columns(program), resumed_from, resumed)
    with opened_callbacks(callbacks, info):
        layout = Layout(plan.strategy, plan.devices)
        # CPU devices share the host's memory instead of holding a copy each: the table is never written to.
        placed = jax.device_put(table, layout.shared(), may_alias=True)
        hosted = any(callback.forces_chunks for callback in callbacks) or resume is not None
        if hosted:
            capacity = chunk_capacity(callbacks, capacity)
        return _run_groups(
            Population(
                program,
                placed,
                requests,
                plan,
                layout,
                capacity,
                hosted,
                callbacks=callbacks,
                report=report,
                name=name,
                identity=identity,
                resume=resume,
            )
        )


def _run_groups(population: Population) -> list[RunOutcome]:
    outcomes: list[RunOutcome] = []
    for first in range(0, len(population.requests), population.plan.group):
        try:
            outcomes += _run_group(population, first)
        except CallbackError as error:
            error.result = outcomes + (error.result or [])
            raise
    return outcomes


def _run_group(population: Population, first: int) -> list[RunOutcome]:
    group = RunsInFlight(population, first)
    try:
        group.train()
        return group.outcomes()
    finally:
        group.release()
