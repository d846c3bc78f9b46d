"""Predictions: what a fitted learner says about rows, beside what is true of them."""

import abc
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, ClassVar, Self, overload

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Shaped

from jdl.core.errors import ConfigError, ConfigTypeError, ShapeError, TaskError, UnknownNameError

SHOWN_ROWS = 6


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(abc.ABC):
    """The contract of predictions: arrays with one entry per predicted row, none of which can be written to.

    Args:
      rows: Positions in the task as it was passed; a position may occur twice.
      truth: True values; None where the target is not known.
      response: Predicted values.
    """

    task_type: ClassVar[str]
    # The room of measures, which this room may not import, sets this when it is imported: it knows the names.
    resolve_measure: ClassVar[Callable[[Any], Any] | None] = None

    rows: Int[np.ndarray, "row"]
    truth: Shaped[np.ndarray, "row"] | None
    response: Shaped[np.ndarray, "row"]

    @property
    @abc.abstractmethod
    def predict_types(self) -> tuple[str, ...]:
        """What it holds: "response", "prob"."""

    @abc.abstractmethod
    def to_pandas(self) -> pd.DataFrame:
        """One row per predicted row; `truth` is missing where it is not known."""

    @overload
    def score(self, measures: str) -> float: ...
    @overload
    def score(self, measures: Sequence[Any]) -> dict[str, float]: ...
    @overload
    def score(self, measures: Any) -> float: ...
    def score(self, measures: Any) -> Any:
        """The score of one measure, or of a list of them a dict from id to score.

        Args:
          measures: A measure, its name, or a list or tuple of them.

        Raises:
          ConfigError: The truth is not known, the measure does not fit, or two measures have one id.
        """
        if not isinstance(measures, list | tuple):
            return self._resolve(measures).score(self)
        resolved = [self._resolve(measure) for measure in measures]
        ids = [measure.id for measure in resolved]
        if len(set(ids)) < len(ids):
            raise ConfigError(f"Prediction: needs measures with an id each, got {ids}.\nHint: pass another 'id'.")
        return {measure.id: measure.score(self) for measure in resolved}

    @staticmethod
    def _resolve(measure: Any) -> Any:
        if Prediction.resolve_measure is not None:
            return Prediction.resolve_measure(measure)
        if not isinstance(measure, type) and hasattr(measure, "score") and hasattr(measure, "id"):
            return measure
        raise ConfigTypeError(
            f"Prediction: needs a measure with 'id' and 'score', got {measure!r}.\n"
            "Hint: names of measures are known once jdl.measures is imported."
        )

    def known_truth(self) -> Shaped[np.ndarray, "row"]:
        """The truth.

        Raises:
          TaskError: It is not known.
        """
        if self.truth is None:
            raise TaskError(
                f"{type(self).__name__}: needs the true values, but the rows were predicted without a target.\n"
                "Hint: predict on a task, made of a frame that holds the target."
            )
        return self.truth

    def filter(self, rows: Any) -> Self:
        """The predictions of the given task rows, in the order they have here; rows without one are ignored.

        Args:
          rows: Positions in the task, or a mask with one entry per prediction.
        """
        wanted = np.asarray(rows)
        keep = wanted if wanted.dtype == bool else np.isin(self.rows, wanted)
        if keep.shape != self.rows.shape:
            raise ShapeError(
                f"Prediction.filter: the mask must have {len(self)} entries, got {wanted.shape}.\n"
                "Hint: pass positions of rows in the task instead."
            )
        arrays = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{n: a[keep] for n, a in arrays.items() if isinstance(a, np.ndarray)})

    def kind(self) -> tuple[Any, ...]:
        """All that it holds beside the values of its arrays: class, names of arrays, classes."""
        values = ((f.name, getattr(self, f.name)) for f in fields(self))
        return (
            type(self).__name__,
            *(name if isinstance(value, np.ndarray) else (name, value) for name, value in values),
        )

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        kinds = ", ".join(self.predict_types)
        title = f"{type(self).__name__} of {len(self)} rows ({kinds})"
        shown = self.filter(np.arange(len(self)) < SHOWN_ROWS).to_pandas().to_string(index=False)
        more = "\n..." if len(self) > SHOWN_ROWS else ""
        return f"{title}\n{shown}{more}"

    def _freeze(self, name: str, value: Any, n_columns: int | None = None) -> None:
        """Stores a read-only array after a check of its shape."""
        shape = (len(self.rows),) if n_columns is None else (len(self.rows), n_columns)
        if value.shape != shape:
            raise ShapeError(
                f"{type(self).__name__}: '{name}' must have shape {shape}, got {value.shape}.\n"
                "Hint: every array has one entry per row in 'rows'."
            )
        view = value.view()
        view.flags.writeable = False
        object.__setattr__(self, name, view)

    def _freeze_rows(self, weights: Any) -> None:
        object.__setattr__(self, "rows", np.asarray(self.rows).astype(np.int64, copy=False).reshape(-1))
        self._freeze("rows", self.rows)
        if weights is None:
            return
        array = np.asarray(weights, np.float64)
        if not (array >= 0).all():
            raise TaskError(f"{type(self).__name__}: 'weights' must be at least 0 and never missing.")
        self._freeze("weights", array)


