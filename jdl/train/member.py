"""A member: what differs between the runs of a population. Arrays only, drawn on the host."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import jax
import numpy as np
from jaxtyping import Float, Int, Shaped, UInt32

from jdl.core.errors import ConfigError, ShapeError, UnknownNameError
from jdl.core.fields import REQUIRED
from jdl.core.random import RandomKey, as_key
from jdl.data.table import Table
from jdl.pipeline.compose import apply_chain
from jdl.train.checks import check_hyper, check_numbers, check_target, checked_rows, checked_weights
from jdl.train.losses.base import PREFIX
from jdl.train.program import Program, initial_values
from jdl.train.sampler import NO_ROW, Sampling


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Member:
    """Rows, random numbers, targets and dynamic hyperparameters of one run.

    Args:
      params: Initial parameters.
      rest: Initial values of the network's other variables.
      stage_states: State of each stage, fitted on the member's rows.
      target: Class codes, or standardised values, of all rows of the table.
      target_scale: Mean and standard deviation that the target was standardised with.
      orders: Rows in the order of each epoch, padded with the member's own rows.
      n_train: Training rows used in an epoch; positions of an order from here on are padding.
      valid_rows: Validation rows, padded.
      n_valid: Validation rows that are real.
      test_rows: Rows to predict in the end, padded.
      n_test: Rows to predict that are real.
      seed: Random word from which dropout noise is hashed.
      max_epochs: Epochs to train; 0 for a member that only fills up a shape.
      patience: Evaluations without improvement before stopping; 0 never stops.
      min_delta: Least improvement that counts.
      hyper: Dynamic hyperparameters by name.
      weights: Weight of each row of the table, 1 on average over the training rows; None where all count alike.
    """

    params: Any
    rest: Any
    stage_states: Any
    target: Shaped[Any, "row"]
    target_scale: Float[Any, "2"]
    orders: Int[Any, "epoch position"]
    n_train: Int[Any, ""]
    valid_rows: Int[Any, "valid"]
    n_valid: Int[Any, ""]
    test_rows: Int[Any, "test"]
    n_test: Int[Any, ""]
    seed: UInt32[Any, ""]
    max_epochs: Int[Any, ""]
    patience: Int[Any, ""]
    min_delta: Float[Any, ""]
    hyper: dict[str, Any]
    weights: Float[Any, "row"] | None = None


@dataclass(frozen=True)
class MemberRows:
    """The rows of a member and the sizes to which they are padded.

    Args:
      train: Training rows; a row may repeat.
      valid: Validation rows.
      test: Rows to predict.
      n_train: Padded number of training rows, times the program's copies, a multiple of the batch size; by default
        the next one.
      n_valid: Padded number of validation rows, a multiple of the prediction batch's size if above it.
      n_test: Padded number of rows to predict, likewise.
      sampling: Draws the order of each epoch; by default every row comes once, shuffled if the program shuffles.
    """

    train: Int[np.ndarray, "train"]
    valid: Int[np.ndarray, "valid"] = field(default_factory=lambda: np.zeros(0, np.int32))
    test: Int[np.ndarray, "test"] = field(default_factory=lambda: np.zeros(0, np.int32))
    n_train: int | None = None
    n_valid: int | None = None
    n_test: int | None = None
    sampling: Sampling | None = None

    @property
    def n_positions(self) -> int:
        """Places of an epoch's order, those that stay empty included."""
        return len(self.train) if self.sampling is None else self.sampling.length


