"""Gradient clipping."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax

from jdl.train.callback import Event, InScanCallback


@dataclass(frozen=True)
class ClipNorm(InScanCallback):
    """Scales gradients down where the norm of all of them together exceeds a bound, as PyTorch does.

    Args:
      max_norm: The greatest norm.

    >>> ClipNorm(1.0).stages
    ('on_after_backward',)
    """

    id: ClassVar[str] = "clip_norm"

    max_norm: float = 1.0

    def on_after_backward(self, memory: Any, event: Event) -> tuple[Any, Event]:
        """Scales the gradients."""
        scale = jnp.minimum(self.max_norm / (optax.tree.norm(event.grads) + 1e-6), 1.0)
        return memory, event.replace(grads=jax.tree.map(lambda g: g * scale, event.grads))
