"""Flat inputs whose first columns are numbers to be embedded, and whose others stay as they are."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jdl.core.errors import ConfigError, ConfigTypeError
from jdl.networks.embeddings import NumericEmbeddings


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
