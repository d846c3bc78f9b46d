"""Schedules: callbacks in the scan that move a dynamic hyperparameter along a curve, step by step.

A curve maps t, the share of all steps that is done before the step, to what the hyperparameter's own value is
multiplied with.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jdl.core.errors import ConfigError
from jdl.train.callback import Event, InScanCallback
from jdl.train.state import replace_hyper

Curve = Callable[[Float[Array, ""]], Float[Array, ""]]


def coslog4(t: Float[Array, ""]) -> Float[Array, ""]:
    """Four cosine waves, each about twice as long as the one before it; 0 at both ends.

    References: Holzmüller et al., Better by Default, 2024.

    >>> round(float(coslog4(jnp.float32(1 / 30))), 4)
    0.9304
    """
    return 0.5 * (1.0 - jnp.cos(2.0 * jnp.pi * jnp.log2(1.0 + 15.0 * t)))


def flat_cos(t: Float[Array, ""]) -> Float[Array, ""]:
    """1 up to the middle, then half a cosine wave down to 0.

    >>> [round(float(flat_cos(jnp.float32(t))), 3) for t in (0.2, 0.75, 1.0)]
    [1.0, 0.5, 0.0]
    """
    return jnp.where(t < 0.5, 1.0, 0.5 * (1.0 + jnp.cos(jnp.pi * (2.0 * t - 1.0))))


@dataclass(frozen=True)
class Scheduled(InScanCallback):
    """Multiplies the value of a dynamic hyperparameter with a curve, before every step.

    Args:
      hyper: Name of the hyperparameter, such as "opt.lr".
      curve: A function of the share of steps done, by name so that equal programs compare equal.

    >>> Scheduled("opt.lr", coslog4).id
    'schedule_opt.lr'
    """

    hyper: str
    curve: Curve

    @property
    def id(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Of the callback: one schedule per hyperparameter."""
        return f"schedule_{self.hyper}"

    def init(self, state: Any) -> Any:
        """The value that the curve multiplies.

        Raises:
          ConfigError: The run has no such dynamic hyperparameter.
        """
        if self.hyper not in state.hyper:
            raise ConfigError(
                f"callback '{self.id}': there is no dynamic hyperparameter '{self.hyper}', only "
                f"{', '.join(map(repr, state.hyper))}."
            )
        return state.hyper[self.hyper]

    def on_batch_begin(self, memory: Any, event: Event) -> tuple[Any, Event]:
        """Sets the value for the step."""
        t = event.state.step / jnp.maximum(event.total_steps, 1)
        return memory, event.replace(state=replace_hyper(event.state, {self.hyper: memory * self.curve(t)}))
