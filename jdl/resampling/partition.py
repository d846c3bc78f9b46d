"""Dividing rows once: a task into named parts, and training rows into those that fit and those that validate."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from jdl.core.errors import ConfigError, ConfigTypeError
from jdl.core.random import as_key
from jdl.resampling.allocate import draw
from jdl.resampling.holdout import by_ratio
from jdl.resampling.roles import Roles, roles_of
from jdl.resampling.splitter import RATIO

WHO = "partition"


def partition(
    task: Any,
    ratio: float | Sequence[float] = 2 / 3,
    key: Any = 0,
    stratify: bool | None = None,
) -> tuple[Int[np.ndarray, "part"], ...]:
    """Training and test rows of a task, or training, validation and test rows.

    Groups stay together; classes, or the task's strata, are in proportion in each part.

    Args:
      task: What is divided.
      ratio: Share of training rows. Two shares give three parts: training rows, validation rows, and the rest as
        test rows.
      key: An integer or a JAX key.
      stratify: Whether parts hold strata, or else classes, in proportion; None does where there are any.

    Returns:
      Sorted positions of each part.

    Raises:
      ConfigError: A part would be empty, or without a row of an explicit stratum.

    >>> from jdl.data.task_regr import TaskRegr
    >>> task = TaskRegr({"x": [1.0, 2.0, 3.0, 4.0], "y": [0.0, 1.0, 4.0, 9.0]}, target="y")
    >>> train, test = partition(task, ratio=0.5)
    >>> sorted([*train.tolist(), *test.tolist()])
    [0, 1, 2, 3]
    """
    if not hasattr(task, "group_codes"):
        raise ConfigTypeError(
            f"{WHO}: expected a task, got {type(task).__name__}.\nHint: jdl.TaskClassif(data, target=...)."
        )
    shares = _shares(ratio)
    root = as_key(key).fold("split", WHO)
    roles = roles_of(task, stratify, WHO)
    rows = np.arange(task.n_rows, dtype=np.int32)
    parts = []
    left = 1.0
    for i, share in enumerate(shares):
        chosen = by_ratio(WHO, roles.take(rows), share / left, [root.fold(i)])[0]
        parts.append(rows[chosen])
        rows, left = rows[~chosen], left - share
    return (*parts, rows)


def _shares(ratio: Any) -> list[float]:
    given = list(ratio) if isinstance(ratio, Sequence | np.ndarray) and not isinstance(ratio, str) else [ratio]
    shares = [RATIO.check(WHO, "ratio", share) for share in given]
    if len(shares) not in (1, 2):
        raise ConfigTypeError(
            f"{WHO}: 'ratio' must be a number or two, got {len(shares)} numbers.\nHint: ratio=(0.6, 0.2)."
        )
    if sum(shares) >= 1:
        raise ConfigError(
            f"{WHO}: the shares must add up to less than 1, got {ratio!r}.\n"
            "Hint: what remains is the test set, as in ratio=(0.6, 0.2)."
        )
    return shares


def split_validation(
    rows: Int[np.ndarray, "row"],
    ratio: float,
    key: Any,
    *,
    strata: Int[np.ndarray, "task_row"] | None = None,
    groups: Int[np.ndarray, "task_row"] | None = None,
) -> tuple[Int[np.ndarray, "fit"], Int[np.ndarray, "valid"]]:
    """Training rows divided into those that fit and those that validate, both in the order they came in.

    All copies of a row (bootstrap) and all rows of a group stay on one side. Validation rows are about `ratio` of
    all, in proportion from each stratum, but one at least.

    Args:
      rows: Positions in the task; a position may repeat.
      ratio: Share of validation rows, in (0, 1).
      key: An integer or a JAX key.
      strata: Stratum of every row of the task, not only of these.
      groups: Group of every row of the task.

    Raises:
      ConfigError: There are not two different rows, or groups, to divide.

    >>> fit, valid = split_validation(np.array([5, 5, 7, 8, 9]), 0.25, 0)
    >>> len(fit) + len(valid), len(set(fit) & set(valid))
    (5, 0)
    """
    rows = np.asarray(rows)
    different, copy_of = np.unique(rows, return_inverse=True)
    n_rows = len(different)
    roles = Roles(
        strata=np.zeros(n_rows, np.int64) if strata is None else np.asarray(strata)[different],
        groups=None if groups is None else np.asarray(groups)[different],
    ).take(np.arange(n_rows))
    if roles.n_units < 2:
        raise ConfigError(
            f"Validation rows: at least 2 different {roles.noun} are needed to set some apart, got {roles.n_units}.\n"
            "Hint: more training rows, or no 'validate'."
        )
    n_valid = min(max(round(RATIO.check("Validation rows", "ratio", ratio) * n_rows), 1), n_rows - 1)
    validating = draw(as_key(key).generator("split", "validation"), roles, n_valid)[copy_of]
    return rows[~validating], rows[validating]