def draw(
    program: Program,
    key: "int | jax.Array | RandomKey",
    target: Shaped[np.ndarray, "row"],
    *,
    rows: MemberRows | Int[np.ndarray, "train"] | None = None,
    epochs: int = 10,
    hyper: dict[str, Any] | None = None,
    stage_states: Any = (),
    target_scale: tuple[float, float] = (0.0, 1.0),
    patience: int = 0,
    min_delta: float = 0.0,
    n_orders: int | None = None,
    table: Table | None = None,
    weights: Float[np.ndarray, "row"] | None = None,
) -> Member:
    """All random numbers and arrays of one run, as NumPy arrays: initial values, batch orders, dropout seed.

    Args:
      program: The program that the member is for.
      key: Initial values, orders and dropout noise draw from separate streams of it.
      target: Class codes, or standardised values, of all rows of the table.
      rows: Training rows, positions or a mask; all by default.
      epochs: Epochs to train.
      hyper: Dynamic hyperparameters by name ("opt.lr", "dropout"); the optimizer's defaults where it names none.
      stage_states: States of the program's stages, fitted on the training rows.
      target_scale: Mean and standard deviation of the target before it was standardised.
      patience: Evaluations without improvement before stopping; 0 never stops.
      min_delta: Least improvement that counts.
      n_orders: Epochs for which orders are drawn now; by default all.
      table: All rows, raw, in NumPy, for networks that take bins or first values from their training rows.
      weights: Of all rows, in losses and scores; only their ratios count. Training rows of weight 0 are left out.

    Raises:
      ConfigError: No training row, rows outside of the target, class codes that the outputs do not cover, padded sizes
        that do not fit, or a hyperparameter that has no default or is out of range.
      ShapeError: A target of more axes than one.
      UnknownNameError: A hyperparameter that the optimizer does not have.
    """
    key, target = as_key(key), np.asarray(target)
    check_numbers(epochs=epochs, patience=patience, min_delta=min_delta)
    if target.ndim != 1 and not _takes_labels(program):
        raise ShapeError(f"draw: the target must have one axis, got shape {target.shape}.\nHint: target.reshape(-1).")
    if rows is None:
        rows = np.arange(len(target), dtype=np.int32)
    rows = checked_rows(rows if isinstance(rows, MemberRows) else MemberRows(train=np.asarray(rows)), len(target))
    rows, weights = _weighed(rows, weights, len(target))
    if len(rows.train) == 0:
        raise ConfigError("draw: expected at least one training row, got none.\nHint: rows=np.arange(len(target)).")
    check_target(program, target, rows)
    prepare = _preparation(program, key, target, rows, stage_states, table)
    params, rest = initial_values(program).draw(key.fold("initial"), prepare)
    of_train = None if weights is None else weights[rows.train]
    of_rows = program.loss.from_rows(target[rows.train], program.n_outputs, of_train)
    values = _checked_hyper(program, {PREFIX + n: v for n, v in of_rows.items()} | (hyper or {}))
    n_orders = epochs if n_orders is None else n_orders
    used = rows.n_positions * program.copies
    if program.drop_last:
        used -= used % program.batch_size
    return Member(
        params=params,
        rest=rest,
        stage_states=stage_states,
        target=target,
        # float64 on the host, where predictions get their units back; float32 inside the program.
        target_scale=np.asarray(target_scale, np.float64),
        orders=draw_orders(program, key, rows, range(n_orders)),
        n_train=np.asarray(used, np.int32),
        valid_rows=_padded("n_valid", rows.valid, rows.n_valid, rows.train[0], program.batch_size_predict),
        n_valid=np.asarray(len(rows.valid), np.int32),
        test_rows=_padded("n_test", rows.test, rows.n_test, rows.train[0], program.batch_size_predict),
        n_test=np.asarray(len(rows.test), np.int32),
        seed=np.asarray(key.seed("dropout"), np.uint32),
        max_epochs=np.asarray(epochs, np.int32),
        patience=np.asarray(patience, np.int32),
        min_delta=np.asarray(min_delta, np.float32),
        hyper={name: np.asarray(value, np.float32) for name, value in values.items()},
        weights=weights,
    )


def _weighed(rows: MemberRows, weights: Any, n_rows: int) -> tuple[MemberRows, Float[np.ndarray, "row"] | None]:
    """The rows less training rows of weight 0, and weights that are 1 on average over those that are left."""
    if weights is None:
        return rows, None
    weights = checked_weights(weights, n_rows)
    train = rows.train[weights[rows.train] > 0]
    scale = weights[train].mean() if len(train) else 1.0
    return replace(rows, train=train), (weights / scale).astype(np.float32)


def _preparation(
    program: Program, key: RandomKey, target: np.ndarray, rows: MemberRows, stage_states: Any, table: Table | None
) -> Callable[[Any], None] | None:
    """What sets the values that a network takes from its training rows; None where it takes none."""
    if not program.network.prepares:
        return None
    if table is None:
        raise ConfigError("draw: this network takes values from its training rows.\nHint: draw(..., table=table).")
    used = apply_chain(program.stages, program.spec, stage_states, table.take(rows.train), None, True)
    return lambda model: program.network.prepare(model, used, target[rows.train], key.fold("prepare"))


