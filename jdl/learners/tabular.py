"""What the learners of networks for tables share: preprocessing inside, numeric embeddings, validated training."""

from collections.abc import Mapping
from typing import Any, ClassVar

from jdl.core.errors import ConfigError, shown
from jdl.core.fields import Field
from jdl.data.selectors import type as of_type
from jdl.data.table import ColumnType
from jdl.learners.learner import ALL_TYPES
from jdl.learners.neural import VALIDATION_RATIO, NeuralLearner
from jdl.networks.embedding_spec import KINDS, EmbeddingSpec
from jdl.networks.embeddings.piecewise import BINNINGS
from jdl.pipeline.encode import Encode
from jdl.pipeline.impute import ImputeMean
from jdl.pipeline.missing_indicator import MissingIndicator
from jdl.pipeline.quantile_normal import QuantileNormal
from jdl.pipeline.remove_constants import RemoveConstants
from jdl.pipeline.scale import Scale
from jdl.pipeline.stage import Stage

_NUMBERS = of_type("int", "float")
# As in the recipes of TabM and FT-Transformer: gaps become the mean and an indicator, numbers are mapped to a normal
# distribution (a little noise spreads ties), constant columns become 0.
QUANTILES: tuple[Stage, ...] = (
    MissingIndicator(id="own_missind"),
    ImputeMean(id="own_imputemean"),
    Scale(columns=_NUMBERS, id="own_scale"),
    QuantileNormal(columns=_NUMBERS, noise=1e-3, id="own_quantilenormal"),
    RemoveConstants(id="own_removeconstants"),
)
ONE_HOT: tuple[Stage, ...] = (Encode(id="own_encode"),)

PREPROCESS = Field("bool", True, doc="Whether the learner imputes, transforms and encodes by itself, within each fold.")


# The kinds of embeddings that each of their hyperparameters acts on.
_WAVES, _BINNED = ("periodic", "pbld"), ("piecewise_linear",)
_ACTS_ON: dict[str, tuple[str, ...]] = {
    "d_embedding": KINDS,
    "n_frequencies": _WAVES,
    "frequency_init_scale": _WAVES,
    "lite": ("periodic",),
    "embedding_activation": _WAVES + _BINNED,
    "n_bins": _BINNED,
    "binning": _BINNED,
    "ple_version": _BINNED,
}


def embedding_fields(kind: str | None, n_bins: int = 48) -> dict[str, Field]:
    """Hyperparameters of numeric embeddings, with this kind and number of bins as defaults."""
    return {
        "num_embeddings": Field("str", kind, choices=KINDS, optional=True, doc="Embeddings of numeric columns."),
        "d_embedding": Field(
            "int", None, low=1, optional=True,
            doc="Width of an embedding; None: 16, linear_relu 32, periodic 24, pbld 4.",
        ),
        "n_frequencies": Field(
            "int", None, low=1, optional=True, doc="Of periodic embeddings and pbld; None: 48 and 16."
        ),
        "frequency_init_scale": Field(
            "float", None, low=0.0, open_low=True, optional=True,
            doc="Their first frequencies' deviation; None: 0.01 and 0.1.",
        ),
        "lite": Field("bool", False, doc="Whether periodic embeddings share one linear map."),
        "embedding_activation": Field(
            "bool", None, optional=True,
            doc="Whether ReLU follows periodic, pbld and piecewise-linear embeddings; None: periodic ones only.",
        ),
        "n_bins": Field("int", n_bins, low=2, doc="Most bins of piecewise-linear embeddings."),
        "binning": Field(
            "str", "quantile", choices=BINNINGS,
            doc="Their bins: quantiles of the training rows, or splits of a decision tree per column on the target.",
        ),
        "ple_version": Field("str", "B", choices=("A", "B"), doc="Version of them."),
    }  # fmt: skip


def embedding_of(values: dict[str, Any]) -> EmbeddingSpec | None:
    """The embeddings that these hyperparameters stand for."""
    if values["num_embeddings"] is None:
        return None
    return EmbeddingSpec(
        values["num_embeddings"],
        d_embedding=values.get("d_embedding"),
        n_frequencies=values["n_frequencies"],
        frequency_init_scale=values["frequency_init_scale"],
        lite=values["lite"],
        activation=values["embedding_activation"],
        n_bins=values["n_bins"],
        binning=values["binning"],
        version=values["ple_version"],
    )


