"""The contract of a learner: an immutable description that `train` turns into a `FittedLearner`."""

import abc
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, ClassVar, Self

import jax
import numpy as np
import pandas as pd

from jdl.core.errors import (
    CallbackError,
    ConfigError,
    ConfigTypeError,
    DivergedError,
    GraphError,
    JdlError,
    NotFittedError,
    TaskError,
    UnknownNameError,
    shown,
    suggest,
)
from jdl.core.fields import Field, with_defaults
from jdl.core.random import RandomKey, as_key
from jdl.data.prediction import Prediction
from jdl.data.rows import as_positions
from jdl.data.table import ColumnType
from jdl.data.task import Task, as_task
from jdl.learners.params import COLUMNS, Params
from jdl.pipeline.stage import Stage, StageChain
from jdl.train.plan import STRATEGIES
from jdl.train.progress import progress_line

RESERVED_IDS = ("opt", "loss", "cb")
ALL_TYPES: tuple[ColumnType, ...] = ("bool", "int", "float", "category", "ordered")


@dataclass(frozen=True)
class Job:
    """One training run that is asked for: rows to train on, rows to predict, a key.

    Args:
      rows: Training rows; a row may repeat.
      key: Everything random in the run comes from it.
      test: Rows to predict; None if there is no test set.
      iteration: Number in its resampling, from 0; None outside of one.
    """

    rows: np.ndarray
    key: RandomKey
    test: np.ndarray | None = None
    iteration: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of a job.

    Args:
      fitted: The fitted learner; None if fitting failed.
      prediction: For the job's test rows; None if there were none or the run failed.
      status: "complete", "stopped_early", "diverged" or "failed".
      message: What went wrong, in words.
      compile_seconds: Its share of the time that compiling took.
      train_seconds: Time of training (and, in one program, of predicting).
      predict_seconds: Time of predicting, where it is apart.
      error: What a learner on the host raised.
    """

    fitted: "FittedLearner | None"
    prediction: Prediction | None
    status: str = "complete"
    message: str = ""
    compile_seconds: float = 0.0
    train_seconds: float = 0.0
    predict_seconds: float = 0.0
    error: Exception | None = None

    @property
    def ok(self) -> bool:
        """Whether its numbers can be used."""
        return self.status in ("complete", "stopped_early")


_MEMORY_BUDGET = Field("int", None, low=1, optional=True, doc="Bytes that runs may take on one device.")


def _are_devices(devices: Sequence[Any]) -> bool:
    return len(devices) > 0 and all(isinstance(device, jax.Device) for device in devices)


@dataclass(frozen=True)
class RunOptions:
    """How jobs are run: strategy, memory, progress.

    Args:
      strategy: "auto", "vmap", "map" or "loop".
      devices: Devices to spread runs over; all local ones by default.
      memory_budget: Bytes that runs may take on one device.
      report: Called with epochs (or jobs) done and in all.

    Raises:
      UnknownNameError: No strategy has the name.
      ConfigTypeError: No devices, or no number of bytes.
    """

    strategy: str = "auto"
    devices: Sequence[Any] | None = None
    memory_budget: int | None = None
    report: Callable[[int, int], None] = field(default=lambda done, of: None)

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise UnknownNameError.of("strategy", self.strategy, STRATEGIES)
        devices = self.devices
        if devices is not None and (not isinstance(devices, Sequence) or not _are_devices(devices)):
            raise ConfigTypeError(f"devices: expected JAX devices, got {devices!r}.\nHint: jax.local_devices()[:2].")
        _MEMORY_BUDGET.check("resample", "memory_budget", self.memory_budget)


class _Sealing(abc.ABCMeta):
    """Closes learners to assignments once they are made."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return super().__call__(*args, **kwargs)._seal()


