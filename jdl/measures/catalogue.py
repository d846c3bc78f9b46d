"""Names of measures."""

from typing import Any

from jdl.core.catalogue import Catalogue
from jdl.core.errors import ConfigError, ConfigTypeError
from jdl.measures.auc import AreaUnderRoc
from jdl.measures.label import Accuracy, BalancedAccuracy, ClassificationError, FBeta, MatthewsCorrelation
from jdl.measures.measure import Measure
from jdl.measures.number import MeanAbsoluteError, MeanSquaredError, RootMeanSquaredError, RSquared
from jdl.measures.prob import BinaryBrier, LogLoss, MulticlassBrier

MEASURES = Catalogue(
    "measure",
    {
        "classif.acc": Accuracy,
        "classif.ce": ClassificationError,
        "classif.bacc": BalancedAccuracy,
        "classif.auc": AreaUnderRoc,
        "classif.logloss": LogLoss,
        "classif.bbrier": BinaryBrier,
        "classif.mbrier": MulticlassBrier,
        "classif.mcc": MatthewsCorrelation,
        "classif.fbeta": FBeta,
        "regr.mse": MeanSquaredError,
        "regr.rmse": RootMeanSquaredError,
        "regr.mae": MeanAbsoluteError,
        "regr.rsq": RSquared,
    },
)


def as_measure(measure: Any) -> Measure:
    """The measure itself, or the one of that name.

    Raises:
      UnknownNameError: No measure has the name.
      ConfigTypeError: Neither a measure nor a name.

    >>> as_measure("classif.acc")
    Accuracy(id='classif.acc')
    """
    if isinstance(measure, Measure):
        return measure
    if isinstance(measure, str):
        return MEASURES.make(measure)
    hint = f"{measure.__name__}()" if isinstance(measure, type) else "'classif.acc'"
    raise ConfigTypeError(f"A measure or its name is needed, got {measure!r}.\nHint: pass {hint}.")


def as_measures(measures: Any) -> tuple[Measure, ...]:
    """One measure or several, by themselves or by name, as a tuple.

    Raises:
      ConfigError: Two of them have one id.

    >>> [m.id for m in as_measures(["classif.acc", "classif.auc"])]
    ['classif.acc', 'classif.auc']
    """
    made = tuple(map(as_measure, measures if isinstance(measures, list | tuple) else [measures]))
    ids = [measure.id for measure in made]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        raise ConfigError(
            f"Measures must have an id each, got {', '.join(map(repr, twice))} more than once.\n"
            "Hint: give one of them another id, such as id='classif.f2'."
        )
    return made
