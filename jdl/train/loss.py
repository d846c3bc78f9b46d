"""Losses: functions from outputs and targets to one number per row, by name, and the means over rows."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from jdl.core.catalogue import Catalogue
from jdl.core.errors import ConfigError, ConfigTypeError, shown
from jdl.train.losses.base import Loss as Loss
from jdl.train.losses.classif import CrossEntropy as CrossEntropy
from jdl.train.losses.classif import Focal as Focal
from jdl.train.losses.classif import Hinge as Hinge
from jdl.train.losses.classif import MultiLabel as MultiLabel
from jdl.train.losses.own import FunctionLoss as FunctionLoss
from jdl.train.losses.regr import Huber as Huber
from jdl.train.losses.regr import LogCosh as LogCosh
from jdl.train.losses.regr import MeanAbsoluteError as MeanAbsoluteError
from jdl.train.losses.regr import MeanSquaredError as MeanSquaredError
from jdl.train.losses.regr import Poisson as Poisson
from jdl.train.losses.spread import GaussianNLL as GaussianNLL
from jdl.train.losses.spread import Quantile as Quantile

_CLASSES: tuple[type[Loss], ...] = (
    CrossEntropy, Focal, Hinge, MultiLabel, MeanSquaredError, MeanAbsoluteError, Huber, LogCosh, Poisson, GaussianNLL,
    Quantile,
)  # fmt: skip
LOSSES = Catalogue("loss", {loss.id: loss for loss in _CLASSES})


def as_loss(loss: Any, task_type: str, owner: str) -> Loss:
    """The loss of that name, the loss itself or the one that a function is, checked against the task type.

    Raises:
      ConfigError: A loss of another task type.
      ConfigTypeError: No loss, name or function.
    """
    made = loss
    if isinstance(loss, str):
        made = LOSSES.make(loss)
    elif callable(loss) and not isinstance(loss, type):
        made = FunctionLoss(loss)
    if not isinstance(made, Loss):
        raise ConfigTypeError(
            f"{owner}: 'loss' must be a loss, its name or a function (output, target) -> loss of each row, got "
            f"{shown(loss)}."
        )
    if isinstance(made, FunctionLoss):
        made = made.for_task_type(task_type)
    if task_type not in made.task_types:
        fitting = [name for name, entry in LOSSES.items() if task_type in getattr(entry, "task_types", ())]
        raise ConfigError(
            f"{owner}: loss '{made.id}' is for {' and '.join(made.task_types)} tasks, the learner is for "
            f"{task_type} tasks.\nHint: take {' or '.join(repr(name) for name in fitting)}."
        )
    return made


def row_weights(loss: Loss, target: Shaped[Array, "row ..."], weights: Float[Array, "row"]) -> Float[Array, "row"]:
    """The rows' weights times those that the loss gives their classes.

    >>> loss = CrossEntropy(class_weight=(1.0, 3.0))
    >>> row_weights(loss, jnp.array([0, 1, 1]), jnp.array([1.0, 1.0, 0.0])).tolist()
    [1.0, 3.0, 0.0]
    """
    factors = loss.row_factors(target)
    return weights if factors is None else jnp.where(weights > 0, weights * factors, 0.0)


def mean_loss(
    loss: Loss, output: Float[Array, "row ..."], target: Shaped[Array, "row"], weights: Float[Array, "row"]
) -> Float[Array, ""]:
    """Mean loss of the rows with weight; what the others hold reaches neither it nor its gradient.

    Outputs (row, member, output) are those of an ensemble: a row's loss is the mean of its members'.

    >>> float(mean_loss(MeanSquaredError(), jnp.array([[3.0], [jnp.nan]]), jnp.ones(2), jnp.array([1.0, 0.0])))
    4.0
    """
    # Masking the losses would not do: a gradient of 0 times the slope of a loss at nan or inf is nan.
    weights = row_weights(loss, _masked(target, weights), weights)
    output, target = _masked(output, weights), _masked(target, weights)
    if output.ndim == 3:
        # Members of an ensemble are trained each for itself: the loss of their mean would let them lean on another.
        losses = jax.vmap(loss.per_row, in_axes=(1, None), out_axes=1)(output, target).mean(axis=1)
    else:
        losses = loss.per_row(output, target)
    return weighted_mean(losses, weights)


def _masked(values: Shaped[Array, "row ..."], weights: Float[Array, "row"]) -> Shaped[Array, "row ..."]:
    """The values, 0 in rows without weight."""
    return jnp.where((weights > 0).reshape(-1, *[1] * (values.ndim - 1)), values, jnp.zeros((), values.dtype))


def weighted_mean(values: Float[Array, "row"], weights: Float[Array, "row"]) -> Float[Array, ""]:
    """Mean over the rows with weight, whatever the others hold; 0 if no row has any."""
    total = jnp.sum(jnp.where(weights > 0, values * weights, 0.0))
    return total / jnp.maximum(jnp.sum(weights), 1e-12)


def padded_loss(
    loss: Loss,
    output: Float[Array, "row output"],
    target: Shaped[Array, "row ..."],
    weights: Float[Array, "row"],
    *,
    weighted: bool = False,
) -> Float[Array, ""]:
    """Mean loss of the rows with weight, to the last bit whatever number of padded rows follows the others.

    With `weighted` the weights are not all 0 or 1, and the mean is NaN where no row has any.
    """
    mean = padded_weighted_mean if weighted else padded_mean
    return mean(loss.per_row(output, target), row_weights(loss, _masked(target, weights), weights))


def padded_mean(values: Float[Array, "row"], weights: Float[Array, "row"]) -> Float[Array, ""]:
    """`weighted_mean` to the last bit whatever number of padded rows follows the others.

    How a plain sum associates depends on its length, and a rounding error in a score may choose another epoch.

    >>> values, weights = jnp.array([0.1, 0.2, 0.7, jnp.nan]), jnp.array([1.0, 1.0, 1.0, 0.0])
    >>> bool(padded_mean(values, weights) == padded_mean(values[:3], weights[:3]))
    True
    """
    return _padded_sum(jnp.where(weights > 0, values * weights, 0.0)) / jnp.maximum(jnp.sum(weights), 1e-12)


def padded_weighted_mean(values: Float[Array, "row"], weights: Float[Array, "row"]) -> Float[Array, ""]:
    """`padded_mean` for weights that are not all 0 or 1; NaN if no row has any.

    >>> float(padded_weighted_mean(jnp.array([1.0, 4.0]), jnp.array([0.5, 0.25])))
    2.0
    >>> float(padded_weighted_mean(jnp.array([1.0]), jnp.array([0.0])))
    nan
    """
    total = _padded_sum(weights)
    return jnp.where(total > 0, _padded_sum(jnp.where(weights > 0, values * weights, 0.0)) / total, jnp.nan)


def _padded_sum(sums: Float[Array, "row"]) -> Float[Array, ""]:
    while sums.shape[0] > 1:
        sums = jnp.pad(sums, (0, sums.shape[0] % 2))
        sums = sums[0::2] + sums[1::2]
    return jnp.sum(sums)


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
