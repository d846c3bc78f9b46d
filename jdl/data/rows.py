"""Rows as users give them: integer positions or a boolean mask."""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from jdl.core.errors import JdlError, TaskError


def as_positions(rows: Any, n_rows: int, *, who: str, error: type[JdlError] = TaskError) -> Int[np.ndarray, "selected"]:
    """Positions in `[0, n_rows)` from positions (kept in order, may repeat) or from a mask of all rows.

    >>> as_positions([True, False, True], 3, who="task")
    array([0, 2])

    Args:
      rows: Positions or a mask.
      n_rows: Number of all rows.
      who: Named in errors.
      error: What is raised.

    Raises:
      TaskError: `rows` is neither, holds a position outside of the rows, or is a mask with an index of its own.
    """
    given = np.asarray(rows)
    if given.ndim == 1 and given.size == 0:
        return np.zeros(0, dtype=np.int64)
    if given.ndim != 1 or given.dtype.kind not in "biu":
        raise error(
            f"{who}: rows must be integer positions or a boolean mask, one axis, "
            f"got {given.dtype} values of shape {given.shape}.\n"
            f"Hint: rows=[0, 1, 2], or rows=np.flatnonzero(condition)."
        )
    if given.dtype.kind == "b":
        if len(given) != n_rows:
            raise error(
                f"{who}: a mask of rows must have a value for each of the {n_rows} rows, got {len(given)}.\n"
                f"Hint: give positions (integers) to name only some of the rows."
            )
        if isinstance(rows, pd.Series) and not rows.index.equals(pd.RangeIndex(n_rows)):
            raise error(
                f"{who}: the index of a mask of rows must count them, from 0 to {n_rows - 1} in order, but it differs, "
                f"so that values and rows may not belong together.\n"
                f"Hint: mask.to_numpy() where they are in the order of the rows, else mask.reindex(frame.index) first."
            )
        return np.flatnonzero(given)
    outside = given[(given < 0) | (given >= n_rows)]
    if outside.size:
        raise error(
            f"{who}: rows must lie in [0, {n_rows}), got {int(outside[0])}"
            + (f" and {outside.size - 1} more outside of it." if outside.size > 1 else ".")
            + "\nHint: rows are positions counted from 0; they do not follow the index of a frame."
        )
    return given.astype(np.int64)
