"""What a resampling gives: predictions, scores, statuses, timings."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, overload

import numpy as np
import pandas as pd

from jdl.core.errors import ConfigError, JdlWarning
from jdl.data.prediction import Prediction, join_predictions
from jdl.data.splits import Splits
from jdl.data.task import Task
from jdl.learners.learner import FittedLearner, Learner, Outcome
from jdl.learners.target import Target
from jdl.measures.catalogue import as_measures
from jdl.measures.measure import Measure

Average = Literal["macro", "micro"]


@dataclass(frozen=True, repr=False, eq=False)
class ResampleResult:
    """All iterations of a resampling.

    Args:
      task: The data.
      learner: The learner, as it was passed.
      resampling: The splitter.
      splits: Training and test rows by iteration.
      outcomes: Fitted learner, prediction, status and timings by iteration.
      plan: How the iterations were run, in words.
      seconds: Wall time of all.
    """

    task: Task
    learner: Learner
    resampling: Any
    splits: Splits
    outcomes: tuple[Outcome, ...]
    plan: str
    seconds: float

    @property
    def n_iterations(self) -> int:
        """Number of iterations."""
        return len(self.outcomes)

    @property
    def predictions(self) -> list[Prediction | None]:
        """The prediction of each iteration; None where it failed."""
        return [outcome.prediction for outcome in self.outcomes]

    @cached_property
    def prediction(self) -> Prediction:
        """All predictions joined, with a warning that names the iterations that have none.

        Raises:
          JdlError: No iteration succeeded.
        """
        absent = [f"{i} ({o.status})" for i, o in enumerate(self.outcomes) if o.prediction is None]
        if 0 < len(absent) < self.n_iterations:
            warnings.warn(
                f"prediction: without iteration {_shortened(absent)} of learner '{self.learner.id}' on task "
                f"'{self.task.id}'.",
                JdlWarning,
                stacklevel=3,
            )
        return join_predictions(p for p in self.predictions if p is not None)

    @property
    def fitted(self) -> list[FittedLearner | None]:
        """The fitted learner of each iteration; None where fitting failed."""
        return [outcome.fitted for outcome in self.outcomes]

    @property
    def optimistic(self) -> bool:
        """Whether test rows took part in training, so that scores are too good."""
        return any(getattr(fitted, "optimistic", False) for fitted in self.fitted)

    @property
    def timings(self) -> pd.DataFrame:
        """Seconds by iteration: compiling, training, predicting.

        Iterations that run in one program share its time equally; their training time holds predicting too.
        """
        return pd.DataFrame(
            {
                "iteration": np.arange(self.n_iterations),
                "compile": [o.compile_seconds for o in self.outcomes],
                "train": [o.train_seconds for o in self.outcomes],
                "predict": [o.predict_seconds for o in self.outcomes],
            }
        )

    @property
    def compile_seconds(self) -> float:
        """Seconds spent on compiling, in all."""
        return sum(o.compile_seconds for o in self.outcomes)

    @property
    def run_seconds(self) -> float:
        """Seconds that compiled programs (or host learners) ran, in all."""
        return sum(o.train_seconds + o.predict_seconds for o in self.outcomes)

    def score(self, measures: "Measure | str | Sequence[Measure | str]") -> pd.DataFrame:
        """A row per iteration with a column per measure; NaN where the iteration failed.

        Raises:
          ConfigError: A measure for another task type or predict type.
        """
        chosen = self._checked(measures)
        frame = pd.DataFrame({"iteration": np.arange(self.n_iterations)})
        for measure in chosen:
            frame[measure.id] = [
                float("nan") if prediction is None else measure.score(prediction) for prediction in self.predictions
            ]
        return frame

    @overload
    def aggregate(self, measures: "Measure | str", *, average: Average = "macro") -> float: ...
    @overload
    def aggregate(self, measures: "Sequence[Measure | str]", *, average: Average = "macro") -> dict[str, float]: ...
    def aggregate(
        self,
        measures: "Measure | str | Sequence[Measure | str]",
        *,
        average: Average = "macro",
    ) -> float | dict[str, float]:
        """The mean score over iterations: a float for one measure, a dict by id for a list.

        Args:
          measures: One measure or a list; names will do.
          average: "macro" averages the scores of iterations, "micro" scores the joined predictions.

        NaN, with a warning that names the iterations, when one failed or its score is undefined.
        """
        if average not in ("macro", "micro"):
            raise ConfigError(f"aggregate: 'average' must be 'macro' or 'micro', got {average!r}.")
        scores = self.score(measures)
        means = {}
        for measure in self._checked(measures):
            values = scores[measure.id].to_numpy()
            undefined = np.flatnonzero(np.isnan(values))
            if len(undefined) and (average == "macro" or self._failed()):
                self._warn_undefined(measure.id, undefined)
                means[measure.id] = float("nan")
            else:
                means[measure.id] = float(values.mean()) if average == "macro" else measure.score(self.prediction)
        return means if isinstance(measures, list | tuple) else next(iter(means.values()))

    def to_pandas(self) -> pd.DataFrame:
        """A row per iteration: status, epochs, rows, timings."""
        frame = self.timings
        frame.insert(1, "status", [o.status for o in self.outcomes])
        frame.insert(2, "message", [o.message for o in self.outcomes])
        frame.insert(3, "n_train", [len(train) for train, _ in self.splits])
        frame.insert(4, "n_test", [len(test) for _, test in self.splits])
        frame.insert(5, "epochs", [getattr(fitted, "epochs", None) for fitted in self.fitted])
        return frame

    def _failed(self) -> list[int]:
        return [i for i, outcome in enumerate(self.outcomes) if not outcome.ok]

    def _checked(self, measures: Any) -> list[Measure]:
        chosen = as_measures(list(measures) if isinstance(measures, list | tuple) else [measures])
        n_classes = Target.of(self.task).n_classes
        for measure in chosen:
            measure.check(self.task.task_type, n_classes, self.learner.predict_type)
        return list(chosen)

    def _warn_undefined(self, measure: str, iterations: np.ndarray) -> None:
        failed = set(self._failed())
        parts = [f"{i} ({self.outcomes[i].status if i in failed else 'undefined'})" for i in iterations]
        hint = "" if failed else "\nHint: average='micro' scores the predictions of all iterations together."
        warnings.warn(
            f"aggregate: '{measure}' is NaN, because of iteration {_shortened(parts)} of learner '{self.learner.id}' "
            f"on task '{self.task.id}'.{hint}",
            JdlWarning,
            stacklevel=3,
        )

    def __repr__(self) -> str:
        failed = self._failed()
        lines = [
            f"<ResampleResult> task '{self.task.id}', learner '{self.learner.id}', {self.n_iterations} iterations",
            f"  {self.plan}",
            f"  compiled in {self.compile_seconds:.2f} s, ran in {self.run_seconds:.2f} s",
        ]
        if failed:
            lines.append(f"  failed: iteration{'s' if len(failed) > 1 else ''} {_shortened(list(map(str, failed)))}")
        if self.optimistic:
            lines.append("  optimistic: the test rows decided when to stop or which weights to keep")
        return "\n".join(lines)


def _shortened(parts: list[str], most: int = 5) -> str:
    """The first of some parts, and how many there are.

    >>> _shortened(list("abcd"), most=2)
    'a, b, ... (4 in all)'
    """
    if len(parts) <= most:
        return ", ".join(parts)
    return ", ".join(parts[:most]) + f", ... ({len(parts)} in all)"
