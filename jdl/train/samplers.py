"""Samplers by name: weighted, balanced over classes, stratified and grouped batches."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int

from jdl.core.catalogue import Catalogue
from jdl.core.errors import ConfigError, ConfigTypeError, shown
from jdl.train.sampler import NO_ROW, Sampler, SamplerRows, Sequential, Shuffle, as_sampler


@dataclass(frozen=True, eq=False)
class Weighted(Sampler):
    """Rows drawn in proportion to weights.

    Args:
      weights: A number >= 0 per row of the task.
      replacement: Whether a row may be drawn again in the same epoch.
      n: Rows of an epoch; as many as there are training rows by default.

    Raises:
      ConfigError: A weight that is negative or no number, or more draws without replacement than rows that have a
        weight.

    >>> sampler = Weighted(weights=(0.0, 1.0, 3.0))
    >>> rows = SamplerRows(np.arange(3), np.zeros(3), batch_size=2)
    >>> 0 in sampler.order(np.random.default_rng(0), rows)
    False
    """

    id: ClassVar[str] = "weighted"
    weights: Any = ()
    replacement: bool = True
    n: int | None = None

    def __post_init__(self) -> None:
        try:
            weights = np.asarray(self.weights, np.float64)
        except (TypeError, ValueError):
            weights = np.empty(0)
        if weights.ndim != 1 or not len(weights) or not np.isfinite(weights).all() or weights.min() < 0:
            raise ConfigError(
                f"sampler 'weighted': 'weights' must be a finite number >= 0 per row of the task, got "
                f"{shown(self.weights)}."
            )
        if not isinstance(self.replacement, bool):
            raise ConfigTypeError(
                f"sampler 'weighted': 'replacement' must be True or False, got {shown(self.replacement)}."
            )
        if self.n is not None and (isinstance(self.n, bool) or not isinstance(self.n, int) or self.n < 1):
            raise ConfigError(f"sampler 'weighted': 'n' must be an integer above 0 or None, got {self.n!r}.")
        object.__setattr__(self, "weights", weights)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Weighted) or (self.replacement, self.n) != (other.replacement, other.n):
            return False
        return np.array_equal(self.weights, other.weights)

    def __hash__(self) -> int:
        return hash((self.weights.tobytes(), self.replacement, self.n))

    def check(self, rows: SamplerRows) -> None:
        """Refuses weights that are not the task's, and too few of them above 0."""
        if int(rows.rows.max()) >= len(self.weights):
            raise ConfigError(
                f"sampler 'weighted': {len(self.weights)} weights, but the training rows go up to row "
                f"{int(rows.rows.max())}.\nHint: a weight per row of the task."
            )
        positive = int((self.weights[rows.rows] > 0).sum())
        needed = 1 if self.replacement else (self.n or rows.n)
        if positive < needed:
            raise ConfigError(
                f"sampler 'weighted': needs {needed} training rows with a weight above 0, got {positive}."
                + ("" if self.replacement else "\nHint: replacement=True, or a smaller n.")
            )

    def order(self, generator: np.random.Generator, rows: SamplerRows) -> Int[np.ndarray, "position"]:
        """Draws by weight."""
        own = self.weights[rows.rows]
        return generator.choice(rows.n, size=self.n or rows.n, replace=self.replacement, p=own / own.sum())

    def __repr__(self) -> str:
        return f"Weighted(weights={shown(self.weights)}, replacement={self.replacement}, n={self.n})"


