"""Parts of `FTTransformer`: attention between the features of a row, feed-forward part, and the block of both."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jdl.core.errors import ConfigError, UnknownNameError
from jdl.networks.dropout import Dropout
from jdl.networks.initial import Constant, UniformFanIn
from jdl.networks.mlp import LayerNorm, linear
from jdl.networks.rowwise import on_rows
from jdl.networks.torch_state import Slots, TorchModule, under

_SHARING = ("headwise", "key-value")
FFN_ACTIVATIONS = ("ReGLU", "ReLU")


class FeatureAttention(TorchModule):
    """Multi-head attention among the tokens of a row; biases start at zero.

    Args:
      d_block: Width of a token, a multiple of `n_heads`.
      n_heads: Heads; with one there is no output map.
      dropout: Probability on the attention weights, the hyperparameter "attention_dropout".
      n_tokens: Tokens of a row; needed for the compression only.
      compression_ratio: Share of the tokens that keys and values are compressed to; None compresses nothing.
      compression_sharing: "key-value" compresses both by one matrix, "headwise" by two.
      layer: Number of the dropout layer.
      rngs: `nnx.Rngs`, or `HostRngs` to draw on the host.

    Raises:
      ConfigError: `d_block` is no multiple of `n_heads`, or the compression is not fully given.

    References: Vaswani et al., Attention Is All You Need, 2017; Wang et al., Linformer, 2020.

    >>> attention = FeatureAttention(8, 2, rngs=nnx.Rngs(0))
    >>> attention(jnp.ones((5, 1, 8)), jnp.ones((5, 3, 8))).shape
    (5, 1, 8)
    """

    def __init__(
        self,
        d_block: int,
        n_heads: int,
        *,
        dropout: float | None = None,
        n_tokens: int = 0,
        compression_ratio: float | None = None,
        compression_sharing: str | None = None,
        layer: int = 0,
        rngs: Any,
    ):
        if d_block % n_heads:
            raise ConfigError(
                f"FTTransformer: d_block must be a multiple of attention_n_heads, got {d_block} and {n_heads}.\n"
                f"Hint: d_block={max(d_block // n_heads, 1) * n_heads} is one."
            )
        self.n_heads = n_heads
        self.W_q = _map(d_block, rngs)
        self.W_k = _map(d_block, rngs)
        self.W_v = _map(d_block, rngs)
        self.W_out = _map(d_block, rngs) if n_heads > 1 else None
        self.dropout = Dropout(dropout, hyper="attention_dropout", layer=layer) if dropout else None
        d_compressed = _compressed(n_tokens, compression_ratio, compression_sharing)
        self.key_compression = d_compressed and _matrix(n_tokens, d_compressed, rngs)
        two = compression_sharing == "headwise"
        self.value_compression = _matrix(n_tokens, d_compressed, rngs) if d_compressed and two else None

    def __call__(
        self, x_q: Float[Array, "row query feature"], x_kv: Float[Array, "row token feature"]
    ) -> Float[Array, "row query feature"]:
        """What each query gathers from the tokens."""
        q, k, v = on_rows(self.W_q, x_q), on_rows(self.W_k, x_kv), on_rows(self.W_v, x_kv)
        if self.key_compression is not None:
            k = _compress(k, self.key_compression)
            v = _compress(v, self.key_compression if self.value_compression is None else self.value_compression)
        q, k, v = (x.reshape(*x.shape[:-1], self.n_heads, -1) for x in (q, k, v))  # (row, token, head, dim)
        if self.dropout is None or self.dropout.deterministic:
            y = jax.nn.dot_product_attention(q, k, v)
        else:
            # In float32 even where the tokens are shorter numbers, as in `dot_product_attention`.
            scores = jnp.einsum("bqhd,bkhd->bhqk", q, k, preferred_element_type=jnp.float32) * q.shape[-1] ** -0.5
            shares = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
            y = jnp.einsum("bhqk,bkhd->bqhd", self.dropout(shares), v)
        y = y.reshape(x_q.shape)
        return y if self.W_out is None else on_rows(self.W_out, y)

    def torch_slots(self) -> Slots:
        """Names of `rtdl_revisiting_models.MultiheadAttention`."""
        names = ("W_q", "W_k", "W_v", "W_out", "key_compression", "value_compression")
        slots: Slots = {}
        for name in names:
            slots |= under(name, getattr(self, name))
        return slots


class FeedForward(TorchModule):
    """Linear, ReGLU (or ReLU), dropout, linear; on each token.

    Args:
      d_block: Width of a token.
      d_hidden: Width inside.
      activation: "ReGLU", the first half times the ReLU of the second, or "ReLU".
      dropout: Probability inside, the hyperparameter "ffn_dropout".
      layer: Number of the dropout layer.
      rngs: `nnx.Rngs`, or `HostRngs` to draw on the host.

    References: Shazeer, GLU Variants Improve Transformer, 2020.

    >>> FeedForward(8, 4, rngs=nnx.Rngs(0))(jnp.ones((5, 3, 8))).shape
    (5, 3, 8)
    """

    def __init__(
        self,
        d_block: int,
        d_hidden: int,
        *,
        activation: str = "ReGLU",
        dropout: float | None = None,
        layer: int = 0,
        rngs: Any,
    ):
        if activation not in FFN_ACTIVATIONS:
            raise UnknownNameError.of("ffn_activation", activation, FFN_ACTIVATIONS, owner="FTTransformer")
        self.gated = activation == "ReGLU"
        self.linear1 = linear(d_block, d_hidden * (2 if self.gated else 1), rngs)
        self.dropout = Dropout(dropout, hyper="ffn_dropout", layer=layer) if dropout else None
        self.linear2 = linear(d_hidden, d_block, rngs)

    def __call__(self, x: Float[Array, "row token feature"]) -> Float[Array, "row token feature"]:
        """Each token's new values."""
        y = on_rows(self.linear1, x)
        if self.gated:
            value, gate = jnp.split(y, 2, axis=-1)
            y = value * nnx.relu(gate)
        else:
            y = nnx.relu(y)
        return on_rows(self.linear2, y if self.dropout is None else self.dropout(y))

    def torch_slots(self) -> Slots:
        """Names of the package's feed-forward part."""
        return under("linear1", self.linear1) | under("linear2", self.linear2)


