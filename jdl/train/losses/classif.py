"""Losses of classification: cross-entropy, focal loss, hinge loss. Two classes are told apart by one logit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Shaped

from jdl.core.errors import ConfigError, ConfigTypeError, shown
from jdl.core.fields import Field
from jdl.train.losses.base import Loss, class_factors, softplus

BALANCED = "balanced"
IGNORED = -100


def _checked_class_weight(value: Any) -> Any:
    """None, "balanced", a tuple of numbers in the order of the classes, or pairs of class and number."""
    if value is None or (isinstance(value, str) and value == BALANCED):
        return value
    pairs = isinstance(value, Mapping)
    if pairs or (isinstance(value, tuple) and value and isinstance(value[0], tuple)):
        labels, numbers = list(dict(value)), list(dict(value).values())
    else:
        labels, numbers = None, value
    try:
        weights = tuple(float(w) for w in numbers)
    except (TypeError, ValueError):
        weights = ()
    if isinstance(value, str) or not weights or not np.isfinite(weights).all() or min(weights) < 0 or not any(weights):
        raise ConfigTypeError(
            f"loss: 'class_weight' must be None, 'balanced', a number from 0 for each class, or a dict from class to "
            f"number, got {shown(value)}."
        )
    return weights if labels is None else tuple(zip(labels, weights, strict=True))


CLASS_WEIGHT = Field(
    "any",
    None,
    dynamic=True,
    optional=True,
    convert=_checked_class_weight,
    doc="Weight of each class in order, or by class in a dict; 'balanced' weighs them by the inverse of their share "
    "of the training rows, each counted by its weight.",
)


@dataclass(frozen=True)
class ClassLoss(Loss):
    """What losses of class codes have in common."""

    task_types: ClassVar[tuple[str, ...]] = ("classif",)
    optional: ClassVar[tuple[str, ...]] = ("class_weight", "label_smoothing")

    class_weight: Any = None

    def mark(self, name: str) -> Any:
        """Numbers and "balanced" class weights are one program."""
        return BALANCED if name == "class_weight" else super().mark(name)

    def row_factors(self, target: Int[Array, "row"]) -> Float[Array, "row"] | None:
        """The weights of the rows' classes."""
        return class_factors(self.class_weight, target, None, self.id)

    def n_outputs(self, n_classes: int) -> int:
        """One logit for two classes, else one per class."""
        return 1 if n_classes == 2 else n_classes

    def for_classes(self, class_names: tuple[Any, ...]) -> Self:
        """The loss with class weights in the order of the classes.

        Raises:
          ConfigError: Weights for other classes.
        """
        weights = self.class_weight
        if weights is None or weights == BALANCED:
            return self
        if isinstance(weights[0], tuple):
            by_name = dict(weights)
            if set(by_name) != set(class_names):
                raise ConfigError(
                    f"loss '{self.id}': 'class_weight' has the classes {', '.join(map(repr, by_name))}, but the task "
                    f"has {', '.join(map(repr, class_names))}.\nHint: a number for each of them, or 'balanced'."
                )
            weights = tuple(by_name[name] for name in class_names)
        if len(weights) != len(class_names):
            raise ConfigError(
                f"loss '{self.id}': 'class_weight' has {len(weights)} numbers, but the task has "
                f"{len(class_names)} classes: {', '.join(map(repr, class_names))}.\nHint: a number for each of them."
            )
        return self._replaced({"class_weight": weights})

    def from_rows(
        self, target: Shaped[np.ndarray, "row"], n_outputs: int, weights: Float[np.ndarray, "row"] | None = None
    ) -> dict[str, np.ndarray]:
        """Balanced class weights: n / (classes * rows of the class); 0 for a class without rows."""
        if self.class_weight != BALANCED:
            return {}
        weights = np.ones(len(target)) if weights is None else np.asarray(weights, np.float64)
        known = (target >= 0) & (target != getattr(self, "ignore_index", IGNORED))
        counts = np.bincount(target[known], weights[known], minlength=max(n_outputs, 2))
        weights = np.where(counts > 0, counts.sum() / (len(counts) * np.where(counts > 0, counts, 1.0)), 0.0)
        return {"class_weight": weights.astype(np.float32)}


