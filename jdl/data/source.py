"""Turning what users hand in into a frame of our own: frames, dicts of columns, arrays, local CSV files."""

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np
import pandas as pd

from jdl.core.errors import JdlWarning, TaskError

# One letter before ':/' is a Windows drive; a Path object folds '//' into '/'.
_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:/")
_DATE = r"\d{4}-\d\d-\d\d([ T].*)?$"
_LOOKED_AT = 10_000  # rows of a CSV file by which its columns of texts are judged
_FEW_ROWS = 20  # in which texts may well differ
# From pandas 3 on a frame shares its data with its copies until one of them is changed.
_COPY_ON_WRITE = int(pd.__version__.split(".")[0]) >= 3


def as_frame(data: Any, *, who: str) -> pd.DataFrame:
    """A frame with text names and an index from 0, which no later change of `data` reaches.

    >>> as_frame({"a": [1, 2], "b": ["x", "y"]}, who="task").shape
    (2, 2)

    Args:
      data: A pandas frame, a dict of columns, an array with two axes (its columns become x0, x1, ...),
        or the path of a CSV file.
      who: Named in errors.

    Raises:
      TaskError: `data` is none of these, or cannot be read.
    """
    if isinstance(data, pd.DataFrame):
        return _own_frame(data, who)
    if isinstance(data, str | Path):
        return read_csv(data, who=who)
    if isinstance(data, Mapping):
        return _frame_of_columns(data, who)
    if isinstance(data, np.ndarray | jax.Array):
        return _frame_of_array(np.asarray(data), who)
    raise TaskError(
        f"{who}: data must be a pandas DataFrame, a dict of columns, a NumPy array with two axes, "
        f"or the path of a CSV file, got {type(data).__name__}.\n"
        f"Hint: other tables often have a to_pandas() method; pandas.DataFrame(rows) takes a list of rows."
    )


