"""Factors of learning rate and weight decay per parameter, and the two ends of an optimizer that use them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import optax

Factor = Callable[[tuple[Any, ...]], float]


@dataclass(frozen=True)
class Factors:
    """Static numbers in the structure of the parameters; what they multiply is dynamic.

    Args:
      lr: Of the learning rate; 0 freezes a parameter.
      decay: Of the weight decay; 0 leaves a parameter out.
    """

    lr: Any
    decay: Any

    @classmethod
    def of(cls, params: Any, lr: Factor, decay: Factor) -> "Factors":
        """The factors of parameters by their paths.

        >>> params = {"w": 1.0, "b": 2.0}
        >>> Factors.of(params, lambda path: 1.0, lambda path: float(path[0].key == "w")).decay
        {'b': 0.0, 'w': 1.0}
        """
        return cls(
            jax.tree_util.tree_map_with_path(lambda path, _: lr(path), params),
            jax.tree_util.tree_map_with_path(lambda path, _: decay(path), params),
        )


def decayed(rate: Any, factors: Factors | None) -> optax.GradientTransformation:
    """Adds weight decay to the updates, each parameter's by its factor."""
    if factors is None:
        return optax.add_decayed_weights(rate)

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        return jax.tree.map(lambda u, p, f: u + (rate * f) * p if f else u, updates, params, factors.decay), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def descended(rate: Any, factors: Factors | None) -> optax.GradientTransformation:
    """Multiplies updates by minus the learning rate, each parameter's by its factor."""
    if factors is None:
        return optax.scale_by_learning_rate(rate)

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        del params
        return jax.tree.map(lambda u, f: -(rate * f) * u, updates, factors.lr), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
