"""What schedules share: they move a dynamic hyperparameter along a curve of epochs or steps, inside the scan.

A schedule has no state beside the value that it starts from: where it stands follows from the number of the epoch or
step, so that chunks, interruptions and strategies make no difference.
"""

import abc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from jdl.core.errors import ConfigError, JdlError
from jdl.core.fields import Field
from jdl.train.callback import Event, InScanCallback
from jdl.train.hyper_names import slots_of, with_value

UNITS = ("epoch", "step")
OF = Field("str", "lr", doc='What it drives: "lr", "weight_decay", "momentum", "dropout", or a name in full.')


def by(unit: str) -> Field:
    """The field that says what a schedule counts."""
    return Field("str", unit, choices=UNITS, doc="Whether it moves once an epoch or at every step.")


def count(default: Any, doc: str, low: float = 1) -> Field:
    """The field of a number of epochs or steps; without a default, or where it is None, the whole run's."""
    return Field("float", default, low=low, optional=default is None, dynamic=True, doc=doc)


def number(default: Any, doc: str, low: float | None = 0.0) -> Field:
    """The field of a number."""
    return Field("float", default, low=low, dynamic=True, doc=doc)


@dataclass(frozen=True)
class Schedule(InScanCallback, abc.ABC):
    """Sets a dynamic hyperparameter before each epoch or step.

    Subclasses say what it is from its value at the start and the number of epochs or steps done. Their fields are
    the dataclass's, checked by `fields`.

    Args:
      of: What it drives.
      by: Whether it counts epochs or steps.
    """

    name: ClassVar[str]
    by: str = field(default="epoch", kw_only=True)
    of: str = field(default="lr", kw_only=True)

    @property
    def id(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Its name, and what it drives if that is not the learning rate: hyperparameters may have one each."""
        return self.name if self.of == "lr" else f"{self.name}_{self.of.replace('.', '_')}"

    @property
    def stages(self) -> tuple[str, ...]:
        """The beginning of what it counts."""
        return ("on_epoch_begin",) if self.by == "epoch" else ("on_batch_begin",)

    def init(self, state: Any) -> Any:
        """The values at the start, by name.

        Raises:
          UnknownNameError: The run has no such dynamic hyperparameter.
        """
        slots = slots_of(state.hyper, self.of, f"the run, which callback '{self.id}' wants to drive")
        return {"start": slots[0].read(state.hyper)}

    @abc.abstractmethod
    def at(self, start: Any, t: Any, event: Event) -> Any:
        """The value after `t` epochs or steps of a hyperparameter that began as `start`."""

    def whole(self, event: Event) -> Any:
        """Epochs or steps of the whole run."""
        return event.total_epochs if self.by == "epoch" else event.total_steps

    def length(self, name: str, event: Event) -> Any:
        """A value that counts epochs or steps, the whole run's where it is None."""
        value = self.value(name, event.state)
        return jnp.maximum(self.whole(event), 1) if value is None else value

    def on_epoch_begin(self, memory: Any, event: Event) -> tuple[Any, Event]:
        """Sets the value for the epoch."""
        return self._moved(memory, event, event.epoch - 1)

    def on_batch_begin(self, memory: Any, event: Event) -> tuple[Any, Event]:
        """Sets the value for the step."""
        return self._moved(memory, event, event.state.step)

    def _moved(self, memory: Any, event: Event, t: Any) -> tuple[Any, Event]:
        start = memory["start"]
        value = self.at(start, jnp.asarray(t, start.dtype), event)
        slots = slots_of(event.state.hyper, self.of, self.id)
        return memory, event.replace(state=with_value(event.state, slots, value))


def traced(who: str, function: Callable[..., Any], *args: Any) -> Any:
    """What a user's function gives inside a compiled program.

    Raises:
      ConfigError: It cannot be compiled, it raises, or it gives something else than a number.
    """
    try:
        value = jnp.asarray(function(*args))
    except JdlError:
        raise
    except (jax.errors.JAXTypeError, jax.errors.JAXIndexError, TypeError) as error:
        raise ConfigError(
            f"{who}: the function cannot be compiled: {type(error).__name__}: {str(error).splitlines()[0]}\n"
            "Hint: write it with jax.numpy, and choose between values with jnp.where."
        ) from error
    except Exception as error:
        raise ConfigError(f"{who}: the function raised {type(error).__name__}: {error}") from error
    if value.shape:
        raise ConfigError(
            f"{who}: the function must give one number, got an array of shape {value.shape}.\n"
            "Hint: it is called with one number, of the epochs or steps done."
        )
    return value
