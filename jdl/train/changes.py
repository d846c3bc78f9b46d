"""Checks of what host callbacks set: what came is said, and what would have fitted."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from jdl.core.errors import ConfigError, ConfigTypeError, ShapeError, shown
from jdl.train.checks import check_hyper
from jdl.train.hyper_names import Slot
from jdl.train.program import Program


def checked_epochs(value: Any, n_runs: int) -> Int[np.ndarray, "run"]:
    """Epochs of each run, from one number or one per run.

    >>> checked_epochs(5, 3)
    array([5, 5, 5])

    Raises:
      ConfigError: Values that are no whole numbers of at least 0.
      ShapeError: Another number of them.
    """
    values = np.asarray(value)
    whole = values.dtype.kind in "iu" or (values.dtype.kind == "f" and bool((values == np.round(values)).all()))
    if not whole or not np.isfinite(values).all() or (values < 0).any():
        raise ConfigError(f"ctx.total_epochs: expected whole numbers of at least 0, got {_what(value)}.")
    if values.shape not in ((), (n_runs,)):
        raise ShapeError(
            f"ctx.total_epochs: expected one number, or one for each of {n_runs} runs, got {_what(value)}."
        )
    return np.broadcast_to(values.astype(np.int64), (n_runs,)).copy()


def check_like(who: str, value: Any, old: Any) -> None:
    """Refuses a tree that is not built as another one.

    Raises:
      ConfigTypeError: It has another structure.
      ShapeError: An array in it has another shape.
    """
    hint = f"\nHint: {who} = jax.tree.map(function, {who}); arrays have a leading axis of the runs in flight."
    if jax.tree.structure(value) != jax.tree.structure(old):
        raise ConfigTypeError(f"{who}: expected the structure that it had, got {shown(value)}.{hint}")
    leaves = jax.tree_util.tree_flatten_with_path(old)[0]
    for (path, leaf), new in zip(leaves, jax.tree.leaves(value), strict=True):
        if np.shape(new) != np.shape(leaf):
            raise ShapeError(
                f"{who}: expected shape {np.shape(leaf)} at {jax.tree_util.keystr(path)}, got {np.shape(new)}.{hint}"
            )


def spread(name: str, slot: Slot, value: Any, runs: Any, n_runs: int) -> np.ndarray:
    """The value of a hyperparameter, for all runs in flight, from one value or one per run.

    Args:
      name: As it was called.
      slot: What that stands for.
      value: One value for all or one per run.
      runs: The runs in flight; those behind the first `n_runs` are idle.
      n_runs: Runs that are none.

    Raises:
      ConfigTypeError: No number.
      ShapeError: Another number of values.
    """
    try:
        values = np.asarray(value, np.float32)
    except (TypeError, ValueError):
        raise ConfigTypeError(f"ctx.set_hyper: '{name}' must be a number, got {shown(value)}.") from None
    lead = np.shape(runs.epoch)
    entry = () if slot.entry is not None else np.shape(runs.train.hyper[slot.name])[len(lead) :]
    if values.shape in ((), entry, (*lead, *entry)):
        return values
    if values.shape != (n_runs, *entry):
        one = "one number" if not entry else f"{entry[0]} numbers"
        raise ShapeError(
            f"ctx.set_hyper: '{name}' takes {one}, or as many for each of the {n_runs} runs in ctx.iterations, got "
            f"{_what(value)}."
        )
    if not lead:
        return values[0]
    return np.concatenate([values, np.repeat(values[-1:], lead[0] - n_runs, axis=0)])


def check_written(program: Program, slots: tuple[Slot, ...], hyper: Mapping[str, Any], runs: Any, n_runs: int) -> None:
    """Refuses hyperparameters that are out of range in some run.

    Raises:
      ConfigError: Names the hyperparameter and its range.
    """
    for slot in slots:
        values = np.asarray(hyper[slot.name], np.float32)
        for value in values[:n_runs] if np.ndim(runs.epoch) else [values]:
            if not np.isfinite(value).all():
                raise ConfigError(f"ctx.set_hyper: '{slot.name}' must be finite, got {value.tolist()}.")
            try:
                check_hyper(program, {slot.name: value})
            except ConfigError as error:
                raise type(error)(str(error).replace("draw(hyper=...)", "ctx.set_hyper", 1)) from None


def _what(value: Any) -> str:
    return shown(np.asarray(value).tolist())
