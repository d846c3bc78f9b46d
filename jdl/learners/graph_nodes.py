"""Nodes that turn a network graph into a learner: loss, optimizer, callbacks, and the model at its end."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from jdl.core.errors import ConfigError
from jdl.core.fields import Field, check_values, with_defaults
from jdl.core.graph import checked_id
from jdl.learners.neural import COMMON
from jdl.networks.operator import NetworkOperator
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
        return {self.role: COMMON[self.role]}

    def params(self) -> dict[str, Any]:
        """Their values."""
        own = dict(self.values)
        return own | dict(self._optimizer.values) if self.role == "optimizer" else own

    @property
    def _optimizer(self) -> Optimizer:
        return dict(self.values)["optimizer"]

    def set(self, **values: Any) -> "ModelPart":
        """The same node with other hyperparameters."""
        owner = f"node '{self.node_id}'"
        checked = check_values(owner, self.fields, values)
        if self.role == "optimizer":
            optimizer = as_optimizer(checked.pop("optimizer", self._optimizer), owner)
            return replace(self, values=(("optimizer", optimizer.set(**checked)),))
        return replace(self, values=tuple({**dict(self.values), **checked}.items()))

    def __repr__(self) -> str:
        fields = self.fields
        shown = [f"{n}={v!r}" for n, v in self.values if n not in fields or v is not fields[n].default]
        return f"<{self.node_id}>" + (" " + ", ".join(shown) if shown else "")


MODELS = {"model_classif": "classif", "model_regr": "regr"}


def _part(role: str, values: Mapping[str, Any], id: str | None) -> ModelPart:
    return ModelPart(role, tuple(values.items()), None if id is None else checked_id(f"node '{role}'", id))


def loss(loss: Any = None, *, id: str | None = None) -> ModelPart:
    """What the network minimises: a loss or its name."""
    if loss is None:
        raise ConfigError("node 'loss': 'loss' is required, got none.\nHint: jdl.po('loss', loss='cross_entropy').")
    return _part("loss", {"loss": COMMON["loss"].check("node 'loss'", "loss", loss)}, id)


def optimizer(optimizer: Any = "adam", *, id: str | None = None, **hyperparameters: Any) -> ModelPart:
    """How it is minimised: an optimizer or its name, and hyperparameters of it."""
    from jdl.train.optimizer import OPTIMIZERS

    if isinstance(optimizer, str):
        made = OPTIMIZERS.make(optimizer, **hyperparameters)
    else:
        made = as_optimizer(optimizer, "node 'optimizer'").set(**hyperparameters)
    return _part("optimizer", {"optimizer": made}, id)


def callbacks(callbacks: Any, *, id: str | None = None) -> ModelPart:
    """Callbacks of the training run."""
    return _part("callbacks", {"callbacks": callbacks}, id)


def model_classif(*, id: str | None = None, **hyperparameters: Any) -> ModelPart:
    """The end of a graph that classifies: epochs, batch size and all else that learners have in common."""
    return _part("model_classif", with_defaults("node 'model_classif'", MODEL_FIELDS, hyperparameters), id)


def model_regr(*, id: str | None = None, **hyperparameters: Any) -> ModelPart:
    """The end of a graph that predicts numbers: epochs, batch size and all else that learners have in common."""
    return _part("model_regr", with_defaults("node 'model_regr'", MODEL_FIELDS, hyperparameters), id)


PARTS = {f.__name__: f for f in (loss, optimizer, callbacks, model_classif, model_regr)}
