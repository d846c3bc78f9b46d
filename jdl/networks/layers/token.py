"""Tokens of numbers and codes, embeddings of codes, and the block of an FT-Transformer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
from flax import nnx

from jdl.core.errors import ConfigError, ShapeError
from jdl.core.fields import Field
from jdl.networks.activation import ACTIVATIONS, as_activation
from jdl.networks.array_spec import ArraySpec
from jdl.networks.ft_block import NORMS, FTBlock, FTBlockOptions
from jdl.networks.initial import INITIALIZERS, Normal, kernel_initializer
from jdl.networks.layer import Site, layer_kind
from jdl.networks.layers.common import need_codes, noise, rate
from jdl.networks.layers.gate import exact_gelu, gated
from jdl.networks.tokenizer import CLSToken, CodeTokens, Embedding, NumberTokens

_D_TOKEN = Field("int", low=1, doc="Size of a token.")
_BIAS = Field("bool", True, doc="Whether to add a learned vector per column.")
_INIT = Field("str", "uniform", choices=("uniform", "normal"), doc="U(-1/sqrt(d), 1/sqrt(d)) or N(0, 1/d).")
_TOKENS = "(batch, n, token)"
CARDINALITIES = Field(
    "ints",
    None,
    low=1,
    optional=True,
    doc="How many codes each column has, code 0 (missing or unseen) included; None takes the task's.",
)


@layer_kind(d_token=_D_TOKEN, bias=_BIAS, initialization=_INIT)
def tokenizer_num(site: Site, x: ArraySpec, d_token: int, bias: bool, initialization: str) -> nnx.Module:
    """A token per number: (batch, n) -> (batch, n, d_token), x_i * weight_i + bias_i."""
    x.need_ndim(2, what="(batch, feature)")
    return NumberTokens(x.size(1), d_token, bias=bias, init=initialization, rngs=site.rngs)


@layer_kind(
    codes="takes",
    d_token=_D_TOKEN,
    bias=_BIAS,
    initialization=_INIT,
    cardinalities=CARDINALITIES,
)
def tokenizer_categ(
    site: Site, x: ArraySpec, d_token: int, bias: bool, initialization: str, cardinalities: tuple[int, ...] | None
) -> nnx.Module:
    """A token per category code: (batch, n) -> (batch, n, d_token), from one table with a row per code.

    Code 0 is missing or unseen; its rows start at 0, and so do codes that are out of range use them.
    """
    x.need_ndim(2, what="(batch, feature)")
    need_codes(x)
    sizes = cardinalities_of(x, cardinalities)
    return CodeTokens(sizes, d_token, bias=bias, init=initialization, rngs=site.rngs)


def cardinalities_of(x: ArraySpec, given: tuple[int, ...] | None) -> tuple[int, ...]:
    """How many codes each column has, as given or as its input says.

    Raises:
      ShapeError: Neither says, or they do not fit each other.
    """
    sizes = given or x.cardinalities
    if sizes is None:
        raise ShapeError("needs the number of codes of each column: give 'cardinalities', code 0 included")
    if x.size(1) != len(sizes):
        raise ShapeError(f"has {len(sizes)} cardinalities, but its input {x} has {x.size(1)} columns")
    if given and x.cardinalities and any(a < b for a, b in zip(given, x.cardinalities, strict=True)):
        raise ShapeError(f"has cardinalities {given}, but the columns have {x.cardinalities} codes, code 0 included")
    return sizes


@layer_kind(
    codes="takes",
    embedding_dim=Field("int", low=1, doc="Size of a vector."),
    num_embeddings=Field(
        "int",
        None,
        low=1,
        optional=True,
        doc="Number of codes, code 0 (missing or unseen) included; None takes the task's, of the longest column.",
    ),
    init=Field(
        "str", "default", choices=INITIALIZERS, doc="How the vectors start; 'default' is N(0, 1), as in PyTorch."
    ),
)
def embedding(site: Site, x: ArraySpec, embedding_dim: int, num_embeddings: int | None, init: str) -> nnx.Module:
    """A learned vector per code: (batch, ...) -> (batch, ..., embedding_dim), from one table for all positions.

    Code 0 is missing or unseen: its vector starts at 0, and codes out of range are taken for it.
    """
    need_codes(x)
    n = num_embeddings or (max(x.cardinalities) if x.cardinalities else None)
    if n is None:
        raise ShapeError("needs the number of codes: give 'num_embeddings', code 0 included")
    initial = Normal(1.0) if init == "default" else kernel_initializer(init, n, embedding_dim)
    return Embedding(n, embedding_dim, init=initial, rngs=site.rngs)


@layer_kind(initialization=_INIT)
def ft_cls(site: Site, x: ArraySpec, initialization: str) -> nnx.Module:
    """Appends a learned token, in which a transformer gathers a row: (batch, n, d) -> (batch, n + 1, d)."""
    x.need_ndim(3, what=_TOKENS)
    return CLSToken(x.size(2), init=initialization, rngs=site.rngs)


GATES: dict[str, Callable[[Any], Any]] = {
    "reglu": jax.nn.relu,
    "geglu": exact_gelu,
    "swiglu": jax.nn.silu,
    "glu": jax.nn.sigmoid,
}


@dataclass(frozen=True)
class Gated:
    """The first half of the last axis times a function of the second half, by the gate's name."""

    name: str

    def __call__(self, x: Any) -> Any:
        """The gated half."""
        return gated(x, GATES[self.name])


