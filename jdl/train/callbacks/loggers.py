"""Losses and scores for experiment trackers: TensorBoard, Weights & Biases, MLflow.

Each run of a population is a run of its own there. They force no chunks: epochs arrive as chunks end.
"""

import importlib
import itertools
import math
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from jdl.core.errors import ConfigError, ConfigTypeError, MissingPackageError, shown
from jdl.train.callback import HostCallback


def _package(callback: HostCallback, module: str, extra: str) -> Any:
    """An optional package.

    Raises:
      MissingPackageError: It is not installed; names the extra that brings it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackageError.of(f"callback '{callback.id}'", module.partition(".")[0], extra) from error


def _numbers(row: dict[str, Any]) -> dict[str, float]:
    """Losses, scores and learning rate of a row of the history; what was not measured in its epoch is left out."""
    kept = {name: value for name, value in row.items() if name not in ("iteration", "epoch")}
    return {name: float(value) for name, value in kept.items() if not math.isnan(value)}


class _Logger(HostCallback, ABC):
    """What trackers share: a run of theirs per run of the population."""

    forces_chunks: ClassVar[bool] = False

    def opened(self, info: Any) -> None:
        """Looks for the package."""
        self._info = info
        self._runs: dict[int, Any] = {}

    def on_begin(self, ctx: Any) -> None:
        """Opens a run of the tracker for each of these runs."""
        for i, iteration in enumerate(ctx.iterations):
            self._runs[iteration] = self._begin(ctx, i, iteration)

    def on_epoch_end(self, ctx: Any) -> None:
        """Logs the new epochs."""
        for row in ctx.new_rows:
            self._log(self._runs[row["iteration"]], row["epoch"], _numbers(row))

    def on_exit(self, ctx: Any) -> None:
        """Closes what it opened for these runs."""
        for iteration in ctx.iterations:
            if iteration in self._runs:
                self._end(self._runs.pop(iteration))

    def _name(self, iteration: int) -> str:
        name = self._info.name or "jdl"
        return name if self._info.n_runs == 1 else f"{name}.{iteration}"

    @abstractmethod
    def _begin(self, ctx: Any, i: int, iteration: int) -> Any:
        """Opens a run of the tracker."""

    @abstractmethod
    def _log(self, run: Any, step: int, numbers: dict[str, float]) -> None:
        """Hands numbers to a run of the tracker."""

    @abstractmethod
    def _end(self, run: Any) -> None:
        """Closes a run of the tracker."""


class _EventFile:
    """An event file of a name of its own, written where it is called.

    The package's `SummaryWriter` writes in a thread, waits for that for ever after an error of the disk, and names two
    files of the same second alike.
    """

    _numbers = itertools.count()

    def __init__(self, folder: Path):
        from tensorboardX.event_file_writer import EventsWriter

        folder.mkdir(parents=True, exist_ok=True)
        suffix = f".{os.getpid()}.{next(self._numbers)}"
        self._writer = EventsWriter(str(folder / "events"), filename_suffix=suffix)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        """Adds a number at a step."""
        from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
        from tensorboardX.summary import scalar

        self._writer.write_event(Event(wall_time=time.time(), step=step, summary=scalar(name, value)))

    def flush(self) -> None:
        """Hands what was added to the system."""
        self._writer.flush()

    def close(self) -> None:
        """Ends the file."""
        self._writer.close()


class TensorBoard(_Logger):
    """Writes losses and scores as TensorBoard events, at the number of the epoch.

    Several runs write into folders of their own, `iteration_0` and so on. It forces no chunks, unless
    `log_train_loss` asks for the loss of every batch, which makes the loop return to Python at each step.

    Args:
      path: Folder, which must be new, empty, or hold event files.
      log_train_loss: Whether to write the loss of each batch too, as `batch.loss` at the number of the step.

    Raises:
      ConfigError: The folder holds other files.
      MissingPackageError: The package `tensorboardX` is not installed: `pip install 'jdl[tensorboard]'`.

    >>> TensorBoard("runs").stages
    ('on_begin', 'on_epoch_end', 'on_exit')
    """

    id: ClassVar[str] = "tensorboard"

    def __init__(self, path: str | Path, *, log_train_loss: bool = False):
        if not isinstance(path, str | os.PathLike):
            raise ConfigTypeError(f"callback '{self.id}': 'path' must be the path of a folder, got {shown(path)}.")
        self.path = Path(path)
        self.log_train_loss = log_train_loss
        self.forces_chunks = log_train_loss  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def stages(self) -> tuple[str, ...]:
        """Batches only if their loss is asked for."""
        return tuple(stage for stage in super().stages if stage != "on_batch_end" or self.log_train_loss)

    def opened(self, info: Any) -> None:
        """Looks for the package, and for what is in the way."""
        super().opened(info)
        _package(self, "tensorboardX", "tensorboard")
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"callback '{self.id}': '{self.path}' is a file.\nHint: give a folder.")
        other = next((p for p in self._files() if not p.name.startswith("events.out.tfevents")), None)
        if other is not None:
            raise ConfigError(
                f"callback '{self.id}': '{self.path}' holds '{other.name}', which is no event file.\n"
                "Hint: give a folder that is new or empty, or that holds event files."
            )

    def _files(self) -> Iterator[Path]:
        return (path for path in self.path.rglob("*") if path.is_file())

    def on_batch_end(self, ctx: Any) -> None:
        """Logs the loss of each batch."""
        steps = np.atleast_1d(ctx.global_step)
        for i, iteration in enumerate(ctx.iterations):
            if not math.isnan(ctx.loss[i]):
                self._runs[iteration].add_scalar("batch.loss", float(ctx.loss[i]), int(steps[i]))

    def _begin(self, ctx: Any, i: int, iteration: int) -> Any:
        del ctx, i
        folder = self.path if self._info.n_runs == 1 else self.path / f"iteration_{iteration}"
        return _EventFile(folder)

    def _log(self, run: Any, step: int, numbers: dict[str, float]) -> None:
        for name, value in numbers.items():
            run.add_scalar(name, value, step)
        run.flush()

    def _end(self, run: Any) -> None:
        run.close()


class WandbLog(_Logger):
    """Logs losses and scores to Weights & Biases: a run per run, in one group.

    Args:
      project: Name of the project.
      group: Name of the group; by default that of task and learner.
      settings: Further arguments of `wandb.init`.

    Raises:
      MissingPackageError: The package is not installed: `pip install 'jdl[wandb]'`.

    >>> WandbLog(project="heart").id
    'wandb_log'
    """

    id: ClassVar[str] = "wandb_log"

    def __init__(self, project: str | None = None, *, group: str | None = None, **settings: Any):
        self.project, self.group, self.settings = project, group, settings

    def opened(self, info: Any) -> None:
        """Looks for the package."""
        super().opened(info)
        self._wandb = _package(self, "wandb", "wandb")

    def _begin(self, ctx: Any, i: int, iteration: int) -> Any:
        return self._wandb.init(
            project=self.project,
            group=self.group or self._info.name or None,
            name=self._name(iteration),
            config=_config(ctx, i, iteration),
            reinit="create_new",
            **self.settings,
        )

    def _log(self, run: Any, step: int, numbers: dict[str, float]) -> None:
        run.log(numbers, step=step)

    def _end(self, run: Any) -> None:
        run.finish()


class MLflowLog(_Logger):
    """Logs losses and scores to MLflow: a run per run, in one experiment.

    Args:
      experiment: Name of the experiment, made if it is not there.
      tracking_uri: Where to; by default as MLflow is set up.

    Raises:
      MissingPackageError: The package is not installed: `pip install 'jdl[mlflow]'`.

    >>> MLflowLog(experiment="heart").id
    'mlflow_log'
    """

    id: ClassVar[str] = "mlflow_log"

    def __init__(self, experiment: str = "jdl", *, tracking_uri: str | None = None):
        self.experiment, self.tracking_uri = experiment, tracking_uri

    def opened(self, info: Any) -> None:
        """Looks for the package and the experiment."""
        super().opened(info)
        self._client = _package(self, "mlflow.tracking", "mlflow").MlflowClient(tracking_uri=self.tracking_uri)
        found = self._client.get_experiment_by_name(self.experiment)
        self._experiment = self._client.create_experiment(self.experiment) if found is None else found.experiment_id

    def _begin(self, ctx: Any, i: int, iteration: int) -> Any:
        run = self._client.create_run(self._experiment, run_name=self._name(iteration)).info.run_id
        for name, value in _config(ctx, i, iteration).items():
            self._client.log_param(run, name, value)
        return run

    def _log(self, run: Any, step: int, numbers: dict[str, float]) -> None:
        for name, value in numbers.items():
            self._client.log_metric(run, name, value, step=step)

    def _end(self, run: Any) -> None:
        self._client.set_terminated(run)


def _config(ctx: Any, i: int, iteration: int) -> dict[str, Any]:
    """What tells runs apart: the iteration and the dynamic hyperparameters, as they were asked for."""
    return {"iteration": iteration, "epochs": int(ctx.budget[i]), "batch_size": ctx.program.batch_size} | {
        name: np.asarray(value).tolist() for name, value in ctx.hypers[i].items()
    }
