"""Learners that are trained by gradient descent: what they share."""

import abc
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from jdl.core.errors import ConfigError
from jdl.core.fields import Field
from jdl.data.table import ColumnType
from jdl.data.task import Task
from jdl.learners.device import checked_device
from jdl.learners.fitted_neural import FittedNeural
from jdl.learners.learner import Job, Learner, Outcome, RunOptions
from jdl.learners.population import run_jobs
from jdl.learners.run_identity import checked_resume
from jdl.learners.target import Target
from jdl.learners.weights import with_weight
from jdl.measures.catalogue import as_measures
from jdl.measures.measure import Measure
from jdl.networks.spec import NetworkSpec
from jdl.train.callback import HostCallback, InScanCallback
from jdl.train.callbacks.catalogue import as_callbacks
from jdl.train.loss import Loss, as_loss
from jdl.train.losses.base import PREFIX
from jdl.train.optimizer import OPTIMIZERS, Optimizer, as_optimizer
from jdl.train.precision import PRECISIONS
from jdl.train.samplers import checked_sampler

# Rows below which nothing is held back by default; benchmarks/defaults.py compares.
SMALL_TABLE = 500
VALIDATION_RATIO = 0.2
DEFAULT_LOSS = {"classif": "cross_entropy", "regr": "mse"}
_LOSSES_OF = {"se": "gaussian_nll", "quantiles": "quantile"}  # by predict type

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
    "sampler": Field("any", None, doc="Which rows an epoch visits: a sampler, its name or a function."),
    "drop_last": Field("bool", False, doc="Whether an incomplete last batch is left out."),
    "eval_freq": Field("int", 1, low=1, doc="Epochs between evaluations; the last is always evaluated."),
    "measures_train": Field("any", (), doc="Measures of the outputs seen during each epoch."),
    "measures_valid": Field(
        "any", (), doc="Measures of the validation rows; the first one decides, or where there is none, their loss."
    ),
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
    "loss": Field("any", None, doc="A loss, its name, or a function (output, target) -> loss of each row."),
    "optimizer": Field("any", "adam", doc="An optimizer, its name, or an Optax transformation."),
    "precision": Field("str", "float32", choices=PRECISIONS, doc="'mixed' computes in bfloat16, 'bfloat16' keeps so."),
    "remat": Field("bool", False, doc="Whether blocks are computed again on the way back, to save memory."),
    "device": Field("any", None, doc="Where it trains: 'cpu', 'gpu', 'tpu' or a JAX device; None takes all."),
    "resume": Field("any", None, doc="True goes on from the checkpoints of the callback; or a path of some."),
    "callbacks": Field("any", (), doc="Callbacks or their names; they are called by weight, then in this order."),
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
        of_loss = {n.removeprefix(PREFIX): other.pop(n) for n in list(other) if n.startswith(PREFIX)}
        if of_loss:
            # The default loss may depend on values that are not settled yet.
            own["loss"] = _LossWith(own.get("loss", getattr(self, "values", {}).get("loss")), of_loss)
        self._split_callbacks(own, other)
        return own, other

    def _split_callbacks(self, own: dict[str, Any], other: dict[str, Any]) -> None:
        """Moves what is given for callbacks, as "cb.<id>.<name>", into them."""
        if not any(name.startswith("cb.") for name in other):
            return
        current = as_callbacks(own.get("callbacks", getattr(self, "values", {}).get("callbacks", ())), self.name)
        changed = []
        for callback in current:
            names = {f"cb.{callback.id}.{name}": name for name in getattr(callback, "fields", ())}
            given = {names[name]: other.pop(name) for name in list(other) if name in names}
            changed.append(callback.set(**given) if given else callback)
        own["callbacks"] = tuple(changed)

    def _all_fields(self) -> dict[str, tuple[Field, Any]]:
        loss = self.loss
        of_loss = {f"{PREFIX}{n}": (f, getattr(loss, n)) for n, f in loss.fields.items()}
        of_optimizer = {f"opt.{n}": (f, self.optimizer.get(n)) for n, f in self.optimizer.fields.items()}
        of_callbacks = {
            f"cb.{callback.id}.{name}": (entry, getattr(callback, name))
            for callback in self.values["callbacks"]
            if isinstance(callback, InScanCallback)
            for name, entry in callback.fields.items()
        }
        return super()._all_fields() | of_loss | of_optimizer | of_callbacks

    def _shown(self) -> dict[str, Any]:
        shown = super()._shown()
        # The optimizer's hyperparameters are shown one by one, as "opt.lr".
        default = as_optimizer(self.default_optimizer(self.values), "")
        shown["optimizer"] = self.optimizer.name
        usual = {"optimizer": default.name, **{f"opt.{name}": value for name, value in default.values}}
        shown = {name: value for name, value in shown.items() if not name.startswith(PREFIX)}
        return {name: value for name, value in shown.items() if name not in usual or value != usual[name]}

    def _check(self) -> None:
        who = f"learner '{self.name}'"
        values = self.values
        if values["optimizer"] is not None:
            values["optimizer"] = as_optimizer(values["optimizer"], who)
        self._check_loss(who)
        for name in ("measures_train", "measures_valid"):
            values[name] = self._checked_measures(name)
        values["device"] = checked_device(who, values["device"])
        values["sampler"] = checked_sampler(values["sampler"], who)
        if values["sampler"] is not None and not values["shuffle"]:
            raise ConfigError(f"{who}: with a 'sampler', 'shuffle' has no meaning.\nHint: sampler='sequential'.")
        values["callbacks"] = as_callbacks(values["callbacks"], who)
        values["resume"] = checked_resume(who, values["resume"], values["callbacks"])
        values["validate"] = _checked_validate(who, values["validate"])
        explicit = values["epochs"] is not None
        if values["measures_valid"] and explicit and values["validate"] is None:
            raise ConfigError(f"{who}: 'measures_valid' needs validation rows.\nHint: validate=0.2.")
        if values["patience"] and explicit and values["validate"] is None:
            raise ConfigError(f"{who}: 'patience' needs validation rows.\nHint: validate=0.2.")
        if values["restore_best"] and explicit and values["validate"] is None:
            raise ConfigError(f"{who}: 'restore_best' needs validation rows.\nHint: validate=0.2.")

    def _check_loss(self, who: str) -> None:
        given = self.values["loss"]
        if isinstance(given, _LossWith):
            usual = as_loss(self.default_loss(), self.task_type, who)
            made = (usual if given.loss is None else as_loss(given.loss, self.task_type, who)).set(**given.values)
            # A default whose own values were given stays the default, which other hyperparameters may decide.
            self.values["loss"] = given = None if given.loss is None and made == usual else made
        if given is not None:
            self.values["loss"] = given = as_loss(given, self.task_type, who)
        if self.predict_type in _LOSSES_OF and self.loss.predict_type != self.predict_type:
            raise ConfigError(
                f"{who}: predict_type={self.predict_type!r} needs a loss that predicts it, got '{self.loss.id}'.\n"
                f"Hint: loss={_LOSSES_OF[self.predict_type]!r}."
            )

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

    @property
    def shuffles(self) -> bool:
        """Whether each epoch has an order of its own."""
        sampler = self.values["sampler"]
        return self.values["shuffle"] if sampler is None else sampler.shuffles

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
        """Epochs, batch size, validation and patience for that many rows, of which some may validate.

        What was given is kept; only where `epochs` was not given do validation, patience and best weights get
        defaults, together. Whatever needs validation rows then brings them with it.
        """
        values = self.values
        validate, patience, epochs = self._validation(n_rows), values["patience"], values["epochs"]
        batch_size = values["batch_size"] or self.default_batch_size(_n_left(n_rows, validate))
        if epochs is None:
            epochs, validate, patience = self.default_epochs(n_rows, batch_size, validate, patience)
        restore = values["restore_best"]
        if restore is None:
            restore = validate is not None and validate != "test"
        return Schedule(epochs, batch_size, validate, patience or 0, bool(restore and validate is not None))

    def n_training(self, n_rows: int) -> int:
        """How many of that many rows train: all but the share that validates."""
        return _n_left(n_rows, self._validation(n_rows))

    def _validation(self, n_rows: int) -> Any:
        """Which rows validate: those given, or where no epochs are given either, those by the number of rows."""
        values = self.values
        validate, patience = values["validate"], values["patience"]
        if values["epochs"] is not None:
            return validate
        if validate is None and (patience or values["measures_valid"] or values["restore_best"]):
            return VALIDATION_RATIO
        return self.default_epochs(n_rows, 1, validate, patience)[1]

    def default_batch_size(self, n_rows: int) -> int:
        """Rows of a step where none are given, for that many that train."""
        return default_batch_size(n_rows)

    def default_epochs(self, n_rows: int, batch_size: int, validate: Any, patience: int | None) -> tuple[int, Any, int]:
        """Epochs, validation and patience where no epochs are given."""
        return default_epochs(n_rows, batch_size, validate, patience)

    def for_rows(self, n_rows: int) -> "NeuralLearner":
        """The learner with the sizes that it chooses by the number of rows, of which some may validate."""
        del n_rows
        return self

    # -- running

    def run(self, task: Task, jobs: Sequence[Job], options: RunOptions) -> tuple[list[Outcome], str]:
        """Trains and predicts all jobs as one population."""
        self.check_task(task)
        for measure in (*self.values["measures_train"], *self.values["measures_valid"]):
            measure.check(task.task_type, Target.of(task).n_classes)
        jobs = with_weight(task, jobs, f"learner '{self.id}'")
        sized = self.for_rows(min(len(job.rows) for job in jobs))
        return run_jobs(sized, task, jobs, options, FittedNeural)


@dataclass(frozen=True)
class _LossWith:
    """A loss (None: the learner's default) and values of it that were given by the learner's dotted names."""

    loss: Any
    values: dict[str, Any]


def _n_left(n_rows: int, validate: Any) -> int:
    """Rows that are left to train on; those of other validation rows than a share are not among them."""
    if not isinstance(validate, float):
        return n_rows
    return max(n_rows - max(round(validate * n_rows), 1), 1)


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


def _checked_validate(who: str, validate: Any) -> Any:
    if validate is None or (isinstance(validate, str) and validate in ("test", "predefined")):
        return validate
    if isinstance(validate, numbers.Real) and 0 < float(validate) < 1:
        return float(validate)
    raise ConfigError(f"{who}: 'validate' must be None, a ratio in (0, 1), 'test' or 'predefined', got {validate!r}.")
