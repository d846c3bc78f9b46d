"""RealMLP's numeric embeddings: cosines with phases, a linear map, and the feature itself."""

import math
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Float

from jdl.core.errors import ConfigError
from jdl.networks.check import positive
from jdl.networks.embeddings.base import NumericEmbeddings, check_sizes, like, nlinear, per_feature
from jdl.networks.initial import Normal, Uniform, UniformFanIn
from jdl.networks.torch_state import Slot, Slots


class PBLDEmbeddings(NumericEmbeddings):
    """Periodic, bias, linear, densenet: `[cos(2 pi w1 x + b1) @ w2 + b2, x]` per feature.

    Args:
      n_features: Number of features.
      d_embedding: Width of each embedding; its last value is the feature itself.
      n_frequencies: Frequencies per feature.
      frequency_init_scale: Standard deviation of the first frequencies.
      activation: Whether ReLU follows the linear map ("PBLRD").
      rngs: `nnx.Rngs`, or `HostRngs` to draw on the host.

    Raises:
      ConfigError: A size or the scale is too small.

    References: Holzmüller et al., Better by Default, 2024.

    >>> y = PBLDEmbeddings(3, rngs=nnx.Rngs(0))(jnp.full((5, 3), 7.0))
    >>> y.shape, bool((y[..., -1] == 7.0).all())
    ((5, 3, 4), True)
    """

    def __init__(
        self,
        n_features: int,
        d_embedding: int = 4,
        *,
        n_frequencies: int = 16,
        frequency_init_scale: float = 0.1,
        activation: bool = False,
        rngs: Any,
    ):
        check_sizes("PBLDEmbeddings", n_features, d_embedding)
        positive("PBLDEmbeddings", n_frequencies=n_frequencies)
        if d_embedding < 2:
            raise ConfigError("PBLDEmbeddings: d_embedding must be at least 2, since the last value is the feature.")
        if not frequency_init_scale > 0:
            raise ConfigError(f"PBLDEmbeddings: frequency_init_scale must be positive, got {frequency_init_scale!r}.")
        init = UniformFanIn(n_frequencies)
        self.activation = activation
        self.weight_1 = nnx.Param(Normal(frequency_init_scale)(rngs.params(), (n_features, n_frequencies)))
        self.bias_1 = nnx.Param(Uniform(math.pi)(rngs.params(), (n_features, n_frequencies)))
        self.weight_2 = nnx.Param(init(rngs.params(), (n_features, n_frequencies, d_embedding - 1)))
        self.bias_2 = nnx.Param(init(rngs.params(), (n_features, d_embedding - 1)))

    @property
    def n_features(self) -> int:
        """Number of features it takes."""
        return self.weight_1.shape[0]

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Features and width."""
        return self.n_features, self.bias_2.shape[-1] + 1

    def embed(self, xp: Any, x: Float[Any, "*batch feature"]) -> Float[Any, "*batch feature embedding"]:
        """The embeddings of `x`."""
        return xp.concatenate([self._mapped(xp, x), x[..., None]], axis=-1)

    def flat(self, x: Float[Any, "*batch feature"], xp: Any = jnp) -> Float[Any, "*batch flat"]:
        """What the linear maps give, feature after feature; then the features themselves, as RealMLP orders them."""
        x = xp.asarray(x)
        return xp.concatenate([self._mapped(xp, x).reshape(*x.shape[:-1], -1), x], axis=-1)

    def _mapped(self, xp: Any, x: Any) -> Any:
        wide, weight = per_feature(x, xp.asarray(self.weight_1[...]))
        waves = xp.cos((2 * math.pi) * weight * wide + like(xp.asarray(self.bias_1[...]), wide))
        y = nlinear(xp, waves, xp.asarray(self.weight_2[...])) + like(xp.asarray(self.bias_2[...]), waves)
        return xp.maximum(y, 0) if self.activation else y

    def torch_slots(self) -> Slots:
        """Names of the scopes below `plr` in `pytabkit`, whose arrays have an axis of size 1 before the last."""
        n, k, d = self.weight_2.shape
        return {
            "weight_1": Slot(self.weight_1, shape=(n, 1, k)),
            "bias_1": Slot(self.bias_1, shape=(n, 1, k)),
            "weight_2": Slot(self.weight_2),
            "bias_2": Slot(self.bias_2, shape=(n, 1, d)),
        }
