"""Learners that are trained by gradient descent: what they share."""

import abc
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from jdl.core.errors import ConfigError, ConfigTypeError
from jdl.core.fields import Field
from jdl.data.table import ColumnType
from jdl.data.task import Task
from jdl.learners.fitted_neural import FittedNeural
from jdl.learners.learner import Job, Learner, Outcome, RunOptions
from jdl.learners.population import run_jobs
from jdl.learners.target import Target
from jdl.measures.catalogue import as_measures
from jdl.measures.measure import Measure
from jdl.networks.spec import NetworkSpec
from jdl.train.callback import HostCallback, InScanCallback
from jdl.train.loss import Loss, as_loss
from jdl.train.optimizer import OPTIMIZERS, Optimizer, as_optimizer

# Rows below which nothing is held back by default; benchmarks/defaults.py compares.
SMALL_TABLE = 500
VALIDATION_RATIO = 0.2
DEFAULT_LOSS = {"classif": "cross_entropy", "regr": "mse"}

COMMON: dict[str, Field] = {
    "epochs": Field(
        "int", None, low=0, optional=True, dynamic=True,
        doc="Passes over the training rows; None chooses them, with validation and patience, by the data's size.",
    ),
    "batch_size": Field(
        "int", None, low=1, optional=True, doc="Rows of a step; None chooses by the number of training rows."
    ),
    "batch_size_predict": Field(
        "int", 1024, low=1, tags=("train", "predict"), doc="Rows of a prediction or validation step."
    ),
    "shuffle": Field("bool", True, doc="Whether each epoch has an order of its own."),
    "drop_last": Field("bool", False, doc="Whether an incomplete last batch is left out."),
    "eval_freq": Field("int", 1, low=1, doc="Epochs between evaluations; the last is always evaluated."),
    "measures_train": Field("any", (), doc="Measures of the outputs seen during each epoch."),
    "measures_valid": Field("any", (), doc="Measures of the validation rows; the first one decides."),
    "validate": Field("any", None, doc="None, a ratio in (0, 1), 'test', or 'predefined'."),
    "patience": Field(
        "int",
        None,
        low=0,
        optional=True,
        dynamic=True,
        doc="Evaluations without improvement before stopping; 0 never stops; None is 0 unless epochs is None too.",
    ),
    "min_delta": Field("float", 0.0, low=0.0, dynamic=True, doc="Least improvement that counts."),
    "restore_best": Field(
        "bool", None, optional=True, doc="Whether the best epoch's weights are used; None: where there is validation."
    ),
    "loss": Field("any", None, doc="A loss or its name."),
    "optimizer": Field("any", "adam", doc="An optimizer or its name."),
    "callbacks": Field("any", (), doc="Callbacks, in-scan or host, in the order in which they are called."),
}  # fmt: skip


@dataclass(frozen=True)
class Schedule:
    """How long and how a run trains, after all that depends on the data's size is settled."""

    epochs: int
    batch_size: int
    validate: float | str | None
    patience: int
    restore_best: bool


