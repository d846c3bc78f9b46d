"""What splitting knows of rows: which stratum and which group each belongs to."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from jdl.core.errors import ConfigError, JdlWarning

NAMED = 5


@dataclass(frozen=True, eq=False)
class Roles:
    """Strata, which every set should hold in proportion, and groups, whose rows stay together.

    Args:
      strata: Code of each row's stratum, from 0 without gaps; all 0 if there are no strata.
      groups: Code of each row's group, from 0 without gaps; None if every row is on its own.
      names: Name of each stratum; empty if there are no strata.
      explicit: Whether the strata are asked for, and not only the classes of the target.
    """

    strata: Int[np.ndarray, "row"]
    groups: Int[np.ndarray, "row"] | None = None
    names: tuple[str, ...] = ()
    explicit: bool = False

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.strata)

    @property
    def units(self) -> Int[np.ndarray, "row"]:
        """Code of what moves as one: the row's group, or the row."""
        return np.arange(self.n_rows) if self.groups is None else self.groups

    @property
    def n_units(self) -> int:
        """Number of groups, or of rows if there are none."""
        return self.n_rows if self.groups is None else int(self.groups.max(initial=-1)) + 1

    @property
    def noun(self) -> str:
        """What moves as one, in the plural."""
        return "rows" if self.groups is None else "groups"

    def take(self, rows: Int[np.ndarray, "some"]) -> "Roles":
        """The roles of some rows."""
        strata, dense = np.unique(self.strata[rows], return_inverse=True)
        groups = None if self.groups is None else np.unique(self.groups[rows], return_inverse=True)[1]
        names = tuple(self.names[code] for code in strata) if self.names else ()
        return Roles(dense, groups, names, self.explicit)

    def counts(self) -> Int[np.ndarray, "unit stratum"]:
        """Rows of each stratum in each unit."""
        n_strata = int(self.strata.max(initial=0)) + 1
        cells = self.units * n_strata + self.strata
        return np.bincount(cells, minlength=self.n_units * n_strata).reshape(self.n_units, n_strata)


def roles_of(task: Any, stratify: bool | None, who: str) -> Roles:
    """The roles of a task's rows.

    Args:
      task: Anything with the row roles of a task.
      stratify: Whether by the task's strata or else its classes; None does so where there are any.
      who: Who complains.

    Raises:
      ConfigError: `stratify=True` without strata or classes.
    """
    groups = None if task.group_codes is None else np.unique(task.group_codes, return_inverse=True)[1]
    if stratify is not False and task.strata_codes is not None:
        found, strata = np.unique(task.strata_codes, return_inverse=True)
        return Roles(strata, groups, tuple(f"stratum {code}" for code in found), explicit=True)
    if stratify is not False and task.task_type == "classif":
        found, strata = np.unique(task.target_codes, return_inverse=True)
        return Roles(strata, groups, tuple(f"class {task.class_names[code]!r}" for code in found))
    if stratify:
        raise ConfigError(
            f"{who}: stratify=True needs classes or strata, but task '{task.id}' has neither.\n"
            "Hint: give the task 'strata', or leave 'stratify' out."
        )
    return Roles(np.zeros(task.n_rows, np.int64), groups)


def check_spread(roles: Roles, sides: Bool[np.ndarray, "side row"], who: str, what: str) -> None:
    """Complains if a stratum is missing on one of the sides, by a warning if it is but a class of the target.

    Args:
      roles: Of all rows.
      sides: Masks of the sets that should hold every stratum.
      who: Who complains.
      what: The sets in words.

    Raises:
      ConfigError: An explicit stratum is missing.
    """
    if not roles.names:
        return
    counts = np.stack([np.bincount(roles.strata[side], minlength=len(roles.names)) for side in sides])
    complain_of_rare(roles, np.flatnonzero((counts == 0).any(axis=0)), who, what)


def complain_of_rare(roles: Roles, strata: Int[np.ndarray, "rare"], who: str, what: str) -> None:
    """Names strata that are missing somewhere: by a warning if they are but classes of the target.

    Raises:
      ConfigError: They are explicit strata.
    """
    if not roles.names or not len(strata):
        return
    shown = ", ".join(_size(roles, code) for code in strata[:NAMED])
    more = f" and {len(strata) - NAMED} more" if len(strata) > NAMED else ""
    problem = f"{who}: not every one of {what} can hold {shown}{more}"
    if roles.explicit:
        raise ConfigError(f"{problem}.\nHint: merge rare strata, or stratify=False.")
    warnings.warn(
        f"{problem}; scores that need every class may be undefined.\nHint: merge rare classes.",
        JdlWarning,
        stacklevel=6,
    )


def _size(roles: Roles, code: int) -> str:
    inside = roles.strata == code
    n_rows = int(inside.sum())
    size = f"{n_rows} row{'s' * (n_rows != 1)}"
    if roles.groups is not None:
        n_groups = len(np.unique(roles.groups[inside]))
        size += f" in {n_groups} group{'s' * (n_groups != 1)}"
    return f"{roles.names[code]} ({size})"
