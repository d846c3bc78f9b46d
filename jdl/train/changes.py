"""Checks of what host callbacks set: what came is said, and what would have fitted."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import jax
import jax.numpy as jnp
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


def made_like(who: str, value: Any, old: Any) -> Any:
    """A tree that is built as another one, in the types of that.

    Raises:
      ConfigTypeError: It has another structure, or holds what these types cannot.
      ShapeError: An array in it has another shape.
    """
    hint = f"\nHint: {who} = jax.tree.map(function, {who}); arrays have a leading axis of the runs in flight."
    if jax.tree.structure(value) != jax.tree.structure(old):
        raise ConfigTypeError(f"{who}: expected the structure that it had, got {shown(value)}.{hint}")

    def made(path: Any, leaf: Any, new: Any) -> Any:
        if np.shape(new) != np.shape(leaf):
            raise ShapeError(
                f"{who}: expected shape {np.shape(leaf)} at {jax.tree_util.keystr(path)}, got {np.shape(new)}.{hint}"
            )
        new = new if hasattr(new, "dtype") else np.asarray(new)
        if new.dtype == leaf.dtype:
            return new
        if _kind(new) > _kind(leaf):
            raise ConfigTypeError(
                f"{who}: expected {leaf.dtype} at {jax.tree_util.keystr(path)}, got {new.dtype}.{hint}"
            )
        return new.astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(made, old, value)


def check_within_epoch(value: Any, old: Any) -> None:
    """Refuses runs of which something else was replaced than what an epoch trains.

    Raises:
      ConfigError: Names it.
    """
    for field in fields(old):
        pairs = zip(*map(jax.tree.leaves, (getattr(value, field.name), getattr(old, field.name))), strict=True)
        if field.name not in ("train", "memories") and any(a is not b and not np.array_equal(a, b) for a, b in pairs):
            raise ConfigError(
                f"ctx.runs: within an epoch 'train' and 'memories' may be replaced, but '{field.name}' was too, which "
                "the end of the epoch decides.\nHint: replace it at 'on_epoch_begin' or 'on_epoch_end'."
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


def check_terms(program: Program, slots: tuple[Slot, ...]) -> None:
    """Refuses to set what the optimizer has left out of the program.

    Raises:
      ConfigError: Names it.
    """
    for slot in slots:
        own = slot.name.removeprefix("opt.")
        if own != slot.name and not program.optimizer.has_term(own):
            raise ConfigError(
                f"ctx.set_hyper: '{slot.name}' has no effect: {program.optimizer.name} with {own}=0 has no such term.\n"
                f"Hint: give the optimizer any {own} above 0, and set it to what it is to be at 'on_begin'."
            )


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


def _kind(leaf: Any) -> int:
    """Position among kinds of numbers that each hold those before: truth values, integers, floats, all others."""
    kinds = (np.bool_, np.integer, np.floating)
    return next((i for i, kind in enumerate(kinds) if jnp.issubdtype(leaf.dtype, kind)), len(kinds))


def _what(value: Any) -> str:
    return shown(np.asarray(value).tolist())