@dataclass(frozen=True, eq=False, repr=False)
class PredictionClassif(Prediction):
    """Predicted classes, and their probabilities where the learner gives them.

    Args:
      rows: Positions in the task as it was passed.
      truth: True labels; None where the target is not known.
      response: Predicted labels; None takes the class of highest probability, of equal ones the first.
      prob: Probability of each class, columns as `class_names`.
      class_names: Labels of all classes, in the task's order.
      positive: Label of the positive class of a binary task; the last one if None.
      weights: Weight of each row in scores.

    Raises:
      ShapeError: Arrays that differ in their number of rows or classes.
      UnknownNameError: A label that is no class.

    >>> prob = [[0.9, 0.1], [0.5, 0.5]]
    >>> pred = PredictionClassif(rows=[3, 4], truth=["a", "b"], prob=prob, class_names=("a", "b"))
    >>> pred.response.tolist()
    ['a', 'a']
    >>> pred.confusion
    truth     a  b
    response
    a         1  1
    b         0  0
    """

    task_type: ClassVar[str] = "classif"

    rows: Int[np.ndarray, "row"]
    truth: Shaped[np.ndarray, "row"] | None = None
    response: Shaped[np.ndarray, "row"] = None  # type: ignore[assignment]
    prob: Float[np.ndarray, "row class"] | None = None
    class_names: tuple[Any, ...] = ()
    positive: Any = None
    weights: Float[np.ndarray, "row"] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_names", tuple(np.asarray(self.class_names, object).tolist()))
        self._freeze_rows(self.weights)
        if self.truth is not None:
            self._freeze("truth", np.asarray(self.truth))
        if self.prob is not None:
            prob = np.asarray(self.prob)
            prob = prob if np.issubdtype(prob.dtype, np.floating) else prob.astype(np.float64)
            self._freeze("prob", prob, len(self.class_names))
        if self.response is None:
            object.__setattr__(self, "response", self._most_probable())
        self._freeze("response", np.asarray(self.response))
        if self.positive is not None and self.positive not in self.class_names:
            raise UnknownNameError.of("class", self.positive, map(str, self.class_names))
        # Looked up once here, so that a label that is no class is refused at once.
        _ = self.response_codes, self.truth_codes

    def _most_probable(self) -> Shaped[np.ndarray, "row"]:
        if self.prob is None:
            raise ConfigError("PredictionClassif: needs 'response' or 'prob', got neither.")
        dtype = self.truth.dtype if self.truth is not None else np.asarray(self.class_names).dtype
        return np.asarray(self.class_names, dtype)[self.prob.argmax(axis=1)]

    @property
    def predict_types(self) -> tuple[str, ...]:
        """What it holds: "response", and "prob" where there are probabilities."""
        return ("response",) if self.prob is None else ("response", "prob")

    @property
    def n_classes(self) -> int:
        """Number of classes of the task."""
        return len(self.class_names)

    @property
    def positive_code(self) -> int:
        """Position of the positive class among the classes."""
        return self.n_classes - 1 if self.positive is None else self.class_names.index(self.positive)

    @cached_property
    def response_codes(self) -> Int[np.ndarray, "row"]:
        """Positions of the predicted labels among the classes."""
        return codes_of(self.response, self.class_names)

    @cached_property
    def truth_codes(self) -> Int[np.ndarray, "row"] | None:
        """Positions of the true labels among the classes; None where the target is not known."""
        return None if self.truth is None else codes_of(self.truth, self.class_names)

    @property
    def confusion(self) -> pd.DataFrame:
        """Counts of rows: predicted classes down, true classes across.

        Raises:
          TaskError: The truth is not known.
        """
        self.known_truth()
        n = self.n_classes
        counts = np.bincount(self.response_codes * n + self.truth_codes, minlength=n * n).reshape(n, n)
        labels = list(self.class_names)
        return pd.DataFrame(counts, index=pd.Index(labels, name="response"), columns=pd.Index(labels, name="truth"))

    def to_pandas(self) -> pd.DataFrame:
        """Columns rows, truth, response, `prob.<class>` for each class, and weights where there are some."""
        prob = {} if self.prob is None else dict(zip(self.class_names, self.prob.T, strict=True))
        columns = {
            "rows": self.rows,
            "truth": np.full(len(self), None) if self.truth is None else self.truth,
            "response": self.response,
            **{f"prob.{name}": column for name, column in prob.items()},
        }
        return pd.DataFrame(columns if self.weights is None else columns | {"weights": self.weights})


