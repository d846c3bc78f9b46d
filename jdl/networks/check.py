"""Checks of sizes that every tabular network makes when it is built, and of shapes when it is called."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jdl.core.errors import ConfigError, ConfigTypeError, ShapeError


def positive(owner: str, **sizes: Any) -> None:
    """Refuses sizes that are no integers from 1 on.

    Raises:
      ConfigError: One of them is not.

    >>> positive("TabM", k=0)
    Traceback (most recent call last):
    ...
    jdl.core.errors.ConfigError: TabM: k must be an integer from 1 on, got 0.
    """
    for name, value in sizes.items():
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise ConfigTypeError(f"{owner}: {name} must be an integer from 1 on, got {value!r}.")
        if value < 1:
            raise ConfigError(f"{owner}: {name} must be an integer from 1 on, got {value!r}.")


def rate(owner: str, **rates: float | None) -> None:
    """Refuses probabilities outside of [0, 1).

    Raises:
      ConfigError: One of them is.
    """
    for name, value in rates.items():
        if value is not None and not 0 <= value < 1:
            raise ConfigError(f"{owner}: {name} must lie in [0, 1), got {value!r}.")


def cardinalities(owner: str, values: Sequence[int] | None) -> tuple[int, ...]:
    """Numbers of codes per categorical feature, each at least 1; none for None.

    Raises:
      ConfigError: A number is below 1.
    """
    values = tuple(values or ())
    for i, value in enumerate(values):
        positive(owner, **{f"cat_cardinalities[{i}]": value})
    return tuple(int(value) for value in values)


def some_features(owner: str, n_num: int, n_cat: int, name: str = "n_num_features") -> None:
    """Refuses a table without columns.

    Raises:
      ConfigError: There are none, or a negative number.
    """
    if n_num < 0:
        raise ConfigError(f"{owner}: {name} must not be negative, got {n_num}.")
    if n_num + n_cat == 0:
        raise ConfigError(
            f"{owner}: needs at least one feature, got {name}=0 and no cat_cardinalities.\n"
            "Hint: a model without features can only predict a constant."
        )


def columns(owner: str, name: str, x: Any, n_columns: int, ndims: tuple[int, ...] = (), *, codes: bool = False) -> Any:
    """A block with `n_columns` columns; lists and frames become arrays, None stands for a block without columns.

    Args:
      owner: Who takes it.
      name: What it is called there.
      x: The block.
      n_columns: How many columns it must have.
      ndims: Numbers of axes that it may have; any without.
      codes: Whether it holds category codes, which are integers.

    Raises:
      ShapeError: It has other columns, or is none.
      ConfigTypeError: It holds no numbers, or codes that are no integers.

    >>> columns("TabM", "x_cat", [[0, 1]], 2, codes=True).shape
    (1, 2)
    """
    try:
        x = x if x is None or hasattr(x, "dtype") else np.asarray(x)
    except ValueError:
        raise ShapeError(f"{owner}: {name} must be an array, got rows of different lengths.") from None
    _check_shape(owner, name, x, n_columns, ndims)
    if x is not None and n_columns and not _holds(x.dtype, codes):
        wanted = "category codes, which are integers" if codes else "numbers"
        hint = f"\nHint: {name}.astype('int32'), if these are codes." if codes else ""
        raise ConfigTypeError(f"{owner}: {name} must hold {wanted}, got {x.dtype}.{hint}")
    return x


def _check_shape(owner: str, name: str, x: Any, n_columns: int, ndims: tuple[int, ...]) -> None:
    got = "None" if x is None else f"an array of shape {tuple(x.shape)}"
    shape = None if x is None else tuple(x.shape)
    n_given = 0 if shape is None else (shape[-1] if shape else -1)
    if n_given != n_columns or (n_columns and ndims and len(shape or ()) not in ndims):
        wanted = f"(..., {n_columns})" if not ndims else " or ".join(_shape(n, n_columns) for n in ndims)
        wanted = f"shape {wanted}" if n_columns else "None, since it was built without such features"
        raise ShapeError(f"{owner}: {name} must have {wanted}, got {got}.")


def _holds(dtype: Any, codes: bool) -> bool:
    if codes:
        return jnp.issubdtype(dtype, jnp.integer)
    return jnp.issubdtype(dtype, jnp.number) or jnp.issubdtype(dtype, jnp.bool_)


def _shape(ndim: int, n_columns: int) -> str:
    return {1: f"({n_columns},)", 2: f"(row, {n_columns})", 3: f"(row, member, {n_columns})"}[ndim]
