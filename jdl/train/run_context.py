"""What host callbacks see of a training run, and what they may change of it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from flax import nnx

from jdl.core.errors import ConfigError, shown
from jdl.train.callback import HostCallback
from jdl.train.changes import check_terms, check_within_epoch, check_written, checked_epochs, made_like, spread
from jdl.train.hyper_names import slots_of, with_value
from jdl.train.program import Program, initial_values
from jdl.train.state import RunState, evaluation_weights


@dataclass(frozen=True)
class RunInfo:
    """What will run, known before anything compiles.

    Args:
      name: Of the experiment: task and learner.
      program: What is static about the runs.
      n_runs: Runs of the population.
      total_epochs: Epochs of the longest.
      columns: Columns of the history.
      resumed_from: Folder of the checkpoints from which the runs go on, if there are any.
      resumed: Whether there is a checkpoint to go on from; `restore` of callbacks with a state is called next.
    """

    name: str
    program: Program
    n_runs: int
    total_epochs: int
    columns: tuple[str, ...]
    resumed_from: Path | None = None
    resumed: bool = False


@dataclass(slots=True, weakref_slot=True)
class RunContext:
    """What host callbacks see. All arrays have a leading member axis, an entry per run in `iterations`.

    Where the number of runs is no multiple of that of the devices, `runs`, `grads`, `loss` and `output` go on with
    idle members.

    Args:
      program: What is static about the runs: network, loss, optimizer, measures, in-scan callbacks.
      iterations: Positions of the runs in their population.
      total: Epochs asked for, over all runs of the population.
      last: Whether these are the last runs of the population.
      budget: Epochs asked for, by run.
      name: Of the experiment: task and learner.
      callbacks: All host callbacks by id.
      devices: Where the runs are.
      hypers: Dynamic hyperparameters of each run, as they were asked for.
      done: Epochs done, over all runs of the population.
      epoch: Number of the epoch, from 1.
      step: Number of the step in its epoch, from 1; 0 outside of steps.
      held: State of all runs, for the engine; callbacks take `runs`.
      lent: Whether a callback may have kept `runs`.
      loss: Mean loss of the batch of each run, at the batch stages; of the epoch behind them.
      output: Outputs of the network for the batch, from `on_after_backward` on.
      scores: Column of the history -> value of each run, from `on_valid_end` on; NaN for runs that had ended before.
      new_rows: The history of the epochs of the last chunk: a dict per run and epoch.
      stopped: Whether a callback asked for the end.
      held_grads: Gradients of the step, for the engine; callbacks take `grads`.
      within_epoch: Whether an epoch has begun and not ended.
    """

    program: Program
    iterations: tuple[int, ...]
    total: int
    last: bool
    budget: np.ndarray
    name: str = ""
    callbacks: dict[str, HostCallback] = field(default_factory=dict)
    devices: tuple[Any, ...] = ()
    hypers: tuple[dict[str, Any], ...] = ()
    done: int = 0
    epoch: int = 0
    step: int = 0
    held: RunState | Any = None
    lent: bool = False
    loss: Any = None
    output: Any = None
    scores: dict[str, np.ndarray] = field(default_factory=dict)
    new_rows: list[dict[str, Any]] = field(default_factory=list)
    stopped: bool = False
    rows: list[dict[str, Any]] = field(default_factory=list)
    get_batch: Callable[[], Any] | None = None
    get_valid_output: Callable[[], Any] | None = None
    take_snapshot: Callable[[], Any] | None = None
    held_grads: Any = None
    within_epoch: bool = False

    @property
    def runs(self) -> RunState | Any:
        """State of all runs; may be replaced, within an epoch but for what its end decides.

        It may be kept: the epochs to come leave its memory alone.
        """
        self.lent = self.held is not None
        return self.held

    @runs.setter
    def runs(self, value: Any) -> None:
        old = self._begun("ctx.runs")
        value = made_like("ctx.runs", value, old)
        if self.within_epoch:
            check_within_epoch(value, old)
        self.held, self.lent = value, True

    @property
    def evaluated(self) -> bool:
        """Whether this epoch is one with validation."""
        due = self.epoch % self.program.eval_freq == 0 or self.epoch >= self.total_epochs
        return self.program.validate and due

    @property
    def total_epochs(self) -> int:
        """Epochs of the longest run. May be set, to a number or one per run; a run that has ended stays at its end."""
        return int(self.budget.max())

    @total_epochs.setter
    def total_epochs(self, value: Any) -> None:
        self.budget = checked_epochs(value, len(self.iterations))

    @property
    def global_step(self) -> np.ndarray:
        """Batches done, by run: steps of the optimizer, unless it accumulates the gradients of several batches."""
        return np.array(self._begun("ctx.global_step").train.step)

    def _begun(self, who: str) -> RunState:
        """The runs, once they are there."""
        if self.held is None:
            raise ConfigError(
                f"{who}: the runs have not begun; a callback with forces_chunks=False sees them from 'on_epoch_end' on."
                "\nHint: forces_chunks = True, or a later stage."
            )
        return self.held

    @property
    def history(self) -> pd.DataFrame:
        """All epochs of these runs so far, a row for each run and epoch."""
        return pd.DataFrame(self.rows)

    @property
    def params(self) -> Any:
        """Parameters of all runs; may be set."""
        params = self._begun("ctx.params").train.params
        self.lent = True
        return params

    @params.setter
    def params(self, value: Any) -> None:
        runs = self._begun("ctx.params")
        value = made_like("ctx.params", value, runs.train.params)
        self.held, self.lent = replace(runs, train=replace(runs.train, params=value)), True

    @property
    def grads(self) -> Any:
        """Gradients of all runs at `on_after_backward`; may be set."""
        return self.held_grads

    @grads.setter
    def grads(self, value: Any) -> None:
        if self.held_grads is None:
            raise ConfigError("ctx.grads: there are gradients at 'on_after_backward' only.")
        self.held_grads = made_like("ctx.grads", value, self.held_grads)

    @property
    def batch(self) -> Any:
        """The batch of the step: rows as the networks see them (`x`), `target`, and `weights`, 0 for padding."""
        return None if self.get_batch is None else self.get_batch()

    @property
    def valid_output(self) -> Any:
        """Outputs for the validation rows by the weights of now, computed when asked for; padded rows come last."""
        if self.get_valid_output is None:
            return None
        self._begun("ctx.valid_output")
        return self.get_valid_output()

    def snapshot(self) -> Any:
        """The whole state of these runs as it is now, for a checkpoint."""
        assert self.take_snapshot is not None
        return self.take_snapshot()

    def hyper(self, name: str) -> np.ndarray:
        """A dynamic hyperparameter of each run, such as "lr".

        Raises:
          UnknownNameError: There is none of that name.
        """
        hyper = self._begun("ctx.hyper").train.hyper
        return np.array(slots_of(hyper, name, "ctx.hyper")[0].read(hyper))

    def set_hyper(self, name: str, value: Any) -> None:
        """Sets a dynamic hyperparameter of all runs, to one number or one per run.

        What a schedule drives stays so until the schedule moves it again.

        Raises:
          UnknownNameError: There is none of that name.
          ConfigError: A value out of range, or one that the optimizer has no term for, because it was 0.
          ShapeError: Another number of values.
        """
        runs = self._begun("ctx.set_hyper")
        slots = slots_of(runs.train.hyper, name, "ctx.set_hyper")
        check_terms(self.program, slots)
        value = spread(name, slots[0], value, runs, len(self.iterations))
        train = with_value(runs.train, slots, value)
        check_written(self.program, slots, train.hyper, runs, len(self.iterations))
        self.held = replace(runs, train=train)

    def network(self, i: int = 0) -> nnx.Module:
        """The network of the i-th of these runs in evaluation mode, with the weights that it would predict by.

        Raises:
          ConfigError: There is no such run.
        """
        runs, n_runs = self._begun("ctx.network"), len(self.iterations)
        if not isinstance(i, int | np.integer) or not 0 <= i < n_runs:
            raise ConfigError(
                f"ctx.network: expected a position in ctx.iterations, from 0 to {n_runs - 1}, got {shown(i)}."
            )
        train, memories = jax.tree.map(lambda leaf: leaf[i], (runs.train, runs.memories))
        params, rest = evaluation_weights(self.program, train, memories)
        return nnx.merge(initial_values(self.program).graph_eval, params, rest, copy=True)

    def stop(self) -> None:
        """Ends all runs after this epoch."""
        self.stopped = True
