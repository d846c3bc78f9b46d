"""What the learners of networks for tables share: preprocessing inside, numeric embeddings, validated training."""

from typing import Any, ClassVar

from jdl.core.errors import ConfigError
from jdl.core.fields import Field
from jdl.data.selectors import type as of_type
from jdl.data.table import NUMERIC_TYPES, ColumnType
from jdl.learners.embedding_fields import cat_width, check_cat_embedding, check_embedding
from jdl.learners.learner import ALL_TYPES
from jdl.learners.neural import VALIDATION_RATIO, NeuralLearner
from jdl.measures.catalogue import as_measures
from jdl.measures.measure import Measure
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


class TabularLearner(NeuralLearner):
    """A learner that takes any table: mixed columns, missing values, unseen levels, constant columns.

    Where no epochs are given it holds a fifth of the rows back, and stops 16 evaluations after the best one. The best
    one has the least classification error or RMSE, or is chosen by the first of `measures_valid`; where a loss is
    given, by the loss.
    """

    own_stages: ClassVar[tuple[Stage, ...]] = QUANTILES
    most_epochs: ClassVar[int] = 400
    # By which the best epoch is chosen in the published recipes, by type of task; none: by the validation loss.
    decisive: ClassVar[dict[str, str]] = {"classif": "classif.ce", "regr": "regr.rmse"}
    # Names that others of these learners have and this one has not, with the reason.
    refused: ClassVar[dict[str, str]] = {}

    @property
    def takes_codes(self) -> bool:
        """Whether the network sees coded columns, in which code 0 stands for missing and unseen levels."""
        return True

    @property
    def feature_types(self) -> tuple[ColumnType, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """All types of columns; without preprocessing, those that the network takes."""
        return ALL_TYPES if self.values["preprocess"] or self.takes_codes else NUMERIC_TYPES

    @property
    def takes_missing_categories(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether the network has a code for them."""
        return self.takes_codes

    @property
    def takes_missing(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether missing numbers are filled."""
        return self.values["preprocess"]

    @property
    def all_stages(self) -> tuple[Stage, ...]:
        """The stages before it, and its own preprocessing."""
        if not self.values["preprocess"]:
            return self.stages
        return self.stages + self.own_stages + (() if self.takes_codes else ONE_HOT)

    def _split_names(self, given: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        for name, reason in self.refused.items():
            if name in given:
                raise ConfigError(f"learner '{self.name}': '{name}' {reason}")
        return super()._split_names(given)

    def _check(self) -> None:
        super()._check()
        check_embedding(f"learner '{self.name}'", self.fields, self.values)

    def measures_valid(self) -> tuple[Measure, ...]:
        """Those given, or the one by which the recipe chooses, which says nothing about a loss of the user's."""
        given, name = self.values["measures_valid"], self.decisive.get(self.task_type)
        return given if given or name is None or self.values["loss"] is not None else tuple(as_measures([name]))

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


class FlatLearner(TabularLearner):
    """A learner whose network takes one flat array: categories are columns of it, one-hot or embedded."""

    @property
    def takes_codes(self) -> bool:
        """Where categories are embedded; else the preprocessing encodes them."""
        return cat_width(self.values) is not None

    def _check(self) -> None:
        super()._check()
        check_cat_embedding(f"learner '{self.name}'", self.values)


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