def check_embedding(who: str, fields: Mapping[str, Field], values: dict[str, Any]) -> None:
    """Refuses embeddings that cannot be, and hyperparameters that do not act on the kind that is chosen.

    Raises:
      ConfigError: Names the hyperparameter and the kinds that it acts on.
    """
    kind = values["num_embeddings"]
    for name, kinds in _ACTS_ON.items():
        if name in values and kind not in kinds and not is_default(name, fields, values):
            raise ConfigError(
                f"{who}: '{name}' acts on num_embeddings {' and '.join(map(repr, kinds))}, but num_embeddings is "
                f"{kind!r}, got {name}={shown(values[name])}.\n"
                f"Hint: num_embeddings={kinds[0]!r}, or no '{name}'."
            )
    try:
        embedding_of(values)
    except ConfigError as error:
        raise type(error)(f"{who}: {error}") from None


def is_default(name: str, fields: Mapping[str, Field], values: dict[str, Any]) -> bool:
    """Whether a hyperparameter has its default, be it that nothing was given or the same."""
    return values[name] is None or values[name] == fields[name].default


class TabularLearner(NeuralLearner):
    """A learner that takes any table: mixed columns, missing values, unseen levels, constant columns.

    Where no epochs are given it holds a fifth of the rows back, and stops 16 evaluations after the best one.
    """

    network_types: ClassVar[tuple[ColumnType, ...]] = ALL_TYPES
    takes_missing_categories: ClassVar[bool] = True
    own_stages: ClassVar[tuple[Stage, ...]] = QUANTILES
    most_epochs: ClassVar[int] = 400
    # Names that others of these learners have and this one has not, with the reason.
    refused: ClassVar[dict[str, str]] = {}

    @property
    def feature_types(self) -> tuple[ColumnType, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """All types of columns; without preprocessing, those that the network takes."""
        return ALL_TYPES if self.values["preprocess"] else self.network_types

    @property
    def takes_missing(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether missing numbers are filled."""
        return self.values["preprocess"]

    @property
    def all_stages(self) -> tuple[Stage, ...]:
        """The stages before it, and its own preprocessing."""
        return self.stages + (self.own_stages if self.values["preprocess"] else ())

    def _split_names(self, given: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        for name, reason in self.refused.items():
            if name in given:
                raise ConfigError(f"learner '{self.name}': '{name}' {reason}")
        return super()._split_names(given)

    def _check(self) -> None:
        super()._check()
        check_embedding(f"learner '{self.name}'", self.fields, self.values)

    def default_epochs(self, n_rows: int, batch_size: int, validate: Any, patience: int | None) -> tuple[int, Any, int]:
        """As many epochs as it takes, with a fifth of the rows held back."""
        del n_rows, batch_size
        if patience is None:
            patience = 0 if validate == "test" else 16
        return self.most_epochs, VALIDATION_RATIO if validate is None else validate, patience

    def dropouts(self) -> dict[str, float]:
        """The rates of dropout that are not 0, by name."""
        return {n: v for n, v in self.values.items() if n.endswith(("dropout", "dropout1", "dropout2")) and v}

    def dynamic(self) -> dict[str, Any]:
        """The rates of dropout, where there is dropout."""
        return self.dropouts()


def rate(default: float, doc: str) -> Field:
    """A rate of dropout."""
    return Field("float", default, low=0.0, high=1.0, dynamic=True, doc=doc)


def optimizer_field(default: Any) -> dict[str, Field]:
    """The hyperparameter "optimizer" with this default."""
    return {"optimizer": Field("any", default, doc="An optimizer or its name.")}


def refuse_both(owner: str, values: dict[str, Any], one: str, other: str) -> None:
    """Refuses two hyperparameters that say the same thing.

    Raises:
      ConfigError: Both are given.
    """
    if values[one] is not None and values[other] is not None:
        raise ConfigError(
            f"{owner}: '{one}' and '{other}' exclude each other, got {values[one]} and {values[other]}.\n"
            "Hint: leave one of them out."
        )
