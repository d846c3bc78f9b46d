"""Samplers: which training rows an epoch visits, in which order. Drawn on the host, with NumPy."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int, Shaped

from jdl.core.errors import ConfigError, ConfigTypeError, shown

NO_ROW = -1  # in a batch that is not filled


@dataclass(frozen=True)
class SamplerRows:
    """The training rows of a run, as a sampler sees them.

    Args:
      rows: Their positions in the task.
      target: Class codes or values.
      batch_size: Rows of a step.
      is_classif: Whether the target is class codes.
      groups: Code of the group of each row; None where the task has no groups.
    """

    rows: Int[np.ndarray, "row"]
    target: Shaped[np.ndarray, "row"]
    batch_size: int
    is_classif: bool = False
    groups: Int[np.ndarray, "row"] | None = None

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.rows)


class Sampler(ABC):
    """Draws the order of one epoch after another.

    Subclasses are dataclasses that implement `order`. An order is a function of the generator alone, so that a run
    that is resumed goes on with the rows that it would have seen.

    >>> @dataclass(frozen=True)
    ... class Backwards(Sampler):
    ...     id: ClassVar[str] = "backwards"
    ...     def order(self, generator, rows):
    ...         return np.arange(rows.n)[::-1]
    >>> Backwards().order(np.random.default_rng(0), SamplerRows(np.arange(3), np.zeros(3), 2)).tolist()
    [2, 1, 0]
    """

    id: ClassVar[str] = "sampler"
    shuffles: ClassVar[bool] = True

    def check(self, rows: SamplerRows) -> None:  # noqa: B027  (most take any rows)
        """Refuses rows that it cannot sample.

        Raises:
          ConfigError: Says what they lack.
        """

    @abstractmethod
    def order(self, generator: np.random.Generator, rows: SamplerRows) -> Int[np.ndarray, "position"]:
        """One epoch: positions in [0, rows.n), or `NO_ROW` for a place that stays empty.

        All epochs have the same length. A batch is the next `rows.batch_size` positions and must hold a row.
        """


@dataclass(frozen=True)
class Shuffle(Sampler):
    """Every row once, in an order drawn anew for each epoch.

    >>> rows = SamplerRows(np.arange(4), np.zeros(4), batch_size=2)
    >>> sorted(Shuffle().order(np.random.default_rng(0), rows).tolist())
    [0, 1, 2, 3]
    """

    id: ClassVar[str] = "shuffle"

    def order(self, generator: np.random.Generator, rows: SamplerRows) -> Int[np.ndarray, "position"]:
        """A permutation."""
        return generator.permutation(rows.n)


@dataclass(frozen=True)
class Sequential(Sampler):
    """Every row once, in the order of the task; the same for all epochs.

    >>> Sequential().order(np.random.default_rng(0), SamplerRows(np.arange(3), np.zeros(3), 2)).tolist()
    [0, 1, 2]
    """

    id: ClassVar[str] = "sequential"
    shuffles: ClassVar[bool] = False

    def order(self, generator: np.random.Generator, rows: SamplerRows) -> Int[np.ndarray, "position"]:
        """Counts up."""
        del generator
        return np.arange(rows.n)


@dataclass(frozen=True)
class FunctionSampler(Sampler):
    """Orders from a function `(generator, rows) -> positions`.

    Args:
      function: Takes a NumPy generator and `SamplerRows`; returns as many positions for each epoch.

    Raises:
      ConfigTypeError: No function of two arguments.

    >>> evens = FunctionSampler(lambda generator, rows: 2 * generator.permutation(rows.n // 2))
    >>> sorted(evens.order(np.random.default_rng(0), SamplerRows(np.arange(5), np.zeros(5), 2)).tolist())
    [0, 2]
    """

    id: ClassVar[str] = "function"
    function: Callable[[np.random.Generator, SamplerRows], Any]

    def __post_init__(self) -> None:
        try:
            inspect.signature(self.function).bind(None, None)
        except TypeError as error:
            raise ConfigTypeError(
                f"sampler: expected a function (generator, rows) -> positions, got {shown(self.function)}: {error}.\n"
                "Hint: lambda generator, rows: generator.permutation(rows.n)."
            ) from error
        except ValueError:  # builtins may have no signature
            pass

    def order(self, generator: np.random.Generator, rows: SamplerRows) -> Int[np.ndarray, "position"]:
        """What the function returns.

        Raises:
          ConfigError: It fails.
        """
        try:
            return np.asarray(self.function(generator, rows))
        except Exception as error:
            raise ConfigError(
                f"sampler: the function {shown(self.function)} failed: {type(error).__name__}: {error}.\n"
                "Hint: it gets a NumPy generator and SamplerRows, such as in generator.permutation(rows.n)."
            ) from error


@dataclass(frozen=True)
class Sampling:
    """A sampler with the rows that it samples: one run's orders.

    Args:
      sampler: Draws the positions.
      rows: The run's training rows.
      length: Positions of an epoch.
    """

    sampler: Sampler
    rows: SamplerRows
    length: int = field(init=False)

    def __post_init__(self) -> None:
        self.sampler.check(self.rows)
        object.__setattr__(self, "length", 0)
        first = self._checked(self.sampler.order(np.random.default_rng(0), self.rows))
        object.__setattr__(self, "length", len(first))

    def order(self, generator: np.random.Generator) -> Int[np.ndarray, "position"]:
        """Positions of one epoch.

        Raises:
          ConfigError: They are none, lie outside of the rows, or are more or fewer than before.
        """
        return self._checked(self.sampler.order(generator, self.rows))

    def _checked(self, order: np.ndarray) -> np.ndarray:
        who, n = f"sampler '{self.sampler.id}'", self.rows.n
        order = np.asarray(order)
        if order.ndim != 1 or order.dtype.kind not in "iu" or not len(order):
            raise ConfigError(f"{who}: expected positions in [0, {n}), got {shown(order)}.")
        if order.min() < NO_ROW or order.max() >= n:
            raise ConfigError(
                f"{who}: positions count the {n} training rows from 0, got {order.min()} to {order.max()}.\n"
                "Hint: rows.rows[position] is the row of the task."
            )
        if self.length and len(order) != self.length:
            raise ConfigError(
                f"{who}: an epoch had {self.length} positions, the next one has {len(order)}.\n"
                "Hint: every epoch must have the same number of positions."
            )
        size, copies = self.rows.batch_size, -len(order) % self.rows.batch_size
        batches = np.concatenate([order, np.full(copies, NO_ROW)]).reshape(-1, size)
        if not (batches >= 0).any(axis=1).all():
            raise ConfigError(f"{who}: every batch of {size} must hold a row.\nHint: leave the empty batch out.")
        return order


def as_sampler(sampler: Any, make: Callable[[str], Sampler], owner: str) -> Sampler:
    """A sampler from itself, a name or a function.

    Raises:
      ConfigTypeError: It is none of these.
    """
    if isinstance(sampler, Sampler):
        return sampler
    if isinstance(sampler, str):
        return make(sampler)
    if callable(sampler):
        return FunctionSampler(sampler)
    raise ConfigTypeError(
        f"{owner}: 'sampler' must be a sampler, its name, or a function (generator, rows) -> positions, got "
        f"{shown(sampler)}.\nHint: sampler='class_balanced'."
    )
