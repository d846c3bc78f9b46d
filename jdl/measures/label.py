"""Measures of predicted labels."""

from dataclasses import dataclass
from typing import Any, ClassVar

from jdl.core.fields import Field
from jdl.measures.measure import LabelMeasure
from jdl.measures.sums import class_sums, ratio, weighted_mean


@dataclass(frozen=True, kw_only=True)
class Accuracy(LabelMeasure):
    """Share of rows whose class is predicted.

    >>> import numpy as np
    >>> float(Accuracy().from_codes(np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0]), n_classes=2))
    0.75
    """

    minimize: ClassVar[bool] = False
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    id: str = "classif.acc"

    def formula(self, xp: Any, truth: Any, response: Any, weights: Any, *, n_classes: int, positive: int) -> Any:
        """The weighted mean of hits."""
        del n_classes, positive
        return weighted_mean(xp, truth == response, weights)


@dataclass(frozen=True, kw_only=True)
class ClassificationError(LabelMeasure):
    """Share of rows whose class is not predicted.

    >>> import numpy as np
    >>> float(ClassificationError().from_codes(np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0]), n_classes=2))
    0.25
    """

    minimize: ClassVar[bool] = True
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    id: str = "classif.ce"

    def formula(self, xp: Any, truth: Any, response: Any, weights: Any, *, n_classes: int, positive: int) -> Any:
        """The weighted mean of misses."""
        del n_classes, positive
        return weighted_mean(xp, truth != response, weights)


@dataclass(frozen=True, kw_only=True)
class BalancedAccuracy(LabelMeasure):
    """Mean over classes of the share of their rows that is predicted; classes without a row do not count.

    >>> import numpy as np
    >>> float(BalancedAccuracy().from_codes(np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0]), n_classes=3))
    0.5
    """

    minimize: ClassVar[bool] = False
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    id: str = "classif.bacc"

    def formula(self, xp: Any, truth: Any, response: Any, weights: Any, *, n_classes: int, positive: int) -> Any:
        """The mean recall."""
        del positive
        rows = class_sums(xp, truth, weights, n_classes)
        hits = class_sums(xp, truth, weights * (truth == response), n_classes)
        present = rows > 0
        recalls = xp.where(present, hits / xp.where(present, rows, 1), 0)
        return ratio(xp, recalls.sum(), present.sum())


@dataclass(frozen=True, kw_only=True)
class MatthewsCorrelation(LabelMeasure):
    """Matthews correlation coefficient of true and predicted classes, for any number of classes.

    0, as in scikit-learn, where all rows have one true or one predicted class.

    References: Gorodkin, Comparing two K-category assignments by a K-category correlation coefficient, 2004.

    >>> import numpy as np
    >>> float(MatthewsCorrelation().from_codes(np.array([0, 1, 2]), np.array([0, 1, 2]), n_classes=3))
    1.0
    """

    minimize: ClassVar[bool] = False
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    id: str = "classif.mcc"

    def formula(self, xp: Any, truth: Any, response: Any, weights: Any, *, n_classes: int, positive: int) -> Any:
        """Covariance over the root of the variances, all in shares of rows, so that float32 is enough."""
        del positive
        true = class_sums(xp, truth, weights, n_classes)
        predicted = class_sums(xp, response, weights, n_classes)
        true, predicted = ratio(xp, true, true.sum()), ratio(xp, predicted, predicted.sum())
        hits = weighted_mean(xp, truth == response, weights)
        # p (1 - p) is exactly 0 for a lone class, which 1 - p^2 summed over classes need not be.
        variances = (true * (1 - true)).sum() * (predicted * (1 - predicted)).sum()
        root = xp.sqrt(xp.where(variances > 0, variances, 1))
        return xp.where(variances > 0, (hits - (true * predicted).sum()) / root, 0)


@dataclass(frozen=True, kw_only=True)
class FBeta(LabelMeasure):
    """F score of the positive class of a binary task: harmonic mean of precision and recall.

    NaN where no row is, and none is predicted, positive (scikit-learn warns and returns 0).

    Args:
      beta: Weight of recall relative to precision, at least 0.

    References: van Rijsbergen, Information Retrieval, 1979.

    >>> import numpy as np
    >>> float(FBeta(beta=1.0).from_codes(np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0]), n_classes=2))
    0.5
    """

    minimize: ClassVar[bool] = False
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    binary_only: ClassVar[bool] = True
    fields: ClassVar[dict[str, Field]] = {
        "beta": Field("float", 1.0, low=0.0, tags=("score",), doc="Weight of recall relative to precision.")
    }
    id: str = "classif.fbeta"
    beta: float = 1.0

    def formula(self, xp: Any, truth: Any, response: Any, weights: Any, *, n_classes: int, positive: int) -> Any:
        """(1 + beta^2) hits over beta^2 true positives and predicted positives."""
        del n_classes
        true, predicted = truth == positive, response == positive
        hits = (weights * (true & predicted)).sum()
        square = self.beta**2
        return ratio(xp, (1 + square) * hits, square * (weights * true).sum() + (weights * predicted).sum())
