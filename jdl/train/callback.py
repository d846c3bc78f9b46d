"""Callbacks: code of others at the twelve stages of a training run.

There are two kinds. *In-scan* callbacks are pure functions that are compiled into the program; they cost next to
nothing and work in every population strategy. *Host* callbacks are ordinary Python that runs between compiled
chunks; each asks, by the stages that it overrides, for chunks of a whole run, of one epoch, or of one step.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Self

import jax
import numpy as np

from jdl.core.errors import CallbackError, ConfigError, JdlError, shown
from jdl.core.fields import Field, with_defaults
from jdl.train.callback_checks import check_event, check_memory, failed, keeps_memory

STAGES = (
    "on_begin",
    "on_epoch_begin",
    "on_batch_begin",
    "on_after_backward",
    "on_batch_end",
    "on_before_valid",
    "on_batch_valid_begin",
    "on_batch_valid_end",
    "on_valid_end",
    "on_epoch_end",
    "on_end",
    "on_exit",
)
STEP_STAGES = (
    "on_batch_begin",
    "on_after_backward",
    "on_batch_end",
    "on_before_valid",
    "on_batch_valid_begin",
    "on_batch_valid_end",
)
EPOCH_STAGES = ("on_epoch_begin", "on_valid_end", "on_epoch_end")
BETWEEN_CHUNKS = ("on_begin", "on_epoch_end", "on_end", "on_exit")  # however long chunks are
Chunking = Literal["run", "epoch", "step"]


@dataclass(frozen=True)
class Dynamic:
    """Stands in a program for a value that travels in the train state."""

    def __repr__(self) -> str:
        return "dynamic"


DYNAMIC = Dynamic()


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Event:
    """What an in-scan callback sees and may change with `replace`.

    Args:
      state: The train state: parameters, optimizer state, dynamic hyperparameters, step.
      epoch: Number of the epoch, from 1; 0 before the first.
      stop: Set to True to end this member's training after the epoch.
      x: Rows of the batch, as the network sees them, at the batch stages.
      target: Their targets.
      weights: Their weights, 0 for padding.
      grads: Gradients, at `on_after_backward`.
      loss: Mean loss of the batch (batch stages) or of the epoch (`on_epoch_end`).
      scores: Losses and scores of the epoch by column of the history, at `on_valid_end` and `on_epoch_end`.
      score: The score that decides about the best epoch, as it is, at `on_valid_end` and `on_epoch_end`.
      total_steps: Steps of the whole run if nothing ends it before.
      total_epochs: Epochs of the whole run, likewise.
      minimize: Whether less of `score` is better; known while tracing.
    """

    state: Any
    epoch: Any
    stop: Any = False
    x: Any = None
    target: Any = None
    weights: Any = None
    grads: Any = None
    loss: Any = None
    scores: Any = None
    score: Any = None
    total_steps: Any = None
    total_epochs: Any = None
    minimize: bool = field(default=True, metadata={"static": True})

    def replace(self, **changes: Any) -> "Event":
        """The same event with other values."""
        return replace(self, **changes)


@dataclass(frozen=True)
class InScanCallback:
    """A callback compiled into the program: pure `stage(memory, event) -> (memory, event)`.

    Subclasses are frozen dataclasses that override the stages they need. The memory is a pytree of arrays whose
    shapes do not change from step to step; it starts as `init` returns it, and is saved and restored as it is.

    Numbers that are to stay out of the program - changing them compiles nothing, members may differ in them - are
    declared in `fields` as dynamic and read with `value`.

    Args:
      weight: At each stage callbacks are called by ascending weight, equal ones in the order given.

    >>> @dataclass(frozen=True)
    ... class Halve(InScanCallback):
    ...     id: ClassVar[str] = "halve"
    ...     def on_epoch_end(self, memory, event):
    ...         hyper = {**event.state.hyper, "opt.lr": event.state.hyper["opt.lr"] / 2}
    ...         return memory, event.replace(state=replace(event.state, hyper=hyper))
    >>> Halve().stages
    ('on_epoch_end',)
    """

    id: ClassVar[str] = "in_scan"
    fields: ClassVar[dict[str, Field]] = {}
    needs_validation: ClassVar[bool] = False

    weight: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        own = {n: f for n, f in self.fields.items() if not isinstance(getattr(self, n), Dynamic)}
        given = {n: getattr(self, n) for n, f in own.items() if getattr(self, n) is not f.default}
        for name, value in with_defaults(f"callback '{self.id}'", own, given).items():
            object.__setattr__(self, name, value)

    def set(self, **values: Any) -> Self:
        """The same callback with other values."""
        return replace(self, **values)

    def _dynamic_names(self) -> list[str]:
        settled = (None, DYNAMIC)
        return [n for n, f in self.fields.items() if f.dynamic and getattr(self, n) not in settled]

    def dynamic(self) -> dict[str, np.ndarray]:
        """Values that are arrays at run time, by their names among a run's dynamic hyperparameters."""
        return {f"cb.{self.id}.{n}": np.asarray(getattr(self, n), np.float32) for n in self._dynamic_names()}

    def structure(self) -> Self:
        """What is compiled: the callback less its dynamic values."""
        names = self._dynamic_names()
        return replace(self, **dict.fromkeys(names, DYNAMIC)) if names else self

    def value(self, name: str, state: Any) -> Any:
        """One of its values: the run's own, where the train state has it, else the callback's.

        Raises:
          ConfigError: The run should have one and has not.
        """
        value = state.hyper.get(f"cb.{self.id}.{name}", getattr(self, name))
        if isinstance(value, Dynamic):
            raise ConfigError(
                f"callback '{self.id}': '{name}' is dynamic, but the run has no value for it.\n"
                f"Hint: draw(..., hyper={{'cb.{self.id}.{name}': ...}})."
            )
        return value

    def weights(self, memory: Any, state: Any) -> tuple[Any, Any] | None:
        """Parameters and other variables that validate and predict in place of the current ones; None has none."""
        del memory, state
        return None

    def groups(self, params: Any) -> Any:
        """Group of each parameter, for callbacks that freeze: groups have optimizer states apart. None has none."""
        del params
        return None

    def init(self, state: Any) -> Any:
        """The memory at the start of a run."""
        del state
        return ()

    def on_begin(self, memory: Any, event: Event) -> tuple[Any, Event]:
        """Before the first epoch."""
        return memory, event

    def on_epoch_begin(self, memory: Any, event: Event) -> tuple[Any, Event]:
        """Before the first step of an epoch."""
        return memory, event

    def on_batch_begin(self, memory: Any, event: Event) -> tuple[Any, Event]:
        """Before the forward pass; the batch may be changed."""
        return memory, event

    def on_after_backward(self, memory: Any, event: Event) -> tuple[Any, Event]:
        """After the gradients are known, before the optimizer's step; they may be changed."""
        return memory, event

    def on_batch_end(self, memory: Any, event: Event) -> tuple[Any, Event]:
        """After the optimizer's step."""
        return memory, event

    def on_before_valid(self, memory: Any, event: Event) -> tuple[Any, Event]:
        """After the last step of an epoch, before validation."""
        return memory, event

    def on_batch_valid_begin(self, memory: Any, event: Event) -> tuple[Any, Event]:
        """Before the forward pass over the validation rows."""
        return memory, event

    def on_batch_valid_end(self, memory: Any, event: Event) -> tuple[Any, Event]:
        """After the forward pass over the validation rows."""
        return memory, event

    def on_valid_end(self, memory: Any, event: Event) -> tuple[Any, Event]:
        """After validation, in evaluated epochs."""
        return memory, event

    def on_epoch_end(self, memory: Any, event: Event) -> tuple[Any, Event]:
        """After each epoch."""
        return memory, event

    def on_end(self, memory: Any, event: Event) -> tuple[Any, Event]:
        """After the member's last epoch."""
        return memory, event

    def on_exit(self, memory: Any, event: Event) -> tuple[Any, Event]:
        """Last of all."""
        return memory, event

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that it acts at."""
        return overridden(self, InScanCallback)


class HostCallback:
    """A callback in ordinary Python, run between compiled chunks with a `RunContext`.

    Subclasses override the stages they need; the stages of batches and of validation make the loop return to
    Python at every step. `ctx.stop()` ends the runs after the epoch. The arrays of `ctx` have a leading member
    axis: one entry per run in flight.

    A callback with `forces_chunks = False` takes the chunks as they come: its `on_epoch_end` is called after each, and
    `ctx.new_rows` holds the epochs since the call before. One that keeps something over epochs gives it as `state()`,
    numbers, texts, lists and dicts of them, and takes it back by `restore`.
    """

    id: ClassVar[str] = "host"
    forces_chunks: ClassVar[bool] = True
    weight: float = 0.0
    every: int = 1  # epochs between those after which it has something to do; longer chunks end there

    def opened(self, info: Any) -> None:
        """Before anything compiles, once for all runs; the place to look for packages and folders.

        Args:
          info: A `RunInfo`: what will run.
        """

    def closed(self) -> None:
        """Last of all, once for all runs, also after an error; not after one of its own `opened`."""

    def state(self) -> Any:
        """What it would need to go on after an interruption; None where that is nothing."""
        return None

    def restore(self, state: Any) -> None:
        """Goes on from a `state()`; called between `opened` and `on_begin`."""
        del state

    def on_begin(self, ctx: Any) -> None:
        """Before the first epoch."""

    def on_epoch_begin(self, ctx: Any) -> None:
        """Before the first step of an epoch."""

    def on_batch_begin(self, ctx: Any) -> None:
        """Before the forward pass."""

    def on_after_backward(self, ctx: Any) -> None:
        """After the gradients are known (`ctx.grads`, which may be replaced), before the optimizer's step."""

    def on_batch_end(self, ctx: Any) -> None:
        """After the optimizer's step."""

    def on_before_valid(self, ctx: Any) -> None:
        """After the last step of an epoch, before validation."""

    def on_batch_valid_begin(self, ctx: Any) -> None:
        """Before the forward pass over the validation rows."""

    def on_batch_valid_end(self, ctx: Any) -> None:
        """After the forward pass over the validation rows."""

    def on_valid_end(self, ctx: Any) -> None:
        """After validation, in evaluated epochs."""

    def on_epoch_end(self, ctx: Any) -> None:
        """After each epoch; for callbacks that force no chunks, after each chunk."""

    def on_end(self, ctx: Any) -> None:
        """After the last epoch; not after an error."""

    def on_exit(self, ctx: Any) -> None:
        """Last of all, also after an error."""

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that it acts at."""
        return overridden(self, HostCallback)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(id={self.id!r})"


def overridden(callback: Any, contract: type) -> tuple[str, ...]:
    """The stages that `callback` does not inherit from `contract`."""
    return tuple(s for s in STAGES if getattr(type(callback), s) is not getattr(contract, s))


def call_in_scan(
    callbacks: tuple[InScanCallback, ...], stage: str, memories: tuple[Any, ...], event: Event
) -> tuple[tuple[Any, ...], Event]:
    """Calls `stage` of each callback that acts there, in order.

    Raises:
      CallbackError: A callback raised while it was traced, or gave back what does not fit the program.
    """
    memories = tuple(memories)
    for i, callback in enumerate(callbacks):
        if stage in callback.stages:
            memory, event = _called(callback, stage, memories[i], event)
            memories = (*memories[:i], memory, *memories[i + 1 :])
    return memories, event


def ask(callback: InScanCallback, method: str, *args: Any) -> Any:
    """What a method of a callback returns.

    Raises:
      CallbackError: It raised while it was traced.
    """
    try:
        return getattr(callback, method)(*args)
    except JdlError:
        raise
    except Exception as error:
        raise failed(callback.id, method, error) from error


def _called(callback: InScanCallback, stage: str, memory: Any, event: Event) -> tuple[Any, Event]:
    result = ask(callback, stage, memory, event)
    if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], Event)):
        raise CallbackError(
            f"callback '{callback.id}', stage '{stage}', must return the memory and the event, got {shown(result)}.\n"
            "Hint: return memory, event.replace(stop=...)."
        )
    if keeps_memory(callback.stages, stage):
        check_memory(callback.id, stage, memory, result[0])
    check_event(callback.id, stage, event, result[1])
    return result


def by_weight(callbacks: Iterable[Any]) -> tuple[Any, ...]:
    """Callbacks in the order in which they are called: by weight, equal ones as given, the checkpoint after all."""
    return tuple(sorted(callbacks, key=lambda callback: (callback.weight, callback.id == "checkpoint")))


def chunking(callbacks: Iterable[HostCallback]) -> Chunking:
    """The longest chunk that these host callbacks allow."""
    stages = {s for c in callbacks if c.forces_chunks for s in c.stages}
    if stages & set(STEP_STAGES):
        return "step"
    return "epoch" if stages & set(EPOCH_STAGES) else "run"


def chunk_capacity(callbacks: Iterable[HostCallback], capacity: int) -> int:
    """Epochs for which orders are drawn at a time: no more than the longest chunk that host callbacks allow."""
    by, period = chunking(callbacks), _period(callbacks)
    return capacity if by == "run" else min(capacity, period) if by == "epoch" else 1


def chunk_length(callbacks: Iterable[HostCallback], capacity: int, done: int) -> int:
    """Epochs of the next chunk: up to the next epoch after which a host callback has something to do."""
    if chunking(callbacks) != "epoch":
        return capacity
    period = _period(callbacks)
    return min(capacity, period - done % period)


def _period(callbacks: Iterable[HostCallback]) -> int:
    every = [c.every for c in callbacks if c.forces_chunks and set(c.stages) & set(EPOCH_STAGES)]
    return math.gcd(*every) if every else 1