@dataclass(frozen=True)
class ClassBalanced(Sampler):
    """As many rows of each class, in every batch as nearly as its size allows; rare rows come again.

    An epoch has as many rows as there are training rows. A class's rows are gone through before one repeats.

    >>> rows = SamplerRows(np.arange(6), np.array([0, 0, 0, 0, 0, 1]), batch_size=2, is_classif=True)
    >>> order = ClassBalanced().order(np.random.default_rng(0), rows)
    >>> rows.target[order].reshape(3, 2).sum(axis=1).tolist()
    [1, 1, 1]
    """

    id: ClassVar[str] = "class_balanced"

    def check(self, rows: SamplerRows) -> None:
        """Refuses regression."""
        _check_classes(self, rows)

    def order(self, generator: np.random.Generator, rows: SamplerRows) -> Int[np.ndarray, "position"]:
        """Equal numbers of each class, spread evenly."""
        classes = np.unique(rows.target)
        per_class = -(-rows.n // len(classes))
        drawn = [_cycled(generator, np.flatnonzero(rows.target == c), per_class) for c in classes]
        # Round after round one row of each class, the classes of a round in any order.
        rounds = generator.permuted(np.stack(drawn, axis=1), axis=1)
        return rounds.reshape(-1)[: rows.n]


@dataclass(frozen=True)
class Stratified(Sampler):
    """Every row once, batches with the classes in the proportions of the training rows, as nearly as possible.

    >>> rows = SamplerRows(np.arange(8), np.array([0, 0, 0, 0, 0, 0, 1, 1]), batch_size=4, is_classif=True)
    >>> order = Stratified().order(np.random.default_rng(0), rows)
    >>> rows.target[order].reshape(2, 4).sum(axis=1).tolist()
    [1, 1]
    """

    id: ClassVar[str] = "stratified"

    def check(self, rows: SamplerRows) -> None:
        """Refuses regression."""
        _check_classes(self, rows)

    def order(self, generator: np.random.Generator, rows: SamplerRows) -> Int[np.ndarray, "position"]:
        """Each class spread evenly over the epoch, from a random start."""
        place = np.empty(rows.n)
        for c in np.unique(rows.target):
            own = generator.permutation(np.flatnonzero(rows.target == c))
            place[own] = (np.arange(len(own)) + generator.random()) / len(own)
        return np.argsort(place, kind="stable")


@dataclass(frozen=True)
class Grouped(Sampler):
    """Every row once, and no group in two batches, unless it has more rows than a batch.

    Groups are packed into batches, the largest first; what is not filled stays empty. Batches come in an order drawn
    anew for each epoch. The task needs a group role.

    >>> rows = SamplerRows(np.arange(5), np.zeros(5), batch_size=3, groups=np.array([0, 0, 1, 1, 1]))
    >>> batches = Grouped().order(np.random.default_rng(0), rows).reshape(2, 3)
    >>> sorted(sorted(batch) for batch in batches.tolist())
    [[-1, 0, 1], [2, 3, 4]]
    """

    id: ClassVar[str] = "grouped"

    def check(self, rows: SamplerRows) -> None:
        """Refuses a task without groups."""
        if rows.groups is None:
            raise ConfigError("sampler 'grouped': needs a task with groups.\nHint: TaskClassif(..., group='column').")

    def order(self, generator: np.random.Generator, rows: SamplerRows) -> Int[np.ndarray, "position"]:
        """Batches in any order, the rows of each shuffled, its empty places last."""
        assert rows.groups is not None
        packed = _packed(rows.groups, rows.batch_size)
        batches = np.full((len(packed), rows.batch_size), NO_ROW)
        for i, batch in enumerate(generator.permutation(len(packed))):
            own = generator.permutation(packed[batch])
            batches[i, : len(own)] = own
        return batches.reshape(-1)


SAMPLERS = Catalogue(
    "sampler",
    {sampler.id: sampler for sampler in (Shuffle, Sequential, Weighted, ClassBalanced, Stratified, Grouped)},
)


def checked_sampler(sampler: Any, owner: str) -> Sampler | None:
    """A sampler from itself, a name or a function; None as it is.

    Raises:
      ConfigTypeError: It is none of these.
    """
    return None if sampler is None else as_sampler(sampler, SAMPLERS.make, owner)


def _check_classes(sampler: Sampler, rows: SamplerRows) -> None:
    if not rows.is_classif:
        raise ConfigError(f"sampler '{sampler.id}': needs classes, but the task is one of regression.")


def _cycled(generator: np.random.Generator, own: np.ndarray, n: int) -> np.ndarray:
    """`n` of the rows: one shuffled pass over them after another."""
    return np.concatenate([generator.permutation(own) for _ in range(-(-n // len(own)))])[:n]


def _packed(groups: np.ndarray, size: int) -> list[np.ndarray]:
    """Rows of each batch: groups first fit, the largest first; those above the size are cut."""
    order = np.argsort(groups, kind="stable")
    pieces = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    pieces = [piece[i : i + size] for piece in pieces for i in range(0, len(piece), size)]
    batches: list[list[np.ndarray]] = []
    room: list[int] = []
    for piece in sorted(pieces, key=len, reverse=True):
        fits = next((i for i, left in enumerate(room) if left >= len(piece)), None)
        if fits is None:
            batches.append([])
            room.append(size)
            fits = len(room) - 1
        batches[fits].append(piece)
        room[fits] -= len(piece)
    return [np.concatenate(batch) for batch in batches]