@dataclass(frozen=True, eq=False, repr=False)
class PredictionRegr(Prediction):
    """Predicted numbers.

    Args:
      rows: Positions in the task as it was passed.
      truth: True values; None where the target is not known.
      response: Predicted values, in the target's units.
      weights: Weight of each row in scores.
      se: Standard error of each row, in the target's units.
      quantiles: Predicted quantiles, a column for each of `levels`, in the target's units.
      levels: Which quantiles they are, between 0 and 1.

    Raises:
      ShapeError: Arrays that differ in their number of rows, or quantiles in their number of columns.

    >>> PredictionRegr(rows=[0, 1], truth=[1.0, 2.0], response=[1.5, 2.0])
    PredictionRegr of 2 rows (response)
     rows  truth  response
        0    1.0       1.5
        1    2.0       2.0
    """

    task_type: ClassVar[str] = "regr"

    rows: Int[np.ndarray, "row"]
    truth: Float[np.ndarray, "row"] | None
    response: Float[np.ndarray, "row"]
    weights: Float[np.ndarray, "row"] | None = None
    se: Float[np.ndarray, "row"] | None = None
    quantiles: Float[np.ndarray, "row level"] | None = None
    levels: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        self._freeze_rows(self.weights)
        if self.truth is not None:
            self._freeze("truth", np.asarray(self.truth, np.float64))
        self._freeze("response", np.asarray(self.response, np.float64))
        if self.se is not None:
            self._freeze("se", np.asarray(self.se, np.float64))
        if self.quantiles is not None:
            self._freeze("quantiles", np.asarray(self.quantiles, np.float64), len(self.levels))

    @property
    def predict_types(self) -> tuple[str, ...]:
        """What it holds: "response", and "se" or "quantiles" where there are some."""
        held = {"se": self.se, "quantiles": self.quantiles}
        return ("response", *(name for name, values in held.items() if values is not None))

    def to_pandas(self) -> pd.DataFrame:
        """Columns rows, truth, response, and se, `quantiles.<level>` and weights where there are some."""
        truth = np.full(len(self), np.nan) if self.truth is None else self.truth
        columns = {"rows": self.rows, "truth": truth, "response": self.response}
        if self.se is not None:
            columns["se"] = self.se
        if self.quantiles is not None:
            columns |= {f"quantiles.{q:g}": c for q, c in zip(self.levels, self.quantiles.T, strict=True)}
        return pd.DataFrame(columns if self.weights is None else columns | {"weights": self.weights})


def join_predictions(predictions: Iterable[Prediction]) -> Any:
    """All predictions one after the other, as one of the same class.

    Raises:
      ConfigError: None at all, or they hold different things (classes, predict types, truth, weights).

    >>> parts = [PredictionRegr(rows=[i], truth=[1.0], response=[2.0]) for i in (0, 1)]
    >>> join_predictions(parts).rows.tolist()
    [0, 1]
    """
    parts = list(predictions)
    if not parts:
        raise ConfigError("join_predictions: needs at least one prediction, got none.")
    kinds = {part.kind() for part in parts}
    if len(kinds) > 1:
        raise ConfigError(
            f"join_predictions: the predictions must hold the same things, got {'; '.join(sorted(map(repr, kinds)))}."
            "\nHint: join predictions of one task and one predict type."
        )
    names = [f.name for f in fields(parts[0]) if isinstance(getattr(parts[0], f.name), np.ndarray)]
    return replace(parts[0], **{n: np.concatenate([getattr(part, n) for part in parts]) for n in names})


def codes_of(labels: Shaped[np.ndarray, "row"], class_names: tuple[Any, ...]) -> Int[np.ndarray, "row"]:
    """Positions of labels among the classes.

    Raises:
      UnknownNameError: A label that is no class.

    >>> codes_of(np.array(["b", "a"]), ("a", "b")).tolist()
    [1, 0]
    """
    # As Python's own values, so that labels of equal value agree whatever dtype either side was stored in.
    positions = {name: i for i, name in enumerate(class_names)}
    codes = np.fromiter((positions.get(label, -1) for label in labels.tolist()), np.intp, len(labels))
    if (codes < 0).any():
        unknown = np.asarray(labels, object)[codes < 0][0]
        raise UnknownNameError.of("class", unknown, map(str, class_names), owner="the task")
    return codes
