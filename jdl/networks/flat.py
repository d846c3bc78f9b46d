"""Flat inputs: numbers to be embedded come first, other columns stay as they are, embedded categories come last."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from jdl.core.errors import ConfigError, ConfigTypeError
from jdl.networks.embeddings import CategoricalEmbeddings, NumericEmbeddings


def flat_width(owner: str, d_in: int, embeddings: Any) -> int:
    """Width of what `embed_flat` gives for `d_in` columns.

    Raises:
      ConfigTypeError: `embeddings` are none of `jdl.networks.embeddings`.
      ConfigError: They want more columns than there are.

    >>> flat_width("MLP", 5, None)
    5
    """
    if embeddings is None:
        return d_in
    if not isinstance(embeddings, NumericEmbeddings):
        raise ConfigTypeError(
            f"{owner}: num_embeddings must be a module of jdl.networks.embeddings or None, "
            f"got {type(embeddings).__name__}."
        )
    if embeddings.n_features > d_in:
        raise ConfigError(
            f"{owner}: num_embeddings are for {embeddings.n_features} features, but d_in={d_in}.\n"
            "Hint: the first columns are embedded, further ones (one-hot codes, say) are taken as they are."
        )
    return embeddings.d_flat + d_in - embeddings.n_features


def embed_flat(embeddings: NumericEmbeddings | None, x: Float[Array, "row feature"]) -> Float[Array, "row flat"]:
    """The first columns embedded, then the others; all as they are without embeddings."""
    if embeddings is None:
        return x
    n = embeddings.n_features
    return jnp.concatenate([embeddings.flat(x[..., :n]), x[..., n:]], axis=-1)


class WithCategories(nnx.Module):
    """A network on flat rows, behind whose numbers stand embedded categories.

    Args:
      cat_embeddings: Of all categorical features.
      network: Takes the numbers and, behind them, `cat_embeddings.d_flat` columns.

    >>> class Sum(nnx.Module):
    ...     def __call__(self, x):
    ...         return x.sum(axis=-1, keepdims=True)
    >>> model = WithCategories(CategoricalEmbeddings([3, 9], 4, rngs=nnx.Rngs(0)), Sum())
    >>> model(jnp.ones((5, 2)), jnp.zeros((5, 2), int)).shape
    (5, 1)
    """

    def __init__(self, cat_embeddings: CategoricalEmbeddings, network: Any):
        self.cat_embeddings = cat_embeddings
        self.network = network

    @property
    def num_embeddings(self) -> NumericEmbeddings | None:
        """The network's embeddings of numbers."""
        return self.network.num_embeddings

    def __call__(
        self, x_num: Float[Array, "row feature"], x_cat: Int[Array, "row categorical"]
    ) -> Float[Array, "row output"]:
        """Outputs for numbers and codes."""
        return self.network(jnp.concatenate([x_num, self.cat_embeddings.flat(x_cat)], axis=-1))
