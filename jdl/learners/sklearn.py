"""scikit-learn estimators as learners, so that a comparison always has its baselines."""

import importlib
import warnings
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from jdl.core.errors import ConfigError, ConfigTypeError
from jdl.core.fields import REQUIRED, Field
from jdl.core.random import RandomKey
from jdl.data.prediction import codes_of
from jdl.data.table import ColumnType, Table, TableSpec
from jdl.learners.host import HostLearner
from jdl.learners.target import Target
from jdl.learners.task_type import ForClassif, ForRegr

SMALL = 200_000  # values, below which a fit is not worth a second thread
NUMERIC: tuple[ColumnType, ...] = ("bool", "int", "float")
KINDS = {"classif": "classifier", "regr": "regressor"}
_OTHER = {kind: task_type for task_type, kind in KINDS.items()}


class SklearnLearner(HostLearner):
    """What the adapters share: the estimator is cloned for every fit and gets a data frame with column names.

    Coded columns arrive as pandas categories, missing values as NaN. Where the estimator has a parameter
    `random_state` that is None, it is set from the key.
    """

    fields: ClassVar[dict[str, Field]] = {
        "estimator": Field("any", REQUIRED, doc="A scikit-learn estimator; it is cloned, never changed.")
    }

    def _check(self) -> None:
        estimator = self.values["estimator"]
        if isinstance(estimator, type) or not hasattr(estimator, "fit") or not hasattr(estimator, "get_params"):
            raise ConfigTypeError(
                f"learner '{self.name}': 'estimator' must be a scikit-learn estimator, got {estimator!r}.\n"
                "Hint: an object, such as LogisticRegression(), not a class."
            )
        if self.predict_type == "prob" and not hasattr(estimator, "predict_proba"):
            raise ConfigError(
                f"learner '{self.name}': predict_type='prob' needs an estimator with predict_proba, got "
                f"{type(estimator).__name__}.\nHint: CalibratedClassifierCV wraps it, or predict_type='response'."
            )
        kind, wanted = _kind(estimator), KINDS[self.task_type]
        if kind not in (None, wanted):
            raise ConfigError(
                f"learner '{self.name}': 'estimator' must be a {wanted}, got the {kind} {estimator!r}.\n"
                + (f"Hint: jdl.lrn('{_OTHER[kind]}.sklearn', ...)." if kind in _OTHER else "Hint: take another one.")
            )
        self._check_values()

    def _check_values(self) -> None:
        """Refuses values that scikit-learn would refuse when it fits."""
        estimator = self.estimator()
        if not hasattr(estimator, "_parameter_constraints"):
            # Estimators of others need not declare what they take.
            return
        try:
            estimator._validate_params()
        except ValueError as error:
            raise ConfigError(f"learner '{self.name}': {error}") from error

    def estimator(self) -> Any:
        """The estimator that is cloned for each fit."""
        return self.values["estimator"]

    def fit(self, spec: TableSpec, table: Table, target: Target, key: RandomKey) -> Any:
        """A fitted clone. It gets the task's own labels, as its `class_weight` or the like may name them."""
        from sklearn.base import clone

        estimator: Any = clone(self.estimator())
        seeds = {
            name: key.seed(name) % 2**31
            for name, value in estimator.get_params().items()
            if name.rpartition("__")[2] == "random_state" and value is None
        }
        weights = {} if target.weights is None else {"sample_weight": target.weights}
        with _few_threads(table):
            return estimator.set_params(**seeds).fit(as_frame(spec, table), target.labels, **weights)

    @property
    def takes_weights(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether the estimator's `fit` takes `sample_weight`."""
        from sklearn.utils.validation import has_fit_parameter

        return has_fit_parameter(self.estimator(), "sample_weight")

    def _fitter(self) -> str:
        return f"the estimator {type(self.estimator()).__name__}"

    def outputs(self, model: Any, spec: TableSpec, table: Table, class_names: tuple[Any, ...]) -> np.ndarray:
        """Probabilities of all classes (of those that the training rows had none of: 0), or values."""
        with _few_threads(table):
            return self._outputs(model, as_frame(spec, table), class_names)

    def _outputs(self, model: Any, frame: pd.DataFrame, class_names: tuple[Any, ...]) -> np.ndarray:
        if not class_names:
            return np.asarray(model.predict(frame), np.float64)
        prob = np.zeros((len(frame), len(class_names)))
        known = codes_of(np.asarray(model.classes_), class_names)
        if len(known) == 1:
            prob[:, known] = 1.0
        elif self.predict_type == "prob":
            prob[:, known] = model.predict_proba(frame)
        else:
            prob[np.arange(len(frame)), codes_of(np.asarray(model.predict(frame)), class_names)] = 1.0
        return prob


def _kind(estimator: Any) -> str | None:
    """What scikit-learn takes the estimator for; None where it says nothing, as estimators of others may."""
    from sklearn.utils import get_tags

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return get_tags(estimator).estimator_type
    except Exception:  # whatever an estimator without tags raises
        return getattr(estimator, "_estimator_type", None)


def _few_threads(table: Table) -> AbstractContextManager[Any]:
    """One thread for small tables: more only wait for each other, for minutes on a machine that is busy."""
    if table.numeric.size + table.codes.size >= SMALL:
        return nullcontext()
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1)


