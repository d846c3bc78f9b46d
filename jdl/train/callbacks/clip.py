"""Gradient clipping."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax

from jdl.core.errors import ConfigError
from jdl.core.fields import Field
from jdl.train.callback import Event, InScanCallback


def _bound(doc: str) -> Field:
    return Field("float", None, low=0.0, open_low=True, optional=True, dynamic=True, doc=doc)


@dataclass(frozen=True)
class GradClip(InScanCallback):
    """Bounds gradients, as PyTorch does: by the norm of all together, by value, or by the size of their weights.

    Several bounds are applied in this order: value, adaptive, norm.

    References: Brock et al., High-Performance Large-Scale Image Recognition Without Normalization, 2021 (adaptive).

    Raises:
      ConfigError: No bound is given.

    >>> GradClip(max_norm=1.0).stages
    ('on_after_backward',)
    """

    id: ClassVar[str] = "grad_clip"
    fields: ClassVar[dict[str, Field]] = {
        "max_norm": _bound("Gradients are scaled down where the norm of all of them together is above."),
        "max_value": _bound("Each entry is kept within this distance of 0."),
        "adaptive": _bound(
            "The gradient of each unit is scaled down where its norm is above this share of its weights'."
        ),
    }

    max_norm: Any = None
    max_value: Any = None
    adaptive: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_norm is None and self.max_value is None and self.adaptive is None:
            raise ConfigError(
                f"callback '{self.id}': give a bound: 'max_norm', 'max_value' or 'adaptive'.\n"
                "Hint: jdl.cb('grad_clip', max_norm=1.0)."
            )

    def on_after_backward(self, memory: Any, event: Event) -> tuple[Any, Event]:
        """Bounds the gradients."""
        grads, state = event.grads, event.state
        if self.max_value is not None:
            most = self.value("max_value", state)
            grads = jax.tree.map(lambda g: jnp.clip(g, -most, most), grads)
        if self.adaptive is not None:
            share = self.value("adaptive", state)
            grads = jax.tree.map(lambda g, p: _bounded_by_unit(g, p, share), grads, state.params)
        if self.max_norm is not None:
            # PyTorch's 1e-6 included.
            scale = jnp.minimum(self.value("max_norm", state) / (optax.tree.norm(grads) + 1e-6), 1.0)
            grads = jax.tree.map(lambda g: g * scale.astype(g.dtype), grads)
        return memory, event.replace(grads=grads)


def _bounded_by_unit(grad: Any, param: Any, share: Any, eps: float = 1e-3) -> Any:
    """The gradient with the norm of each output unit's part at most a share of that of its weights."""
    axes = tuple(range(grad.ndim - 1)) if grad.ndim > 1 else None
    of_param = jnp.maximum(jnp.sqrt(jnp.sum(param * param, axis=axes, keepdims=True)), eps)
    of_grad = jnp.sqrt(jnp.sum(grad * grad, axis=axes, keepdims=True))
    most = share * of_param
    return jnp.where(of_grad > most, grad * (most / jnp.maximum(of_grad, 1e-6)), grad)
