"""Losses: functions from outputs and targets to one number per row."""

import abc
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Shaped

from jdl.core.catalogue import Catalogue
from jdl.core.errors import ConfigError, ConfigTypeError
from jdl.core.fields import Field, check_values


@dataclass(frozen=True)
class Loss(abc.ABC):
    """What training minimises: the weighted mean of `per_row` over a batch."""

    id: ClassVar[str]
    task_types: ClassVar[tuple[str, ...]]

    @abc.abstractmethod
    def per_row(self, output: Float[Array, "row output"], target: Shaped[Array, "row"]) -> Float[Array, "row"]:
        """Loss of each row."""

    def n_outputs(self, n_classes: int) -> int:
        """How many outputs the network needs; `n_classes` is 0 in regression."""
        del n_classes
        return 1

    @property
    def evaluation(self) -> "Loss":
        """The loss of validation rows: without what only regularises training."""
        return self


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Negative log probability of the true class, in nats; two classes are told apart by one logit.

    Args:
      label_smoothing: Share of the true class that is spread over all classes while training, in [0, 1).
      one_logit: Whether two classes have one logit instead of two.

    Raises:
      ConfigError: A value out of range.

    >>> loss = CrossEntropy().per_row(jnp.zeros((1, 3)), jnp.array([2]))
    >>> round(float(loss[0]), 4)
    1.0986
    """

    id: ClassVar[str] = "cross_entropy"
    task_types: ClassVar[tuple[str, ...]] = ("classif",)

    label_smoothing: float = 0.0
    one_logit: bool = True

    def __post_init__(self) -> None:
        fields = {"label_smoothing": _SMOOTHING, "one_logit": Field("bool", True)}
        for name, value in check_values(f"loss '{self.id}'", fields, vars(self)).items():
            object.__setattr__(self, name, value)

    def per_row(self, output: Float[Array, "row output"], target: Int[Array, "row"]) -> Float[Array, "row"]:
        """Cross-entropy of logits and class codes."""
        smoothing = self.label_smoothing
        if output.shape[-1] == 1:
            truth = target.astype(output.dtype) * (1.0 - smoothing) + smoothing / 2
            return optax.sigmoid_binary_cross_entropy(output[:, 0], truth)
        loss = optax.softmax_cross_entropy_with_integer_labels(output, target)
        if smoothing == 0:
            return loss
        return (1.0 - smoothing) * loss - smoothing * jax.nn.log_softmax(output).mean(axis=-1)

    def n_outputs(self, n_classes: int) -> int:
        """One logit for two classes (unless told otherwise), else one per class."""
        return 1 if n_classes == 2 and self.one_logit else n_classes

    @property
    def evaluation(self) -> "Loss":
        """Without smoothing."""
        return replace(self, label_smoothing=0.0) if self.label_smoothing else self


_SMOOTHING = Field("float", 0.0, low=0.0, high=0.999)


@dataclass(frozen=True)
class MeanSquaredError(Loss):
    """Squared difference of output and target, in units of the standardised target.

    >>> float(MeanSquaredError().per_row(jnp.array([[3.0]]), jnp.array([1.0]))[0])
    4.0
    """

    id: ClassVar[str] = "mse"
    task_types: ClassVar[tuple[str, ...]] = ("regr",)

    def per_row(self, output: Float[Array, "row output"], target: Float[Array, "row"]) -> Float[Array, "row"]:
        """Squared error."""
        return jnp.square(output[:, 0] - target)


LOSSES = Catalogue("loss", {"cross_entropy": CrossEntropy, "mse": MeanSquaredError})


def as_loss(loss: "Loss | str", task_type: str, owner: str) -> Loss:
    """The loss of that name or the loss itself, checked against the task type.

    Raises:
      ConfigError: A loss of another task type.
      ConfigTypeError: Neither a loss nor a name.
    """
    made = LOSSES.make(loss) if isinstance(loss, str) else loss
    if not isinstance(made, Loss):
        raise ConfigTypeError(f"{owner}: 'loss' must be a loss or its name, got {loss!r}.")
    if task_type not in made.task_types:
        fitting = [name for name, entry in LOSSES.items() if task_type in getattr(entry, "task_types", ())]
        raise ConfigError(
            f"{owner}: loss '{made.id}' is for {' and '.join(made.task_types)} tasks, the learner is for "
            f"{task_type} tasks.\nHint: take {' or '.join(repr(name) for name in fitting)}."
        )
    return made


def mean_loss(
    loss: Loss, output: Float[Array, "row ..."], target: Shaped[Array, "row"], weights: Float[Array, "row"]
) -> Float[Array, ""]:
    """Mean loss of the rows with weight; what the others hold reaches neither it nor its gradient.

    Outputs (row, member, output) are those of an ensemble: a row's loss is the mean of its members'.

    >>> float(mean_loss(MeanSquaredError(), jnp.array([[3.0], [jnp.nan]]), jnp.ones(2), jnp.array([1.0, 0.0])))
    4.0
    """
    real = weights > 0
    # Masking the losses would not do: a gradient of 0 times the slope of a loss at nan or inf is nan.
    output = jnp.where(real.reshape(-1, *[1] * (output.ndim - 1)), output, 0.0)
    target = jnp.where(real, target, jnp.zeros((), target.dtype))
    if output.ndim == 3:
        # Members of an ensemble are trained each for itself: the loss of their mean would let them lean on another.
        losses = jax.vmap(loss.per_row, in_axes=(1, None), out_axes=1)(output, target).mean(axis=1)
    else:
        losses = loss.per_row(output, target)
    return weighted_mean(losses, weights)


def weighted_mean(values: Float[Array, "row"], weights: Float[Array, "row"]) -> Float[Array, ""]:
    """Mean over the rows with weight, whatever the others hold; 0 if no row has any."""
    total = jnp.sum(jnp.where(weights > 0, values * weights, 0.0))
    return total / jnp.maximum(jnp.sum(weights), 1e-12)


def padded_mean(values: Float[Array, "row"], weights: Float[Array, "row"]) -> Float[Array, ""]:
    """`weighted_mean` to the last bit whatever number of padded rows follows the others.

    How a plain sum associates depends on its length, and a rounding error in a score may choose another epoch.

    >>> values, weights = jnp.array([0.1, 0.2, 0.7, jnp.nan]), jnp.array([1.0, 1.0, 1.0, 0.0])
    >>> bool(padded_mean(values, weights) == padded_mean(values[:3], weights[:3]))
    True
    """
    sums = jnp.where(weights > 0, values * weights, 0.0)
    while sums.shape[0] > 1:
        sums = jnp.pad(sums, (0, sums.shape[0] % 2))
        sums = sums[0::2] + sums[1::2]
    return jnp.sum(sums) / jnp.maximum(jnp.sum(weights), 1e-12)


def probabilities(output: Any) -> Any:
    """Class probabilities of logits (one logit: of two classes); host arrays are computed in float64.

    >>> probabilities(np.zeros((1, 1))).tolist()
    [[0.5, 0.5]]
    """
    if isinstance(output, jax.Array):
        return _probabilities(jnp, output)
    with np.errstate(over="ignore"):
        return _probabilities(np, np.asarray(output, np.float64))


def mean_logits(output: Float[Array, "row member output"]) -> Float[Array, "row output"]:
    """Logits of the mean over members of their probabilities.

    >>> [round(v, 4) for v in mean_logits(jnp.array([[[-1.0], [1.0]]]))[0].tolist()]
    [0.0]
    """
    n = output.shape[1]
    if output.shape[-1] == 1:
        yes = jax.nn.logsumexp(jax.nn.log_sigmoid(output), axis=1)
        return yes - jax.nn.logsumexp(jax.nn.log_sigmoid(-output), axis=1)
    return jax.nn.logsumexp(jax.nn.log_softmax(output), axis=1) - jnp.log(n)


def _probabilities(xp: Any, output: Any) -> Any:
    if output.shape[-1] == 1:
        positive = 1.0 / (1.0 + xp.exp(-output))
        negative = 1.0 / (1.0 + xp.exp(output))
        return xp.concatenate([negative, positive], axis=-1)
    shifted = xp.exp(output - output.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)
