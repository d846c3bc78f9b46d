"""FT-Transformer: each feature becomes a token, and tokens attend to each other."""

from collections.abc import Iterable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from jdl.core.errors import ConfigError, ConfigTypeError, ShapeError
from jdl.networks.check import cardinalities, columns, positive, rate, some_features
from jdl.networks.embeddings import CategoricalEmbeddings, LinearEmbeddings, NumericEmbeddings
from jdl.networks.ft_parts import FeatureAttention, FeedForward, TokenBlock
from jdl.networks.initial import UniformFanIn
from jdl.networks.mlp import LayerNorm, linear
from jdl.networks.noise import OwnNoise, with_own_noise
from jdl.networks.paths import path_names
from jdl.networks.scan import in_turn
from jdl.networks.tab_resnet import hidden_width
from jdl.networks.torch_state import Slot, Slots, TorchModule, under

_D_BLOCK = (96, 128, 192, 256, 320, 384)
_ATTENTION_DROPOUT = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35)
_FFN_DROPOUT = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25)


class FTTransformer(TorchModule):
    """A token per feature and one for the output, blocks of attention, and a head on the output's token.

    What is not given takes the package's default for the number of blocks (`default_kwargs`).

    Args:
      n_cont_features: Number of numeric features.
      cat_cardinalities: Number of codes of each categorical feature.
      d_out: Number of outputs.
      n_blocks: Blocks; defaults for the other sizes are known for 1 to 6.
      d_block: Width of a token, a multiple of `attention_n_heads`.
      attention_n_heads: Heads.
      attention_dropout: Probability on the attention weights; 0 builds no dropout layer. Like the other two, a
        hyperparameter of its own name.
      ffn_d_hidden: Width inside the feed-forward parts.
      ffn_d_hidden_multiplier: `ffn_d_hidden` as a multiple of `d_block`; 4/3 where neither is given.
      ffn_dropout: Probability inside the feed-forward parts.
      ffn_activation: "ReGLU" or "ReLU".
      residual_dropout: Probability on what a block adds.
      linformer_kv_compression_ratio: Share of the tokens that keys and values are compressed to.
      linformer_kv_compression_sharing: "headwise" or "key-value".
      num_embeddings: A module of `jdl.networks.embeddings` with vectors of width `d_block`; linear by default.
      rngs: `nnx.Rngs`, or `HostRngs` to draw on the host.

    Raises:
      ConfigError: No features, a size below 1, a width that the heads do not divide, or a depth without defaults.

    References: Gorishniy et al., Revisiting Deep Learning Models for Tabular Data, 2021.

    >>> model = FTTransformer(n_cont_features=3, cat_cardinalities=[2], d_out=1, n_blocks=1, rngs=nnx.Rngs(0))
    >>> model.eval()
    >>> model(jnp.zeros((5, 3)), jnp.zeros((5, 1), int)).shape
    (5, 1)
    """

    def __init__(
        self,
        *,
        n_cont_features: int,
        cat_cardinalities: Sequence[int] | None = None,
        d_out: int,
        n_blocks: int = 3,
        d_block: int | None = None,
        attention_n_heads: int = 8,
        attention_dropout: float | None = None,
        ffn_d_hidden: int | None = None,
        ffn_d_hidden_multiplier: float | None = None,
        ffn_dropout: float | None = None,
        ffn_activation: str = "ReGLU",
        residual_dropout: float | None = 0.0,
        linformer_kv_compression_ratio: float | None = None,
        linformer_kv_compression_sharing: str | None = None,
        num_embeddings: NumericEmbeddings | None = None,
        rngs: Any,
    ):
        sizes = cardinalities("FTTransformer", cat_cardinalities)
        some_features("FTTransformer", n_cont_features, len(sizes), "n_cont_features")
        positive("FTTransformer", d_out=d_out, n_blocks=n_blocks, attention_n_heads=attention_n_heads)
        given = {"d_block": d_block, "attention_dropout": attention_dropout, "ffn_dropout": ffn_dropout}
        values = _with_defaults(n_blocks, given)
        d_block = int(values["d_block"])
        rates = {k: values[k] for k in ("attention_dropout", "ffn_dropout")} | {"residual_dropout": residual_dropout}
        d_hidden = hidden_width("FTTransformer", d_block, ffn_d_hidden, ffn_d_hidden_multiplier, 4 / 3)
        positive("FTTransformer", d_block=d_block, ffn_d_hidden=d_hidden)
        rate("FTTransformer", **rates)
        self.n_cont_features = n_cont_features
        self.cls_embedding = nnx.Param(UniformFanIn(d_block)(rngs.params(), (d_block,)))
        self.cont_embeddings = _numeric(num_embeddings, n_cont_features, d_block, rngs)
        self.cat_embeddings = CategoricalEmbeddings(sizes, d_block, rngs=rngs) if sizes else None
        blocks = []
        for i in range(n_blocks):
            attention = FeatureAttention(
                d_block,
                attention_n_heads,
                dropout=rates["attention_dropout"],
                n_tokens=1 + n_cont_features + len(sizes),
                compression_ratio=linformer_kv_compression_ratio,
                compression_sharing=linformer_kv_compression_sharing,
                layer=4 * i,
                rngs=rngs,
            )
            options: Any = {"activation": ffn_activation, "dropout": rates["ffn_dropout"], "layer": 4 * i + 1}
            ffn = FeedForward(d_block, d_hidden, rngs=rngs, **options)
            options = {"attention_norm": i > 0, "residual_dropout": residual_dropout, "layer": 4 * i + 2}
            blocks.append(TokenBlock(attention, ffn, d_block, rngs=rngs, **options))
        self.blocks = nnx.List(blocks)
        self.head_normalization = LayerNorm(d_block, rngs=rngs)
        self.head = linear(d_block, d_out, rngs)
        self.noise = OwnNoise(rngs, *rates.values())

    @classmethod
    def default_kwargs(cls, n_blocks: int = 3) -> dict[str, Any]:
        """The package's default arguments for 1 to 6 blocks.

        Raises:
          ConfigError: There are none for that number.

        >>> FTTransformer.default_kwargs(3)["d_block"]
        192
        """
        if not 1 <= n_blocks <= 6:
            raise ConfigError(
                f"FTTransformer: defaults are known for 1 to 6 blocks, got n_blocks={n_blocks}.\n"
                "Hint: give d_block, attention_dropout and ffn_dropout."
            )
        return {
            "n_blocks": n_blocks,
            "d_block": _D_BLOCK[n_blocks - 1],
            "attention_n_heads": 8,
            "attention_dropout": _ATTENTION_DROPOUT[n_blocks - 1],
            "ffn_d_hidden": None,
            "ffn_d_hidden_multiplier": 4 / 3,
            "ffn_dropout": _FFN_DROPOUT[n_blocks - 1],
            "residual_dropout": 0.0,
        }

    @with_own_noise
    def __call__(
        self,
        x_num: Float[Array, "row feature"] | None = None,
        x_cat: Int[Array, "row categorical"] | None = None,
    ) -> Float[Array, "row output"]:
        """Outputs for a batch of rows."""
        x = self._tokens(x_num, x_cat)
        first, *others = self.blocks
        if others:  # the last one computes less, and the first has no norm before its attention
            x = in_turn(others[:-1], first(x))
        x = self.blocks[-1](x, first_only=True)
        return self.head(nnx.relu(self.head_normalization(x[:, 0])))

    def _tokens(self, x_num: Any, x_cat: Any) -> Float[Array, "row token feature"]:
        n_cat = 0 if self.cat_embeddings is None else len(self.cat_embeddings.cardinalities)
        x_num = columns("FTTransformer", "x_num", x_num, self.n_cont_features, (2,))
        x_cat = columns("FTTransformer", "x_cat", x_cat, n_cat, (2,), codes=True)
        parts = []
        if self.cont_embeddings is not None:
            parts.append(self.cont_embeddings(x_num))
        if self.cat_embeddings is not None:
            parts.append(self.cat_embeddings(x_cat))
        if len({part.shape[0] for part in parts}) > 1:
            raise ShapeError(f"FTTransformer: x_num and x_cat must have equal rows, got {[p.shape[0] for p in parts]}.")
        cls = jnp.asarray(self.cls_embedding[...])
        cls = jnp.broadcast_to(cls[None, None], (parts[0].shape[0], 1, cls.shape[0]))
        return jnp.concatenate([cls, *parts], axis=1)

    def prepare(
        self,
        x_num: np.ndarray | None = None,
        x_cat: np.ndarray | None = None,
        key: Any = None,
        target: np.ndarray | None = None,
    ) -> None:
        """Fits the bins of the embeddings to the training rows, in place, in NumPy; nothing where there are none."""
        del x_cat, key
        if self.cont_embeddings is not None:
            assert x_num is not None
            self.cont_embeddings.prepare(np.asarray(x_num), target)

    @staticmethod
    def no_weight_decay(path: Iterable[Any]) -> bool:
        """Whether the parameter at `path` takes no weight decay.

        As in the package: the embeddings, the blocks' norms and all biases take none; the head's norm does.

        >>> FTTransformer.no_weight_decay(("blocks", 1, "ffn_normalization", "scale"))
        True
        >>> FTTransformer.no_weight_decay(("head_normalization", "scale"))
        False
        """
        names = path_names(path)
        embeddings = names[0] in ("cls_embedding", "cont_embeddings", "cat_embeddings")
        block_norm = names[0] == "blocks" and any(name.endswith("_normalization") for name in names)
        return embeddings or block_norm or names[-1] == "bias"

    def torch_slots(self) -> Slots:
        """Names of `rtdl_revisiting_models.FTTransformer`."""
        slots: Slots = {"cls_embedding.weight": Slot(self.cls_embedding)}
        slots |= under("cont_embeddings", self.cont_embeddings) | under("cat_embeddings", self.cat_embeddings)
        for i, block in enumerate(self.blocks):
            slots |= under(f"backbone.blocks.{i}", block)
        slots |= under("backbone.output.normalization", self.head_normalization)
        return slots | under("backbone.output.linear", self.head)


def _with_defaults(n_blocks: int, given: dict[str, Any]) -> dict[str, Any]:
    if all(value is not None for value in given.values()):
        return given
    defaults = FTTransformer.default_kwargs(n_blocks)
    return {name: defaults[name] if value is None else value for name, value in given.items()}


def _numeric(embeddings: Any, n_features: int, d_block: int, rngs: Any) -> NumericEmbeddings | None:
    if embeddings is None:
        return LinearEmbeddings(n_features, d_block, rngs=rngs) if n_features else None
    if not isinstance(embeddings, NumericEmbeddings):
        raise ConfigTypeError(
            "FTTransformer: num_embeddings must be a module of jdl.networks.embeddings or None, "
            f"got {type(embeddings).__name__}."
        )
    if embeddings.output_shape != (n_features, d_block):
        raise ConfigError(
            f"FTTransformer: num_embeddings must have shape ({n_features}, {d_block}), features and width of a "
            f"token, got {embeddings.output_shape}."
        )
    return embeddings