def _checked_hyper(program: Program, given: dict[str, Any]) -> dict[str, Any]:
    """The dynamic hyperparameters: the given ones, and the optimizer's defaults for those that are not.

    Names without the prefix "opt." are those of networks and callbacks, which are not all known here.
    """
    name = program.optimizer.name
    known = {f"opt.{n}": f.default for n, f in program.optimizer.fields.items() if f.dynamic}
    of_loss = [PREFIX + n for n, f in program.loss.fields.items() if f.dynamic]
    for given_name in given:
        if given_name in known or given_name in of_loss:
            continue
        if given_name.startswith(("opt.", PREFIX)) or f"opt.{given_name}" in known:
            raise UnknownNameError.of("dynamic hyperparameter", given_name, [*known, *of_loss], owner="draw(hyper=...)")
    values = known | given
    needed = [n for n, value in values.items() if value is REQUIRED]
    # A network's spec says whether it has dropout; the rate itself is never a part of it.
    if getattr(program.network, "dropout", None) is True and "dropout" not in values:
        needed.append("dropout")
    if needed:
        who = "the network" if needed[0] == "dropout" else f"optimizer '{name}'"
        raise ConfigError(
            f"draw: {who} needs the hyperparameter '{needed[0]}', got none.\n"
            f"Hint: draw(..., hyper={{'{needed[0]}': 0.1}})."
        )
    check_hyper(program, values)
    return values


def _takes_labels(program: Program) -> bool:
    """Whether a row has several labels."""
    return "multilabel" in program.loss.task_types


def blank_member(program: Program, hyper: dict[str, Any]) -> Member:
    """A member that trains nothing: for the shapes of a run's state, which do not depend on data."""
    params, rest = initial_values(program).draw(RandomKey((0,)))
    none, zero = np.zeros(0, np.int32), np.zeros((), np.int32)
    return Member(
        params=params,
        rest=rest,
        stage_states=(),
        target=none,
        target_scale=np.asarray((0.0, 1.0)),
        orders=none[None],
        n_train=zero,
        valid_rows=none,
        n_valid=zero,
        test_rows=none,
        n_test=zero,
        seed=np.zeros((), np.uint32),
        max_epochs=zero,
        patience=zero,
        min_delta=np.zeros((), np.float32),
        hyper=hyper,
    )


def draw_orders(program: Program, key: RandomKey, rows: MemberRows, epochs: range) -> Int[np.ndarray, "epoch position"]:
    """The training rows in the order of each epoch (numbered from 0), padded to whole batches.

    An order is a function of the key and the epoch's number alone. Without shuffling there is one for all. A place
    that a sampler leaves empty holds the complement (`~row`) of a training row, which `filled` undoes.
    """
    n, copies = rows.n_positions, program.copies
    size = rows.n_train or -(-n * copies // program.batch_size) * program.batch_size
    if size < n * copies or size % program.batch_size:
        _refuse_size("n_train", size, n * copies, program.batch_size)
    n_orders = len(epochs) if program.shuffle else 1
    orders = np.empty((n_orders, size), np.int32)
    orders[:, n * copies :] = rows.train[0]
    if not program.shuffle:
        only = rows.train if rows.sampling is None else _sampled(rows, key.fold("order").generator())
        orders[0, : n * copies] = np.repeat(only, copies)
        return orders
    stream = key.fold("order")
    words = stream.generator().integers(2**63, size=2, dtype=np.uint64)
    # A counter apart per epoch: as independent as generators apart, and far cheaper to make.
    bits = np.random.Philox(key=words)
    generator, start = np.random.Generator(bits), bits.state
    for i, epoch in enumerate(epochs):
        start["state"]["counter"] = np.asarray([0, 0, epoch, 0], np.uint64)
        bits.state = start
        if copies == 1:
            orders[i, :n] = _sampled(rows, generator)
        else:
            # Column j of the block is the order of the ensemble's member j.
            block = orders[i, : n * copies].reshape(n, copies)
            for j in range(copies):
                block[:, j] = _sampled(rows, generator)
    return orders


def _sampled(rows: MemberRows, generator: np.random.Generator) -> Int[np.ndarray, "position"]:
    """Training rows in the order of an epoch; a place that stays empty holds the complement of a training row."""
    if rows.sampling is None:
        return generator.permutation(rows.train)
    positions = rows.sampling.order(generator)
    return np.where(positions == NO_ROW, ~rows.train[0], rows.train[positions])


def _padded(
    name: str, rows: Int[np.ndarray, "n"], size: int | None, filler: int, batch: int
) -> Int[np.ndarray, "size"]:
    """The rows and copies of `filler`: one batch of any size, or whole batches."""
    if size is None:
        size = len(rows) if len(rows) <= batch else -(-len(rows) // batch) * batch
    if size < len(rows) or (size > batch and size % batch):
        _refuse_size(name, size, len(rows), batch)
    padded = np.full(size, filler, np.int32)
    padded[: len(rows)] = rows
    return padded


def _refuse_size(name: str, size: int, n_rows: int, batch: int) -> NoReturn:
    raise ConfigError(
        f"draw: '{name}' is {size}, which must hold {n_rows} rows in whole batches of {batch}.\n"
        f"Hint: {name}={-(-n_rows // batch) * batch}, or leave it out."
    )
