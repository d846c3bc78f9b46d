"""Edges of bins for piecewise-linear embeddings: quantiles of a column, or the thresholds of a decision tree."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from jdl.core.errors import ConfigError, ShapeError, TaskError


def quantile_bins(x: Float[np.ndarray, "row feature"], n_bins: int = 48) -> list[np.ndarray]:
    """Edges at equally spaced quantiles; a column with ties has fewer bins than asked for.

    Args:
      x: Training rows, without missing values.
      n_bins: More than 1, fewer than there are rows.

    Returns:
      Rising edges in float32, an array per column.

    Raises:
      ConfigError: `n_bins` is out of range.
      TaskError: Values that are not finite, or a column with a single value.

    References: Gorishniy et al., On Embeddings for Numerical Features in Tabular Deep Learning, 2022.

    >>> [edges] = quantile_bins(np.arange(9.0)[:, None], 4)
    >>> edges.tolist()
    [0.0, 2.0, 4.0, 6.0, 8.0]
    """
    x = _checked("quantile_bins", x, n_bins)
    return [quantile_edges(column, n_bins) for column in x.T]


def quantile_edges(column: Float[np.ndarray, "row"], n_bins: int) -> np.ndarray:
    """Rising edges of one column without missing values; a single one where all values are equal."""
    edges = np.quantile(column.astype(np.float64), np.linspace(0, 1, n_bins + 1))
    return np.unique(edges.astype(np.float32))


def tree_bins(
    x: Float[np.ndarray, "row feature"],
    y: np.ndarray,
    n_bins: int = 48,
    *,
    regression: bool,
    tree_kwargs: Mapping[str, Any] | None = None,
) -> list[np.ndarray]:
    """Edges where a decision tree on the column alone would split.

    Args:
      x: Training rows, without missing values.
      y: Target of each row.
      n_bins: Most leaves of a tree, that is, most bins of a column.
      regression: Whether `y` holds numbers; else classes.
      tree_kwargs: Further arguments of scikit-learn's decision tree, such as `min_samples_leaf`.

    Returns:
      Rising edges in float32, an array per column.

    Raises:
      ConfigError: `n_bins` is out of range, or `tree_kwargs` sets `max_leaf_nodes`.
      TaskError: Values that are not finite, or a column with a single value.
      ShapeError: `y` is not as long as `x`.

    >>> x = np.arange(8.0)[:, None]
    >>> [edges] = tree_bins(x, x[:, 0] > 2, 4, regression=False)
    >>> edges.tolist()
    [0.0, 2.5, 7.0]
    """
    x = _checked("tree_bins", x, n_bins)
    if np.shape(y) != (len(x),):
        raise ShapeError(f"tree_bins: y must have shape ({len(x)},), a value per row of x, got {np.shape(y)}.")
    options = dict(tree_kwargs or {})
    if "max_leaf_nodes" in options:
        raise ConfigError("tree_bins: tree_kwargs must not hold 'max_leaf_nodes'.\nHint: n_bins sets it.")
    return [tree_edges(column, y, n_bins, regression=regression, **options) for column in x.T]


def tree_edges(
    column: Float[np.ndarray, "row"], y: Shaped[np.ndarray, "row"], n_bins: int, *, regression: bool, **options: Any
) -> np.ndarray:
    """Rising edges of one column without missing values: its ends, and the thresholds of a decision tree.

    The same rows give the same edges: the tree's own randomness, which decides between equal splits, has a fixed seed.
    """
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    tree_class: Any = DecisionTreeRegressor if regression else DecisionTreeClassifier
    column = column.astype(np.float32)
    tree = tree_class(max_leaf_nodes=n_bins, **{"random_state": 0, **options}).fit(column[:, None], y).tree_
    inner = tree.threshold[tree.children_left != tree.children_right]
    return np.unique(np.array([column.min(), column.max(), *inner], np.float32))


def checked_bins(owner: str, bins: Sequence[Any]) -> list[np.ndarray]:
    """Edges as float32 arrays.

    Raises:
      ConfigError: Edges that do not rise strictly, or fewer than two.

    >>> checked_bins("PiecewiseLinearEncoding", [[1.0, 0.0]])
    Traceback (most recent call last):
    ...
    jdl.core.errors.ConfigError: PiecewiseLinearEncoding: the edges of feature 0 must be finite and rise, got [1. 0.].
    """
    arrays = [np.asarray(edges, np.float32) for edges in bins]
    if not arrays:
        raise ConfigError(f"{owner}: bins must hold the edges of at least one feature, got none.")
    for i, edges in enumerate(arrays):
        if edges.ndim != 1 or len(edges) < 2:
            raise ConfigError(f"{owner}: the edges of feature {i} must be two or more numbers, got {edges}.")
        if not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
            raise ConfigError(f"{owner}: the edges of feature {i} must be finite and rise, got {edges[:6]}.")
    return arrays


def _checked(owner: str, x: Any, n_bins: int) -> np.ndarray:
    x = np.asarray(x)
    if x.ndim != 2 or x.shape[1] < 1:
        raise ShapeError(f"{owner}: x must have shape (row, feature) with at least one feature, got {x.shape}.")
    if not 1 < n_bins < len(x):
        raise ConfigError(f"{owner}: n_bins must be more than 1 and less than the {len(x)} rows, got {n_bins}.")
    if not np.isfinite(x).all():
        raise TaskError(f"{owner}: x must be finite.\nHint: impute missing values first.")
    constant = np.flatnonzero((x == x[:1]).all(axis=0))
    if len(constant):
        raise TaskError(
            f"{owner}: columns {constant.tolist()} hold a single value, which has no bins.\n"
            "Hint: drop constant columns first (`removeconstants`)."
        )
    return x
