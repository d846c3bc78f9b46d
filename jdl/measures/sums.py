"""Weighted sums over rows, the same in NumPy and in JAX, in which rows of weight 0 do not exist."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped


def row_weights(xp: Any, weights: Any, n_rows: int) -> Float[Any, "row"]:
    """The weights as floats, all 1 if None."""
    if weights is None:
        return xp.ones(n_rows)
    return np.asarray(weights, np.float64) if xp is np else xp.asarray(weights, float)


def without_absent(xp: Any, values: Shaped[Any, "row ..."], weights: Float[Any, "row"], fill: Any) -> Any:
    """The values, with `fill` in the rows of weight 0: whatever these hold, `0 * nan` would leak it."""
    present = (weights > 0).reshape((-1,) + (1,) * (values.ndim - 1))
    return xp.where(present, values, xp.asarray(fill, values.dtype))


def ratio(xp: Any, above: Any, below: Any) -> Any:
    """The quotient; NaN where the divisor is 0."""
    return xp.where(below > 0, above / xp.where(below > 0, below, 1), xp.nan)


def weighted_mean(xp: Any, values: Float[Any, "row"], weights: Float[Any, "row"]) -> Float[Any, ""]:
    """The weighted mean; NaN if no row has weight.

    >>> float(weighted_mean(np, np.array([1.0, 4.0]), np.array([2.0, 1.0])))
    2.0
    """
    return ratio(xp, (values * weights).sum(), weights.sum())


def class_sums(xp: Any, codes: Int[Any, "row"], weights: Float[Any, "row"], n_classes: int) -> Float[Any, "class"]:
    """Total weight of the rows of each class.

    >>> class_sums(np, np.array([0, 2, 2]), np.array([1.0, 1.0, 0.5]), 3).tolist()
    [1.0, 0.0, 1.5]
    """
    if xp is np:
        return np.bincount(codes, weights, minlength=n_classes)
    # A scatter is slow on accelerators and a matrix product rounds the weights there.
    return xp.where(codes[:, None] == xp.arange(n_classes)[None, :], weights[:, None], 0.0).sum(axis=0)
