"""Gradient accumulation: one step of the optimizer for several batches."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Accumulated:
    """An optimizer's state, and the gradients that wait for its next step.

    Args:
      inner: State of the Optax transformation.
      grads: Sum of the batches' gradients, each times the weight of its rows.
      weight: Weight of the rows.
      n_batches: Batches that wait.
    """

    inner: Any
    grads: Any
    weight: Float[Array, ""]
    n_batches: Int[Array, ""]

    @classmethod
    def empty(cls, inner: Any, params: Any) -> "Accumulated":
        """Nothing waits."""
        zeros = jax.tree.map(jnp.zeros_like, params)
        return cls(inner, zeros, jnp.zeros((), jnp.float32), jnp.zeros((), jnp.int32))


def accumulated(
    transformation: optax.GradientTransformation,
    state: Accumulated,
    params: Any,
    grads: Any,
    weight: Float[Array, ""],
    due: Float[Array, ""],
    last: Any,
) -> tuple[Any, Accumulated]:
    """Parameters and state after a batch; the optimizer steps if enough batches wait, or none follows.

    Args:
      transformation: The optimizer.
      state: What waits.
      params: Parameters.
      grads: Gradients of the batch's mean loss.
      weight: Weight of the batch's rows.
      due: Batches of a step.
      last: Whether the epoch has no further batch.
    """
    total = jax.tree.map(lambda s, g: s + (weight * g).astype(s.dtype), state.grads, grads)
    weight, n_batches = state.weight + weight, state.n_batches + 1

    def step() -> tuple[Any, Accumulated]:
        mean = jax.tree.map(lambda g: g / jnp.maximum(weight, 1e-12).astype(g.dtype), total)
        updates, inner = transformation.update(mean, state.inner, params)
        return optax.apply_updates(params, updates), Accumulated.empty(inner, params)

    def wait() -> tuple[Any, Accumulated]:
        return params, Accumulated(state.inner, total, weight, n_batches)

    return jax.lax.cond((n_batches >= due) | last, step, wait)
