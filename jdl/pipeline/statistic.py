"""Statistics of columns over weighted rows, written for one column and mapped over all.

A statistic is a function of one column's values and weights. It gets value 0 and weight 0 where the row is absent or
the value missing, and returns a tuple of arrays, zeros where nothing was observed. In NumPy it is called with one
float64 column after another, so that no float64 or sorted copy of all data ever exists; in JAX it is vmapped. Those in
`OF_BLOCKS` also take a few columns at once, as rows of an array.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from jdl.core.arrays import namespace

Statistic = Callable[[Any, Any], tuple[Any, ...]]
Noise = Callable[[int, int], Any]

# Columns that are copied together: half of those that share a cache line of a float32 row.
_COPIED_TOGETHER = 8
# Numbers that may be in float64 at once, to save calls where columns are short.
_SHORT = 2**16


def over_columns(
    statistic: Statistic,
    block: Float[Any, "row column"],
    weights: Float[Any, "row"],
    positions: Int[np.ndarray, "chosen"],
    noise: Noise | None = None,
) -> tuple[Any, ...]:
    """The statistic's results for the columns at `positions`, as float32, columns along the first axis.

    Args:
      statistic: See the module.
      block: Numbers with NaN as missing.
      weights: How often each row counts.
      positions: Static.
      noise: `noise(j, n)` gives n numbers that are added to the first n observed values of column j.

    >>> x = np.array([[1.0, 5.0], [3.0, np.nan]], np.float32)
    >>> over_columns(moments, x, np.ones(2), np.arange(2))[0]
    array([2., 5.], dtype=float32)
    """
    xp = namespace(block, weights)
    if len(positions) == 0:
        # Nothing to map over: a column of one absent row tells shapes.
        results = [statistic(xp.zeros(1), xp.zeros(1))]
    elif xp is np:
        results = _column_by_column(statistic, block, weights, positions, noise)
    else:
        return _vmapped(statistic, block, weights, positions, noise)
    stacked = tuple(xp.stack([xp.asarray(r) for r in each]).astype(np.float32) for each in zip(*results, strict=True))
    return tuple(array[: len(positions)] for array in stacked)


def _column_by_column(
    statistic: Statistic,
    block: Float[np.ndarray, "row column"],
    weights: Float[np.ndarray, "row"],
    positions: Int[np.ndarray, "chosen"],
    noise: Noise | None,
) -> list[tuple[Any, ...]]:
    """The statistic's results for each column, of its observed entries in float64."""
    weights = np.asarray(weights, np.float64)
    present = weights > 0
    rows = slice(None) if present.all() else np.flatnonzero(present)
    weights = weights[rows]
    results: list[tuple[Any, ...]] = []
    for start in range(0, len(positions), _COPIED_TOGETHER):
        together = positions[start : start + _COPIED_TOGETHER]
        columns = np.ascontiguousarray(block[:, together][rows].T)
        observed = ~np.isnan(columns)
        plain = noise is None and 0 < columns.size <= _SHORT and observed.all()
        if plain and statistic in OF_BLOCKS:
            results += zip(*statistic(columns.astype(np.float64), weights), strict=True)
            continue
        for j, column, seen in zip(together, columns, observed, strict=True):
            results.append(statistic(*_observed(int(j), column, weights, seen, noise)))
    return results


