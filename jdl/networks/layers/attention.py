"""Attention and the encoder layer of a transformer, with masks as further inputs."""

import operator
from typing import Any

from flax import nnx
from jaxtyping import Array

from jdl.core.errors import ConfigError, ShapeError
from jdl.core.fields import Field
from jdl.networks.activation import as_activation
from jdl.networks.array_spec import ArraySpec
from jdl.networks.attention import AttentionOptions, EncoderLayer, MultiheadAttention
from jdl.networks.layer import Site, layer_kind
from jdl.networks.layers.common import bias_field, need_equal, noise, rate
from jdl.networks.layers.token import need_heads

_N_INPUTS = {"self": 1, "cross": 2, "general": 3}
_SEQUENCE = "(batch, position, feature)"
_MASK_DOC = (
    "Whether a further input says which pairs of query and key are blocked: (batch, query, key), or with an axis of "
    "heads behind the batch; true blocks, numbers are added to the scores."
)
_PADDING_DOC = "Whether a further input, the last, says which positions are blocked: (batch, key); true blocks."


class Masked(nnx.Module):
    """A module whose last inputs are masks."""

    def __init__(self, inner: nnx.Module, attn_mask: bool, key_padding_mask: bool):
        self.inner = inner
        self.masks = (*("attn_mask",) * attn_mask, *("key_padding_mask",) * key_padding_mask)

    def __call__(self, *inputs: Array) -> Any:
        """What the module gives."""
        n = len(inputs) - len(self.masks)
        return self.inner(*inputs[:n], **dict(zip(self.masks, inputs[n:], strict=True)))  # pyright: ignore


def _attention_inputs(values: dict[str, Any]) -> int:
    return _N_INPUTS[values["mode"]] + values["attn_mask"] + values["key_padding_mask"]


def _attention_outputs(values: dict[str, Any]) -> int:
    return 2 if values["need_weights"] else 1


