"""Learners that are fitted on the host, one job after another: baselines and adapters."""

import abc
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from jdl.core.errors import ConfigError, JdlError
from jdl.core.random import RandomKey
from jdl.data.prediction import Prediction, PredictionClassif, PredictionRegr
from jdl.data.table import Table, TableSpec
from jdl.data.task import Task
from jdl.learners.checks import check_used_rows, chooses_by_missing, missing_among
from jdl.learners.learner import FittedLearner, Job, Learner, Outcome, RunOptions
from jdl.learners.new_rows import Known, NewRows
from jdl.learners.target import Target
from jdl.learners.weights import with_weight
from jdl.pipeline.compose import apply_chain, fit_chain, out_specs


class HostLearner(Learner):
    """A learner with `fit` and `outputs` in NumPy.

    Stages before it are fitted on the job's training rows, in NumPy.
    """

    # Whether `fit` heeds the weights of the target.
    takes_weights: ClassVar[bool] = False

    @abc.abstractmethod
    def fit(self, spec: TableSpec, table: Table, target: Target, key: RandomKey) -> Any:
        """A fitted model from transformed rows and their targets (and weights, if `takes_weights`)."""

    @abc.abstractmethod
    def outputs(self, model: Any, spec: TableSpec, table: Table, class_names: tuple[Any, ...]) -> np.ndarray:
        """Probabilities (row, class) of all classes, or values (row,) where there are no classes."""

    def run(self, task: Task, jobs: Sequence[Job], options: RunOptions) -> tuple[list[Outcome], str]:
        """Trains and predicts the jobs one after another; one that fails does not stop the others."""
        self.check_task(task)
        if task.weights is not None and not self.takes_weights:
            raise ConfigError(
                f"learner '{self.id}': {self._fitter()} takes no weights of rows, but task '{task.id}' has them in "
                f"column '{task.weights}'.\nHint: take another learner, or make the task without weights=."
            )
        jobs = with_weight(task, jobs, f"learner '{self.id}'")
        # What other rows hold must not decide which columns a selector of missing values chooses.
        each = [[job] for job in jobs] if chooses_by_missing(self.stages, task.spec) else [jobs]
        for some in each:
            rows = np.concatenate([job.rows for job in some]) if some else None
            fitted = task.spec.with_missing(missing_among(task.spec, task.table, rows))
            check_used_rows(self, task.spec, task.table, some, task.n_rows, fitted=fitted)
        outcomes = []
        for i, job in enumerate(jobs):
            outcomes.append(self._run_one(task, job))
            options.report(i + 1, len(jobs))
        return outcomes, f"{len(jobs)} run{'s' if len(jobs) > 1 else ''} on the host, one after another"

    def _fitter(self) -> str:
        """What is fitted, in messages."""
        return type(self).__name__

    def _run_one(self, task: Task, job: Job) -> Outcome:
        where = "" if job.iteration is None else f", iteration {job.iteration}"
        start = time.perf_counter()
        try:
            fitted = FittedHost.of(self, task, job)
            trained = time.perf_counter()
            prediction = None if job.test is None else fitted.predict(task, rows=job.test)
        except Exception as error:
            message = f"learner '{self.id}'{where} failed: {type(error).__name__}: {error}"
            seconds = time.perf_counter() - start
            return Outcome(None, None, "failed", message, train_seconds=seconds, error=error)
        return Outcome(
            fitted,
            prediction,
            train_seconds=trained - start,
            predict_seconds=time.perf_counter() - trained,
        )


@dataclass(frozen=True, repr=False, eq=False)
class FittedHost(FittedLearner):
    """A fitted host learner: its model, and the states of the stages before it."""

    learner: HostLearner
    model: Any
    spec: TableSpec
    stage_states: Any
    known: Known

    @classmethod
    def of(cls, learner: HostLearner, task: Task, job: Job) -> "FittedHost":
        """The learner fitted on a job's training rows."""
        target = Target.of(task)
        spec = task.spec.with_missing(missing_among(task.spec, task.table, job.rows))
        table = task.table.take(job.rows)
        weights = np.ones(len(job.rows), np.float32)
        states = fit_chain(learner.stages, spec, table, weights, job.key.fold("stages"))
        table = apply_chain(learner.stages, spec, states, table, None, True)
        after = out_specs(learner.stages, spec)[-1]
        model = learner.fit(after, table, target.take(job.rows), job.key.fold("model"))
        return cls(learner, model, spec, states, Known.of(task))

    @property
    def history(self) -> pd.DataFrame:
        """Empty: nothing is trained by epochs."""
        return pd.DataFrame({"epoch": np.zeros(0, int)})

    def to_numpy(self) -> dict[str, np.ndarray]:
        """The model, or those of scikit-learn's fitted attributes, such as `coef_`, that are arrays of numbers."""
        fitted = {n: v for n, v in getattr(self.model, "__dict__", {}).items() if n.endswith("_") and n[0] != "_"}
        arrays = {n: np.array(v) for n, v in (fitted or {"model": self.model}).items() if np.ndim(v) or np.isscalar(v)}
        return {name: array for name, array in arrays.items() if array.dtype.kind in "biufc"}

    def predict(self, data: Any, *, rows: Any = None) -> Prediction:
        """Predictions for a task, a data frame or a dict of arrays.

        Raises:
          ConfigError: A task of another type.
          TaskError: A column is absent, of another type, or holds what the learner does not take.
        """
        known = self.known
        new = NewRows.of(self.learner, known, self.spec, data, rows)
        try:
            outputs = self.outputs(new.table)
        except JdlError:
            raise
        except Exception as error:
            name = type(error).__name__
            raise JdlError(f"learner '{self.learner.id}' failed to predict: {name}: {error}") from error
        if known.class_names is None:
            return PredictionRegr(rows=new.positions, truth=new.truth, response=outputs, weights=new.weights)
        return PredictionClassif(
            rows=new.positions,
            truth=new.truth,
            response=np.asarray(known.class_names)[outputs.argmax(axis=1)],
            prob=outputs if self.learner.predict_type == "prob" else None,
            class_names=known.class_names,
            positive=known.positive,
            weights=new.weights,
        )

    def outputs(self, table: Table) -> np.ndarray:
        """Probabilities of all classes, or values, for raw rows."""
        class_names = self.known.class_names or ()
        if not table.n_rows:
            return np.zeros((0, len(class_names)) if class_names else 0)
        stages = self.learner.stages
        table = apply_chain(stages, self.spec, self.stage_states, table, None, False)
        return self.learner.outputs(self.model, out_specs(stages, self.spec)[-1], table, class_names)

    def __repr__(self) -> str:
        return f"fitted {self.learner!r}"
