"""Losses of regression that predict one value: squared, absolute, Huber, log-cosh, Poisson."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jdl.core.arrays import namespace
from jdl.core.errors import ConfigError
from jdl.core.fields import Field
from jdl.train.losses.base import Loss, softplus


@dataclass(frozen=True)
class ValueLoss(Loss):
    """What losses of one value have in common."""

    task_types: ClassVar[tuple[str, ...]] = ("regr",)


@dataclass(frozen=True)
class MeanSquaredError(ValueLoss):
    """Squared difference of output and target, in units of the standardised target.

    >>> float(MeanSquaredError().per_row(jnp.array([[3.0]]), jnp.array([1.0]))[0])
    4.0
    """

    id: ClassVar[str] = "mse"

    def per_row(self, output: Float[Array, "row output"], target: Float[Array, "row"]) -> Float[Array, "row"]:
        """Squared error."""
        return jnp.square(output[:, 0] - target)


@dataclass(frozen=True)
class MeanAbsoluteError(ValueLoss):
    """Absolute difference of output and target, in units of the standardised target: predicts the median.

    >>> float(MeanAbsoluteError().per_row(jnp.array([[3.0]]), jnp.array([1.0]))[0])
    2.0
    """

    id: ClassVar[str] = "l1"

    def per_row(self, output: Float[Array, "row output"], target: Float[Array, "row"]) -> Float[Array, "row"]:
        """Absolute error."""
        return jnp.abs(output[:, 0] - target)


@dataclass(frozen=True)
class Huber(ValueLoss):
    """Half the squared error up to `delta`, beyond it growing like the absolute error.

    Args:
      delta: Where it turns, in units of the standardised target.

    References: Huber, Robust Estimation of a Location Parameter, 1964.

    >>> Huber(delta=1.0).per_row(jnp.array([[0.5], [3.0]]), jnp.zeros(2)).tolist()
    [0.125, 2.5]
    """

    id: ClassVar[str] = "huber"
    fields: ClassVar[dict[str, Field]] = {
        "delta": Field("float", 1.0, low=0.0, open_low=True, dynamic=True, doc="Error from which on it is linear."),
    }

    delta: float = 1.0

    def per_row(self, output: Float[Array, "row output"], target: Float[Array, "row"]) -> Float[Array, "row"]:
        """Huber loss."""
        error = jnp.abs(output[:, 0] - target)
        near = jnp.minimum(error, self.delta)
        return 0.5 * jnp.square(near) + self.delta * (error - near)


@dataclass(frozen=True)
class LogCosh(ValueLoss):
    """Log of the hyperbolic cosine of the error: smooth, near the absolute error for large ones.

    >>> round(float(LogCosh().per_row(jnp.array([[1.0]]), jnp.zeros(1))[0]), 4)
    0.4338
    """

    id: ClassVar[str] = "log_cosh"

    def per_row(self, output: Float[Array, "row output"], target: Float[Array, "row"]) -> Float[Array, "row"]:
        """Log of the hyperbolic cosine of the error."""
        error = output[:, 0] - target
        # cosh(e) is 1 + 2 sinh(e/2)^2, which loses no digits near 0; the other form never overflows.
        near = jnp.log1p(2.0 * jnp.square(jnp.sinh(jnp.clip(error, -1.0, 1.0) / 2.0)))
        far = softplus(jnp, 2.0 * error) - error - jnp.log(2.0)
        return jnp.where(jnp.abs(error) < 1.0, near, far)


_STEEPEST = 20.0  # logs of a rate from which on the exponential goes on as a line, so that it stays finite


@dataclass(frozen=True)
class Poisson(ValueLoss):
    """Negative log likelihood of counts whose log rate is the output, less what does not depend on it.

    Targets are not standardised but divided by their mean m, so that the loss is that of counts over m, and the
    rate is m exp(output).

    Raises:
      ConfigError: A target below 0.

    >>> float(Poisson().per_row(jnp.zeros((1, 1)), jnp.array([3.0]))[0])
    1.0
    """

    id: ClassVar[str] = "poisson"
    direct: ClassVar[bool] = False

    def per_row(self, output: Float[Array, "row output"], target: Float[Array, "row"]) -> Float[Array, "row"]:
        """exp(output) - target output."""
        return self.response(output) - target * output[:, 0]

    def scale_of(
        self, target: Float[np.ndarray, "row"], weights: Float[np.ndarray, "row"] | None = None
    ) -> tuple[float, float]:
        """Nothing is subtracted; the mean."""
        mean = float(np.average(target, weights=weights))
        return 0.0, mean if mean > 0 else 1.0

    def response(self, output: Any) -> Any:
        """The rate."""
        xp = namespace(output)
        logs = output[:, 0]
        return xp.exp(xp.minimum(logs, _STEEPEST)) * (1.0 + xp.maximum(logs - _STEEPEST, 0.0))

    def combined(self, output: Float[Array, "row member output"]) -> Float[Array, "row output"]:
        """The log of the mean rate."""
        rates = jnp.exp(jnp.minimum(output, _STEEPEST))
        return jnp.log(rates.mean(axis=1))

    def check_target(self, target: np.ndarray, owner: str) -> None:
        """Refuses targets below 0."""
        if len(target) and target.min() < 0:
            raise ConfigError(
                f"{owner}: loss 'poisson' is for counts and rates, from 0 on, but the target goes down to "
                f"{target.min():g}.\nHint: loss='mse', or shift the target."
            )
