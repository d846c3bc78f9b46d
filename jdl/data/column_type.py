"""From a pandas column to one of jdl's five column types and its levels."""

from typing import Any

import numpy as np
import pandas as pd

from jdl.core.errors import TaskError, UnknownNameError
from jdl.data.table import NUMERIC_TYPES, Column, ColumnType

COLUMN_TYPES: tuple[ColumnType, ...] = ("bool", "int", "float", "category", "ordered")

# What pandas calls the values of an object column.
_OF_OBJECTS: dict[str, ColumnType] = {
    "boolean": "bool",
    "integer": "int",
    "floating": "float",
    "mixed-integer-float": "float",
    "decimal": "float",
    "string": "category",
    "categorical": "category",
}
_HINTS = {
    "datetime": "derive numbers from it, such as column.dt.year, or (column - start).dt.days",
    "timedelta": "column.dt.total_seconds() gives numbers",
    "complex": "use its real and imaginary parts as two columns",
    "bytes": "column.str.decode('utf-8') gives texts",
}


def column_type(series: pd.Series, *, who: str) -> ColumnType | None:
    """The type of a column; None if nothing tells, because all of it is missing.

    >>> column_type(pd.Series([True, None]), who="task")
    'bool'

    Raises:
      TaskError: The column is of a type that jdl does not know.
    """
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        if len(dtype.categories) == 0:
            return None
        return "ordered" if dtype.ordered else "category"
    if pd.api.types.is_bool_dtype(dtype):
        return "bool"
    if pd.api.types.is_integer_dtype(dtype):
        return "int"
    if pd.api.types.is_float_dtype(dtype):
        return "float"
    if pd.api.types.is_string_dtype(dtype):  # object columns too
        if is_all_missing(series):
            return None
        found = pd.api.types.infer_dtype(series, skipna=True)
        if found in _OF_OBJECTS:
            return _OF_OBJECTS[found]
        if found.startswith("mixed") and all(isinstance(v, str | bool | int | float) for v in series.dropna()):
            return "category"
    raise _unknown_type(series, who)


def plain(level: Any) -> Any:
    """A level as a Python bool, int, float or str; a whole float is an int, other things are their text.

    >>> plain(np.float64(2.0)), plain(np.bool_(True)), plain(pd.Interval(0, 1))
    (2, True, '(0, 1]')
    """
    value = level.item() if isinstance(level, np.generic) else level
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    return value if isinstance(value, str | bool | int) else str(value)


def sorted_levels(levels: Any) -> tuple[Any, ...]:
    """Distinct plain levels in ascending order, numbers before texts."""
    return tuple(sorted({plain(level) for level in levels}, key=lambda v: (isinstance(v, str), v)))


def infer_column(series: pd.Series, given: str | None, *, who: str) -> Column:
    """The `Column` that describes a pandas column, of the given type if there is one.

    Raises:
      TaskError: The column is of an unknown type, or its values do not fit the given type.
      UnknownNameError: There is no such type.
    """
    name = str(series.name)
    if given is not None and given not in COLUMN_TYPES:
        owner = f"{who}, types['{name}']"
        raise UnknownNameError.of("column type", given, COLUMN_TYPES, owner=owner, list_all=True)
    found = column_type(series, who=who)
    if given in ("category", "ordered"):
        return Column(name, given, _levels(series, ordered=given == "ordered"))
    if given is not None:
        _check_numbers(series, found, given, who)
        return Column(name, given)  # pyright: ignore[reportArgumentType]
    if found is None or found in NUMERIC_TYPES:
        return Column(name, found or "float")
    return Column(name, found, _levels(series, ordered=found == "ordered"))


def _levels(series: pd.Series, *, ordered: bool) -> tuple[Any, ...]:
    if isinstance(series.dtype, pd.CategoricalDtype):
        levels = series.dtype.categories
        return tuple(plain(level) for level in levels) if ordered else sorted_levels(levels)
    return sorted_levels(series.dropna().unique())


def _check_numbers(series: pd.Series, found: str | None, given: str, who: str) -> None:
    if found not in (None, *NUMERIC_TYPES):
        raise TaskError(
            f"{who}: column '{series.name}' cannot be taken as {given}: it is {found}.\n"
            f"Hint: convert it first, with pandas.to_numeric(frame['{series.name}'])."
        )
    if given == "float" or found == given or found is None:
        return
    values = series.dropna().to_numpy(dtype=np.float64)
    fits = np.isin(values, (0.0, 1.0)) if given == "bool" else values == np.trunc(values)
    if not fits.all():
        raise TaskError(
            f"{who}: column '{series.name}' cannot be taken as {given}: "
            f"it holds {plain(values[~fits][0])}.\nHint: leave it out of `types`, or use 'float'."
        )


def _unknown_type(series: pd.Series, who: str) -> TaskError:
    kind = str(series.dtype)
    if pd.api.types.is_object_dtype(series.dtype):
        kind = f"object ({pd.api.types.infer_dtype(series, skipna=True)})"
    hint = next((h for key, h in _HINTS.items() if key in kind), "convert it to numbers or texts")
    if "date" in kind:
        hint = _HINTS["datetime"]
    return TaskError(
        f"{who}: column '{series.name}' is of type {kind}; jdl takes bool, int, float, text and "
        f"categorical columns.\nHint: {hint}, or drop the column."
    )


def is_all_missing(series: pd.Series) -> bool:
    """Whether a column holds no value at all.

    >>> is_all_missing(pd.Series([np.nan, None]))
    True
    """
    return bool(series.isna().all())
