"""All ready-made callbacks by name."""

from collections.abc import Iterable
from typing import Any

from jdl.core.catalogue import Catalogue
from jdl.core.errors import ConfigError, ConfigTypeError, UnknownNameError
from jdl.train.callback import BETWEEN_CHUNKS, HostCallback, InScanCallback, by_weight
from jdl.train.callbacks.average import EMA, Polyak
from jdl.train.callbacks.checkpoint import Checkpoint
from jdl.train.callbacks.clip import GradClip
from jdl.train.callbacks.csv_log import CSVLog
from jdl.train.callbacks.history import History
from jdl.train.callbacks.loggers import MLflowLog, TensorBoard, WandbLog
from jdl.train.callbacks.run_schedules import CosLog4, FlatCos, OptaxSchedule, Warmup
from jdl.train.callbacks.schedule import Schedule
from jdl.train.callbacks.torch_schedules import (
    CosineAnnealing,
    CosineRestarts,
    Exponential,
    Lambda,
    Linear,
    Multiplicative,
    OneCycle,
    Polynomial,
    ReduceOnPlateau,
    Step,
)
from jdl.train.callbacks.unfreeze import Unfreeze
from jdl.train.hyper_names import Slot, slots_of
from jdl.train.optimizer import Optimizer
from jdl.train.progress import Progress

SCHEDULES: tuple[type[Schedule], ...] = (
    CosineAnnealing,
    Lambda,
    Multiplicative,
    OneCycle,
    ReduceOnPlateau,
    Step,
    Warmup,
    Linear,
    Polynomial,
    CosineRestarts,
    CosLog4,
    FlatCos,
    Exponential,
    OptaxSchedule,
)
CALLBACKS = Catalogue(
    "callback",
    {
        "history": History,
        "checkpoint": Checkpoint,
        "progress": Progress,
        "tensorboard": TensorBoard,
        "csv_log": CSVLog,
        "wandb_log": WandbLog,
        "mlflow_log": MLflowLog,
        "unfreeze": Unfreeze,
        "grad_clip": GradClip,
        "ema": EMA,
        "polyak": Polyak,
        **{schedule.name: schedule for schedule in SCHEDULES},
    },
)
# Hyperparameters without which networks and losses do without a term.
_LEFT_OUT = ("dropout", "p", "label_smoothing")


def as_callbacks(callbacks: Any, owner: str) -> tuple[Any, ...]:
    """Callbacks from callbacks or names, one or several.

    Raises:
      ConfigError: Two have the same id, or one that forces no chunks acts at a stage within chunks.
      ConfigTypeError: Something else than callbacks and names.
    """
    given = callbacks if isinstance(callbacks, list | tuple) else (callbacks,)
    made = tuple(CALLBACKS.make(callback) if isinstance(callback, str) else callback for callback in given)
    for callback in made:
        if not isinstance(callback, InScanCallback | HostCallback):
            raise ConfigTypeError(
                f"{owner}: 'callbacks' must hold callbacks or their names, got {callback!r}.\n"
                "Hint: jdl.cb('history'), jdl.callback(on_epoch_end=...); a class wants to be called."
            )
        if isinstance(callback, HostCallback):
            _check_reached(callback, owner)
    ids = [callback.id for callback in made]
    if len(set(ids)) < len(ids):
        raise ConfigError(f"{owner}: callbacks need ids of their own, got {', '.join(ids)}.")
    return made


def _check_reached(callback: HostCallback, owner: str) -> None:
    within = [stage for stage in callback.stages if stage not in BETWEEN_CHUNKS]
    if within and not callback.forces_chunks:
        raise ConfigError(
            f"{owner}: callback '{callback.id}' has forces_chunks=False and would never be called at "
            f"'{within[0]}', which lies within chunks.\nHint: forces_chunks=True, or 'on_epoch_end'."
        )


def in_order(
    callbacks: Iterable[InScanCallback],
    owner: str,
    *,
    hyper: Iterable[str] = (),
    validates: bool,
    optimizer: Optimizer | None = None,
) -> tuple[InScanCallback, ...]:
    """In-scan callbacks by weight, after a look at whether they go together and with the run.

    Args:
      callbacks: In the order given.
      owner: Who has them.
      hyper: Names of the run's dynamic hyperparameters.
      validates: Whether there are validation rows.
      optimizer: The optimizer, if its values are known.

    Raises:
      ConfigError: Two drive the same hyperparameter, two average weights, one freezes twice, one needs validation
        rows, or one drives a term that the optimizer does not have.
      UnknownNameError: One drives what there is not.
    """
    callbacks, names = by_weight(callbacks), {name: 0.0 for name in hyper}
    for needing in (c for c in callbacks if c.needs_validation and not validates):
        raise ConfigError(f"{owner}: callback '{needing.id}' needs validation rows.\nHint: validate=0.2.")
    for verb, method in (("average the weights", "weights"), ("freeze weights", "groups")):
        able = [c.id for c in callbacks if getattr(type(c), method) is not getattr(InScanCallback, method)]
        if len(able) > 1:
            raise ConfigError(f"{owner}: callbacks {' and '.join(map(repr, able))} both {verb}.\nHint: keep one.")
    if names:
        _check_driven(callbacks, owner, names, optimizer)
    return callbacks


def _check_driven(
    callbacks: Iterable[InScanCallback], owner: str, names: dict[str, float], optimizer: Optimizer | None
) -> None:
    driving: dict[Any, str] = {}
    for callback in callbacks:
        if not isinstance(callback, Schedule):
            continue
        driven = [callback.of]
        if isinstance(callback, OneCycle) and callback.cycle_momentum:
            driven.append("momentum")
        for of in driven:
            for slot in _slots(names, of, owner, callback):
                if slot in driving:
                    raise ConfigError(
                        f"{owner}: callbacks '{driving[slot]}' and '{callback.id}' both drive '{slot.name}'.\n"
                        "Hint: keep one; jdl.cb('lr_warmup', epochs=1, then=...) sets one behind the other."
                    )
                driving[slot] = callback.id
                if optimizer is not None:
                    _check_term(callback, owner, slot.name, optimizer)


def _slots(names: dict[str, float], of: str, owner: str, callback: Schedule) -> tuple[Slot, ...]:
    """What a schedule drives, with advice where it is not in the run."""
    try:
        return slots_of(names, of, f"{owner}, which callback '{callback.id}' wants to drive")
    except UnknownNameError as error:
        if of != callback.of:
            hint = "cycle_momentum=False, or an optimizer with momentum."
        elif of.rpartition(".")[2] in _LEFT_OUT:
            hint = f"a value of 0 is left out of the program; give '{of}' one above 0, and the schedule drives it."
        else:
            raise
        raise UnknownNameError(f"{error}\nHint: {hint}") from None


def _check_term(callback: InScanCallback, owner: str, name: str, optimizer: Optimizer) -> None:
    """Refuses to drive a term that the optimizer leaves out because its value is 0."""
    own = name.removeprefix("opt.")
    if own != name and own in optimizer.fields and not optimizer.has_term(own):
        raise ConfigError(
            f"{owner}: callback '{callback.id}' drives '{name}', but {optimizer.name} with {own}=0 has no such "
            f"term.\nHint: give the optimizer {own}=0.9, or any value above 0."
            + (" Or cycle_momentum=False." if isinstance(callback, OneCycle) else "")
        )
