"""From jobs of a neural learner to a population of members, and back to fitted learners and predictions."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jdl.core.errors import CallbackError, ConfigError, JdlWarning
from jdl.core.random import RandomKey
from jdl.data.table import Table, TableSpec
from jdl.data.task import Task
from jdl.learners.checks import check_used_rows, chooses_by_missing, missing_among
from jdl.learners.device import devices_of
from jdl.learners.learner import Job, Outcome, RunOptions
from jdl.learners.run_identity import resumption, run_identity
from jdl.learners.target import Target
from jdl.pipeline.compose import fit_chain, out_specs
from jdl.resampling.partition import split_validation
from jdl.train.callback import HostCallback, InScanCallback, chunking
from jdl.train.callbacks.catalogue import in_order
from jdl.train.callbacks.checkpoint import Checkpoint
from jdl.train.losses.base import PREFIX
from jdl.train.member import Member, MemberRows, draw
from jdl.train.plan import Plan, chunk_epochs, make_plan
from jdl.train.population import run_population
from jdl.train.program import Program, initial_values
from jdl.train.runs import RunOutcome, RunRequest
from jdl.train.sampler import SamplerRows, Sampling
from jdl.train.sizes import bucket, bucket_below
from jdl.train.state import Status

if TYPE_CHECKING:
    from jdl.learners.neural import NeuralLearner, Schedule

# Below this size a member's rows are transformed once; above, whenever they are gathered.
MATERIALISE_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Data:
    """All rows that the runs may touch: the task's, and behind them its validation task's.

    Args:
      spec: Columns, as stored.
      table: Rows, raw, in NumPy.
      target: Class codes or values of all rows.
      n_task: Rows that are the task's.
    """

    spec: TableSpec
    table: Table
    target: Target
    n_task: int

    @classmethod
    def of(cls, task: Task, *, with_validation: bool) -> "Data":
        """The rows of a task, and of its validation task if asked for."""
        parts = [task]
        if with_validation:
            assert task.validation is not None
            parts.append(task.validation)
        tables = [part.table for part in parts]
        table = tables[0] if len(tables) == 1 else jax.tree.map(lambda *b: np.concatenate(b), *tables)
        missing = [c.name for part in parts for c in part.spec.columns if c.missing]
        targets = [Target.of(part) for part in parts]
        return cls(
            spec=task.spec.with_missing(missing),
            table=table,
            target=_joined(targets),
            n_task=task.n_rows,
        )

    def seen_by(self, jobs: Sequence[Job]) -> "Data":
        """The same rows; columns count as having missing values where a row that some job trains on has one.

        What other rows hold must not decide which columns `selectors.missing()` chooses.
        """
        trained = np.zeros(self.table.n_rows, bool)
        for job in jobs:
            trained[job.rows] = True
        return replace(self, spec=self.spec.with_missing(missing_among(self.spec, self.table, np.flatnonzero(trained))))


def _joined(targets: Sequence[Target]) -> Target:
    """The targets of several tasks one after the other; they have weights if the first one has."""
    weights = None if targets[0].weights is None else np.concatenate([_weights(t) for t in targets])
    return replace(targets[0], values=np.concatenate([t.values for t in targets]), weights=weights)


def _weights(target: Target) -> np.ndarray:
    assert target.weights is not None
    return target.weights


def run_jobs(
    learner: "NeuralLearner", task: Task, jobs: Sequence[Job], options: RunOptions, fitted_type: Any
) -> tuple[list[Outcome], str]:
    """Trains all jobs as one population; says in words how they were run."""
    schedule = learner.schedule(min(len(job.rows) for job in jobs))
    _check_validation(learner, task, jobs, schedule)
    data = Data.of(task, with_validation=schedule.validate == "predefined")
    everything, data = data, data.seen_by(jobs)
    check_used_rows(learner, everything.spec, data.table, jobs, data.n_task, fitted=data.spec)
    member_rows = [_rows_of(learner, task, data, job, schedule) for job in jobs]
    for part in member_rows:
        learner.loss.check_target(data.target.values[np.concatenate([part.train, part.valid])], f"task '{task.id}'")
    schedule = _with_batch_size(learner, schedule, member_rows)
    member_rows = [_sampled(learner, task, data, r, schedule.batch_size) for r in member_rows]
    schedule = replace(schedule, batch_size=schedule.batch_size * learner.copies)
    rows = padded_rows(member_rows, schedule, learner)
    program = make_program(learner, data, schedule, rows)
    plan, capacity = _plan(learner, program, data, rows, options)
    if plan.strategy == "vmap":
        # Static, and decided by the rows: where nothing asks for it, other rows must not compile another program.
        program = replace(program, full_steps=_full_steps(learner, schedule, rows))
    requests = [
        RunRequest(
            make=_member_maker(learner, program, data, schedule, job, r),
            key=job.key,
            rows=r,
            epochs=schedule.epochs,
        )
        for job, r in zip(jobs, rows, strict=True)
    ]
    callbacks, wanted, identity = learner.host_callbacks(), learner.values["resume"], None
    if wanted or any(isinstance(callback, Checkpoint) for callback in callbacks):
        identity = run_identity(learner, task, data, jobs, rows, plan)
    make = _outcome_maker(learner, task, program, schedule, data.spec, fitted_type)
    try:
        outcomes = run_population(
            program,
            data.table,
            requests,
            plan,
            capacity,
            callbacks=callbacks,
            report=options.report,
            name=f"{task.id}.{learner.id}",
            identity=identity,
            resume=resumption(wanted, callbacks, identity, plan.groups),
        )
    except CallbackError as error:
        found = error.result or []
        error.result = [make(job, outcome) for job, outcome in zip(jobs[: len(found)], found, strict=True)]
        raise
    return [make(job, outcome) for job, outcome in zip(jobs, outcomes, strict=True)], str(plan)


def _with_batch_size(learner: "NeuralLearner", schedule: "Schedule", rows: Sequence[MemberRows]) -> "Schedule":
    """The schedule with a batch size that the rows can fill."""
    sizes = {len(r.train) for r in rows}
    if not learner.values["drop_last"]:
        # A batch above all rows is one short batch: no need to fill it up with padding.
        longest = max(sizes) if len(sizes) == 1 else bucket(max(sizes))
        return replace(schedule, batch_size=min(schedule.batch_size, longest))
    if learner.values["batch_size"] is None:
        # Nobody asked for a batch that leaves no step.
        return replace(schedule, batch_size=min(schedule.batch_size, *sizes))
    return schedule


def _plan(
    learner: "NeuralLearner", program: Program, data: Data, rows: Sequence[MemberRows], options: RunOptions
) -> tuple[Plan, int]:
    """How the runs are spread and grouped, and the epochs of the longest chunk."""
    n_parameters = initial_values(program).n_parameters
    order_size = rows[0].n_train or 0
    capacity = chunk_epochs(
        n_members=len(rows),
        order_size=order_size,
        shuffle=program.shuffle,
        epoch_work=6.0 * n_parameters * order_size,
    )
    plan = make_plan(
        options.strategy,
        n_members=len(rows),
        member_bytes=_member_bytes(program, n_parameters, data, order_size * capacity),
        working_bytes=_working_bytes(program, data, rows[0]),
        data_bytes=_bytes(data.table),
        n_parameters=n_parameters,
        devices=options.devices or devices_of(learner.values["device"]),
        memory_budget=options.memory_budget,
    )
    callbacks = learner.host_callbacks()
    if (callbacks or learner.values["resume"]) and plan.strategy == "loop":
        # Host callbacks see arrays with a member axis, also of a single run; checkpoints hold them so.
        plan = replace(plan, strategy="map")
    return replace(plan, chunks=_chunks_in_words(callbacks)), capacity


def _chunks_in_words(callbacks: Sequence[HostCallback]) -> str:
    """Which chunks host callbacks ask for, and who; nothing where chunks are as long as they can be."""
    by = chunking(callbacks)
    if by == "run":
        return ""
    asking = [callback.id for callback in callbacks if chunking([callback]) == by]
    return f"by {by} for {', '.join(map(repr, asking))}"


def make_program(learner: "NeuralLearner", data: Data, schedule: "Schedule", rows: Sequence[MemberRows]) -> Program:
    """The program of a learner's runs on a task."""
    values = learner.values
    target = data.target
    # Flags that no stage looks at would make another program of every other set of rows with a missing value.
    spec = data.spec if chooses_by_missing(learner.all_stages, data.spec) else data.spec.with_missing(())
    width = len(out_specs(learner.all_stages, spec)[-1].columns)
    positive = 1
    if target.class_names is not None and target.positive is not None:
        positive = target.class_names.index(target.positive)
    program = Program(
        network=learner.network(),
        spec=spec,
        n_outputs=learner.loss.n_outputs(target.n_classes),
        loss=learner.loss.for_classes(target.class_names or ()).structure,
        optimizer=learner.optimizer.structure,
        stages=learner.all_stages,
        batch_size=schedule.batch_size,
        batch_size_predict=values["batch_size_predict"],
        shuffle=learner.shuffles,
        drop_last=values["drop_last"],
        eval_freq=values["eval_freq"],
        measures_train=values["measures_train"],
        measures_valid=learner.measures_valid() if schedule.validate is not None else (),
        validate=schedule.validate is not None,
        keep_best=schedule.restore_best,
        positive=positive,
        materialise=data.table.n_rows * max(width, 1) * 4 <= MATERIALISE_BYTES,
        callbacks=_structures(learner, schedule, target),
        copies=learner.copies,
        later_ties=learner.later_ties,
        precision=values["precision"],
        remat=values["remat"],
    )
    per_member = min(r.n_positions for r in rows) * learner.copies
    if values["drop_last"] and per_member < schedule.batch_size:
        raise ConfigError(
            f"learner '{learner.id}': drop_last=True leaves no batch: batch_size {schedule.batch_size} is above the "
            f"{per_member} training rows.\nHint: a smaller batch_size, or drop_last=False."
        )
    return program