def _norm_field(where: str) -> Field:
    return Field("str", "layer_norm", choices=NORMS, doc=f"Normalisation beside the {where}.")


@layer_kind(
    attention_n_heads=Field("int", 8, low=1, doc="Number of heads, which divides the size of a token."),
    attention_dropout=rate(0.2, "Probability that a weight of the attention becomes 0."),
    attention_initialization=Field(
        "str", "kaiming", choices=("kaiming", "xavier"), doc="How queries', keys' and values' maps start."
    ),
    attention_normalization=_norm_field("attention"),
    ffn_d_hidden=Field("int", None, low=1, optional=True, doc="Width of the feed-forward network."),
    ffn_d_hidden_multiplier=Field(
        "float", None, low=0, optional=True, doc="That width, as a multiple of the size of a token; by default 4/3."
    ),
    ffn_dropout=rate(0.1, "Probability that a hidden value of the feed-forward network becomes 0."),
    ffn_activation=Field(
        "str", "reglu", choices=(*GATES, *ACTIVATIONS), doc="Activation or gate of the feed-forward network."
    ),
    ffn_normalization=_norm_field("feed-forward network"),
    residual_dropout=rate(0.0, "Probability that a value becomes 0 before it is added to what went around."),
    prenormalization=Field("bool", True, doc="Whether norms come first in a branch, rather than behind the sum."),
    attention_bias=Field("bool", True, doc="Whether the attention's maps have a bias."),
    ffn_bias_first=Field("bool", True, doc="Whether the feed-forward network's first map has a bias."),
    ffn_bias_second=Field("bool", True, doc="Whether its second map has a bias."),
    query_idx=Field(
        "ints", None, optional=True, doc="Positions of the tokens that ask and are kept: -1 in the last block; or all."
    ),
    is_first_layer=Field("bool", False, doc="Whether it is the first block, which has no norm before its attention."),
)
def ft_transformer_block(site: Site, x: ArraySpec, **values: Any) -> nnx.Module:
    """Attention between tokens, then a feed-forward network on each: (batch, n, d) -> (batch, n, d).

    With query_idx only those tokens ask, and only they are kept (Gorishniy et al., 2021).
    """
    x.need_ndim(3, what=_TOKENS)
    d = x.size(2)
    n_heads, query, activation = values["attention_n_heads"], values["query_idx"], values["ffn_activation"]
    need_heads(d, n_heads, "attention_n_heads")
    if query is not None and isinstance(x.shape[1], int) and any(not -x.shape[1] <= i < x.shape[1] for i in query):
        raise ShapeError(f"has no token at one of the positions {query} (query_idx): its input is {x}")
    width, multiple = values["ffn_d_hidden"], values["ffn_d_hidden_multiplier"]
    if width is not None and multiple is not None:
        raise ConfigError(
            f"layer '{site.id or 'ft_transformer_block'}': give ffn_d_hidden or ffn_d_hidden_multiplier, not both."
        )
    options = FTBlockOptions(
        n_heads=n_heads,
        attention_init=values["attention_initialization"],
        attention_norm=values["attention_normalization"],
        ffn_norm=values["ffn_normalization"],
        d_hidden=width or int(d * (4 / 3 if multiple is None else multiple)),
        activation=Gated(activation) if activation in GATES else as_activation(activation),
        gated=activation in GATES,
        prenorm=values["prenormalization"],
        attention_bias=values["attention_bias"],
        ffn_bias_first=values["ffn_bias_first"],
        ffn_bias_second=values["ffn_bias_second"],
        query=query,
        first=values["is_first_layer"],
    )
    if options.d_hidden < 1:
        raise ShapeError(f"has a feed-forward network of width 0: tokens of size {d} times {multiple}")
    names = ("attention_dropout", "ffn_dropout", "residual_dropout", "residual_dropout")
    noises = tuple(noise(site, values[name], name, i) for i, name in enumerate(names))
    return FTBlock(d, options, noises, site.rngs)


def need_heads(d: int, n_heads: int, name: str) -> None:
    """Refuses a width that the heads do not divide.

    Raises:
      ShapeError: Shows both numbers.
    """
    if d % n_heads:
        raise ShapeError(f"needs tokens whose size is a multiple of its heads, but size {d}, {name} {n_heads}")


KINDS = (tokenizer_num, tokenizer_categ, embedding, ft_cls, ft_transformer_block)
