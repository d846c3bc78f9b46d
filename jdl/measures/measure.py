"""The contract of a measure: one number for how well predictions fit the truth.

A measure is a formula over arrays. `score` applies it to a `Prediction` on the host, in float64; `compute` is
the same formula in NumPy or JAX, to be jitted and vmapped. Rows of weight 0 are padding: they may hold anything.
A score that is not defined is NaN, and never a warning: of no row at all, of a row whose output is NaN, and where
the measure says so.
"""

import abc
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, Self

import numpy as np
from jaxtyping import Float, Int

from jdl.core.arrays import namespace
from jdl.core.errors import ConfigError, ConfigTypeError, ShapeError, UnknownNameError
from jdl.core.fields import Field, check_values
from jdl.data.prediction import Prediction, PredictionClassif
from jdl.measures.sums import row_weights, without_absent

Scalar = Float[Any, ""]


@dataclass(frozen=True, kw_only=True)
class Measure(abc.ABC):
    """A frozen, hashable formula and what must be known of it.

    Args:
      id: Name of its scores in results.
    """

    task_type: ClassVar[Literal["classif", "regr"]]
    minimize: ClassVar[bool]
    predict_type: ClassVar[Literal["response", "prob"]]
    range: ClassVar[tuple[float, float]]
    binary_only: ClassVar[bool] = False
    fields: ClassVar[dict[str, Field]] = {}

    id: str

    def __new__(cls, *args: Any, **given: Any) -> Self:
        """Refuses what a dataclass would answer with a bare TypeError."""
        names = [f.name for f in fields(cls)]
        default_id = getattr(cls, "id", cls.__name__)
        if args:
            raise ConfigTypeError(f"Measure '{default_id}': hyperparameters are given by name: {names}.")
        for name in given:
            if name not in names:
                raise UnknownNameError.of("hyperparameter", name, names, owner=f"measure '{default_id}'")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in self.fields}
        for name, value in check_values(f"Measure '{self.id}'", self.fields, given).items():
            object.__setattr__(self, name, value)

    @abc.abstractmethod
    def compute(self, truth: Any, output: Any, weights: Any = None, *, positive: int = 1) -> Scalar:
        """The score of arrays, in NumPy or JAX.

        Args:
          truth: Class codes, or target values.
          output: Predicted values, or class probabilities with a column per class (also where only the
            response is scored: it is the class of highest probability, of equal ones the first).
          weights: Weight of each row; 0 is padding.
          positive: Code of the positive class.

        Raises:
          ShapeError: Arrays that do not fit together.
          ConfigError: More than two classes for a binary measure.
        """

    @abc.abstractmethod
    def score(self, prediction: Prediction) -> float:
        """The score of a prediction, with its weights where it has some.

        Raises:
          ConfigError: The measure does not fit the prediction.
          TaskError: The truth is not known.
        """

    def check(self, task_type: str, n_classes: int = 0, predict_type: str = "prob") -> None:
        """Refuses a task or a predict type that the measure cannot score.

        Args:
          task_type: "classif" or "regr".
          n_classes: Classes of the task; of no meaning in regression.
          predict_type: The richest predict type there will be.

        Raises:
          ConfigError: It cannot.
        """
        who = f"Measure '{self.id}'"
        if task_type != self.task_type:
            raise ConfigError(
                f"{who} is for {self.task_type} tasks, got a {task_type} task.\n"
                f"Hint: take a measure whose name begins with '{task_type}.'."
            )
        if self.binary_only and n_classes != 2:
            raise ConfigError(
                f"{who} needs a binary task, got one with {n_classes} classes.\n"
                "Hint: take a measure for any number of classes ('classif.logloss', 'classif.mbrier', "
                "'classif.bacc', 'classif.mcc'), or make two classes of the target."
            )
        if self.predict_type == "prob" and predict_type != "prob" and task_type == "classif":
            raise ConfigError(
                f"{who} needs class probabilities, got predict type '{predict_type}'.\n"
                "Hint: give the learner predict_type='prob', or take a measure of the response "
                "('classif.acc', 'classif.bacc', 'classif.mcc')."
            )


@dataclass(frozen=True, kw_only=True)
class LabelMeasure(Measure):
    """A measure of predicted labels."""

    task_type: ClassVar[Literal["classif", "regr"]] = "classif"
    predict_type: ClassVar[Literal["response", "prob"]] = "response"

    @abc.abstractmethod
    def formula(
        self,
        xp: Any,
        truth: Int[Any, "row"],
        response: Int[Any, "row"],
        weights: Float[Any, "row"],
        *,
        n_classes: int,
        positive: int,
    ) -> Scalar:
        """The score in the array namespace `xp`; codes of rows of weight 0 are 0."""

    def from_codes(
        self, truth: Any, response: Any, weights: Any = None, *, n_classes: int, positive: int = 1
    ) -> Scalar:
        """The score of class codes, in NumPy or JAX.

        Raises:
          ShapeError: Arrays that do not fit together.
          ConfigError: More than two classes for a binary measure.
        """
        _same_shape(self.id, truth, response, ndim=1)
        self.check("classif", n_classes)
        xp = namespace(truth, response, weights)
        weights = row_weights(xp, weights, len(truth))
        truth = without_absent(xp, truth, weights, 0)
        response = without_absent(xp, response, weights, 0)
        with np.errstate(all="ignore"):
            score = self.formula(xp, truth, response, weights, n_classes=n_classes, positive=positive)
        return xp.where(weights.sum() > 0, score, xp.nan)

    def compute(self, truth: Any, output: Any, weights: Any = None, *, positive: int = 1) -> Scalar:
        """The score of class probabilities; see `Measure.compute`."""
        _same_shape(self.id, truth, output, ndim=2)
        xp = namespace(truth, output, weights)
        n_classes = output.shape[1]
        score = self.from_codes(truth, output.argmax(axis=1), weights, n_classes=n_classes, positive=positive)
        return _nan_if_broken(xp, score, output, weights)

    def score(self, prediction: Prediction) -> float:
        """The score of the predicted labels; see `Measure.score`."""
        of = _classif(self, prediction)
        score = self.from_codes(
            of.truth_codes, of.response_codes, of.weights, n_classes=of.n_classes, positive=of.positive_code
        )
        # The label of a row whose probabilities are NaN is that of the first class, and tells nothing.
        return float(score if of.prob is None else _nan_if_broken(np, score, of.prob, of.weights))