class Learner(metaclass=_Sealing):
    """Something that can be trained on a task. Immutable: `set` and `train` return new objects.

    Subclasses name their hyperparameters in `fields` and implement `run`.
    """

    name: ClassVar[str]
    task_type: ClassVar[str]
    fields: ClassVar[dict[str, Field]] = {}
    predict_types: ClassVar[tuple[str, ...]] = ("response",)
    feature_types: ClassVar[tuple[ColumnType, ...]] = ALL_TYPES
    takes_missing: ClassVar[bool] = True
    takes_missing_categories: ClassVar[bool] = False

    def __init__(self, *, id: str | None = None, predict_type: str | None = None, **hyperparameters: Any):
        self.predict_type = self._checked_predict_type(predict_type)
        self.stages: tuple[Stage, ...] = ()
        self._id = id
        who = f"learner '{self.name}'"
        own, other = self._split_names(hyperparameters)
        if other:
            self.values: dict[str, Any] = {name: entry.default for name, entry in self.fields.items()}
            raise UnknownNameError.of("hyperparameter", next(iter(other)), self._names(), owner=who)
        self.values = with_defaults(who, self.fields, own)
        self._check()

    def _seal(self) -> Self:
        self._sealed = True
        return self

    def __copy__(self) -> Self:
        """Itself: nothing of it ever changes."""
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        """Itself."""
        return self

    def _open_copy(self) -> Self:
        """A copy whose parts may be replaced, until it is sealed."""
        new = object.__new__(type(self))
        vars(new).update({**vars(self), "_sealed": False})
        return new

    def __setattr__(self, name: str, value: Any) -> None:
        # None while it is made. What makes copies replaces parts that there are, and they are no hyperparameters.
        sealed = self.__dict__.get("_sealed")
        part = name.startswith("_") or name in self.__dict__
        if sealed is None or (part and (not sealed or name.startswith("_"))):
            super().__setattr__(name, value)
            return
        names = self._names()
        own = [n for n in names if n == name or n.rpartition(".")[2] == name]
        hint = f"set({{{own[0]!r}: {shown(value)}}})" if own else suggest(name, names)
        raise ConfigError(
            f"learner '{self.id}': learners never change; '{name}' cannot be set.\n"
            + (f"Hint: learner.{hint} returns a new one." if own else f"It is no hyperparameter either. {hint}")
        )

    @property
    def id(self) -> str:
        """Its name in results: the ids of its stages and its own."""
        return self._id or ".".join([*(stage.stage_id for stage in self.stages), self.name])

    @property
    def all_stages(self) -> tuple[Stage, ...]:
        """The stages before it, and those that are part of it."""
        return self.stages

    # -- hyperparameters

    def get(self, name: str) -> Any:
        """The value of one hyperparameter.

        Raises:
          UnknownNameError: It has none of that name.
        """
        values = self._all_values()
        if name not in values:
            raise UnknownNameError.of("hyperparameter", name, values, owner=f"learner '{self.id}'")
        return values[name]

    def set(self, values: Mapping[str, Any] | None = None, **more: Any) -> "Learner":
        """The same learner with other hyperparameters; dotted names reach optimizer and stages.

        Raises:
          UnknownNameError: A hyperparameter that it does not have.
          ConfigError: A value out of range.
        """
        if not isinstance(values, Mapping | None):
            raise ConfigTypeError(
                f"learner '{self.id}': set takes a dict or named values, got {values!r}.\nHint: set(epochs=10)."
            )
        given = {**(values or {}), **more}
        new = self._open_copy()
        new._id = given.pop("id", self._id)
        new.predict_type = self._checked_predict_type(given.pop("predict_type", self.predict_type))
        own, other = self._split_names(given)
        new.stages, other = _set_stages(self.stages, other)
        if other:
            name = next(iter(other))
            raise UnknownNameError.of("hyperparameter", name, self._names(), owner=f"learner '{self.id}'")
        given_values = {k: v for k, v in self.values.items() if k in self.fields}
        new.values = with_defaults(f"learner '{self.id}'", self.fields, {**given_values, **own})
        new._check()
        return new._seal()

    def params(self) -> pd.DataFrame:
        """Every hyperparameter: type, range, default, value, tags, and whether it is dynamic."""
        rows = [
            {
                "name": name,
                "type": entry.kind,
                "range": ", ".join(entry.choices) if entry.choices else entry.range(),
                "default": entry.default,
                "value": value,
                "tags": ", ".join(entry.tags),
                "dynamic": entry.dynamic,
                "description": entry.doc,
            }
            for name, (entry, value) in self._all_fields().items()
        ]
        return Params(rows, columns=pd.Index(COLUMNS))

    def _all_fields(self) -> dict[str, tuple[Field, Any]]:
        own = {name: (entry, self.values[name]) for name, entry in self.fields.items()}
        return own | {
            f"{stage.stage_id}.{name}": (entry, stage.params()[name])
            for stage in self.stages
            for name, entry in type(stage).fields.items()
        }

    def _all_values(self) -> dict[str, Any]:
        return {name: value for name, (_, value) in self._all_fields().items()}

    def _names(self) -> list[str]:
        return [*self._all_fields(), "id", "predict_type"]

    def _split_names(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The hyperparameters that are the learner's own, and the others."""
        own = {name: value for name, value in given.items() if name in self.fields}
        return own, {name: value for name, value in given.items() if name not in self.fields}

    def _check(self) -> None:
        """Checks values against each other; subclasses refuse what does not go together."""

    def _checked_predict_type(self, predict_type: str | None) -> str:
        chosen = self.predict_types[0] if predict_type is None else predict_type
        if chosen not in self.predict_types:
            raise ConfigError(
                f"learner '{self.name}': 'predict_type' must be one of "
                f"{', '.join(map(repr, self.predict_types))}, got {predict_type!r}."
            )
        return chosen

    # -- composition

    def __rrshift__(self, stages: "Stage | StageChain") -> "Learner":
        """`stage >> learner`: the learner, on rows that the stage has transformed."""
        before = stages.stages if isinstance(stages, StageChain) else (stages,)
        if not all(isinstance(stage, Stage) for stage in before):
            raise GraphError(f"learner '{self.id}': expected a pipeline operator before '>>', got {stages!r}.")
        reserved = [stage.stage_id for stage in before if stage.stage_id in RESERVED_IDS]
        if reserved:
            raise GraphError(
                f"learner '{self.id}': the id '{reserved[0]}' is the prefix of other hyperparameters.\n"
                f"Hint: give the operator another id, such as id='{reserved[0]}_stage'."
            )
        new = self._open_copy()
        new.values = dict(self.values)
        new.stages = StageChain((*before, *self.stages)).stages
        return new._seal()

    def parts(self) -> dict[str, Any]:
        """Arguments of the constructor that make the same learner again, less id, predict type and stages."""
        return {name: value for name, value in self.values.items() if name in self.fields}

    def __rshift__(self, other: Any) -> Any:
        hint = f"put {shown(other)} before the learner."
        if isinstance(other, Learner):
            hint = "a pipeline has one learner; jdl.resample each to compare them."
        raise GraphError(f"learner '{self.id}' must come last, but '>>' follows it.\nHint: {hint}")

    # -- training

    def train(
        self,
        task: Task | str,
        *,
        rows: Any = None,
        key: "int | jax.Array | RandomKey" = 0,
        progress: bool | None = None,
    ) -> "FittedLearner":
        """A fitted learner; this one stays as it is.

        Args:
          task: Of the learner's type, or the name of one.
          rows: Positions, or a boolean mask, of the training rows; all by default.
          key: Equal keys give equal results.
          progress: Whether to show a progress bar; by default where the output is a terminal.

        Raises:
          TaskError: The task does not suit the learner.
          DivergedError: The loss became NaN or infinite; its `result` is the fitted learner, with its history.
          CallbackError: A callback raised; its `result` is the learner as it was after the last whole epoch, or None.
        """
        data = as_task(task)
        self.check_task(data)
        who = f"learner '{self.id}'"
        positions = np.arange(data.n_rows) if rows is None else as_positions(rows, data.n_rows, who=who)
        if not len(positions):
            raise TaskError(f"{who}: needs at least one row to train on, got none.\nHint: check 'rows'.")
        job = Job(rows=positions.astype(np.int32), key=as_key(key))
        with progress_line(f"{data.id} · {self.id}", progress) as report:
            try:
                outcome = self.run(data, [job], RunOptions(report=report))[0][0]
            except CallbackError as error:
                error.result = error.result[0].fitted if error.result else None
                raise
        if outcome.fitted is None or not outcome.ok:
            self.raise_failure(outcome, outcome.fitted)
        assert outcome.fitted is not None
        return outcome.fitted

    @abc.abstractmethod
    def run(self, task: Task, jobs: Sequence[Job], options: RunOptions) -> tuple[list[Outcome], str]:
        """Trains and predicts all jobs; says in words how they were run."""

    def check_task(self, task: Any) -> None:
        """Refuses a task that the learner cannot take, by name.

        Raises:
          ConfigTypeError: No task.
          ConfigError: A task of another type.
        """
        if not isinstance(task, Task):
            raise ConfigTypeError(
                f"learner '{self.id}': expected a task, got {type(task).__name__}.\n"
                f"Hint: jdl.TaskClassif(data, target=...) or jdl.TaskRegr(data, target=...)."
            )
        if task.task_type != self.task_type:
            raise ConfigError(
                f"learner '{self.id}' is for {self.task_type} tasks, but task '{task.id}' is a "
                f"{task.task_type} task.\nHint: take a learner whose name begins with '{task.task_type}.'."
            )

    def raise_failure(self, outcome: Outcome, result: Any) -> None:
        """Raises what a failed outcome stands for, with what there is in spite of it."""
        error = (DivergedError if outcome.status == "diverged" else JdlError)(outcome.message)
        error.result = result
        raise error from outcome.error

    def predict(self, *args: Any, **kwargs: Any) -> Prediction:
        """Refused: `train` returns the fitted learner, which predicts.

        Raises:
          NotFittedError: Always.
        """
        del args, kwargs
        raise NotFittedError(
            f"learner '{self.id}' is not fitted: train returns a fitted learner and leaves this one as it is.\n"
            "Hint: fitted = learner.train(task); fitted.predict(task)."
        )

    def __repr__(self) -> str:
        inside = "".join(f", {name}={shown(value)}" for name, value in self._shown().items())
        return f"<{self.id}> predict_type={self.predict_type!r}{inside}"

    def _shown(self) -> dict[str, Any]:
        """Hyperparameters that differ from their defaults."""
        return {n: v for n, (f, v) in self._all_fields().items() if not _same(v, f.default)}


class FittedLearner(abc.ABC):
    """A learner and what it has learned; predicts for tasks and for new data."""

    learner: Learner

    def __getstate__(self) -> dict[str, Any]:
        """For copies and other processes: less what is made again when it is asked for."""
        return {f.name: getattr(self, f.name) for f in fields(self)} if is_dataclass(self) else dict(vars(self))

    @property
    @abc.abstractmethod
    def history(self) -> pd.DataFrame:
        """One row per epoch; none where nothing is trained by epochs."""

    @abc.abstractmethod
    def predict(self, data: Any, *, rows: Any = None) -> Prediction:
        """Predictions for a task, a data frame or a dict of arrays.

        Args:
          data: Has the feature columns of the training task; other columns are ignored.
          rows: Positions to predict; all by default.

        Raises:
          TaskError: A column is absent or of another type.
        """

    @abc.abstractmethod
    def to_numpy(self) -> dict[str, np.ndarray]:
        """What was learned, as NumPy arrays by path."""

    def save(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Writes all that `jdl.load` needs to a folder, at once and as a whole. No pickle.

        Args:
          path: The folder; nothing may be there.
          overwrite: Whether a model that jdl has saved there is replaced.

        Raises:
          CheckpointError: Something is at `path`, or it cannot be written; what is there stays as it was.
          ConfigTypeError: The learner holds what has no importable name, such as a lambda.
        """
        from jdl.learners.saving import save

        save(self, path, overwrite)


def _set_stages(stages: tuple[Stage, ...], given: dict[str, Any]) -> tuple[tuple[Stage, ...], dict[str, Any]]:
    """The stages with the dotted values that are theirs, and the values that are nobody's."""
    rest = dict(given)
    new = []
    for stage in stages:
        prefix = f"{stage.stage_id}."
        own = {name.removeprefix(prefix): rest.pop(name) for name in list(rest) if name.startswith(prefix)}
        new.append(stage.set(**own) if own else stage)
    return tuple(new), rest


def _same(value: Any, default: Any) -> bool:
    try:
        return bool(value is default or value == default)
    except ValueError:
        return False