def _structures(learner: "NeuralLearner", schedule: "Schedule", target: Target) -> tuple[InScanCallback, ...]:
    """The in-scan callbacks of a learner, less their dynamic values."""
    callbacks = in_order(
        learner.in_scan_callbacks(),
        f"learner '{learner.id}'",
        hyper=dynamic_values(learner, target.class_names or ()),
        validates=schedule.validate is not None,
        optimizer=learner.optimizer,
    )
    return tuple(callback.structure() for callback in callbacks)


def _check_validation(learner: "NeuralLearner", task: Task, jobs: Sequence[Job], schedule: "Schedule") -> None:
    who = f"learner '{learner.id}'"
    if schedule.validate == "test":
        if any(job.test is None for job in jobs):
            raise ConfigError(
                f"{who}: validate='test' needs a test set, which only resampling has.\nHint: validate=0.2."
            )
        if schedule.patience or schedule.restore_best:
            warnings.warn(
                f"{who}: the test rows decide when to stop or which weights to keep, so its scores are optimistic.\n"
                "Hint: validate=0.2 splits validation rows off the training rows.",
                JdlWarning,
                stacklevel=5,
            )
    if schedule.validate == "predefined" and task.validation is None:
        raise ConfigError(
            f"{who}: validate='predefined' needs a task with validation rows, but task '{task.id}' has none.\n"
            "Hint: task.with_validation(rows)."
        )


