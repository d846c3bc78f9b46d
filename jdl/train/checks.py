"""Host checks of what a JAX user hands to `program`, `draw`, `fit` and `predict`; nothing here is traced."""

import os
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from flax import nnx

from jdl.core.errors import ConfigError, ShapeError, shown
from jdl.core.fields import Field
from jdl.data.rows import as_positions
from jdl.data.table import Table
from jdl.train.losses.base import PREFIX

if TYPE_CHECKING:
    from jdl.train.member import Member, MemberRows
    from jdl.train.program import Program

_LARGE = 4096  # sizes below it make no network that a machine could not hold
_COPIES = 5  # parameters, initial and current, gradients, two buffers of an optimizer
_SIZE = Field("int", low=1)
_NUMBERS = {"epochs": Field("int", low=0), "patience": Field("int", low=0), "min_delta": Field("float", low=0.0)}
_RATE = Field("float", low=0.0, high=1.0)


def checked_sizes(**sizes: Any) -> dict[str, int]:
    """Sizes of a program, as integers.

    Raises:
      ConfigError: One is no integer above 0.
    """
    return {name: _SIZE.check("program", name, value) for name, value in sizes.items()}


def check_numbers(**numbers: Any) -> None:
    """Refuses epochs, patience and the like that are out of range.

    Raises:
      ConfigError: Names the number.
    """
    for name, value in numbers.items():
        _NUMBERS[name].check("draw", name, value)


def checked_rows(rows: "MemberRows", n_rows: int) -> "MemberRows":
    """The rows of a member as positions.

    Args:
      rows: Positions or masks.
      n_rows: Length of the target.

    Raises:
      ConfigError: They are neither, or lie outside of the target.
    """
    sets = {
        name: as_positions(getattr(rows, name), n_rows, who=f"draw, {name} rows", error=ConfigError).astype(np.int32)
        for name in ("train", "valid", "test")
    }
    return replace(rows, **sets)


def checked_weights(weights: Any, n_rows: int) -> np.ndarray:
    """Weights of rows as float64.

    Raises:
      ShapeError: Not one per row.
      ConfigError: One is missing, infinite or below 0.
    """
    values = np.asarray(weights, np.float64)
    if values.shape != (n_rows,):
        raise ShapeError(f"draw: 'weights' must have one entry for each of the {n_rows} rows, got {shown(values)}.")
    if not (np.isfinite(values) & (values >= 0)).all():
        raise ConfigError("draw: 'weights' must be finite and at least 0.\nHint: 0 for rows that are not to count.")
    return values


def check_target(program: "Program", target: np.ndarray, rows: "MemberRows") -> None:
    """Refuses class codes that the outputs of the program do not cover, and what is no class code.

    Raises:
      ConfigError: Names the codes and the outputs that they need.
    """
    if not program.is_classif:
        program.loss.check_target(target[np.concatenate([rows.train, rows.valid])], "draw")
        return
    if target.dtype.kind not in "biu":
        raise ConfigError(
            f"draw: the target of loss '{program.loss.id}' must be class codes, integers from 0, got "
            f"{target.dtype} values.\nHint: task.target_codes, or np.unique(labels, return_inverse=True)[1]."
        )
    used = target[np.concatenate([rows.train, rows.valid])]
    used = used[used != getattr(program.loss, "ignore_index", None)]
    if not len(used):
        raise ConfigError("draw: all targets are to be ignored.\nHint: give 'rows' with a class to learn.")
    low, high = int(used.min()), int(used.max())
    needed = program.loss.n_outputs(max(high + 1, 2))
    if low < 0 or needed > program.n_outputs:
        raise ConfigError(
            f"draw: the program has n_outputs={program.n_outputs}, but the target holds class codes from {low} to "
            f"{high}.\nHint: codes count from 0; {high + 1} classes need n_outputs={needed}."
        )


