"""Periodic embeddings: sines and cosines of learned frequencies, then a linear map."""

import math
from typing import Any

from flax import nnx
from jaxtyping import Float

from jdl.core.errors import ConfigError
from jdl.networks.check import positive
from jdl.networks.distributions import TruncatedNormal
from jdl.networks.embeddings.base import NLinear, NumericEmbeddings, check_sizes, like, per_feature
from jdl.networks.initial import UniformFanIn
from jdl.networks.torch_state import Slot, Slots, under


class Periodic(nnx.Module):
    """`cos(2 pi w x)` for all frequencies `w` of a feature, then the sines."""

    def __init__(self, n_features: int, n_frequencies: int, scale: float, *, rngs: Any):
        self.weight = nnx.Param(TruncatedNormal(scale)(rngs.params(), (n_features, n_frequencies)))

    def embed(self, xp: Any, x: Float[Any, "*batch feature"]) -> Float[Any, "*batch feature wave"]:
        """Cosines and sines."""
        x, weight = per_feature(x, xp.asarray(self.weight[...]))
        angle = (2 * math.pi) * weight * x
        return xp.concatenate([xp.cos(angle), xp.sin(angle)], axis=-1)


class PeriodicEmbeddings(NumericEmbeddings):
    """Sines and cosines of learned frequencies, a linear map, and ReLU ("PLR").

    Args:
      n_features: Number of features.
      d_embedding: Width of each embedding.
      n_frequencies: Frequencies per feature.
      frequency_init_scale: Standard deviation of the first frequencies. Worth tuning, between 0.01 and 1.
      activation: Whether ReLU follows; without it this is "PL".
      lite: Whether all features share one linear map; needs the activation.
      rngs: `nnx.Rngs`, or `HostRngs` to draw on the host.

    Raises:
      ConfigError: `lite` without activation, or a size or scale that is not positive.

    References: Gorishniy et al., On Embeddings for Numerical Features in Tabular Deep Learning, 2022.

    >>> import jax.numpy as jnp
    >>> PeriodicEmbeddings(3, lite=True, rngs=nnx.Rngs(0))(jnp.ones((5, 3))).shape
    (5, 3, 24)
    """

    def __init__(
        self,
        n_features: int,
        d_embedding: int = 24,
        *,
        n_frequencies: int = 48,
        frequency_init_scale: float = 0.01,
        activation: bool = True,
        lite: bool,
        rngs: Any,
    ):
        check_sizes("PeriodicEmbeddings", n_features, d_embedding)
        positive("PeriodicEmbeddings", n_frequencies=n_frequencies)
        if not frequency_init_scale > 0:
            raise ConfigError(
                f"PeriodicEmbeddings: frequency_init_scale must be positive, got {frequency_init_scale!r}."
            )
        if lite and not activation:
            raise ConfigError(
                "PeriodicEmbeddings: lite=True needs activation=True, got activation=False.\n"
                "Hint: two linear maps after each other, the second shared, would do no more than one."
            )
        self.activation = activation
        self.lite = lite
        self.periodic = Periodic(n_features, n_frequencies, frequency_init_scale, rngs=rngs)
        if lite:
            init = UniformFanIn(2 * n_frequencies)
            self.linear = nnx.Linear(2 * n_frequencies, d_embedding, kernel_init=init, bias_init=init, rngs=rngs)
        else:
            self.linear = NLinear(n_features, 2 * n_frequencies, d_embedding, rngs=rngs)

    @property
    def n_features(self) -> int:
        """Number of features it takes."""
        return self.periodic.weight.shape[0]

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Features and width."""
        weight = self.linear.kernel if isinstance(self.linear, nnx.Linear) else self.linear.weight
        return self.n_features, weight.shape[-1]

    def embed(self, xp: Any, x: Float[Any, "*batch feature"]) -> Float[Any, "*batch feature embedding"]:
        """The embeddings of `x`."""
        waves = self.periodic.embed(xp, x)
        if isinstance(self.linear, nnx.Linear):
            assert self.linear.bias is not None
            y = waves @ xp.asarray(self.linear.kernel[...])
            y = y + like(xp.asarray(self.linear.bias[...]), y)
        else:
            y = self.linear.embed(xp, waves)
        return xp.maximum(y, 0) if self.activation else y

    def torch_slots(self) -> Slots:
        """Names of `rtdl_num_embeddings.PeriodicEmbeddings`."""
        slots: Slots = {"periodic.weight": Slot(self.periodic.weight)}
        return slots | under("linear", self.linear)