class NeuralLearner(Learner):
    """A learner whose network is a `NetworkSpec` and whose runs are members of one program.

    Subclasses add fields and say which network they stand for.
    """

    predict_types: ClassVar[tuple[str, ...]] = ("response",)
    feature_types: ClassVar[tuple[ColumnType, ...]] = ("bool", "int", "float")
    takes_missing: ClassVar[bool] = False
    # Of equally good epochs the earlier one is the best, unless a recipe has it otherwise.
    later_ties: ClassVar[bool] = False
    recipe: ClassVar[Any] = "adam"  # the optimizer where none is given

    @property
    def copies(self) -> int:
        """Orders of its own that each epoch has per row: members of an ensemble that see batches of their own."""
        return 1

    @abc.abstractmethod
    def network(self) -> NetworkSpec:
        """The network's spec."""

    def dynamic(self) -> dict[str, Any]:
        """Dynamic hyperparameters of the network by name."""
        return {}

    # -- hyperparameters of the optimizer are the learner's own, under the prefix "opt."

    def _split_names(self, given: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        own, other = super()._split_names(given)
        of_optimizer = {n.removeprefix("opt."): other.pop(n) for n in list(other) if n.startswith("opt.")}
        if of_optimizer:
            settled = getattr(self, "values", {})
            current = own.get("optimizer", settled.get("optimizer")) or self.default_optimizer({**settled, **own})
            if isinstance(current, str):
                own["optimizer"] = OPTIMIZERS.make(current, **of_optimizer)
            else:
                own["optimizer"] = as_optimizer(current, f"learner '{self.name}'").set(**of_optimizer)
        return own, other

    def _all_fields(self) -> dict[str, tuple[Field, Any]]:
        of_optimizer = {f"opt.{n}": (f, self.optimizer.get(n)) for n, f in self.optimizer.fields.items()}
        return super()._all_fields() | of_optimizer

    def _shown(self) -> dict[str, Any]:
        shown = super()._shown()
        # The optimizer's hyperparameters are shown one by one, as "opt.lr".
        default = as_optimizer(self.default_optimizer(self.values), "")
        shown["optimizer"] = self.optimizer.name
        usual = {"optimizer": default.name, **{f"opt.{name}": value for name, value in default.values}}
        return {name: value for name, value in shown.items() if name not in usual or value != usual[name]}

    def _check(self) -> None:
        who = f"learner '{self.name}'"
        values = self.values
        if values["optimizer"] is not None:
            values["optimizer"] = as_optimizer(values["optimizer"], who)
        if values["loss"] is not None:
            values["loss"] = as_loss(values["loss"], self.task_type, who)
        for name in ("measures_train", "measures_valid"):
            values[name] = self._checked_measures(name)
        values["callbacks"] = _checked_callbacks(who, values["callbacks"])
        values["validate"] = _checked_validate(who, values["validate"])
        explicit = values["epochs"] is not None
        if values["measures_valid"] and explicit and values["validate"] is None:
            raise ConfigError(f"{who}: 'measures_valid' needs validation rows.\nHint: validate=0.2.")
        if values["patience"] and explicit and values["validate"] is None:
            raise ConfigError(f"{who}: 'patience' needs validation rows.\nHint: validate=0.2.")
        if values["restore_best"] and explicit and values["validate"] is None:
            raise ConfigError(f"{who}: 'restore_best' needs validation rows.\nHint: validate=0.2.")

    def _checked_measures(self, name: str) -> tuple[Measure, ...]:
        given = self.values[name]
        measures = tuple(as_measures(list(given) if isinstance(given, list | tuple) else [given]))
        for measure in measures:
            # Networks know probabilities while they train, whatever they predict in the end.
            if measure.task_type != self.task_type:
                raise ConfigError(
                    f"learner '{self.name}': measure '{measure.id}' in '{name}' is for {measure.task_type} tasks.\n"
                    f"Hint: take a measure whose name begins with '{self.task_type}.'."
                )
        return measures

    @property
    def loss(self) -> Loss:
        """What it minimises."""
        return self.values["loss"] or as_loss(self.default_loss(), self.task_type, f"learner '{self.name}'")

    @property
    def optimizer(self) -> Optimizer:
        """Its optimizer."""
        given = self.values["optimizer"] or self.default_optimizer(self.values)
        return as_optimizer(given, f"learner '{self.name}'")

    def default_optimizer(self, values: Mapping[str, Any]) -> Any:
        """The optimizer where none is given, for these values of the other hyperparameters."""
        del values
        return self.recipe

    def default_loss(self) -> Any:
        """What it minimises where no loss is given."""
        return DEFAULT_LOSS[self.task_type]

    def measures_valid(self) -> tuple[Measure, ...]:
        """Measures of the validation rows; the first one decides."""
        return self.values["measures_valid"]

    def in_scan_callbacks(self) -> tuple[InScanCallback, ...]:
        """Callbacks that are compiled into the program."""
        return tuple(c for c in self.values["callbacks"] if isinstance(c, InScanCallback))

    def host_callbacks(self) -> tuple[HostCallback, ...]:
        """Callbacks that run between chunks."""
        return tuple(c for c in self.values["callbacks"] if isinstance(c, HostCallback))

    # -- what depends on the data's size

    def schedule(self, n_rows: int) -> Schedule:
        """Epochs, batch size, validation and patience for that many training rows.

        What was given is kept; only where `epochs` was not given do validation, patience and best weights get
        defaults, together. Whatever needs validation rows then brings them with it.
        """
        values = self.values
        validate, patience, epochs = values["validate"], values["patience"], values["epochs"]
        batch_size = values["batch_size"] or self.default_batch_size(n_rows)
        if epochs is None:
            if validate is None and (patience or values["measures_valid"] or values["restore_best"]):
                validate = VALIDATION_RATIO
            epochs, validate, patience = self.default_epochs(n_rows, batch_size, validate, patience)
        restore = values["restore_best"]
        if restore is None:
            restore = validate is not None and validate != "test"
        return Schedule(epochs, batch_size, validate, patience or 0, bool(restore and validate is not None))

    def default_batch_size(self, n_rows: int) -> int:
        """Rows of a step where none are given."""
        return default_batch_size(n_rows)

    def default_epochs(self, n_rows: int, batch_size: int, validate: Any, patience: int | None) -> tuple[int, Any, int]:
        """Epochs, validation and patience where no epochs are given."""
        return default_epochs(n_rows, batch_size, validate, patience)

    def for_rows(self, n_rows: int) -> "NeuralLearner":
        """The learner with the sizes that it chooses by the number of training rows."""
        del n_rows
        return self

    # -- running

    def run(self, task: Task, jobs: Sequence[Job], options: RunOptions) -> tuple[list[Outcome], str]:
        """Trains and predicts all jobs as one population."""
        self.check_task(task)
        for measure in (*self.values["measures_train"], *self.values["measures_valid"]):
            measure.check(task.task_type, Target.of(task).n_classes)
        sized = self.for_rows(min(len(job.rows) for job in jobs))
        return run_jobs(sized, task, jobs, options, FittedNeural)


def default_batch_size(n_rows: int) -> int:
    """Rows of a step for that many training rows.

    References: Gorishniy et al., TabM, 2024 (the sizes of its public recipes).
    """
    for bound, size in ((2800, 32), (4500, 64), (6400, 128), (32000, 256), (108000, 512)):
        if n_rows < bound:
            return size
    return 1024


def default_epochs(n_rows: int, batch_size: int, validate: Any, patience: int | None) -> tuple[int, Any, int]:
    """Epochs, validation and patience for that many training rows, where none were given.

    A small table loses more by holding rows back than it gains by stopping in time: it trains on all of them, for
    1,000 steps within 40 to 100 epochs. A larger one holds a fifth back and stops after 16 evaluations
    without improvement, within 20,000 steps.
    """
    steps = -(-n_rows // batch_size)
    if n_rows < SMALL_TABLE and validate is None:
        return int(np.clip(1000 // steps, 40, 100)), None, 0
    epochs = int(np.clip(20_000 // steps, 50, 400))
    if patience is None:
        patience = 0 if validate == "test" else 16  # test rows record scores only, unless told otherwise
    return epochs, VALIDATION_RATIO if validate is None else validate, patience


def _checked_callbacks(who: str, callbacks: Any) -> tuple[Any, ...]:
    callbacks = tuple(callbacks) if isinstance(callbacks, list | tuple) else (callbacks,)
    for callback in callbacks:
        if not isinstance(callback, InScanCallback | HostCallback):
            raise ConfigTypeError(f"{who}: 'callbacks' must hold callbacks, got {callback!r}.")
    ids = [callback.id for callback in callbacks]
    if len(set(ids)) < len(ids):
        raise ConfigError(f"{who}: callbacks need ids of their own, got {', '.join(ids)}.")
    return callbacks


def _checked_validate(who: str, validate: Any) -> Any:
    if validate is None or (isinstance(validate, str) and validate in ("test", "predefined")):
        return validate
    if isinstance(validate, numbers.Real) and 0 < float(validate) < 1:
        return float(validate)
    raise ConfigError(f"{who}: 'validate' must be None, a ratio in (0, 1), 'test' or 'predefined', got {validate!r}.")
