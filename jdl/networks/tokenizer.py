"""Tokens: a vector for each number, each category code, and one that summarises a row."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from jdl.networks.initial import Normal, Uniform, UniformFanIn, ZeroRows


def token_initializer(name: str, d_token: int) -> Uniform | Normal | UniformFanIn:
    """U(-1/sqrt(d), 1/sqrt(d)) for "uniform", N(0, 1/d) for "normal"."""
    return UniformFanIn(d_token) if name == "uniform" else Normal(d_token**-0.5)


class NumberTokens(nnx.Module):
    """A vector for each number: `x_i * weight_i + bias_i`.

    Args:
      n_features: Number of columns.
      d_token: Size of a token.
      bias: Whether to add a learned vector per column.
      init: "uniform" or "normal".
      rngs: `nnx.Rngs` or `HostRngs`.

    References: Gorishniy et al., Revisiting deep learning models for tabular data, 2021.

    >>> NumberTokens(3, 4, rngs=nnx.Rngs(0))(jnp.ones((2, 3))).shape
    (2, 3, 4)
    """

    def __init__(self, n_features: int, d_token: int, *, bias: bool = True, init: str = "uniform", rngs: Any):
        initial = token_initializer(init, d_token)
        self.weight = nnx.Param(initial(rngs.params(), (n_features, d_token)))
        self.bias = nnx.Param(initial(rngs.params(), (n_features, d_token))) if bias else None

    def __call__(self, x: Float[Array, "row feature"]) -> Float[Array, "row feature token"]:
        """A token per number."""
        tokens = x[:, :, None] * self.weight[...][None]
        return tokens if self.bias is None else tokens + self.bias[...][None]


class CodeTokens(nnx.Module):
    """A vector for each category code, from one table; code 0 (missing or unseen) starts at 0 in each column.

    Codes outside of a column's range are taken for code 0, so that they never reach another column's vectors.

    Args:
      cardinalities: How many codes each column has, code 0 included.
      d_token: Size of a token.
      bias: Whether to add a learned vector per column.
      init: "uniform" or "normal".
      rngs: `nnx.Rngs` or `HostRngs`.

    >>> CodeTokens((3, 5), 4, rngs=nnx.Rngs(0))(jnp.array([[0, 4], [2, 1]])).shape
    (2, 2, 4)
    """

    def __init__(
        self, cardinalities: tuple[int, ...], d_token: int, *, bias: bool = True, init: str = "uniform", rngs: Any
    ):
        self.cardinalities = tuple(cardinalities)
        self.offsets = tuple(int(n) for n in np.cumsum((0, *cardinalities))[:-1])
        initial = token_initializer(init, d_token)
        self.table = nnx.Param(ZeroRows(initial, self.offsets)(rngs.params(), (sum(cardinalities), d_token)))
        self.bias = nnx.Param(initial(rngs.params(), (len(self.offsets), d_token))) if bias else None

    def __call__(self, x: Int[Array, "row feature"]) -> Float[Array, "row feature token"]:
        """A token per code."""
        known = known_codes(x, np.asarray(self.cardinalities, np.int32)[None])
        tokens = jnp.take(self.table[...], known + np.asarray(self.offsets, np.int32)[None], axis=0, mode="clip")
        return tokens if self.bias is None else tokens + self.bias[...][None]


def known_codes(codes: Int[Array, "*any"], cardinality: Any) -> Int[Array, "*any"]:
    """The codes, with 0 (missing or unseen) in place of those outside of `[0, cardinality)`."""
    return jnp.where((codes >= 0) & (codes < cardinality), codes, 0)


class Embedding(nnx.Module):
    """A learned vector for each code; that of code 0 (missing or unseen) starts at 0.

    Args:
      num_embeddings: Number of codes, code 0 included; codes outside of their range are taken for code 0.
      embedding_dim: Size of a vector.
      init: Initialiser of the table.
      rngs: `nnx.Rngs` or `HostRngs`.

    >>> Embedding(5, 3, rngs=nnx.Rngs(0))(jnp.array([[0, 4]])).shape
    (1, 2, 3)
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, *, init: Any = None, rngs: Any):
        self.embed = nnx.Embed(
            num_embeddings, embedding_dim, embedding_init=ZeroRows(init or Normal(1.0), (0,)), rngs=rngs
        )

    def __call__(self, x: Int[Array, "*any"]) -> Float[Array, "*any embedding"]:
        """A vector per code."""
        # Read the table's type now: it may have been cast since it was made.
        table = self.embed.embedding[...]
        return jnp.take(table, known_codes(x, self.embed.num_embeddings), axis=0, mode="clip")


class CLSToken(nnx.Module):
    """Appends one learned token, the same for every row, behind the others.

    Args:
      d_token: Size of a token.
      init: "uniform" or "normal".
      rngs: `nnx.Rngs` or `HostRngs`.

    >>> CLSToken(4, rngs=nnx.Rngs(0))(jnp.ones((2, 3, 4))).shape
    (2, 4, 4)
    """

    def __init__(self, d_token: int, *, init: str = "uniform", rngs: Any):
        self.token = nnx.Param(token_initializer(init, d_token)(rngs.params(), (d_token,)))

    def __call__(self, x: Float[Array, "row n token"]) -> Float[Array, "row n+1 token"]:
        """The tokens and one more."""
        token = jnp.asarray(self.token[...], x.dtype)[None, None]
        return jnp.concatenate([x, jnp.broadcast_to(token, (x.shape[0], 1, x.shape[2]))], axis=1)