@dataclass(frozen=True)
class CrossEntropy(ClassLoss):
    """Negative log probability of the true class, in nats; two classes are told apart by one logit.

    With class weights the mean is a weighted one, as PyTorch's. PyTorch spreads smoothed labels before it weighs
    them, here a row counts by its own class.

    Args:
      class_weight: None, a weight per class in order, a dict from class to weight, or "balanced".
      label_smoothing: Share of the true class that is spread over all classes while training, in [0, 1).
      ignore_index: Class code of rows that do not count.
      one_logit: Whether two classes have one logit instead of two.

    Raises:
      ConfigError: A value out of range.

    >>> loss = CrossEntropy().per_row(jnp.zeros((1, 3)), jnp.array([2]))
    >>> round(float(loss[0]), 4)
    1.0986
    """

    id: ClassVar[str] = "cross_entropy"
    fields: ClassVar[dict[str, Field]] = {
        "class_weight": CLASS_WEIGHT,
        "label_smoothing": Field(
            "float",
            0.0,
            low=0.0,
            high=0.999,
            dynamic=True,
            doc="Share of the true class that is spread over all classes while training.",
        ),
        "ignore_index": Field("int", IGNORED, doc="Class code of rows that do not count."),
        "one_logit": Field("bool", True, doc="Whether two classes have one logit instead of two."),
    }

    label_smoothing: float = 0.0
    ignore_index: int = IGNORED
    one_logit: bool = True

    def per_row(self, output: Float[Array, "row output"], target: Int[Array, "row"]) -> Float[Array, "row"]:
        """Cross-entropy of logits and class codes."""
        smoothing = self.label_smoothing
        if output.shape[-1] == 1:
            truth = target.astype(output.dtype) * (1.0 - smoothing) + smoothing / 2
            return optax.sigmoid_binary_cross_entropy(output[:, 0], truth)
        loss = optax.softmax_cross_entropy_with_integer_labels(output, target)
        if isinstance(smoothing, float) and smoothing == 0:
            return loss
        return (1.0 - smoothing) * loss - smoothing * jax.nn.log_softmax(output).mean(axis=-1)

    def row_factors(self, target: Int[Array, "row"]) -> Float[Array, "row"] | None:
        """The weights of the rows' classes; 0 for the class to be ignored."""
        # Class codes of a task are never below 0: what cannot be there is not looked for.
        ignored = self.ignore_index if self.ignore_index != IGNORED else None
        return class_factors(self.class_weight, target, ignored, self.id)

    def n_outputs(self, n_classes: int) -> int:
        """One logit for two classes (unless told otherwise), else one per class."""
        return 1 if n_classes == 2 and self.one_logit else n_classes

    @property
    def evaluation(self) -> Loss:
        """Without smoothing."""
        return self._replaced({"label_smoothing": 0.0})


@dataclass(frozen=True)
class Focal(ClassLoss):
    """Cross-entropy times (1 - p)^gamma, where p is the probability of the true class: well-known rows count less.

    Args:
      class_weight: None, a weight per class in order, a dict from class to weight, or "balanced".
      gamma: Power; 0 is cross-entropy.

    References: Lin et al., Focal Loss for Dense Object Detection, 2017.

    >>> round(float(Focal(gamma=2.0).per_row(jnp.zeros((1, 1)), jnp.array([1]))[0]), 4)
    0.1733
    """

    id: ClassVar[str] = "focal"
    fields: ClassVar[dict[str, Field]] = {
        "class_weight": CLASS_WEIGHT,
        "gamma": Field("float", 2.0, low=0.0, dynamic=True, doc="Power; 0 is cross-entropy."),
    }

    gamma: float = 2.0

    def per_row(self, output: Float[Array, "row output"], target: Int[Array, "row"]) -> Float[Array, "row"]:
        """Focal loss of logits and class codes."""
        if output.shape[-1] == 1:
            signed = jnp.where(target == 1, output[:, 0], -output[:, 0])
            log_true, log_other = -jax.nn.softplus(-signed), -jax.nn.softplus(signed)
        else:
            logs = jax.nn.log_softmax(output)
            true = jax.nn.one_hot(target, output.shape[-1], dtype=bool)
            log_true = jnp.sum(jnp.where(true, logs, 0.0), axis=-1)
            log_other = jax.nn.logsumexp(jnp.where(true, -jnp.inf, logs), axis=-1)
        # As an exponential of logs: the slope of a power at 0 is none.
        return -jnp.exp(self.gamma * log_other) * log_true