@dataclass(frozen=True, kw_only=True)
class ProbMeasure(Measure):
    """A measure of class probabilities."""

    task_type: ClassVar[Literal["classif", "regr"]] = "classif"
    predict_type: ClassVar[Literal["response", "prob"]] = "prob"

    @abc.abstractmethod
    def formula(
        self,
        xp: Any,
        truth: Int[Any, "row"],
        prob: Float[Any, "row class"],
        weights: Float[Any, "row"],
        *,
        positive: int,
    ) -> Scalar:
        """The score in the array namespace `xp`; rows of weight 0 hold code 0 and equal probabilities."""

    def compute(self, truth: Any, output: Any, weights: Any = None, *, positive: int = 1) -> Scalar:
        """The score of class probabilities; see `Measure.compute`."""
        _same_shape(self.id, truth, output, ndim=2)
        n_classes = output.shape[1]
        self.check("classif", n_classes)
        xp = namespace(truth, output, weights)
        weights = row_weights(xp, weights, len(truth))
        with np.errstate(all="ignore"):
            score = self.formula(
                xp,
                without_absent(xp, truth, weights, 0),
                without_absent(xp, output, weights, 1 / n_classes),
                weights,
                positive=positive,
            )
        return _nan_if_broken(xp, score, output, weights)

    def score(self, prediction: Prediction) -> float:
        """The score of the predicted probabilities; see `Measure.score`."""
        of = _classif(self, prediction)
        return float(self.compute(of.truth_codes, of.prob, of.weights, positive=of.positive_code))


@dataclass(frozen=True, kw_only=True)
class NumberMeasure(Measure):
    """A measure of predicted numbers.

    `shift_invariant` says that adding a number to truth and response alike changes no score. Training then scores
    about the mean of the target, where float32 has the most digits; else in the target's own units.
    """

    task_type: ClassVar[Literal["classif", "regr"]] = "regr"
    predict_type: ClassVar[Literal["response", "prob"]] = "response"
    shift_invariant: ClassVar[bool] = False

    @abc.abstractmethod
    def formula(
        self, xp: Any, truth: Float[Any, "row"], response: Float[Any, "row"], weights: Float[Any, "row"]
    ) -> Scalar:
        """The score in the array namespace `xp`; rows of weight 0 hold 0."""

    def compute(self, truth: Any, output: Any, weights: Any = None, *, positive: int = 1) -> Scalar:
        """The score of predicted values; see `Measure.compute`."""
        del positive
        _same_shape(self.id, truth, output, ndim=1)
        xp = namespace(truth, output, weights)
        truth, output = xp.asarray(truth, float), xp.asarray(output, float)
        weights = row_weights(xp, weights, len(truth))
        with np.errstate(all="ignore"):
            score = self.formula(
                xp, without_absent(xp, truth, weights, 0), without_absent(xp, output, weights, 0), weights
            )
        return _nan_if_broken(xp, score, output, weights)

    def score(self, prediction: Prediction) -> float:
        """The score of the predicted values; see `Measure.score`."""
        self.check(prediction.task_type)
        weights = getattr(prediction, "weights", None)
        return float(self.compute(prediction.known_truth(), prediction.response, weights))


def _classif(measure: Measure, prediction: Prediction) -> PredictionClassif:
    """The prediction, if the measure can score it."""
    n_classes = prediction.n_classes if isinstance(prediction, PredictionClassif) else 0
    measure.check(prediction.task_type, n_classes, prediction.predict_types[-1])
    prediction.known_truth()
    assert isinstance(prediction, PredictionClassif)
    return prediction


def _same_shape(who: str, truth: Any, output: Any, *, ndim: int) -> None:
    if truth.ndim != 1 or output.ndim != ndim or len(truth) != len(output):
        shape = "(n,)" if ndim == 1 else "(n, n_classes)"
        raise ShapeError(
            f"Measure '{who}': needs truth of shape (n,) and output of shape {shape}, "
            f"got {truth.shape} and {output.shape}."
        )


def _nan_if_broken(xp: Any, score: Scalar, output: Any, weights: Any) -> Scalar:
    """The score; NaN if a row that counts has a NaN output, or if no row counts.

    A network that diverged answers NaN, whose highest class or rank would be some number.
    """
    weights = row_weights(xp, weights, len(output))
    broken = xp.isnan(without_absent(xp, output, weights, 0)).any()
    return xp.where(broken | (weights.sum() <= 0), xp.nan, score)