@layer_kind(
    n_inputs=_attention_inputs,
    n_outputs=_attention_outputs,
    num_heads=Field("int", low=1, doc="Number of heads, which divides the width of the queries."),
    dropout=rate(0.0, "Probability that a weight becomes 0."),
    bias=bias_field("Whether the projections have a bias."),
    add_bias_kv=Field("bool", False, doc="Whether a learned key and value are appended."),
    add_zero_attn=Field("bool", False, doc="Whether a key and a value of zeros are appended."),
    avg_weights=Field("bool", True, doc="Whether the weights of the second output are averaged over heads."),
    mode=Field(
        "str",
        "self",
        choices=("self", "cross", "general"),
        doc="Inputs: one; queries and what keys and values are made of; queries, keys and values.",
    ),
    need_weights=Field("bool", False, doc="Whether the weights are a second output."),
    attn_mask=Field("bool", False, doc=_MASK_DOC),
    key_padding_mask=Field("bool", False, doc=_PADDING_DOC),
    is_causal=Field("bool", False, doc="Whether a query sees no key behind its own position."),
    rotary=Field("bool", False, doc="Whether queries and keys are rotated by their positions (Su et al., 2021)."),
)
def multihead_attention(site: Site, *inputs: ArraySpec, **values: Any) -> nnx.Module:
    """Attention in several heads, (batch, query, feature) -> the same, as PyTorch defines it (Vaswani et al., 2017).

    With need_weights a second output holds the weights, (batch, query, key), or (batch, head, query, key) where they
    are not averaged. A query for which all keys are blocked gets the mean of all values.
    """
    mode, n_heads = values["mode"], values["num_heads"]
    n = _N_INPUTS[mode]
    query, *others = inputs[:n]
    for x in inputs[:n]:
        x.need_ndim(3, what=_SEQUENCE)
    need_equal(inputs[:n], [0], "needs inputs with equally many rows", operator.eq)
    if mode == "general":
        need_equal(others, [1], "needs as many values as keys", operator.eq)
    d = query.size(2)
    need_heads(d, n_heads, "num_heads")
    if values["rotary"] and (d // n_heads) % 2:
        raise ShapeError(f"rotates pairs of features, but its heads have an odd number of them, {d // n_heads}")
    key = others[0] if others else query
    _need_masks(inputs[n:], query, key, n_heads, values["attn_mask"])
    options = AttentionOptions(
        bias=values["bias"],
        add_bias_kv=values["add_bias_kv"],
        add_zero_attn=values["add_zero_attn"],
        causal=values["is_causal"],
        rotary=values["rotary"],
        need_weights=values["need_weights"],
        avg_weights=values["avg_weights"],
    )
    module = MultiheadAttention(
        d,
        n_heads,
        mode=mode,
        d_key=key.size(2),
        d_value=others[-1].size(2) if others else None,
        options=options,
        dropout=noise(site, values["dropout"], "dropout"),
        rngs=site.rngs,
    )
    return Masked(module, values["attn_mask"], values["key_padding_mask"]) if inputs[n:] else module


def _need_masks(masks: tuple[ArraySpec, ...], query: ArraySpec, key: ArraySpec, n_heads: int, attn_mask: bool) -> None:
    """Refuses masks whose sizes certainly do not fit."""
    for i, mask in enumerate(masks):
        if i == 0 and attn_mask:
            mask.need_ndim(3, 4, what="(batch, query, key) or (batch, head, query, key) as a mask")
            wanted = [query.shape[0], n_heads, query.shape[1], key.shape[1]]
            wanted = wanted if mask.ndim == 4 else [wanted[0], *wanted[2:]]
        else:
            mask.need_ndim(2, what="(batch, key) as a mask of positions")
            wanted = [key.shape[0], key.shape[1]]
        for axis, (have, want) in enumerate(zip(mask.shape, wanted, strict=True)):
            if isinstance(have, int) and isinstance(want, int) and have != want and (have != 1 or mask.ndim == 2):
                raise ShapeError(f"needs {want} as the size of axis {axis} of its mask, but the mask is {mask}")


def _encoder_inputs(values: dict[str, Any]) -> int:
    return 1 + values["src_mask"] + values["src_key_padding_mask"]


def _activation(value: Any) -> Any:
    as_activation(value)
    return value


@layer_kind(
    n_inputs=_encoder_inputs,
    nhead=Field("int", low=1, doc="Number of heads, which divides the size of a token."),
    dim_feedforward=Field("int", 2048, low=1, doc="Width between the two linear maps."),
    dropout=rate(0.1, "Probability that a weight of the attention, a hidden value or what is added becomes 0."),
    activation=Field(default="relu", convert=_activation, doc="Between the linear maps: a name, or a function."),
    layer_norm_eps=Field("float", 1e-5, low=0, doc="Added to the variance by the norms."),
    norm_first=Field("bool", False, doc="Whether norms come first in each branch, rather than behind the sums."),
    bias=bias_field("Whether linear maps and norms have a bias."),
    is_causal=Field("bool", False, doc="Whether a position sees none behind it; not together with src_mask."),
    src_mask=Field("bool", False, doc=_MASK_DOC),
    src_key_padding_mask=Field("bool", False, doc=_PADDING_DOC),
)
def transformer_encoder_layer(site: Site, *inputs: ArraySpec, **values: Any) -> nnx.Module:
    """Self-attention, then two linear maps, each added to its input: (batch, position, feature) -> the same.

    Initial values and order are PyTorch's (Vaswani et al., 2017); "gelu" is the exact one.
    """
    x, *masks = inputs
    x.need_ndim(3, what=_SEQUENCE)
    d, n_heads = x.size(2), values["nhead"]
    need_heads(d, n_heads, "nhead")
    if values["is_causal"] and values["src_mask"]:
        raise ConfigError(f"layer '{site.id or 'transformer_encoder_layer'}': give is_causal or src_mask, not both.")
    _need_masks(tuple(masks), x, x, n_heads, values["src_mask"])
    activation = values["activation"]
    module = EncoderLayer(
        d,
        n_heads,
        d_hidden=values["dim_feedforward"],
        activation=as_activation(activation),
        noises=tuple(noise(site, values["dropout"], "dropout", i) for i in range(4)),
        eps=values["layer_norm_eps"],
        norm_first=values["norm_first"],
        bias=values["bias"],
        causal=values["is_causal"],
        rngs=site.rngs,
    )
    return Masked(module, values["src_mask"], values["src_key_padding_mask"]) if masks else module


KINDS = (multihead_attention, transformer_encoder_layer)
