"""Linear embeddings: a line per feature and dimension."""

from typing import Any

from flax import nnx
from jaxtyping import Float

from jdl.networks.embeddings.base import NumericEmbeddings, check_sizes, like, per_feature
from jdl.networks.initial import UniformFanIn
from jdl.networks.torch_state import Slot, Slots


class LinearEmbeddings(NumericEmbeddings):
    """`weight * x + bias` with a weight and a bias per feature and dimension.

    Args:
      n_features: Number of features.
      d_embedding: Width of each embedding.
      rngs: `nnx.Rngs`, or `HostRngs` to draw on the host.

    References: Gorishniy et al., Revisiting Deep Learning Models for Tabular Data, 2021.

    >>> import jax.numpy as jnp
    >>> LinearEmbeddings(3, 4, rngs=nnx.Rngs(0))(jnp.ones((5, 3))).shape
    (5, 3, 4)
    """

    def __init__(self, n_features: int, d_embedding: int, *, rngs: Any):
        check_sizes("LinearEmbeddings", n_features, d_embedding)
        init = UniformFanIn(d_embedding)
        self.weight = nnx.Param(init(rngs.params(), (n_features, d_embedding)))
        self.bias = nnx.Param(init(rngs.params(), (n_features, d_embedding)))

    @property
    def n_features(self) -> int:
        """Number of features it takes."""
        return self.weight.shape[0]

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Features and width."""
        return tuple(self.weight.shape)

    def embed(self, xp: Any, x: Float[Any, "*batch feature"]) -> Float[Any, "*batch feature embedding"]:
        """The embeddings of `x`."""
        x, weight = per_feature(x, xp.asarray(self.weight[...]))
        return x * weight + like(xp.asarray(self.bias[...]), x)

    def torch_slots(self) -> Slots:
        """Names of `rtdl_num_embeddings.LinearEmbeddings`."""
        return {"weight": Slot(self.weight), "bias": Slot(self.bias)}


class LinearReLUEmbeddings(NumericEmbeddings):
    """Linear embeddings, negative values set to zero.

    Args:
      n_features: Number of features.
      d_embedding: Width of each embedding.
      rngs: `nnx.Rngs`, or `HostRngs` to draw on the host.

    References: Gorishniy et al., On Embeddings for Numerical Features in Tabular Deep Learning, 2022.

    >>> import jax.numpy as jnp
    >>> bool((LinearReLUEmbeddings(3, rngs=nnx.Rngs(0))(jnp.ones((5, 3))) >= 0).all())
    True
    """

    def __init__(self, n_features: int, d_embedding: int = 32, *, rngs: Any):
        check_sizes("LinearReLUEmbeddings", n_features, d_embedding)
        self.linear0 = LinearEmbeddings(n_features, d_embedding, rngs=rngs)

    @property
    def n_features(self) -> int:
        """Number of features it takes."""
        return self.linear0.n_features

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Features and width."""
        return self.linear0.output_shape

    def embed(self, xp: Any, x: Float[Any, "*batch feature"]) -> Float[Any, "*batch feature embedding"]:
        """The embeddings of `x`."""
        return xp.maximum(self.linear0.embed(xp, x), 0)

    def torch_slots(self) -> Slots:
        """Names of `rtdl_num_embeddings.LinearReLUEmbeddings`."""
        return {f"linear.{name}": slot for name, slot in self.linear0.torch_slots().items()}
