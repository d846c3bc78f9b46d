"""Measures of predicted numbers."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from jdl.measures.measure import NumberMeasure
from jdl.measures.sums import ratio, weighted_mean


@dataclass(frozen=True, kw_only=True)
class MeanSquaredError(NumberMeasure):
    """Mean squared error, in squared units of the target.

    >>> import numpy as np
    >>> float(MeanSquaredError().compute(np.array([1.0, 2.0]), np.array([1.0, 4.0])))
    2.0
    """

    minimize: ClassVar[bool] = True
    range: ClassVar[tuple[float, float]] = (0.0, math.inf)
    shift_invariant: ClassVar[bool] = True
    id: str = "regr.mse"

    def formula(self, xp: Any, truth: Any, response: Any, weights: Any) -> Any:
        """The weighted mean of squared errors."""
        return weighted_mean(xp, xp.square(truth - response), weights)


@dataclass(frozen=True, kw_only=True)
class RootMeanSquaredError(NumberMeasure):
    """Root of the mean squared error, in units of the target.

    >>> import numpy as np
    >>> float(RootMeanSquaredError().compute(np.array([1.0, 2.0]), np.array([3.0, 4.0])))
    2.0
    """

    minimize: ClassVar[bool] = True
    range: ClassVar[tuple[float, float]] = (0.0, math.inf)
    shift_invariant: ClassVar[bool] = True
    id: str = "regr.rmse"

    def formula(self, xp: Any, truth: Any, response: Any, weights: Any) -> Any:
        """The root of the weighted mean of squared errors."""
        return xp.sqrt(weighted_mean(xp, xp.square(truth - response), weights))


@dataclass(frozen=True, kw_only=True)
class MeanAbsoluteError(NumberMeasure):
    """Mean absolute error, in units of the target.

    >>> import numpy as np
    >>> float(MeanAbsoluteError().compute(np.array([1.0, 2.0]), np.array([1.0, 4.0])))
    1.0
    """

    minimize: ClassVar[bool] = True
    range: ClassVar[tuple[float, float]] = (0.0, math.inf)
    shift_invariant: ClassVar[bool] = True
    id: str = "regr.mae"

    def formula(self, xp: Any, truth: Any, response: Any, weights: Any) -> Any:
        """The weighted mean of absolute errors."""
        return weighted_mean(xp, xp.abs(truth - response), weights)


@dataclass(frozen=True, kw_only=True)
class RSquared(NumberMeasure):
    """Share of the target's variance, about its mean over the scored rows, that is explained; 1 is best.

    NaN where the truth is constant, also for a single row (scikit-learn returns 0 or 1, or warns).

    >>> import numpy as np
    >>> float(RSquared().compute(np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0])))
    0.0
    """

    minimize: ClassVar[bool] = False
    range: ClassVar[tuple[float, float]] = (-math.inf, 1.0)
    shift_invariant: ClassVar[bool] = True
    id: str = "regr.rsq"

    def formula(self, xp: Any, truth: Any, response: Any, weights: Any) -> Any:
        """One less the quotient of two weighted mean squares."""
        present = weights > 0
        # The mean of a constant may differ from it by rounding, so its variance is no test of constancy.
        least = xp.where(present, truth, xp.inf).min(initial=xp.inf)
        greatest = xp.where(present, truth, -xp.inf).max(initial=-xp.inf)
        spread = weighted_mean(xp, xp.square(truth - weighted_mean(xp, truth, weights)), weights)
        error = weighted_mean(xp, xp.square(truth - response), weights)
        return 1 - ratio(xp, error, xp.where(greatest > least, spread, 0))