def own_copy(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy that neither side's changes reach, without copying data where pandas shares it safely."""
    return frame.copy(deep=not _COPY_ON_WRITE)


def column(frame: pd.DataFrame, name: str) -> pd.Series:
    """One column of a frame with distinct names."""
    return cast(pd.Series, frame[name])


def count_missing(frame: pd.DataFrame, name: str) -> int:
    """Number of missing values in a column."""
    return int(np.count_nonzero(frame[name].isna()))


def read_csv(path: str | Path, *, who: str) -> pd.DataFrame:
    """The frame in a local CSV file; its first line holds the names.

    Raises:
      TaskError: The path is a URL, there is no such file, or it is no CSV file.
    """
    if _URL.match(str(path)):
        raise TaskError(
            f"{who}: jdl reads local files only, got the URL '{path}'.\n"
            f"Hint: download the file first, or hand in pandas.read_csv(url)."
        )
    file = Path(path).expanduser()
    if not file.is_file():
        kind = "is a folder" if file.is_dir() else "does not exist"
        raise TaskError(
            f"{who}: expected the path of a CSV file, but '{file}' {kind}.\n"
            f"Hint: relative paths start at the current folder, '{Path.cwd()}'."
        )
    try:
        header = pd.read_csv(file, header=None, nrows=1, dtype=str).iloc[0]
        _check_separator(header, file, who)
        # pandas would rename the second of two equal names in silence.
        _check_unique(header.dropna(), who, f"the first line of '{file}'")
        with warnings.catch_warnings():
            # Lines with more fields than names would shift all columns by one, or lose their ends.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = as_frame(pd.read_csv(file, index_col=False), who=who)
    except TaskError:
        raise
    except (ValueError, OSError, pd.errors.ParserWarning) as err:
        raise TaskError(
            f"{who}: '{file}' cannot be read as a CSV file with a line of names: {err}\n"
            f"Hint: read it with pandas.read_csv and its options, and hand in the frame."
        ) from err
    if pd.isna(header.iloc[0]):
        _warn_of_index(frame, file, who)
    for name in frame.columns:
        _warn_of_text(column(frame, name).dropna().head(_LOOKED_AT), file, who)
    return frame


def _check_separator(header: pd.Series, file: Path, who: str) -> None:
    """Refuses a line of names that only other separators than commas divide."""
    first = str(header.iloc[0])
    separator = next((s for s in (";", "\t", "|") if s in first), None)
    if len(header) == 1 and separator is not None:
        raise TaskError(
            f"{who}: '{file}' has but one column between commas, {first!r}, which looks like several.\n"
            f"Hint: hand in pandas.read_csv('{file}', sep={separator!r})."
        )


def _warn_of_index(frame: pd.DataFrame, file: Path, who: str) -> None:
    """Warns of a first column that is the index of the frame that was saved."""
    first = frame.iloc[:, 0]
    if pd.api.types.is_integer_dtype(first.dtype) and first.is_unique:
        _warn(
            f"{who}: the first column of '{file}' has no name and numbers the rows: it looks like the index of a saved "
            f"frame, but would be the feature '{frame.columns[0]}'.\n"
            f"Hint: hand in pandas.read_csv('{file}', index_col=0)."
        )


def _warn_of_text(values: pd.Series, file: Path, who: str) -> None:
    """Warns of a column of texts that are not meant as categories: numbers, dates, names of rows."""
    if not len(values) or not pd.api.types.is_string_dtype(values.dtype):
        return
    start = f"{who}: column '{values.name}' of '{file}' holds texts, and each would be a category, but"
    numbers = cast(pd.Series, pd.to_numeric(values, errors="coerce")).notna()
    if numbers.mean() > 0.5:
        other = next(str(value) for value in values[~numbers])
        hint = f"hand in pandas.read_csv('{file}', na_values={other!r})"
        _warn(f"{start} most are numbers, others such as {other!r}.\nHint: {hint} if these stand for missing values.")
    elif values.astype(str).str.match(_DATE).all():
        hint = f"pandas.to_datetime(frame['{values.name}']).dt.year and the like give numbers"
        _warn(f"{start} these are dates such as {values.iloc[0]!r}.\nHint: {hint}; or leave it out with task.select().")
    elif len(values) >= _FEW_ROWS and values.nunique() > 0.9 * len(values):
        _warn(f"{start} almost every row has its own, such as {values.iloc[0]!r}.\nHint: task.select() leaves it out.")


def _warn(message: str) -> None:
    warnings.warn(message, JdlWarning, stacklevel=7)


def _own_frame(frame: pd.DataFrame, who: str) -> pd.DataFrame:
    if isinstance(frame.columns, pd.MultiIndex):
        raise TaskError(
            f"{who}: column names must be texts, but they have {frame.columns.nlevels} levels.\n"
            f"Hint: frame.columns = ['_'.join(map(str, name)) for name in frame.columns]."
        )
    names = [str(name) for name in frame.columns]
    _check_unique(names, who, "the data")
    own = own_copy(frame)
    own.columns = pd.Index(names, dtype=object)
    own.index = pd.RangeIndex(len(own))
    return own


def _frame_of_columns(columns: Mapping[Any, Any], who: str) -> pd.DataFrame:
    _check_unique([str(name) for name in columns], who, "the data")
    parts = {str(name): _column(str(name), values, who) for name, values in columns.items()}
    lengths = {name: len(values) for name, values in parts.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"'{name}' {length}" for name, length in list(lengths.items())[:8])
        raise TaskError(
            f"{who}: all columns must have equal lengths, got {shown}.\n"
            f"Hint: every column holds a value per row; mark missing ones with None or NaN."
        )
    return _own_frame(pd.DataFrame(parts), who)


def _column(name: str, values: Any, who: str) -> Any:
    # A frame made of Series would align them by their indices; columns go by position.
    if isinstance(values, pd.Series | pd.Index):
        return pd.Series(values).reset_index(drop=True).copy()
    if isinstance(values, pd.api.extensions.ExtensionArray):
        return values.copy()
    if isinstance(values, Sequence) and not isinstance(values, str | bytes):
        return list(values)
    array = np.array(values)
    if array.ndim != 1:
        raise TaskError(
            f"{who}: column '{name}' must have one axis, got {type(values).__name__} of shape {array.shape}.\n"
            f"Hint: a dict maps each name to a sequence of values, also for one row: {{'{name}': [value]}}."
        )
    return array


def _frame_of_array(array: np.ndarray, who: str) -> pd.DataFrame:
    if array.ndim != 2:
        hint = "array.reshape(-1, 1) makes one column of it" if array.ndim == 1 else "array.reshape(len(array), -1)"
        raise TaskError(
            f"{who}: an array of data must have two axes (row, feature), got shape {array.shape}.\nHint: {hint}."
        )
    # Stored by columns, as a frame reads it.
    frame = pd.DataFrame(np.array(array, order="F"), copy=False)
    frame.columns = pd.Index([f"x{i}" for i in range(array.shape[1])], dtype=object)
    return frame.infer_objects() if array.dtype == object else frame


def _check_unique(names: Iterable[str], who: str, where: str) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise TaskError(
            f"{who}: column names must differ, but {where} holds "
            f"{', '.join(repr(name) for name in twice[:5])} more than once.\n"
            f"Hint: rename or drop all but one; names are compared as texts."
        )
