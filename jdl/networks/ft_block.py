"""The block of an FT-Transformer: attention between tokens, then a gated feed-forward network."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jdl.networks.attention import AttentionOptions, MultiheadAttention
from jdl.networks.dropout import Dropout
from jdl.networks.initial import Constant, Uniform, UniformFanIn
from jdl.networks.norm import BatchNorm, layer_norm

NORMS = ("layer_norm", "rms_norm", "batch_norm", "none")


@dataclass(frozen=True)
class FTBlockOptions:
    """What a block is made of.

    Args:
      n_heads: Number of heads.
      attention_init: "kaiming" or "xavier".
      attention_norm: One of `NORMS`, beside the attention.
      ffn_norm: One of `NORMS`, beside the feed-forward network.
      d_hidden: Width of the feed-forward network behind its activation.
      activation: Function of the feed-forward network's first map.
      gated: Whether the activation halves the width, so that the first map is twice as wide.
      prenorm: Whether norms come first in each branch, rather than behind the sums.
      attention_bias: Whether the attention's maps have a bias.
      ffn_bias_first: Whether the first map of the feed-forward network has a bias.
      ffn_bias_second: Whether the second has.
      query: Positions of the tokens that ask and are kept; None is all.
      first: Whether it is the network's first block, which has no norm before its attention.
    """

    n_heads: int = 8
    attention_init: str = "kaiming"
    attention_norm: str = "layer_norm"
    ffn_norm: str = "layer_norm"
    d_hidden: int = 256
    activation: Callable[..., Any] | None = None
    gated: bool = True
    prenorm: bool = True
    attention_bias: bool = True
    ffn_bias_first: bool = True
    ffn_bias_second: bool = True
    query: tuple[int, ...] | None = None
    first: bool = False


class FTBlock(nnx.Module):
    """One block: `x + attention(norm(x))`, then `x + ffn(norm(x))`.

    Initial values are the reference's: "kaiming" is U(-1/sqrt(d), 1/sqrt(d)), "xavier" is Xavier with gain 1/sqrt(2);
    biases of the attention start at 0, those of the feed-forward network as PyTorch's.

    Args:
      d: Width of a token; a multiple of the number of heads.
      options: See `FTBlockOptions`.
      noises: Dropout of the attention's weights, of the hidden values, and of both branches; each may be None.
      rngs: `nnx.Rngs` or `HostRngs`.

    References: Gorishniy et al., Revisiting deep learning models for tabular data, 2021.
    """

    def __init__(self, d: int, options: FTBlockOptions, noises: tuple[Dropout | None, ...], rngs: Any):
        o = self.options = options
        init = UniformFanIn(d) if o.attention_init == "kaiming" else Uniform((6.0 / (2 * d)) ** 0.5 * 0.5**0.5)
        self.attention = MultiheadAttention(
            d,
            o.n_heads,
            mode="self" if o.query is None else "cross",
            options=AttentionOptions(bias=o.attention_bias, project_out=o.n_heads > 1),
            dropout=noises[0],
            kernel_init=init,
            rngs=rngs,
        )
        up, down = UniformFanIn(d), UniformFanIn(o.d_hidden)
        width = 2 * o.d_hidden if o.gated else o.d_hidden
        self.linear1 = nnx.Linear(d, width, use_bias=o.ffn_bias_first, kernel_init=up, bias_init=up, rngs=rngs)
        self.linear2 = nnx.Linear(
            o.d_hidden, d, use_bias=o.ffn_bias_second, kernel_init=down, bias_init=down, rngs=rngs
        )
        self.attention_norm = None if o.first and o.prenorm else _norm(o.attention_norm, d, rngs)
        self.ffn_norm = _norm(o.ffn_norm, d, rngs)
        self.hidden_dropout, self.dropout1, self.dropout2 = noises[1:]

    def __call__(self, x: Float[Array, "row n token"]) -> Float[Array, "row m token"]:
        """The tokens after the block; only those that ask, if only some do."""
        o = self.options
        inside = self.attention_norm(x) if o.prenorm and self.attention_norm is not None else x
        if o.query is None:
            branch = self.attention(inside)
        else:
            branch = self.attention(_tokens(inside, o.query), inside)
            x = _tokens(x, o.query)
        x = x + (branch if self.dropout1 is None else self.dropout1(branch))
        if not o.prenorm and self.attention_norm is not None:
            x = self.attention_norm(x)
        inside = self.ffn_norm(x) if o.prenorm and self.ffn_norm is not None else x
        branch = self._ffn(inside)
        x = x + (branch if self.dropout2 is None else self.dropout2(branch))
        return self.ffn_norm(x) if not o.prenorm and self.ffn_norm is not None else x

    def _ffn(self, x: Array) -> Array:
        hidden = self.linear1(x)
        if self.options.activation is not None:
            hidden = self.options.activation(hidden)
        if self.hidden_dropout is not None:
            hidden = self.hidden_dropout(hidden)
        return self.linear2(hidden)


def _tokens(x: Array, positions: tuple[int, ...]) -> Array:
    return jnp.concatenate([x[:, i : i + 1 or None] for i in positions], axis=1)


def _norm(name: str, d: int, rngs: Any) -> Any:
    if name == "layer_norm":
        return layer_norm(d, rngs)
    if name == "rms_norm":
        return nnx.RMSNorm(d, epsilon=1e-5, scale_init=Constant(1.0), use_fast_variance=False, rngs=rngs)
    return BatchNorm(d) if name == "batch_norm" else None