@dataclass(frozen=True)
class Hinge(ClassLoss):
    """Margin by which the true class is not ahead: max(0, 1 - margin).

    Of two classes the margin is the one output, signed; of more it is the true class's output minus the largest other
    one. Probabilities of such outputs are not calibrated.

    Args:
      class_weight: None, a weight per class in order, a dict from class to weight, or "balanced".
      margin: By how much the true class is to be ahead.

    References: Crammer & Singer, On the Algorithmic Implementation of Multiclass Kernel-based Vector Machines, 2001.

    >>> float(Hinge().per_row(jnp.array([[0.25]]), jnp.array([1]))[0])
    0.75
    """

    id: ClassVar[str] = "hinge"
    fields: ClassVar[dict[str, Field]] = {
        "class_weight": CLASS_WEIGHT,
        "margin": Field("float", 1.0, low=0.0, dynamic=True, doc="By how much the true class is to be ahead."),
    }

    margin: float = 1.0

    def per_row(self, output: Float[Array, "row output"], target: Int[Array, "row"]) -> Float[Array, "row"]:
        """Hinge loss of outputs and class codes."""
        if output.shape[-1] == 1:
            ahead = jnp.where(target == 1, output[:, 0], -output[:, 0])
        else:
            true = jax.nn.one_hot(target, output.shape[-1], dtype=bool)
            ahead = jnp.sum(jnp.where(true, output, 0.0), axis=-1)
            ahead = ahead - jnp.max(jnp.where(true, -jnp.inf, output), axis=-1)
        return jnp.maximum(self.margin - ahead, 0.0)


@dataclass(frozen=True)
class MultiLabel(Loss):
    """Binary cross-entropy of several labels at once, each true or not: the mean over labels.

    For targets (row, label) of `jdl.train.draw`; the tasks of jdl have one label per row.

    Args:
      n_labels: Number of labels.

    >>> loss = MultiLabel(n_labels=2).per_row(jnp.zeros((1, 2)), jnp.array([[1.0, 0.0]]))
    >>> round(float(loss[0]), 4)
    0.6931
    """

    id: ClassVar[str] = "multilabel"
    task_types: ClassVar[tuple[str, ...]] = ("multilabel",)
    fields: ClassVar[dict[str, Field]] = {"n_labels": Field("int", 2, low=1, doc="Number of labels.")}

    n_labels: int = 2

    def per_row(self, output: Float[Array, "row label"], target: Shaped[Array, "row label"]) -> Float[Array, "row"]:
        """Mean binary cross-entropy of logits and targets of 0 and 1."""
        return (softplus(jnp, output) - target.astype(output.dtype) * output).mean(axis=-1)

    def n_outputs(self, n_classes: int) -> int:
        """One logit per label."""
        del n_classes
        return self.n_labels

    def check_target(self, target: np.ndarray, owner: str) -> None:
        """Refuses targets of another number of labels, and what is neither 0 nor 1."""
        if target.ndim != 2 or target.shape[1] != self.n_labels or not np.isin(target, (0, 1)).all():
            raise ConfigError(
                f"{owner}: loss 'multilabel' with n_labels={self.n_labels} needs targets (row, label) of 0 and 1, got "
                f"{shown(target)}."
            )