def _observed(
    j: int,
    column: Float[np.ndarray, "row"],
    weights: Float[np.ndarray, "row"],
    seen: Bool[np.ndarray, "row"],
    noise: Noise | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Values and weights of the entries that are not missing, never empty."""
    complete = seen.all()
    values = (column if complete else column[seen]).astype(np.float64)
    if len(values) == 0:
        return np.zeros(1), np.zeros(1)
    if noise is not None:
        values += noise(j, len(values))
    return values, weights if complete else weights[seen]


def _vmapped(
    statistic: Statistic, block: Any, weights: Any, positions: Int[np.ndarray, "chosen"], noise: Noise | None
) -> tuple[Any, ...]:
    import jax.numpy as jnp

    values = jnp.asarray(block)[:, positions]
    weights = jnp.asarray(weights, jnp.float32)
    observed = (weights > 0)[:, None] & ~jnp.isnan(values)
    if noise is not None:
        drawn = jnp.stack([jnp.asarray(noise(int(j), len(values)), jnp.float32) for j in positions], axis=1)
        rank = jnp.maximum(jnp.cumsum(observed, axis=0) - 1, 0)
        values = values + jnp.take_along_axis(drawn, rank, axis=0)
    counts = jnp.where(observed, weights[:, None], 0.0)
    return jax.vmap(statistic, in_axes=1)(jnp.where(observed, values, 0.0), counts)


def span(values: Float[Any, "*column row"], weights: Float[Any, "row"]) -> tuple[Any, Any]:
    """Least and greatest value."""
    xp = namespace(values)
    seen = weights > 0
    least = xp.min(xp.where(seen, values, xp.inf), axis=-1)
    greatest = xp.max(xp.where(seen, values, -xp.inf), axis=-1)
    some = seen.any()
    return xp.where(some, least, 0.0), xp.where(some, greatest, 0.0)


def moments(values: Float[Any, "*column row"], weights: Float[Any, "row"]) -> tuple[Any, Any]:
    """Mean and population standard deviation; exactly the value and 0 where all values are equal.

    They are taken of the values shifted and scaled to [0, 1]: in float32 the squares of large or tiny numbers
    would lose their digits, and equal numbers would seem to differ by rounding.
    """
    xp = namespace(values)
    least, greatest = span(values, weights)
    # Halves, for the difference of two numbers can be infinite where its half is not.
    half = greatest / 2 - least / 2
    unit = (values / 2 - least[..., None] / 2) / xp.where(half > 0, half, 1.0)[..., None]
    total = xp.sum(weights)
    share = weights / xp.where(total > 0, total, 1.0)
    mean = xp.sum(share * unit, axis=-1)
    variance = xp.sum(share * (unit - mean[..., None]) ** 2, axis=-1)
    return 2 * (least / 2 + half * mean), 2 * (half * xp.sqrt(variance))


OF_BLOCKS = (span, moments)


def median(values: Float[Any, "row"], weights: Float[Any, "row"]) -> tuple[Any]:
    """Middle value, or the mean of the two middle values."""
    if isinstance(values, np.ndarray) and (weights == 1).all():
        return (np.median(values),)
    count = _count(weights)
    last = namespace(values).maximum(count - 1, 0)
    return (sorted_values(values, weights, last // 2, (last % 2) / 2),)


def mode(values: Float[Any, "row"], weights: Float[Any, "row"]) -> tuple[Any]:
    """Most frequent value; of several the smallest."""
    xp = namespace(values)
    values, weights = _sorted(values, weights)
    total = xp.concatenate([xp.zeros_like(weights[:1]), xp.cumsum(weights)])
    first = xp.searchsorted(values, values, side="left")
    behind = xp.searchsorted(values, values, side="right")
    best = xp.argmax(total[behind] - total[first])
    return (xp.where(weights[best] > 0, values[best], 0.0),)


def quantiles(values: Float[Any, "row"], weights: Float[Any, "row"], used: Int[Any, ""], slots: int) -> tuple[Any]:
    """The quantiles at 0, 1/(used-1), ..., 1 by linear interpolation; slots behind them repeat the last.

    Positions are computed in integers: in float32 those of a million rows would be off by several rows.
    """
    xp = namespace(values)
    steps = xp.maximum(used - 1, 1)
    step = xp.minimum(xp.arange(slots), used - 1)
    rows, left_over = xp.divmod(xp.maximum(_count(weights) - 1, 0), steps)
    part = step * left_over
    return (sorted_values(values, weights, step * rows + part // steps, (part % steps) / steps),)


def sorted_values(
    values: Float[Any, "row"], weights: Float[Any, "row"], place: Int[Any, "..."], share: Float[Any, "..."]
) -> Float[Any, "..."]:
    """Entries of the sorted values, each as often as its weight says, and `share` of the way to the next.

    >>> sorted_values(np.array([7.0, 5.0]), np.array([2.0, 1.0]), np.array([0, 1, 2]), 0.0)
    array([5., 7., 7.])
    """
    xp = namespace(values)
    last = xp.maximum(_count(weights) - 1, 0)
    following = xp.minimum(place + 1, last)
    if xp is np and (weights == 1).all():
        values = np.sort(values)
    else:
        values, weights = _sorted(values, weights)
        values = xp.where(weights > 0, values, 0.0)
        total = xp.cumsum(weights)
        place, following = (
            xp.minimum(xp.searchsorted(total, xp.asarray(p, total.dtype), side="right"), len(values) - 1)
            for p in (place, following)
        )
    lower, upper = values[place], values[following]
    return lower + (upper - lower) * share


def _sorted(values: Any, weights: Any) -> tuple[Any, Any]:
    """Values in ascending order with their weights; those of weight 0 are infinite and come last."""
    xp = namespace(values)
    values = xp.where(weights > 0, values, xp.inf)
    order = xp.argsort(values)
    return values[order], weights[order]


def _count(weights: Any) -> Any:
    xp = namespace(weights)
    return xp.round(xp.sum(weights)).astype(int)


def code_counts(
    codes: Int[Any, "row column"],
    weights: Float[Any, "row"],
    positions: Int[np.ndarray, "chosen"],
    n_levels: tuple[int, ...],
) -> list[Float[Any, "code"]]:
    """How often each code occurs, for each column at `positions`; 0 times for code 0, which is missing."""
    xp = namespace(codes, weights)
    counts = []
    for j, n in zip(positions, n_levels, strict=True):
        # What an absent row holds may be no code at all.
        present = xp.where(weights > 0, codes[:, j], 0)
        if xp is np:
            found = np.bincount(present, weights=weights, minlength=n + 1)
        else:
            found = xp.bincount(present, weights=weights, length=n + 1)
        counts.append(xp.where(xp.arange(n + 1) > 0, found, 0.0))
    return counts
