"""Schemas: what the feature columns of a task are, and how frames with such columns become tables."""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from jdl.core.arrays import aligned_empty
from jdl.core.errors import JdlWarning, TaskError, suggest
from jdl.data.column_type import column_type, infer_column, is_all_missing, plain
from jdl.data.rows import as_positions
from jdl.data.source import as_frame, column
from jdl.data.table import NUMERIC_TYPES, Column, ColumnType, Table, TableSpec

_CHUNK = 1 << 14  # rows looked at together, so that masks stay small


@dataclass(frozen=True)
class Schema:
    """Names, types and levels of feature columns, in the user's order. Frozen and hashable.

    >>> schema = Schema.infer(pd.DataFrame({"age": [31, 40], "city": ["Rome", "Oslo"]}))
    >>> spec, table = schema.encode({"city": ["Rome", "Paris"], "age": [1.5, None]}, who="predict")
    >>> table.codes.tolist(), [c.name for c in spec.columns if c.missing]
    ([[2], [0]], ['age'])
    """

    columns: tuple[Column, ...]

    @classmethod
    def infer(
        cls,
        frame: pd.DataFrame,
        names: Iterable[str] | None = None,
        *,
        types: Mapping[str, str] | None = None,
        who: str = "schema",
    ) -> "Schema":
        """The schema of a frame's columns.

        Args:
          frame: Its column names are distinct texts.
          names: The columns that are features; all if None.
          types: Types of columns for which another one than the inferred is meant. Levels of a column made
            "ordered" here are sorted, unless it is a pandas Categorical, which has an order.
          who: Named in errors.

        Raises:
          TaskError: A column is of a type that jdl does not take or does not fit its given type, or a name in
            `types` is no column.
        """
        if not isinstance(types, Mapping | None):
            raise TaskError(
                f"{who}: `types` must be a dict from column to type, got {types!r}.\nHint: types={{'zip': 'category'}}."
            )
        types = dict(types or {})
        features = list(frame.columns if names is None else names)
        for name in types:
            if name not in features:
                raise TaskError(f"{who}: `types` names '{name}', which is no feature column. {suggest(name, features)}")
        return cls(tuple(infer_column(column(frame, name), types.get(name), who=who) for name in features))

    @property
    def names(self) -> tuple[str, ...]:
        """Column names."""
        return tuple(c.name for c in self.columns)

    @property
    def types(self) -> dict[str, ColumnType]:
        """Type of each column."""
        return {c.name: c.type for c in self.columns}

    @property
    def levels(self) -> dict[str, tuple[Any, ...]]:
        """Levels of each coded column."""
        return {c.name: c.levels for c in self.columns if not c.is_numeric}

    @cached_property
    def spec(self) -> TableSpec:
        """The columns as the blocks of a table, none with missing values."""
        return TableSpec.of(self.columns)

    def select(self, names: Iterable[str]) -> "Schema":
        """The schema of some of the columns, in this schema's order."""
        keep = set(names)
        return Schema(tuple(c for c in self.columns if c.name in keep))

    def encode(self, data: pd.DataFrame | Mapping[str, Any], *, who: str) -> tuple[TableSpec, Table]:
        """The columns of this schema in `data` as a NumPy table, and which of them hold missing values.

        bool, int and float columns stand for one another. Categories that are missing or no level get code 0.
        Other columns of `data` are ignored.

        Raises:
          TaskError: A column is absent, or of another type.
        """
        frame = plain_frame(data, who=who)
        self._check_present(frame, who)
        numeric = aligned_empty((len(frame), len(self.spec.numeric)), np.float32)
        codes = aligned_empty((len(frame), len(self.spec.categorical)), np.int32)
        missing = set()
        for j, expected in enumerate(self.spec.numeric):
            if _fill_numbers(column(frame, expected.name), expected, numeric[:, j], who):
                missing.add(expected.name)
        for j, expected in enumerate(self.spec.categorical):
            if _fill_codes(column(frame, expected.name), expected, codes[:, j], who):
                missing.add(expected.name)
        for block in (numeric, codes):
            block.setflags(write=False)  # devices may share the memory
        return self.spec.with_missing(missing), Table(numeric=numeric, codes=codes)

    def _check_present(self, frame: pd.DataFrame, who: str) -> None:
        present = set(frame.columns)
        absent = [name for name in self.names if name not in present]
        if absent:
            shown = ", ".join(repr(name) for name in absent[:10]) + (", ..." if len(absent) > 10 else "")
            raise TaskError(
                f"{who}: the data must have all {len(self.columns)} feature columns, but {len(absent)} "
                f"{'is' if len(absent) == 1 else 'are'} absent: {shown}.\n"
                f"Hint: columns are found by name, in any order. {suggest(absent[0], present)}"
            )


def plain_frame(data: Any, *, who: str) -> pd.DataFrame:
    """A frame whose names are distinct texts: the given one if it is such a one, else a new one.

    Raises:
      TaskError: `data` is nothing that `as_frame` takes.
    """
    if isinstance(data, pd.DataFrame):
        names = data.columns
        if names.is_unique and all(isinstance(name, str) for name in names):
            return data
    return as_frame(data, who=who)


