"""Splits: pairs of training rows and test rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, overload

import numpy as np
from jaxtyping import Int

Rows = Int[np.ndarray, "n_rows"]


class PaddedSplits(NamedTuple):
    """Splits as dense arrays: beyond its count, a set repeats its first row."""

    train: Int[np.ndarray, "split train"]
    n_train: Int[np.ndarray, "split"]
    test: Int[np.ndarray, "split test"]
    n_test: Int[np.ndarray, "split"]


@dataclass(frozen=True, eq=False)
class Splits:
    """The training and test rows of every iteration of a resampling.

    Args:
      train_sets: Positions of the training rows; a position may repeat (bootstrap).
      test_sets: Positions of the test rows.
      n_rows: Rows of the task that was split.
      task_id: Its id.

    >>> splits = Splits(([0, 1], [2]), ([2], [0, 1]), n_rows=3)
    >>> [(train.tolist(), test.tolist()) for train, test in splits]
    [([0, 1], [2]), ([2], [0, 1])]
    >>> splits.padded().train.tolist()
    [[0, 1], [2, 2]]
    """

    train_sets: tuple[Rows, ...]
    test_sets: tuple[Rows, ...]
    n_rows: int
    task_id: str = ""

    def __post_init__(self) -> None:
        for name in ("train_sets", "test_sets"):
            object.__setattr__(self, name, tuple(map(_read_only, getattr(self, name))))
        assert len(self.train_sets) == len(self.test_sets)

    def __len__(self) -> int:
        return len(self.train_sets)

    def __iter__(self) -> Iterator[tuple[Rows, Rows]]:
        return zip(self.train_sets, self.test_sets, strict=True)

    @overload
    def __getitem__(self, i: int) -> tuple[Rows, Rows]: ...
    @overload
    def __getitem__(self, i: slice) -> list[tuple[Rows, Rows]]: ...
    def __getitem__(self, i: int | slice) -> Any:
        """Training and test rows of one iteration, or of several as a list."""
        if isinstance(i, slice):
            return list(zip(self.train_sets[i], self.test_sets[i], strict=True))
        return self.train_sets[i], self.test_sets[i]

    def __repr__(self) -> str:
        of_task = f" of task '{self.task_id}'" if self.task_id else ""
        return f"Splits{of_task}: {len(self)} iterations over {self.n_rows} rows"

    def padded(self) -> PaddedSplits:
        """All sets as dense arrays, with the number of real rows of each."""
        return PaddedSplits(*_padded(self.train_sets), *_padded(self.test_sets))


def _read_only(rows: Any) -> Rows:
    array = np.array(rows, dtype=np.int32)
    array.flags.writeable = False
    return array


def _padded(sets: tuple[Rows, ...]) -> tuple[np.ndarray, np.ndarray]:
    counts = np.array([len(rows) for rows in sets], np.int32)
    dense = np.empty((len(sets), int(counts.max(initial=0))), np.int32)
    for row, rows in zip(dense, sets, strict=True):
        row[:] = rows[0] if len(rows) else 0
        row[: len(rows)] = rows
    return dense, counts
