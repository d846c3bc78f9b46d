"""Nodes that turn a network graph into a learner: loss, optimizer, callbacks, and the model at its end."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from jdl.core.errors import ConfigError, TaskError
from jdl.core.fields import Field, check_values, with_defaults
from jdl.core.graph import checked_id
from jdl.learners.neural import COMMON
from jdl.networks.operator import NetworkOperator
from jdl.train.callback import InScanCallback
from jdl.train.callbacks.catalogue import as_callbacks
from jdl.train.loss import LOSSES, FunctionLoss, Loss, as_loss
from jdl.train.optimizer import Optimizer, as_optimizer

# What nodes of their own hold.
_APART = ("loss", "optimizer", "callbacks")
MODEL_FIELDS = {name: field for name, field in COMMON.items() if name not in _APART}


@dataclass(frozen=True, repr=False)
class ModelPart(NetworkOperator):
    """A node behind the network's last layer.

    Args:
      role: "loss", "optimizer", "callbacks", "model_classif" or "model_regr".
      values: Pairs of name and value of its hyperparameters.
      id: As given; None takes the role.
    """

    role: str
    values: tuple[tuple[str, Any], ...]
    id: str | None = None

    @property
    def default_id(self) -> str:
        """Its role."""
        return self.role

    @property
    def n_outputs(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """None at the end of the graph."""
        return 0 if self.role in MODELS else 1

    @property
    def fields(self) -> Mapping[str, Field]:
        """Its hyperparameters; those of the optimizer itself too."""
        if self.role in MODELS:
            return MODEL_FIELDS
        if self.role == "optimizer":
            return {"optimizer": COMMON["optimizer"]} | self._optimizer.fields
        if self.role == "loss":
            return {"loss": COMMON["loss"]} | self._loss.fields
        of_callbacks = {name: f for c in self._in_scan() for name, f in _prefixed(c, c.fields).items()}
        return {self.role: COMMON[self.role]} | of_callbacks

    def params(self) -> dict[str, Any]:
        """Their values."""
        own = dict(self.values)
        for callback in self._in_scan():
            own |= _prefixed(callback, {name: getattr(callback, name) for name in callback.fields})
        if self.role == "loss":
            return own | {name: getattr(self._loss, name) for name in self._loss.fields}
        if self.role == "optimizer":
            return own | {name: self._optimizer.get(name) for name in self._optimizer.fields}
        return own

    def check_task(self, task: Any) -> None:
        """Refuses a task of another type than that of the model node, or of the loss.

        Raises:
          TaskTypeError: Says which.
        """
        wanted = (MODELS[self.role],) if self.role in MODELS else self._loss.task_types if self.role == "loss" else ()
        if wanted and task.task_type not in wanted:
            raise TaskError(
                f"node '{self.node_id}' is for {' or '.join(wanted)} tasks, but task '{task.id}' is of type "
                f"{task.task_type}."
            )

    def n_outputs_for(self, task: Any) -> int | None:
        """How many outputs of the network the loss needs; None of other nodes."""
        return self._loss.n_outputs(len(getattr(task, "class_names", ()))) if self.role == "loss" else None

    def _in_scan(self) -> list[InScanCallback]:
        given = dict(self.values)["callbacks"] if self.role == "callbacks" else ()
        return [callback for callback in given if isinstance(callback, InScanCallback)]

    @property
    def _optimizer(self) -> Optimizer:
        return dict(self.values)["optimizer"]

    @property
    def _loss(self) -> Loss:
        return dict(self.values)["loss"]

    def set(self, **values: Any) -> "ModelPart":
        """The same node with other hyperparameters."""
        owner = f"node '{self.node_id}'"
        checked = check_values(owner, self.fields, values)
        if self.role == "optimizer":
            optimizer = as_optimizer(checked.pop("optimizer", self._optimizer), owner)
            return replace(self, values=(("optimizer", optimizer.set(**checked)),))
        if self.role == "loss":
            loss = _as_any_loss(checked.pop("loss", self._loss), owner)
            return replace(self, values=(("loss", loss.set(**checked) if checked else loss),))
        if self.role == "callbacks":
            given = as_callbacks(checked.pop("callbacks", dict(self.values)["callbacks"]), owner)
            return replace(self, values=(("callbacks", tuple(_with_own(callback, checked) for callback in given)),))
        return replace(self, values=tuple({**dict(self.values), **checked}.items()))

    def __repr__(self) -> str:
        fields = self.fields
        shown = [f"{n}={v!r}" for n, v in self.values if n not in fields or v is not fields[n].default]
        return f"<{self.node_id}>" + (" " + ", ".join(shown) if shown else "")


def _prefixed(callback: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{callback.id}.{name}": value for name, value in values.items()}


def _with_own(callback: Any, given: dict[str, Any]) -> Any:
    """The callback with those of the values "<id>.<name>" that are its own."""
    prefix = f"{callback.id}."
    own = {name.removeprefix(prefix): value for name, value in given.items() if name.startswith(prefix)}
    return callback.set(**own) if own else callback


MODELS = {"model_classif": "classif", "model_regr": "regr"}


def _part(role: str, values: Mapping[str, Any], id: str | None) -> ModelPart:
    return ModelPart(role, tuple(values.items()), None if id is None else checked_id(f"node '{role}'", id))


def _as_any_loss(given: Any, owner: str) -> Loss:
    """A loss of any task type, which the node at the end of the graph knows; a function as a loss."""
    if isinstance(given, Loss):
        return given
    if isinstance(given, str):
        return LOSSES.make(given)
    return as_loss(given, "regr", owner) if not callable(given) else FunctionLoss(given)


def loss(loss: Any = None, *, id: str | None = None) -> ModelPart:
    """What the network minimises: a loss, its name or a function."""
    if loss is None:
        raise ConfigError("node 'loss': 'loss' is required, got none.\nHint: jdl.po('loss', loss='cross_entropy').")
    return _part("loss", {"loss": _as_any_loss(loss, "node 'loss'")}, id)


def optimizer(optimizer: Any = "adam", *, id: str | None = None, **hyperparameters: Any) -> ModelPart:
    """How it is minimised: an optimizer or its name, and hyperparameters of it."""
    from jdl.train.optimizer import OPTIMIZERS

    if isinstance(optimizer, str):
        made = OPTIMIZERS.make(optimizer, **hyperparameters)
    else:
        made = as_optimizer(optimizer, "node 'optimizer'").set(**hyperparameters)
    return _part("optimizer", {"optimizer": made}, id)


def callbacks(callbacks: Any, *, id: str | None = None) -> ModelPart:
    """Callbacks of the training run, or their names: one or several."""
    return _part("callbacks", {"callbacks": as_callbacks(callbacks, "node 'callbacks'")}, id)


def model_classif(*, id: str | None = None, **hyperparameters: Any) -> ModelPart:
    """The end of a graph that classifies: epochs, batch size and all else that learners have in common."""
    return _part("model_classif", with_defaults("node 'model_classif'", MODEL_FIELDS, hyperparameters), id)


def model_regr(*, id: str | None = None, **hyperparameters: Any) -> ModelPart:
    """The end of a graph that predicts numbers: epochs, batch size and all else that learners have in common."""
    return _part("model_regr", with_defaults("node 'model_regr'", MODEL_FIELDS, hyperparameters), id)


PARTS = {f.__name__: f for f in (loss, optimizer, callbacks, model_classif, model_regr)}