def check_finite(spec: TableSpec, table: Table, rows: Any = None, *, who: str) -> None:
    """Refuse infinities in numeric columns.

    Args:
      spec: Describes `table`.
      table: NumPy arrays.
      rows: Positions or mask of the rows that matter; all if None.
      who: Named in errors.

    Raises:
      TaskError: A column holds infinities.

    Examples:
    >>> spec, table = Schema((Column("x", "float"),)).encode({"x": [1.0, float("inf")]}, who="demo")
    >>> check_finite(spec, table, rows=[0], who="demo")
    >>> check_finite(spec, table, who="demo")
    Traceback (most recent call last):
    ...
    jdl.core.errors.TaskError: demo: column 'x' holds infinite values (1 row).
    Hint: ...
    """
    positions = None if rows is None else as_positions(rows, table.n_rows, who=who)
    n_rows = table.n_rows if positions is None else len(positions)
    found = np.zeros(len(spec.numeric), dtype=np.int64)
    for start in range(0, n_rows, _CHUNK):
        chunk = slice(start, start + _CHUNK)
        block = table.numeric[chunk if positions is None else positions[chunk]]
        found += np.isinf(block).sum(axis=0)
    if found.any():
        names = [f"'{spec.numeric[j].name}'" for j in np.flatnonzero(found)]
        count = int(found.max())
        raise TaskError(
            f"{who}: column{'s' if len(names) > 1 else ''} {', '.join(names[:10])} "
            f"hold{'' if len(names) > 1 else 's'} infinite values "
            f"({'up to ' if len(names) > 1 else ''}{count} row{'s' if count > 1 else ''}).\n"
            f"Hint: replace them, for instance frame.replace([np.inf, -np.inf], np.nan) and impute, or leave the "
            f"column{'s' if len(names) > 1 else ''} out with task.select(...): all columns of the task are looked at, "
            f"also those that a stage drops. Numbers above 3.4e38 count as infinite."
        )


def _fill_numbers(series: pd.Series, expected: Column, out: Float[np.ndarray, "row"], who: str) -> bool:
    """Write a column into the numeric block; whether it holds missing values."""
    kind = series.dtype.kind if isinstance(series.dtype, np.dtype) else ""
    if kind not in ("b", "i", "u", "f"):
        found = column_type(series, who=who)
        if found not in NUMERIC_TYPES:
            if found is not None and not is_all_missing(series):
                raise _changed_type(expected, found, who)
            out[:] = np.nan
            return len(out) > 0
    # What is too large for float32 becomes an infinity; those are looked for where the rows are known.
    with np.errstate(over="ignore"):
        out[:] = series.to_numpy() if kind else series.to_numpy(dtype=np.float32, na_value=np.nan)
    if kind in ("i", "u", "f") and np.dtype(str(series.dtype)).itemsize > 4:
        _warn_of_lost_digits(series, expected.name, who)
    return kind not in ("b", "i", "u") and bool(np.isnan(out).any())


def _warn_of_lost_digits(series: pd.Series, name: str, who: str) -> None:
    """Warns where a column's spread is so small beside its size that float32 cannot hold it."""
    low, high = series.min(), series.max()
    spread, size = float(high) - float(low), max(abs(float(low)), abs(float(high)))
    if np.isfinite(size) and 0 < spread < 1e4 * float(np.finfo(np.float32).eps) * size:
        digits = next((n for n in range(6, 17) if f"{low:.{n}g}" != f"{high:.{n}g}"), 17)
        least, most = f"{low:.{digits}g}", f"{high:.{digits}g}"
        warnings.warn(
            f"{who}: column '{name}' lies between {least} and {most}; numbers are kept in float32, with 7 digits, "
            f"which lose most of their differences.\nHint: subtract a constant first: frame['{name}'] - {least}.",
            JdlWarning,
            stacklevel=2,
        )


def _fill_codes(series: pd.Series, expected: Column, out: Int[np.ndarray, "row"], who: str) -> bool:
    """Write a column into the block of codes; whether it holds missing values."""
    found = column_type(series, who=who) or "float"
    if isinstance(series.dtype, pd.CategoricalDtype):
        raw, values = series.cat.codes.to_numpy(), list(series.dtype.categories)
    else:
        raw, values = pd.factorize(series)
    values = [plain(value) for value in values]
    if not _same_kind(expected.levels, values):
        raise _changed_type(expected, found, who, values[0])
    code = {level: i + 1 for i, level in enumerate(expected.levels)}
    # The last entry is read by raw code -1, which is pandas' for missing.
    lookup = np.array([*(code.get(value, 0) for value in values), 0], dtype=np.int32)
    out[:] = lookup[raw]
    return bool((raw < 0).any())


def _same_kind(levels: tuple[Any, ...], values: list[Any]) -> bool:
    """Whether some could be equal: texts do not stand for numbers, nor numbers for texts."""
    expected = {isinstance(level, str) for level in levels}
    got = {isinstance(value, str) for value in values}
    return not expected or not got or bool(expected & got)


def _changed_type(expected: Column, found: str, who: str, value: Any = None) -> TaskError:
    levels = f" with levels such as {expected.levels[0]!r}" if expected.levels else ""
    such = "" if value is None else f", with values such as {value!r}"
    hint = f".astype({'float' if expected.is_numeric else type(expected.levels[0]).__name__})"
    if expected.type == "bool" and found == "category":
        hint = " == 'True'"
    return TaskError(
        f"{who}: column '{expected.name}' must be {expected.type}{levels}, as in the task, "
        f"got {found}{such}.\n"
        f"Hint: convert it, for instance frame['{expected.name}']{hint}."
    )
