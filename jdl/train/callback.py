"""Callbacks: code of others at the twelve stages of a training run.

There are two kinds. *In-scan* callbacks are pure functions that are compiled into the program; they cost next to
nothing and work in every population strategy. *Host* callbacks are ordinary Python that runs between compiled
chunks; each asks, by the stages that it overrides, for chunks of a whole run, of one epoch, or of one step.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import jax

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
Chunking = Literal["run", "epoch", "step"]


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
      total_steps: Steps of the whole run if nothing ends it before, at the batch stages.
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
    total_steps: Any = None

    def replace(self, **changes: Any) -> "Event":
        """The same event with other values."""
        return replace(self, **changes)


@dataclass(frozen=True)
class InScanCallback:
    """A callback compiled into the program: pure `stage(memory, event) -> (memory, event)`.

    Subclasses are frozen dataclasses that override the stages they need. The memory is a pytree of arrays whose
    shapes do not change; it starts as `init` returns it.

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
    """

    id: ClassVar[str] = "host"
    forces_chunks: ClassVar[bool] = True

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


def overridden(callback: Any, contract: type) -> tuple[str, ...]:
    """The stages that `callback` does not inherit from `contract`."""
    return tuple(s for s in STAGES if getattr(type(callback), s) is not getattr(contract, s))


def call_in_scan(
    callbacks: tuple[InScanCallback, ...], stage: str, memories: tuple[Any, ...], event: Event
) -> tuple[tuple[Any, ...], Event]:
    """Calls `stage` of each callback that acts there, in order."""
    memories = tuple(memories)
    for i, callback in enumerate(callbacks):
        if stage in callback.stages:
            memory, event = getattr(callback, stage)(memories[i], event)
            memories = (*memories[:i], memory, *memories[i + 1 :])
    return memories, event


def chunking(callbacks: Iterable[HostCallback]) -> Chunking:
    """The longest chunk that these host callbacks allow."""
    stages = {s for c in callbacks if c.forces_chunks for s in c.stages}
    if stages & set(STEP_STAGES):
        return "step"
    return "epoch" if stages & set(EPOCH_STAGES) else "run"