class TokenBlock(TorchModule):
    """Attention and feed-forward part, each added to its input; the first block has no norm before attention."""

    def __init__(
        self,
        attention: FeatureAttention,
        ffn: FeedForward,
        d_block: int,
        *,
        attention_norm: bool,
        residual_dropout: float | None,
        layer: int,
        rngs: Any,
    ):
        self.attention_normalization = LayerNorm(d_block, rngs=rngs) if attention_norm else None
        self.attention = attention
        self.ffn_normalization = LayerNorm(d_block, rngs=rngs)
        self.ffn = ffn
        options: Any = {"hyper": "residual_dropout"}
        self.attention_dropout = Dropout(residual_dropout, layer=layer, **options) if residual_dropout else None
        self.ffn_dropout = Dropout(residual_dropout, layer=layer + 1, **options) if residual_dropout else None

    def __call__(
        self, x: Float[Array, "row token feature"], *, first_only: bool = False
    ) -> Float[Array, "row query feature"]:
        """All tokens, or only the first one, which alone is read after the last block."""
        y = x if self.attention_normalization is None else self.attention_normalization(x)
        if first_only:
            x = x[:, :1]
        y = self.attention(y[:, : x.shape[1]], y)
        x = x + (y if self.attention_dropout is None else self.attention_dropout(y))
        y = self.ffn(self.ffn_normalization(x))
        return x + (y if self.ffn_dropout is None else self.ffn_dropout(y))

    def torch_slots(self) -> Slots:
        """Names of one block of `rtdl_revisiting_models.FTTransformerBackbone`."""
        slots: Slots = {}
        for name in ("attention_normalization", "attention", "ffn_normalization", "ffn"):
            slots |= under(name, getattr(self, name))
        return slots


def _map(d: int, rngs: Any) -> nnx.Linear:
    return nnx.Linear(d, d, kernel_init=UniformFanIn(d), bias_init=Constant(0.0), rngs=rngs)


def _matrix(d_in: int, d_out: int, rngs: Any) -> nnx.Linear:
    return nnx.Linear(d_in, d_out, use_bias=False, kernel_init=UniformFanIn(d_in), rngs=rngs)


def _compress(x: Float[Array, "row token feature"], matrix: Any) -> Float[Array, "row few feature"]:
    return matrix(x.swapaxes(1, 2)).swapaxes(1, 2)


def _compressed(n_tokens: int, ratio: float | None, sharing: str | None) -> int | None:
    """Number of tokens after compression; None where nothing is compressed."""
    if ratio is None:
        if sharing is not None:
            raise ConfigError(
                f"FTTransformer: linformer_kv_compression_sharing={sharing!r} needs linformer_kv_compression_ratio."
            )
        return None
    if not 0 < ratio < 1:
        raise ConfigError(f"FTTransformer: linformer_kv_compression_ratio must lie in (0, 1), got {ratio!r}.")
    if sharing is None:
        raise ConfigError(
            f"FTTransformer: linformer_kv_compression_ratio={ratio!r} needs linformer_kv_compression_sharing, got None."
            "\nHint: 'headwise' or 'key-value'."
        )
    if sharing not in _SHARING:
        raise UnknownNameError.of("linformer_kv_compression_sharing", sharing, _SHARING, owner="FTTransformer")
    return max(int(n_tokens * ratio), 1)