def as_frame(spec: TableSpec, table: Table) -> pd.DataFrame:
    """A data frame with the table's columns: float64, and categories for coded columns."""
    frame = pd.DataFrame(np.asarray(table.numeric, np.float64), columns=pd.Index([c.name for c in spec.numeric]))
    for column, codes in zip(spec.categorical, np.asarray(table.codes).T, strict=True):
        frame[column.name] = pd.Categorical.from_codes(
            codes - 1, categories=list(column.levels), ordered=column.type == "ordered"
        )
    return frame


class ClassifSklearn(ForClassif, SklearnLearner):
    """Any scikit-learn classifier.

    >>> from sklearn.naive_bayes import GaussianNB
    >>> ClassifSklearn(estimator=GaussianNB()).id
    'classif.sklearn'
    """

    name: ClassVar[str] = "classif.sklearn"


class RegrSklearn(ForRegr, SklearnLearner):
    """Any scikit-learn regressor.

    >>> from sklearn.linear_model import Ridge
    >>> RegrSklearn(estimator=Ridge()).id
    'regr.sklearn'
    """

    name: ClassVar[str] = "regr.sklearn"


class ReadyMade(SklearnLearner):
    """An adapter whose estimator is known: its hyperparameters are the estimator's own."""

    import_path: ClassVar[tuple[str, str]]
    defaults: ClassVar[dict[str, Any]] = {}

    @property
    def fields(self) -> dict[str, Field]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The estimator's parameters with its defaults."""
        return _fields_of(type(self))

    def _check(self) -> None:
        self._check_values()

    def estimator(self) -> Any:
        """The estimator with the learner's hyperparameters."""
        return _estimator_class(type(self))(**self.values)


@cache
def _fields_of(learner: type[ReadyMade]) -> dict[str, Field]:
    values = _estimator_class(learner)().get_params() | learner.defaults
    return {name: Field("any", value) for name, value in values.items()}


def _estimator_class(learner: type[ReadyMade]) -> Any:
    module, name = learner.import_path
    return getattr(importlib.import_module(module), name)


class ClassifLogReg(ForClassif, ReadyMade):
    """Logistic regression (scikit-learn's `LogisticRegression`, up to 1000 iterations)."""

    name: ClassVar[str] = "classif.log_reg"
    feature_types: ClassVar[tuple[ColumnType, ...]] = NUMERIC
    takes_missing: ClassVar[bool] = False
    import_path: ClassVar[tuple[str, str]] = ("sklearn.linear_model", "LogisticRegression")
    defaults: ClassVar[dict[str, Any]] = {"max_iter": 1000}


class RegrLm(ForRegr, ReadyMade):
    """Linear regression by least squares (scikit-learn's `LinearRegression`)."""

    name: ClassVar[str] = "regr.lm"
    feature_types: ClassVar[tuple[ColumnType, ...]] = NUMERIC
    takes_missing: ClassVar[bool] = False
    import_path: ClassVar[tuple[str, str]] = ("sklearn.linear_model", "LinearRegression")


class ClassifRandomForest(ForClassif, ReadyMade):
    """Random forest (scikit-learn's `RandomForestClassifier`); takes missing values."""

    name: ClassVar[str] = "classif.random_forest"
    feature_types: ClassVar[tuple[ColumnType, ...]] = NUMERIC
    import_path: ClassVar[tuple[str, str]] = ("sklearn.ensemble", "RandomForestClassifier")


class RegrRandomForest(ForRegr, ReadyMade):
    """Random forest (scikit-learn's `RandomForestRegressor`); takes missing values."""

    name: ClassVar[str] = "regr.random_forest"
    feature_types: ClassVar[tuple[ColumnType, ...]] = NUMERIC
    import_path: ClassVar[tuple[str, str]] = ("sklearn.ensemble", "RandomForestRegressor")


class ClassifHistGradientBoosting(ForClassif, ReadyMade):
    """Gradient-boosted trees on binned columns; takes categories and missing values."""

    name: ClassVar[str] = "classif.hist_gradient_boosting"
    import_path: ClassVar[tuple[str, str]] = ("sklearn.ensemble", "HistGradientBoostingClassifier")


class RegrHistGradientBoosting(ForRegr, ReadyMade):
    """Gradient-boosted trees on binned columns; takes categories and missing values."""

    name: ClassVar[str] = "regr.hist_gradient_boosting"
    import_path: ClassVar[tuple[str, str]] = ("sklearn.ensemble", "HistGradientBoostingRegressor")