def _rows_of(learner: "NeuralLearner", task: Task, data: Data, job: Job, schedule: "Schedule") -> MemberRows:
    """Training, validation and test rows of a job."""
    train, valid = job.rows, np.zeros(0, np.int32)
    if schedule.validate == "test":
        assert job.test is not None
        valid = job.test
    elif schedule.validate == "predefined":
        valid = np.arange(data.n_task, data.table.n_rows, dtype=np.int32)
    elif schedule.validate is not None:
        codes = data.target.values if data.target.class_names is not None else None
        strata = task.strata_codes if task.strata_codes is not None else codes
        assert isinstance(schedule.validate, float)
        train, valid = split_validation(
            train,
            schedule.validate,
            job.key.fold("validation"),
            strata=strata,
            groups=task.group_codes,
        )
    test = np.zeros(0, np.int32) if job.test is None else job.test
    return MemberRows(train=train.astype(np.int32), valid=valid.astype(np.int32), test=test.astype(np.int32))


def _sampled(learner: "NeuralLearner", task: Task, data: Data, rows: MemberRows, batch_size: int) -> MemberRows:
    """The rows with the learner's sampler, if it has one."""
    sampler = learner.values["sampler"]
    if sampler is None:
        return rows
    about = SamplerRows(
        rows=rows.train,
        target=data.target.values[rows.train],
        batch_size=batch_size,
        is_classif=data.target.class_names is not None,
        groups=None if task.group_codes is None else task.group_codes[rows.train],
    )
    return replace(rows, sampling=Sampling(sampler, about))


