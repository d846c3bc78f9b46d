"""Attention with several heads, as PyTorch defines it, and the encoder layer of a transformer.

Scores go through `jax.nn.dot_product_attention`. Only where their softmax itself is wanted, because it is handed out
or because dropout is applied to it, they are written out.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jdl.networks.dropout import Dropout
from jdl.networks.initial import Constant, Normal, Uniform, UniformFanIn
from jdl.networks.norm import layer_norm
from jdl.networks.position import rotate

Heads = Float[Array, "row position head d"]


def attend(
    query: Heads, key: Heads, value: Heads, blocked: Array | None, bias: Array | None, dropout: Dropout | None
) -> tuple[Heads, Callable[[], Float[Array, "row head query key"]]]:
    """Means of the values, weighted by the softmax of the scalar products of queries and keys.

    Args:
      query: What asks.
      key: What is compared with it.
      value: What is averaged.
      blocked: Which pairs get no weight, (row, head, query, key), each size possibly 1; a query for which all keys are
        blocked gets the mean of all values.
      bias: Added to the scores, likewise.
      dropout: Applied to the weights.

    Returns:
      The means, and a function that gives the weights.
    """

    def weights() -> Array:
        scores = jnp.einsum("bqhd,bkhd->bhqk", query, key, preferred_element_type=jnp.float32)
        scores = scores / query.shape[-1] ** 0.5
        if bias is not None:
            scores = scores + bias.astype(scores.dtype)
        if blocked is not None:
            scores = jnp.where(blocked, 0.7 * jnp.finfo(scores.dtype).min, scores)
        shares = jax.nn.softmax(scores, axis=-1).astype(query.dtype)
        return shares if dropout is None else dropout(shares)

    if dropout is None or dropout.deterministic:
        mask = None if blocked is None else ~blocked
        if bias is not None:
            bias = bias.astype(query.dtype)
        return jax.nn.dot_product_attention(query, key, value, bias=bias, mask=mask), weights
    shares = weights()
    return jnp.einsum("bhqk,bkhd->bqhd", shares, value), lambda: shares


@dataclass(frozen=True)
class AttentionOptions:
    """What an attention does beside attending.

    Args:
      bias: Whether the projections have one.
      add_bias_kv: Whether a learned key and value are appended.
      add_zero_attn: Whether a key and value of zeros are appended.
      causal: Whether a position sees no later ones.
      rotary: Whether queries and keys are rotated by their positions.
      rotary_base: Longest wavelength of the rotation, in units of 2 pi.
      need_weights: Whether the weights are handed out too.
      avg_weights: Whether they are averaged over heads.
      project_out: Whether there is a last affine map.
    """

    bias: bool = True
    add_bias_kv: bool = False
    add_zero_attn: bool = False
    causal: bool = False
    rotary: bool = False
    rotary_base: float = 10000.0
    need_weights: bool = False
    avg_weights: bool = True
    project_out: bool = True


class MultiheadAttention(nnx.Module):
    """Attention of queries to keys with values, in several heads.

    Initial values are PyTorch's: Xavier for the projections of queries, keys and values (as one matrix where keys and
    values are as wide as queries), U(-1/sqrt(d), 1/sqrt(d)) for the last map, 0 for all biases.

    Args:
      d: Width of queries and of the result; a multiple of `n_heads`.
      n_heads: Number of heads.
      mode: "self" calls it with one input, "cross" with queries and with what keys and values come from, "general"
        with queries, keys and values.
      d_key: Width of the keys' input; None is `d`.
      d_value: Width of the values' input; None is `d`.
      options: See `AttentionOptions`.
      dropout: Applied to the weights.
      kernel_init: Initialiser of the projections.
      rngs: `nnx.Rngs` or `HostRngs`.

    References: Vaswani et al., Attention is all you need, 2017.

    >>> MultiheadAttention(8, 2, rngs=nnx.Rngs(0))(jnp.ones((3, 5, 8))).shape
    (3, 5, 8)
    """

    def __init__(
        self,
        d: int,
        n_heads: int,
        *,
        mode: str = "self",
        d_key: int | None = None,
        d_value: int | None = None,
        options: AttentionOptions | None = None,
        dropout: Dropout | None = None,
        kernel_init: Callable[..., Any] | None = None,
        rngs: Any,
    ):
        d_key, d_value = d_key or d, d_value or d
        self.d = d
        self.n_heads = n_heads
        self.options = options = options or AttentionOptions()
        self.dropout = dropout

        def project(d_in: int, n: int = 1) -> nnx.Linear:
            # PyTorch draws the three as one matrix, where it keeps them as one.
            bound = (6.0 / (d + 3 * d if d_key == d_value == d else d_in + d)) ** 0.5
            init = kernel_init or Uniform(bound)
            return nnx.Linear(d_in, n * d, use_bias=options.bias, kernel_init=init, bias_init=Constant(0.0), rngs=rngs)

        self.qkv = project(d, 3) if mode == "self" else None
        self.query = project(d) if mode != "self" else None
        self.key_value = project(d_key, 2) if mode == "cross" else None
        self.key = project(d_key) if mode == "general" else None
        self.value = project(d_value) if mode == "general" else None
        self.more_key = nnx.Param(Normal(d**-0.5)(rngs.params(), (d,))) if options.add_bias_kv else None
        self.more_value = nnx.Param(Normal(d**-0.5)(rngs.params(), (d,))) if options.add_bias_kv else None
        last = {"kernel_init": UniformFanIn(d), "bias_init": Constant(0.0), "use_bias": options.bias}
        self.out = nnx.Linear(d, d, rngs=rngs, **last) if options.project_out else None

    def __call__(self, *inputs: Array, attn_mask: Array | None = None, key_padding_mask: Array | None = None) -> Any:
        """The result, in the queries' shape; with `need_weights` the weights too.

        Args:
          inputs: As many as the mode says, (row, position, feature).
          attn_mask: (row, query, key) or (row, head, query, key), sizes possibly 1: true where a pair gets no weight,
            or numbers to add to the scores.
          key_padding_mask: (row, key), likewise.
        """
        query, key, value = self._projected(*inputs)
        n_keys = key.shape[1]
        if self.more_key is not None and self.more_value is not None:
            key, value = _appended(key, self.more_key[...]), _appended(value, self.more_value[...])
        query, key, value = (self._heads(x) for x in (query, key, value))
        if self.options.rotary:
            query, key = rotate(query, self.options.rotary_base), rotate(key, self.options.rotary_base)
        if self.options.add_zero_attn:
            key, value = (jnp.pad(x, ((0, 0), (0, 1), (0, 0), (0, 0))) for x in (key, value))
        n_more = int(self.options.add_bias_kv) + int(self.options.add_zero_attn)
        masks = [_as_4d(mask) for mask in (attn_mask, key_padding_mask) if mask is not None]
        if self.options.causal:
            masks.append(jnp.arange(n_keys)[None, None, None] > jnp.arange(query.shape[1])[None, None, :, None])
        masks = [jnp.pad(mask, ((0, 0), (0, 0), (0, 0), (0, n_more))) for mask in masks]
        blocked = [mask for mask in masks if mask.dtype == bool]
        added = [mask for mask in masks if mask.dtype != bool]
        out, weights = attend(
            query, key, value, _joined(blocked, jnp.logical_or), _joined(added, jnp.add), self.dropout
        )
        out = out.reshape(*out.shape[:2], self.d)
        out = out if self.out is None else self.out(out)
        if not self.options.need_weights:
            return out
        return out, jnp.mean(weights(), axis=1) if self.options.avg_weights else weights()

    def _projected(self, *inputs: Array) -> tuple[Array, Array, Array]:
        if self.qkv is not None:
            query, key, value = jnp.split(self.qkv(inputs[0]), 3, axis=-1)
            return query, key, value
        assert self.query is not None
        query = self.query(inputs[0])
        if self.key_value is not None:
            key, value = jnp.split(self.key_value(inputs[1]), 2, axis=-1)
            return query, key, value
        assert self.key is not None and self.value is not None
        return query, self.key(inputs[1]), self.value(inputs[2])

    def _heads(self, x: Array) -> Heads:
        return x.reshape(*x.shape[:2], self.n_heads, self.d // self.n_heads)


def _appended(x: Array, vector: Array) -> Array:
    one = jnp.broadcast_to(jnp.asarray(vector, x.dtype)[None, None], (x.shape[0], 1, x.shape[2]))
    return jnp.concatenate([x, one], axis=1)


def _as_4d(mask: Array) -> Array:
    """(row, key), (row, query, key) or (row, head, query, key) with four axes."""
    if mask.ndim == 2:
        return mask[:, None, None]
    return mask[:, None] if mask.ndim == 3 else mask


def _joined(masks: list[Array], how: Callable[[Array, Array], Array]) -> Array | None:
    return functools.reduce(how, masks) if masks else None


class EncoderLayer(nnx.Module):
    """Self-attention and two linear maps, each added to its input and normalised: one layer of a transformer.

    Args:
      d: Width of the tokens; a multiple of `n_heads`.
      n_heads: Number of heads.
      d_hidden: Width between the two linear maps.
      activation: Function between them.
      noises: Dropout of the weights, of the hidden values, of attention, of the linear maps; each may be None.
      eps: Of the norms.
      norm_first: Whether norms come before attention and linear maps, rather than after the sums.
      bias: Whether linear maps and norms have one.
      causal: Whether a position sees no later ones.
      rngs: `nnx.Rngs` or `HostRngs`.

    References: Vaswani et al., Attention is all you need, 2017.
    """

    def __init__(
        self,
        d: int,
        n_heads: int,
        *,
        d_hidden: int = 2048,
        activation: Callable[..., Any] = jax.nn.relu,
        noises: tuple[Dropout | None, ...] = (None, None, None, None),
        eps: float = 1e-5,
        norm_first: bool = False,
        bias: bool = True,
        causal: bool = False,
        rngs: Any,
    ):
        options = AttentionOptions(bias=bias, causal=causal)
        self.attention = MultiheadAttention(d, n_heads, options=options, dropout=noises[0], rngs=rngs)
        up, down = UniformFanIn(d), UniformFanIn(d_hidden)
        self.linear1 = nnx.Linear(d, d_hidden, use_bias=bias, kernel_init=up, bias_init=up, rngs=rngs)
        self.linear2 = nnx.Linear(d_hidden, d, use_bias=bias, kernel_init=down, bias_init=down, rngs=rngs)
        self.norm1 = layer_norm(d, rngs, eps=eps, bias=bias)
        self.norm2 = layer_norm(d, rngs, eps=eps, bias=bias)
        self.hidden_dropout, self.dropout1, self.dropout2 = noises[1:]
        self.activation = activation
        self.norm_first = norm_first

    def __call__(
        self,
        x: Float[Array, "row position feature"],
        *,
        attn_mask: Array | None = None,
        key_padding_mask: Array | None = None,
    ) -> Float[Array, "row position feature"]:
        """The tokens after the layer; masks as in `MultiheadAttention`."""

        def attention(x: Array) -> Array:
            out = self.attention(x, attn_mask=attn_mask, key_padding_mask=key_padding_mask)
            return _maybe(self.dropout1, out)

        def feed_forward(x: Array) -> Array:
            hidden = _maybe(self.hidden_dropout, self.activation(self.linear1(x)))
            return _maybe(self.dropout2, self.linear2(hidden))

        if self.norm_first:
            x = x + attention(self.norm1(x))
            return x + feed_forward(self.norm2(x))
        x = self.norm1(x + attention(x))
        return self.norm2(x + feed_forward(x))


def _maybe(dropout: Dropout | None, x: Array) -> Array:
    return x if dropout is None else dropout(x)
