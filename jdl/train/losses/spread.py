"""Losses of regression that predict a distribution: its mean and standard error, or several quantiles."""

import itertools
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jdl.core.arrays import namespace
from jdl.core.errors import ConfigError
from jdl.core.fields import Field
from jdl.train.losses.base import softplus, softplus_inverse
from jdl.train.losses.regr import ValueLoss


@dataclass(frozen=True)
class GaussianNLL(ValueLoss):
    """Negative log likelihood of a normal distribution whose mean and variance the network predicts.

    Less log(2 pi) / 2, which depends on nothing. The predict type "se" gives its standard deviation in units of the
    target.

    Args:
      eps: Least variance, in units of the standardised target.

    References: Nix & Weigend, Estimating the mean and variance of the target probability distribution, 1994.

    >>> loss = GaussianNLL(eps=0.0).per_row(jnp.array([[0.0, 0.5413]]), jnp.array([1.0]))  # softplus(0.5413) is 1
    >>> round(float(loss[0]), 3)
    0.5
    """

    id: ClassVar[str] = "gaussian_nll"
    direct: ClassVar[bool] = False
    predict_type: ClassVar[str] = "se"
    fields: ClassVar[dict[str, Field]] = {
        "eps": Field("float", 1e-6, low=0.0, dynamic=True, doc="Least variance, in units of the standardised target."),
    }

    eps: float = 1e-6

    def per_row(self, output: Float[Array, "row output"], target: Float[Array, "row"]) -> Float[Array, "row"]:
        """(log variance + squared error / variance) / 2."""
        variance = self._variance(output)
        return 0.5 * (jnp.log(variance) + jnp.square(output[:, 0] - target) / variance)

    def _variance(self, output: Any) -> Any:
        return softplus(namespace(output), output[..., 1]) + self.eps

    def n_outputs(self, n_classes: int) -> int:
        """Mean and variance."""
        del n_classes
        return 2

    def extras(self, output: Float[np.ndarray, "row output"], mean: float, sd: float) -> dict[str, Any]:
        """Standard errors."""
        return {"se": np.sqrt(self._variance(np.asarray(output, np.float64))) * sd}

    def combined(self, output: Float[Array, "row member output"]) -> Float[Array, "row output"]:
        """Mean and variance of the mixture of the members' distributions."""
        means = output[..., 0]
        variance = (self._variance(output) + jnp.square(means - means.mean(axis=1, keepdims=True))).mean(axis=1)
        excess = jnp.maximum(variance - self.eps, 1e-12)
        return jnp.stack([means.mean(axis=1), softplus_inverse(excess)], axis=-1)


def _checked_levels(value: Any) -> Any:
    if not value or min(value) <= 0 or max(value) >= 1 or any(b <= a for a, b in itertools.pairwise(value)):
        raise ConfigError(
            f"loss 'quantile': 'quantiles' must be numbers between 0 and 1 that go up, got {value}.\n"
            "Hint: quantiles=(0.1, 0.5, 0.9)."
        )
    return value


@dataclass(frozen=True)
class Quantile(ValueLoss):
    """Pinball loss, the mean over several quantiles at once, which never cross.

    The middle one is an output, the others are steps away from it that are above 0. The response is the quantile
    nearest the median; the predict type "quantiles" gives all of them, in units of the target.

    Args:
      quantiles: Between 0 and 1, from the lowest to the highest.

    Raises:
      ConfigError: Quantiles that do not go up.

    References: Koenker & Bassett, Regression Quantiles, 1978.

    >>> Quantile(quantiles=(0.1, 0.5, 0.9)).per_row(jnp.array([[0.0, 2.0, 0.0]]), jnp.array([2.0])).shape
    (1,)
    """

    id: ClassVar[str] = "quantile"
    direct: ClassVar[bool] = False
    predict_type: ClassVar[str] = "quantiles"
    fields: ClassVar[dict[str, Field]] = {
        "quantiles": Field(
            "floats",
            (0.1, 0.5, 0.9),
            low=0.0,
            high=1.0,
            dynamic=True,
            convert=_checked_levels,
            doc="Between 0 and 1, from the lowest to the highest; how many there are is a part of the program.",
        ),
    }

    quantiles: Any = (0.1, 0.5, 0.9)

    def per_row(self, output: Float[Array, "row output"], target: Float[Array, "row"]) -> Float[Array, "row"]:
        """Mean pinball loss of all quantiles."""
        levels = jnp.asarray(self.quantiles, output.dtype)[None]
        error = target[:, None] - self.values(output)
        return jnp.maximum(levels * error, (levels - 1.0) * error).mean(axis=-1)

    def values(self, output: Any) -> Any:
        """The quantiles of each row, from the lowest to the highest, in NumPy or JAX, in scaled units."""
        xp = namespace(output)
        middle = output.shape[-1] // 2
        center = output[..., middle : middle + 1]
        steps = softplus(xp, output)
        below = xp.flip(xp.cumsum(xp.flip(steps[..., :middle], axis=-1), axis=-1), axis=-1)
        above = xp.cumsum(steps[..., middle + 1 :], axis=-1)
        return xp.concatenate([center - below, center, center + above], axis=-1)

    def n_outputs(self, n_classes: int) -> int:
        """One per quantile."""
        del n_classes
        return len(self.quantiles)

    def response(self, output: Any) -> Any:
        """The quantile nearest the median."""
        xp = namespace(output)
        nearest = xp.argmin(xp.abs(xp.asarray(self.quantiles) - 0.5))
        return xp.take(self.values(output), nearest, axis=-1)

    def extras(self, output: Float[np.ndarray, "row output"], mean: float, sd: float) -> dict[str, Any]:
        """All quantiles, and which they are."""
        values = self.values(np.asarray(output, np.float64)) * sd + mean
        return {"quantiles": values, "levels": tuple(round(float(level), 6) for level in self.quantiles)}

    def combined(self, output: Float[Array, "row member output"]) -> Float[Array, "row output"]:
        """The means of the members' quantiles."""
        values = self.values(output).mean(axis=1)
        middle = values.shape[-1] // 2
        steps = softplus_inverse(jnp.maximum(jnp.diff(values, axis=-1), 1e-12))
        return jnp.concatenate([steps[:, :middle], values[:, middle : middle + 1], steps[:, middle:]], axis=-1)
