"""Resampling: all iterations of a splitter as one population."""

import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax

from jdl.core.errors import CallbackError, ConfigError, JdlWarning
from jdl.core.once import each_warning_once
from jdl.core.random import RandomKey, as_key
from jdl.data.task import Task, as_task
from jdl.evaluate.results import ResampleResult
from jdl.learners.catalogue import as_learner
from jdl.learners.learner import Job, Learner, Outcome, RunOptions
from jdl.resampling.catalogue import as_resampling
from jdl.train.progress import progress_line


def resample(
    task: Task | str,
    learner: Learner | str,
    resampling: Any,
    *,
    key: "int | jax.Array | RandomKey" = 0,
    strategy: str = "auto",
    devices: Sequence[Any] | None = None,
    memory_budget: int | None = None,
    progress: bool | None = None,
) -> ResampleResult:
    """Trains and predicts once per iteration of the resampling, all of them in one program.

    Args:
      task: The data, or the name of a ready-made task.
      learner: A learner, a pipeline that ends in one, or a name.
      resampling: A splitter or its name.
      key: The splits depend on task, resampling and key only: learners resampled with one key meet equal folds.
      strategy: "auto" chooses; "vmap" runs iterations side by side, "map" one after another inside the program,
        both spread over the devices; "loop" makes a call for each, on one device.
      devices: All local devices by default (CPU cores too).
      memory_budget: Bytes that the runs in flight may take on a device; half of its memory by default.
      progress: Whether to show a progress bar; by default where the output is a terminal.

    Raises:
      JdlError: Of the task, learner or resampling, before anything is compiled; or the error of the runs, if all
        of them failed; its `result` holds their statuses and histories.
      CallbackError: A callback raised; its `result` holds all iterations as far as they had come.

    Example:
      ```python
      rr = jdl.resample(jdl.tsk("iris"), "classif.mlp", jdl.rsmp("cv", folds=3))
      rr.aggregate("classif.acc")
      ```
    """
    learner, data = as_learner(learner), as_task(task)
    learner.check_task(data)
    splits = as_resampling(resampling).split(data, key=key)
    root = as_key(key)
    jobs = [
        Job(rows=train, test=test, key=root.fold("iteration", i), iteration=i) for i, (train, test) in enumerate(splits)
    ]
    if not jobs:
        raise ConfigError(f"resample: {resampling!r} has no iteration on task '{data.id}'.")
    options = RunOptions(strategy=strategy, devices=devices, memory_budget=memory_budget)
    start = time.perf_counter()

    def result_of(outcomes: Sequence[Outcome], plan: str) -> ResampleResult:
        return ResampleResult(
            task=data,
            learner=learner,
            resampling=as_resampling(resampling),
            splits=splits,
            outcomes=tuple(outcomes),
            plan=plan,
            seconds=time.perf_counter() - start,
        )

    with progress_line(f"{data.id} · {learner.id}", progress) as report, each_warning_once():
        try:
            outcomes, plan = learner.run(data, jobs, replace(options, report=report))
        except CallbackError as error:
            begun = error.result or []
            missing = Outcome(None, None, "failed", f"learner '{learner.id}': not begun when a callback raised.")
            error.result = result_of([*begun, *[missing] * (len(jobs) - len(begun))], "ended by an error of a callback")
            raise
    failed = [i for i, outcome in enumerate(outcomes) if not outcome.ok]
    result = result_of(outcomes, plan)
    if len(failed) == len(outcomes):
        learner.raise_failure(outcomes[0], result)
    for i in failed:
        warnings.warn(f"resample: {outcomes[i].message}", JdlWarning, stacklevel=2)
    return result