def padded_rows(rows: Sequence[MemberRows], schedule: "Schedule", learner: "NeuralLearner") -> list[MemberRows]:
    """The rows with the sizes that all members share."""
    batch, predict = schedule.batch_size, learner.values["batch_size_predict"]
    steps = _steps(learner, schedule, rows)
    # Members that differ do so by chance, as groups and samples with replacement fall.
    n_train = (max(steps) if min(steps) == max(steps) else bucket(max(steps))) * batch
    n_valid = _prediction_size(max(len(r.valid) for r in rows), predict)
    n_test = _prediction_size(max(len(r.test) for r in rows), predict)
    return [replace(r, n_train=n_train, n_valid=n_valid, n_test=n_test) for r in rows]


def _steps(learner: "NeuralLearner", schedule: "Schedule", rows: Sequence[MemberRows]) -> list[int]:
    """Batches of each member, the incomplete one too."""
    return [-(-r.n_positions * learner.copies // schedule.batch_size) for r in rows]


def _full_steps(learner: "NeuralLearner", schedule: "Schedule", rows: Sequence[MemberRows]) -> int:
    """Steps of an epoch that have a real row in every member."""
    steps = _steps(learner, schedule, rows)
    if learner.values["drop_last"]:
        steps = [r.n_positions * learner.copies // schedule.batch_size for r in rows]
    return min(steps) if min(steps) == max(steps) else bucket_below(min(steps))


def _prediction_size(n_rows: int, batch: int) -> int:
    return min(bucket(n_rows), batch) if n_rows <= batch else bucket(-(-n_rows // batch)) * batch


def _member_maker(
    learner: "NeuralLearner", program: Program, data: Data, schedule: "Schedule", job: Job, rows: MemberRows
) -> Callable[[], Member]:
    def make() -> Member:
        states: Any = ()
        if learner.all_stages:
            table, weights = _fitting_rows(data.table, rows.train)
            states = fit_chain(learner.all_stages, program.spec, table, weights, job.key.fold("stages"))
        target, scale = _target(learner, data, rows)
        return draw(
            program,
            job.key,
            target,
            rows=rows,
            epochs=schedule.epochs,
            hyper=dynamic_values(learner, data.target.class_names or ()),
            stage_states=states,
            target_scale=scale,
            patience=schedule.patience,
            min_delta=learner.values["min_delta"],
            n_orders=0,
            table=data.table,
            weights=data.target.weights,
        )

    return make


def _fitting_rows(table: Table, rows: np.ndarray) -> tuple[Table, np.ndarray]:
    """Rows to fit stages on, and how often each counts: most rows of a table are not worth a copy."""
    counts = np.bincount(rows, minlength=table.n_rows)
    if counts.max() == 1 and 2 * len(rows) > table.n_rows:
        return table, counts.astype(np.float32)
    return table.take(rows), np.ones(len(rows), np.float32)


def dynamic_values(learner: "NeuralLearner", class_names: tuple[Any, ...] = ()) -> dict[str, Any]:
    """Dynamic hyperparameters by name; class weights are in the order of the classes."""
    of_loss = (learner.loss.for_classes(class_names) if class_names else learner.loss).dynamic()
    of_optimizer = learner.optimizer.dynamic()
    of_callbacks = {n: v for callback in learner.in_scan_callbacks() for n, v in callback.dynamic().items()}
    return (
        learner.dynamic()
        | {f"{PREFIX}{name}": value for name, value in of_loss.items()}
        | {f"opt.{name}": value for name, value in of_optimizer.items()}
        | of_callbacks
    )


def _target(learner: "NeuralLearner", data: Data, rows: MemberRows) -> tuple[np.ndarray, tuple[float, float]]:
    """Codes, or values scaled as the loss has it by the training rows; what lies outside the member's rows is 0."""
    values = data.target.values
    if data.target.class_names is not None:
        return values.astype(np.int32), (0.0, 1.0)
    weights = None if data.target.weights is None else data.target.weights[rows.train]
    mean, sd = learner.loss.scale_of(values[rows.train], weights)
    target = np.zeros(len(values), np.float32)
    own = np.concatenate([rows.train, rows.valid])
    target[own] = (values[own] - mean) / sd
    return target, (mean, sd)


def _member_bytes(program: Program, n_parameters: int, data: Data, order_size: int) -> int:
    # Initial and current parameters, gradients, two optimizer buffers, best ones.
    copies = 6 if program.keep_best else 5
    return 4 * (copies * n_parameters + order_size + 2 * data.table.n_rows)


def _working_bytes(program: Program, data: Data, rows: MemberRows) -> int:
    """Device memory that a member takes only while it runs: rows after the stages, activations of a batch.

    An upper bound for dense layers: each parameter's outputs are kept, and once more as gradients while training.
    """
    columns = len(program.network_spec.columns)
    copied = data.table.n_rows if program.materialises else 0
    copied += 0 if program.shuffle else rows.n_train or 0
    predicted = min(program.batch_size_predict, max(rows.n_valid or 0, rows.n_test or 0))
    in_flight = max(2 * program.batch_size, predicted) * (columns + _output_widths(program))
    return 4 * (copied * columns + in_flight)


@lru_cache(maxsize=64)
def _output_widths(program: Program) -> int:
    """Numbers that the program's parameters give per row, all together."""
    leaves = jax.tree.leaves(initial_values(program).draw(RandomKey((0,)))[0])
    return sum(leaf.size // leaf.shape[-2] if leaf.ndim > 1 else leaf.size for leaf in leaves if leaf.size)


def _bytes(table: Table) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(table))


def _outcome_maker(
    learner: "NeuralLearner",
    task: Task,
    program: Program,
    schedule: "Schedule",
    spec: TableSpec,
    fitted_type: Any,
) -> Callable[[Job, RunOutcome], Outcome]:
    def make(job: Job, run: RunOutcome) -> Outcome:
        fitted = fitted_type.of(learner, task, program, schedule, run, spec)
        status, message = run.status.name.lower(), ""
        trouble = _trouble(job, run)
        if trouble:
            where = "" if job.iteration is None else f", iteration {job.iteration}"
            status, message = "diverged", f"learner '{learner.id}'{where}: {trouble}"
        prediction = None
        if job.test is not None and status != "diverged":
            prediction = fitted.prediction_of(run.outputs, job.test, task)
        return Outcome(
            fitted=fitted,
            prediction=prediction,
            status=status,
            message=message,
            compile_seconds=run.compile_seconds,
            train_seconds=run.run_seconds,
        )

    return make


def _trouble(job: Job, run: RunOutcome) -> str:
    """What is NaN or infinite of a run, with a hint; an empty text if nothing is."""
    hint = "\nHint: a smaller learning rate (opt.lr), or jdl.po('scale') before the learner."
    if run.status == Status.DIVERGED:
        return f"the loss is NaN or infinite from epoch {run.epochs} on.{hint}"
    if not _finite(run):
        return f"weights are NaN or infinite after epoch {run.epochs}, although the loss was not.{hint}"
    broken = np.flatnonzero(~np.isfinite(run.outputs).all(axis=1))
    if job.test is None or not len(broken):
        return ""
    return (
        f"the outputs for {len(broken)} of {len(job.test)} test rows are NaN or infinite, the first for row "
        f"{job.test[broken[0]]}, although the loss was not.\nHint: look for numbers far outside of the range of "
        "the training rows, which jdl.po('quantilenormal') before the learner bounds."
    )


def _finite(run: RunOutcome) -> bool:
    leaves = [*jax.tree.leaves(run.params), *jax.tree.leaves(run.rest)]
    return all(np.isfinite(leaf).all() for leaf in leaves)
