"""The contract of a splitter: a frozen value that divides a task's rows into training and test sets."""

import abc
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np

from jdl.core.errors import ConfigError, ConfigTypeError, UnknownNameError
from jdl.core.fields import REQUIRED, Field, with_defaults
from jdl.core.random import RandomKey, as_key
from jdl.data.splits import Splits
from jdl.resampling.roles import Roles

Pair = tuple[np.ndarray, np.ndarray]

RATIO = Field("float", 2 / 3, low=0.0, open_low=True, high=1.0, tags=("split",), doc="Share of training rows.")
STRATIFY = Field(
    "bool",
    None,
    optional=True,
    tags=("split",),
    doc="Whether sets hold strata, or else classes, in proportion; None does where there are any.",
)


def count(default: int, doc: str, *, low: int = 1) -> Field:
    """The field of a number of iterations."""
    return Field("int", default, low=low, tags=("split",), doc=doc)


@dataclass(frozen=True, kw_only=True)
class Splitter(abc.ABC):
    """How rows are divided. Splits depend on the task's roles of rows, the splitter and the key, and on nothing else.

    Rows of a group stay together. On classification tasks the classes are in proportion in all sets, or the task's
    strata if it has some; `stratify=False` turns either off.
    """

    id: ClassVar[str]
    fields: ClassVar[dict[str, Field]] = {}

    def __new__(cls, *args: Any, **given: Any) -> Self:
        """Refuses what a dataclass would answer with a bare TypeError."""
        names = [f.name for f in fields(cls)]
        if args:
            raise ConfigTypeError(f"Resampling '{cls.id}': parameters are given by name: {names}.")
        for name in given:
            if name not in names:
                raise UnknownNameError.of("parameter", name, names, owner=f"resampling '{cls.id}'")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in self.fields}
        given = {name: value for name, value in given.items() if value is not REQUIRED}
        for name, value in with_defaults(self.who, self.fields, given).items():
            object.__setattr__(self, name, value)

    @property
    def who(self) -> str:
        """Who complains in its errors."""
        return f"Resampling '{self.id}'"

    @abc.abstractmethod
    def pairs(self, task: Any, key: RandomKey) -> list[Pair]:
        """The training and test rows of every iteration, drawn from `key`."""

    def split(self, task: Any, key: Any = 0) -> Splits:
        """The training and test rows of every iteration.

        Args:
          task: What is split.
          key: An integer or a JAX key; equal keys give equal splits.

        Raises:
          ConfigTypeError: No task.
          ConfigError: Too few rows, groups or rows of an explicit stratum.

        Warns:
          JdlWarning: A class is too rare to be in every set.
        """
        if not hasattr(task, "group_codes"):
            raise ConfigTypeError(
                f"{self.who}: expected a task, got {type(task).__name__}.\n"
                f"Hint: jdl.TaskClassif(data, target=...) or jdl.TaskRegr(data, target=...)."
            )
        pairs = self.pairs(task, as_key(key).fold("split", self.id))
        return Splits(
            train_sets=tuple(train for train, _ in pairs),
            test_sets=tuple(test for _, test in pairs),
            n_rows=task.n_rows,
            task_id=task.id,
        )


def by_mask(training: np.ndarray) -> Pair:
    """Training and test rows of a mask of the training rows."""
    return np.flatnonzero(training), np.flatnonzero(~training)


def check_units(who: str, roles: Roles, least: int, need: str) -> None:
    """Refuses rows, or groups, that are too few.

    Raises:
      ConfigError: There are less than `least`.
    """
    if roles.n_units < least:
        raise ConfigError(
            f"{who}: {need} needs at least {least} {roles.noun}, got {roles.n_units}.\n"
            f"Hint: {'more rows' if roles.groups is None else 'more or smaller groups'}, or a smaller number."
        )
