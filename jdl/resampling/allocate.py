"""Which rows go where: the three ways of dividing rows that all splitters are made of.

Rows without groups are dealt like cards: shuffled inside each stratum, the strata laid one after the other, so that
every stratum and the whole divide evenly. Groups are placed one by one, large ones first, wherever they
bring the sets nearest to their shares of all strata.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from jdl.resampling.roles import Roles


def deal(generator: np.random.Generator, roles: Roles, n_folds: int) -> Int[np.ndarray, "row"]:
    """The fold of each row; folds and their parts of a stratum differ by one row at most if there are no groups.

    >>> folds = deal(np.random.default_rng(0), Roles(np.array([0, 0, 0, 1, 1])), 2)
    >>> np.bincount(folds).tolist()
    [3, 2]
    """
    if roles.groups is not None:
        return place(generator, roles.counts(), np.full(n_folds, 1 / n_folds))[roles.groups]
    order = np.lexsort((generator.random(roles.n_rows), roles.strata))
    folds = np.empty(roles.n_rows, np.int64)
    folds[order] = np.arange(roles.n_rows) % n_folds
    return folds


def draw(generator: np.random.Generator, roles: Roles, n_drawn: int) -> Bool[np.ndarray, "row"]:
    """A mask of `n_drawn` rows without replacement, in proportion from each stratum.

    With groups there are about as many rows, at least one group is drawn, and one is left.

    >>> int(draw(np.random.default_rng(0), Roles(np.array([0, 0, 1, 1])), 2).sum())
    2
    """
    if roles.groups is not None:
        share = n_drawn / roles.n_rows
        return place(generator, roles.counts(), np.array([share, 1 - share]))[roles.groups] == 0
    sizes = np.bincount(roles.strata)
    quota = apportion(generator, sizes, n_drawn)
    order = np.lexsort((generator.random(roles.n_rows), roles.strata))
    rank = np.arange(roles.n_rows) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    drawn = np.zeros(roles.n_rows, bool)
    drawn[order] = rank < np.repeat(quota, sizes)
    return drawn


def redraw(generator: np.random.Generator, roles: Roles, ratio: float) -> Int[np.ndarray, "row"]:
    """How often each row is drawn with replacement, in proportion from each stratum; `ratio` times per row.

    With groups, whole groups are drawn so; a group counts to the stratum of most of its rows.

    >>> int(redraw(np.random.default_rng(0), Roles(np.array([0, 0, 1, 1])), 1.5).sum())
    6
    """
    stratum = np.unique(roles.counts().argmax(axis=1), return_inverse=True)[1]
    by_stratum = np.argsort(stratum, kind="stable")
    sizes = np.bincount(stratum)
    quota = apportion(generator, sizes, round(ratio * roles.n_units))
    first = np.repeat(np.cumsum(sizes) - sizes, quota)
    picked = by_stratum[first + generator.integers(0, np.repeat(sizes, quota))]
    return np.bincount(picked, minlength=roles.n_units)[roles.units]


def apportion(
    generator: np.random.Generator, sizes: Int[np.ndarray, "stratum"], n_drawn: int
) -> Int[np.ndarray, "stratum"]:
    """How many of each stratum make up `n_drawn`: their exact shares, rounded down or up.

    Rounded up are first strata of which nothing else would be drawn, then those of the largest remainder, and last
    those of which nothing would be left.

    >>> apportion(np.random.default_rng(0), np.array([100, 2]), 92).tolist()
    [91, 1]
    """
    exact = n_drawn * sizes / sizes.sum()
    # The nudge keeps whole shares whole that a division made a little smaller.
    quota = np.floor(exact + 1e-9).astype(np.int64)
    rank = np.where(sizes < 2, 1, np.where(quota == 0, 0, np.where(quota + 1 == sizes, 2, 1)))
    order = np.lexsort((generator.random(len(sizes)), quota - exact, rank))
    quota[order[: n_drawn - quota.sum()]] += 1
    return quota


def place(
    generator: np.random.Generator, counts: Int[np.ndarray, "group stratum"], shares: Float[np.ndarray, "set"]
) -> Int[np.ndarray, "group"]:
    """The set of each group, such that each set comes near its share of all rows and of each stratum.

    With c rows of a stratum in a set and n in all, the sum of c^2 / (share n^2) over sets and strata is least where
    every c is `share` n: each group goes where it adds least to that sum. No set stays empty if there are groups
    enough.

    References: the idea of placing groups one by one by a measure of balance is that of StratifiedGroupKFold in
    scikit-learn.

    >>> place(np.random.default_rng(0), np.array([[4], [2], [2]]), np.array([0.5, 0.5])).tolist()
    [0, 1, 1]
    """
    sizes = counts.sum(axis=1)
    columns = np.column_stack([counts, sizes])
    scaled = columns / columns.sum(axis=0)
    # Only the magnitude sorts, chance does inside of it: else a key would hardly change the splits.
    order = np.lexsort((generator.random(len(sizes)), -np.floor(np.log2(sizes))))
    filled = np.zeros((len(shares), columns.shape[1]))
    n_inside = np.zeros(len(shares), np.int64)
    sets = np.empty(len(sizes), np.int64)
    for n_left, group in zip(range(len(order), 0, -1), order, strict=True):
        part = scaled[group]
        cost = (2 * (filled @ part) + part @ part) / shares
        empty = n_inside == 0
        if n_left <= empty.sum():
            cost = np.where(empty, cost, np.inf)
        # Rounded, so that sums taken in another order break no tie another way.
        chosen = int(np.round(cost, 12).argmin())
        sets[group] = chosen
        filled[chosen] += part
        n_inside[chosen] += 1
    return sets
