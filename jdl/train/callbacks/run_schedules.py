"""Schedules over a whole run, warm-up before another schedule, and schedules of others."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from jdl.core.errors import ConfigError, ConfigTypeError
from jdl.core.fields import REQUIRED, Field
from jdl.train.callback import Event
from jdl.train.callbacks.curves import coslog4, flat_cos
from jdl.train.callbacks.schedule import OF, Schedule, by, number, traced
from jdl.train.callbacks.torch_schedules import Multiplicative, OneCycle, ReduceOnPlateau


@dataclass(frozen=True)
class CosLog4(Schedule):
    """Four cosine waves over the whole run, each about twice as long as the one before: RealMLP's learning rate.

    References: Holzmüller et al., Better by Default, 2024.

    >>> CosLog4().stages
    ('on_batch_begin',)
    """

    name: ClassVar[str] = "lr_coslog4"
    fields: ClassVar[dict[str, Field]] = {"by": by("step"), "of": OF}

    by: str = field(default="step", kw_only=True)

    def at(self, start: Any, t: Any, event: Event) -> Any:
        """The value after `t` epochs or steps."""
        return start * coslog4(t / jnp.maximum(self.whole(event), 1))


@dataclass(frozen=True)
class FlatCos(Schedule):
    """The value at the start for half the run, then down to 0 along half a cosine wave.

    >>> FlatCos(of="dropout").id
    'lr_flat_cos_dropout'
    """

    name: ClassVar[str] = "lr_flat_cos"
    fields: ClassVar[dict[str, Field]] = {"by": by("step"), "of": OF}

    by: str = field(default="step", kw_only=True)

    def at(self, start: Any, t: Any, event: Event) -> Any:
        """The value after `t` epochs or steps."""
        return start * flat_cos(t / jnp.maximum(self.whole(event), 1))


@dataclass(frozen=True)
class Warmup(Schedule):
    """Up along a line to the value at the start, step by step; after that another schedule, if one is given.

    The schedule behind it counts from the end of the warm-up, where the warm-up is given in what that schedule counts,
    else from the beginning of the run.

    >>> Warmup(steps=100, then=CosLog4()).start_factor
    0.1
    """

    name: ClassVar[str] = "lr_warmup"
    fields: ClassVar[dict[str, Field]] = {
        "steps": Field("float", None, low=1, optional=True, dynamic=True, doc="Steps of the way up; or give epochs."),
        "epochs": Field("float", None, low=0, open_low=True, optional=True, dynamic=True, doc="Epochs of the way up."),
        "start_factor": number(0.1, "Share of the value in the first step."),
        "then": Field(default=None, doc="A schedule that comes after; it drives the same."),
        "of": OF,
    }

    steps: Any = None
    epochs: Any = None
    start_factor: Any = 0.1
    then: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        who = f"callback '{self.id}'"
        if (self.steps is None) == (self.epochs is None):
            raise ConfigError(f"{who}: give either 'steps' or 'epochs'.\nHint: jdl.cb('lr_warmup', epochs=2).")
        if self.then is None:
            return
        if not isinstance(self.then, Schedule) or isinstance(
            self.then, Warmup | Multiplicative | OneCycle | ReduceOnPlateau
        ):
            raise ConfigTypeError(
                f"{who}: 'then' must be a schedule that is a function of the epoch or step alone, got {self.then!r}.\n"
                "Hint: jdl.cb('lr_cosine_annealing')."
            )
        if self.then.of != self.of:
            raise ConfigError(f"{who}: it drives '{self.of}', but the schedule after it drives '{self.then.of}'.")

    @property
    def stages(self) -> tuple[str, ...]:
        """Every step."""
        return ("on_batch_begin",)

    def dynamic(self) -> dict[str, np.ndarray]:
        """Its own dynamic values and those of the schedule after it."""
        return super().dynamic() | ({} if self.then is None else self.then.dynamic())

    def structure(self) -> "Warmup":
        """What is compiled."""
        made = super().structure()
        return made if made.then is None else replace(made, then=made.then.structure())

    def at(self, start: Any, t: Any, event: Event) -> Any:
        """The value after `t` steps."""
        if self.steps is None:
            per_epoch = event.total_steps / jnp.maximum(event.total_epochs, 1)
            length = self.value("epochs", event.state) * per_epoch
        else:
            length = self.value("steps", event.state)
        first = self.value("start_factor", event.state)
        factor = first + (1.0 - first) * jnp.minimum(t / length, 1.0)
        return factor * self._behind(start, t, event)

    def _behind(self, start: Any, t: Any, event: Event) -> Any:
        """What the schedule after the warm-up makes of the value."""
        if self.then is None:
            return start
        if self.then.by == "step":
            done = t - (0.0 if self.steps is None else self.value("steps", event.state))
        else:
            done = event.epoch - 1.0 - (0.0 if self.epochs is None else self.value("epochs", event.state))
        return self.then.at(start, jnp.maximum(jnp.asarray(done, t.dtype), 0.0), self._rest(event))

    def _rest(self, event: Event) -> Event:
        """The event as a run without the warm-up would have it."""
        epochs, steps = event.total_epochs, event.total_steps
        if self.epochs is not None:
            epochs = epochs - self.value("epochs", event.state)
        if self.steps is not None:
            steps = steps - self.value("steps", event.state)
        return event.replace(total_epochs=epochs, total_steps=steps)


@dataclass(frozen=True)
class OptaxSchedule(Schedule):
    """Any Optax schedule, or function of the number of steps or epochs done.

    Its values are the hyperparameter's own, or, with `relative`, factors of the value at the start. The function is
    compiled: it computes with `jax.numpy` on a traced number. Programs compare it by identity, so make it once.

    >>> import optax
    >>> OptaxSchedule(optax.linear_schedule(0.1, 0.0, 100)).stages
    ('on_batch_begin',)
    """

    name: ClassVar[str] = "schedule"
    fields: ClassVar[dict[str, Field]] = {
        "schedule": Field(doc="An Optax schedule, or a function of the steps or epochs done."),
        "relative": Field("bool", False, doc="Whether its values are factors of the value at the start."),
        "by": by("step"),
        "of": OF,
    }

    schedule: Callable[[Any], Any] | Any = REQUIRED
    relative: bool = False
    by: str = field(default="step", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.schedule):
            raise ConfigTypeError(
                f"callback '{self.id}': 'schedule' must be an Optax schedule or a function, got {self.schedule!r}.\n"
                "Hint: optax.cosine_decay_schedule(0.1, 1000)."
            )

    def at(self, start: Any, t: Any, event: Event) -> Any:
        """The value after `t` epochs or steps."""
        del event
        value = traced(f"callback '{self.id}'", self.schedule, t.astype(jnp.int32))
        return start * value if self.relative else value
