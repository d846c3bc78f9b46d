"""FT-Transformer as a learner."""

from typing import Any, ClassVar

from jdl.core.errors import ConfigError
from jdl.core.fields import Field
from jdl.learners.embedding_fields import embedding_fields, embedding_of
from jdl.learners.neural import COMMON
from jdl.learners.tabular import PREPROCESS, TabularLearner, optimizer_field, rate, refuse_both
from jdl.learners.task_type import ForClassif, ForRegrByLoss
from jdl.networks.ft_transformer import FTTransformer
from jdl.networks.tabular_specs import FTTransformerSpec
from jdl.train.optimizer import Optimizer

_SIZES = (
    "n_blocks", "d_block", "attention_n_heads", "ffn_d_hidden", "ffn_d_hidden_multiplier", "ffn_activation",
    "linformer_kv_compression_ratio", "linformer_kv_compression_sharing",
)  # fmt: skip
_BY_DEPTH = ("d_block", "attention_dropout", "ffn_dropout")
_EMBEDDING_FIELDS = {name: field for name, field in embedding_fields(None).items() if name != "d_embedding"}


class FTTransformerLearner(TabularLearner):
    """What classification and regression share; embeddings, norms of blocks and biases take no weight decay.

    `d_token=` is another name of `d_block=`.
    """

    refused: ClassVar[dict[str, str]] = {
        "d_embedding": "has no effect, since embeddings are tokens, of width 'd_block'.\nHint: d_block=64."
    }
    recipe: ClassVar[Any] = Optimizer.named("adamw", lr=1e-4, weight_decay=1e-5)
    fields: ClassVar[dict[str, Field]] = {
        "n_blocks": Field("int", 3, low=1, doc="Blocks; other sizes have defaults for 1 to 6."),
        "d_block": Field(
            "int", None, low=1, optional=True, doc="Width of a token, also called d_token; None: by n_blocks."
        ),
        "attention_n_heads": Field("int", 8, low=1, doc="Heads, which divide d_block."),
        "attention_dropout": Field(
            "float", None, low=0.0, high=1.0, optional=True, dynamic=True,
            doc="Dropout of attention weights; None: by n_blocks.",
        ),
        "ffn_d_hidden": Field("int", None, low=1, optional=True, doc="Width inside the feed-forward parts."),
        "ffn_d_hidden_multiplier": Field(
            "float", None, low=0.0, open_low=True, optional=True,
            doc="That width as a multiple of d_block; 4/3 where neither is given.",
        ),
        "ffn_activation": Field("str", "ReGLU", choices=("ReGLU", "ReLU"), doc="Inside the feed-forward parts."),
        "ffn_dropout": Field(
            "float", None, low=0.0, high=1.0, optional=True, dynamic=True,
            doc="Dropout inside the feed-forward parts; None: by n_blocks.",
        ),
        "residual_dropout": rate(0.0, "Dropout of what a block adds."),
        "linformer_kv_compression_ratio": Field(
            "float", None, low=0.0, high=1.0, open_low=True, optional=True,
            doc="Share of the tokens that keys and values are compressed to.",
        ),
        "linformer_kv_compression_sharing": Field(
            "str", None, choices=("headwise", "key-value"), optional=True, doc="What shares the compression."
        ),
        "preprocess": PREPROCESS,
    } | _EMBEDDING_FIELDS | COMMON | optimizer_field(recipe)  # fmt: skip

    def _split_names(self, given: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        if "d_token" in given:
            if "d_block" in given:
                raise ConfigError(
                    f"learner '{self.name}': 'd_token' is another name of 'd_block', got {given['d_token']} and "
                    f"{given['d_block']}.\nHint: leave one of them out."
                )
            given = {"d_block" if name == "d_token" else name: value for name, value in given.items()}
        return super()._split_names(given)

    def _check(self) -> None:
        super()._check()
        who = f"learner '{self.name}'"
        refuse_both(who, self.values, "ffn_d_hidden", "ffn_d_hidden_multiplier")
        self._check_compression(who)
        sizes = self._sizes()
        if sizes["d_block"] % sizes["attention_n_heads"]:
            raise ConfigError(
                f"{who}: 'd_block' must be a multiple of 'attention_n_heads', got {sizes['d_block']} and "
                f"{sizes['attention_n_heads']}.\nHint: d_block={sizes['attention_n_heads'] * 24}."
            )

    def _check_compression(self, who: str) -> None:
        names = ("linformer_kv_compression_ratio", "linformer_kv_compression_sharing")
        ratio, sharing = (self.values[name] for name in names)
        if (ratio is None) != (sharing is None):
            raise ConfigError(
                f"{who}: '{names[0]}' and '{names[1]}' go together, got {ratio!r} and {sharing!r}.\n"
                f"Hint: {names[0]}=0.5, {names[1]}='headwise', or neither."
            )

    def _sizes(self) -> dict[str, Any]:
        """All sizes and rates, those by depth included."""
        given = {name: self.values[name] for name in (*_SIZES, "attention_dropout", "ffn_dropout", "residual_dropout")}
        if all(given[name] is not None for name in _BY_DEPTH):
            return given
        defaults = FTTransformer.default_kwargs(given["n_blocks"])
        return given | {name: defaults[name] for name in _BY_DEPTH if given[name] is None}

    def dropouts(self) -> dict[str, float]:
        """The rates of dropout that are not 0, by name."""
        return {name: value for name, value in self._sizes().items() if name.endswith("dropout") and value}

    def default_batch_size(self, n_rows: int) -> int:
        """256, as in the package's recipe, for any number of rows; a shorter table is one batch."""
        del n_rows
        return 256

    def network(self) -> FTTransformerSpec:
        """The network's spec."""
        sizes = self._sizes()
        return FTTransformerSpec(
            sizes=tuple((name, sizes[name]) for name in _SIZES),
            dropouts=tuple(self.dropouts()),
            embedding=embedding_of(self.values),
        )


class ClassifFTTransformer(ForClassif, FTTransformerLearner):
    """FT-Transformer: features as tokens that attend to each other (Gorishniy et al., 2021).

    Norms, biases and their places are those of the published network: layer norms before each part of a block, but
    none before the first attention. As layers of a graph, `jdl.nn("ft_transformer_block")` has them as
    hyperparameters.

    >>> ClassifFTTransformer(n_blocks=2).get("attention_n_heads")
    8
    """

    name: ClassVar[str] = "classif.ft_transformer"


class RegrFTTransformer(ForRegrByLoss, FTTransformerLearner):
    """FT-Transformer: features as tokens that attend to each other (Gorishniy et al., 2021).

    Norms, biases and their places are those of the published network: layer norms before each part of a block, but
    none before the first attention. As layers of a graph, `jdl.nn("ft_transformer_block")` has them as
    hyperparameters.

    >>> RegrFTTransformer().get("opt.lr")
    0.0001
    """

    name: ClassVar[str] = "regr.ft_transformer"
