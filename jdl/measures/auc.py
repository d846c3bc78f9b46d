"""Area under the ROC curve.

It is the probability that a positive row is ranked above a negative one, a tie counting half: the weighted
share of (positive, negative) pairs in the right order. A sort finds it in n log n steps; in a compiled program of
few rows comparing all pairs compiles and runs faster.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import numpy as np
from jaxtyping import Float

from jdl.measures.measure import ProbMeasure
from jdl.measures.sums import ratio

PAIRS_BELOW = 500  # rows; measured on CPU, where a sort in a program costs half a second more to compile


@dataclass(frozen=True, kw_only=True)
class AreaUnderRoc(ProbMeasure):
    """Area under the ROC curve of the positive class's probability, for binary tasks; ties count half.

    NaN where all rows have one class.

    References: Hanley and McNeil, The meaning and use of the area under a ROC curve, 1982.

    >>> import numpy as np
    >>> prob = np.array([0.1, 0.4, 0.4, 0.8])
    >>> float(AreaUnderRoc().compute(np.array([0, 0, 1, 1]), np.stack([1 - prob, prob], axis=1)))
    0.875
    """

    minimize: ClassVar[bool] = False
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    binary_only: ClassVar[bool] = True
    id: str = "classif.auc"

    def formula(self, xp: Any, truth: Any, prob: Any, weights: Any, *, positive: int) -> Any:
        """The weighted share of rightly ordered pairs."""
        of_positive = xp.where(truth == positive, weights, 0.0)
        of_negative = xp.where(truth == positive, 0.0, weights)
        by_pairs = xp is not np and len(truth) < PAIRS_BELOW
        below = (_below_by_pairs if by_pairs else _below_by_sort)(xp, prob[:, positive], of_negative, of_positive)
        # Shares first: the product of two totals would leave float32's exact integers early.
        return ratio(xp, ratio(xp, below, of_negative.sum()), of_positive.sum())


def _below_by_pairs(
    xp: Any, score: Float[Any, "row"], of_negative: Float[Any, "row"], of_positive: Float[Any, "row"]
) -> Float[Any, ""]:
    """Sum over positive rows of the negative weight ranked below them."""
    higher = (score[:, None] > score[None, :]) + 0.5 * (score[:, None] == score[None, :])
    # No matrix product: accelerators would round its factors.
    return (of_positive[:, None] * higher * of_negative[None, :]).sum()


def _below_by_sort(
    xp: Any, score: Float[Any, "row"], of_negative: Float[Any, "row"], of_positive: Float[Any, "row"]
) -> Float[Any, ""]:
    """The same sum by mid-ranks."""
    order = xp.argsort(score)
    score, of_negative, of_positive = score[order], of_negative[order], of_positive[order]
    up_to = xp.cumsum(of_negative)
    new = score[1:] != score[:-1]
    edge = xp.ones(1, bool)
    # Sums never fall: a running maximum carries a tie's first value on, a running minimum its last back.
    at_first = xp.where(xp.concatenate([edge, new]), up_to - of_negative, 0.0)
    at_last = xp.where(xp.concatenate([new, edge]), up_to, xp.inf)
    if xp is np:
        less, less_or_equal = np.maximum.accumulate(at_first), np.minimum.accumulate(at_last[::-1])[::-1]
    else:
        less, less_or_equal = jax.lax.cummax(at_first), jax.lax.cummin(at_last, reverse=True)
    return (of_positive * 0.5 * (less + less_or_equal)).sum()