def check_hyper(program: "Program", values: dict[str, Any]) -> None:
    """Refuses values of dynamic hyperparameters out of their fields' ranges, as far as fields are known here.

    Raises:
      ConfigError: Names the hyperparameter and its range.
    """
    known = {f"opt.{name}": field for name, field in program.optimizer.fields.items()} | {"dropout": _RATE}
    known |= {PREFIX + n: field for n, field in program.loss.fields.items() if field.kind != "any"}
    for name, value in values.items():
        if name in known:
            field = known[name]
            # In float32, as they are kept: what was rounded to it once must not fall out of the range.
            ends = {end: getattr(field, end) for end in ("low", "high") if getattr(field, end) is not None}
            rounded = {end: float(np.float32(number)) for end, number in ends.items()}
            number = value if isinstance(value, str) else np.asarray(value, np.float32).tolist()
            replace(field, **rounded).check("draw(hyper=...)", name, number)


def check_memory(program: "Program") -> None:
    """Refuses a network for which this machine has not the memory, from shapes alone, before anything is drawn.

    Shapes cost a trace, so that only networks are looked at in whose spec some number is large.

    Raises:
      ConfigError: Says how many bytes a run needs.
    """
    if _largest(program.network) < _LARGE:
        return
    try:
        leaves = jax.tree.leaves(jax.eval_shape(lambda: nnx.state(program.build(nnx.Rngs(0)), nnx.Param)))
    except (TypeError, ValueError, IndexError):
        return  # a network that cannot be traced is drawn and seen
    n_parameters = sum(leaf.size for leaf in leaves)
    needed, memory = 4 * _COPIES * n_parameters, host_memory()
    if memory is not None and needed > memory:
        raise ConfigError(
            f"{type(program.network).__name__}: one run needs {needed / 2**30:,.0f} GiB for {n_parameters:,} "
            f"parameters, their gradients and the optimizer's buffers, but this machine has {memory / 2**30:,.0f} GiB."
            f"\nHint: fewer or narrower layers."
        )


def host_memory() -> int | None:
    """Bytes of this machine's memory; None where that is not told."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _largest(value: Any) -> int:
    """The largest integer in a value or in the parts of it."""
    if isinstance(value, int):
        return value
    if is_dataclass(value):
        return max((_largest(getattr(value, f.name)) for f in fields(value)), default=0)
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return max(map(_largest, parts), default=0)


def check_table(program: "Program", table: Table, who: str, member: "Member | None" = None) -> None:
    """Refuses a table whose shapes are not those of the program's columns and the member's rows; tracers will do.

    Raises:
      ShapeError: Names both shapes.
    """
    expected = len(program.spec.numeric), len(program.spec.categorical)
    blocks = table.numeric, table.codes
    if any(block.ndim != 2 for block in blocks) or tuple(block.shape[1] for block in blocks) != expected:
        raise ShapeError(
            f"{who}: the program's spec has {expected[0]} numeric and {expected[1]} coded columns, got a table of "
            f"shapes {blocks[0].shape} and {blocks[1].shape}.\n"
            f"Hint: program(..., n_features={blocks[0].shape[-1]}), or spec=..."
        )
    if member is None:
        return
    if len(member.target.shape) != (2 if "multilabel" in program.loss.task_types else 1):
        raise ShapeError(
            f"{who}: expected one member, got a target of shape {tuple(member.target.shape)}.\n"
            f"Hint: members that are stacked go through jax.vmap(lambda member: {who}(program, table, member))."
        )
    if table.numeric.shape[0] < member.target.shape[0]:
        raise ShapeError(
            f"{who}: the member was drawn for {member.target.shape[0]} rows, got a table of {table.numeric.shape[0]}.\n"
            f"Hint: hand in all rows, in the order of the target."
        )


def as_matrix(x: Any) -> Any:
    """A plain matrix of numbers: arrays as they are, frames and nested lists as float32.

    Raises:
      ShapeError: It has not two axes.
      ConfigError: It does not hold numbers.
    """
    if not hasattr(x, "ndim") or hasattr(x, "to_numpy"):
        try:
            x = np.asarray(x, np.float32)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"numeric_table: expected a matrix of numbers, got {shown(x)}: {error}.\n"
                f"Hint: jdl.TaskClassif(frame, target=...).table codes texts."
            ) from error
    if x.ndim != 2:
        raise ShapeError(
            f"numeric_table: expected a matrix (row, feature), got shape {tuple(x.shape)}.\n"
            f"Hint: x.reshape(len(x), -1)."
        )
    if x.dtype.kind in "OSUmMc":
        raise ConfigError(f"numeric_table: expected a matrix of numbers, got {x.dtype}.\nHint: x.astype(np.float32).")
    return x
