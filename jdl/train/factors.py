"""Learning rate and weight decay of every parameter, and the two ends of an optimizer that use them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jdl.networks.paths import path_names

Factor = Callable[[tuple[Any, ...]], float]


@dataclass(frozen=True)
class Factors:
    """Static numbers by the path of a parameter; what they multiply is dynamic.

    Args:
      lr: Of the learning rate; 0 freezes a parameter.
      decay: Of the weight decay; 0 leaves a parameter out.
    """

    lr: Factor
    decay: Factor


@dataclass(frozen=True)
class Rates:
    """Learning rate and weight decay of every parameter of a tree.

    Args:
      hyper: Dynamic hyperparameters by name; "lr" (1 if absent), "weight_decay", "groups.0.lr" and so on.
      groups: Parameter groups.
      factors: Of the network; None for 1 everywhere.

    >>> rates = Rates({"lr": 0.1}, (), Factors(lambda path: 2.0, lambda path: 1.0))
    >>> rates.lr({"a": 0.0, "b": 0.0})
    [0.2, 0.2]
    """

    hyper: Mapping[str, Any]
    groups: Sequence[Any] = ()
    factors: Factors | None = None

    @property
    def uniform(self) -> bool:
        """Whether all parameters have one learning rate and one weight decay."""
        return not self.groups and self.factors is None

    def lr(self, tree: Any) -> list[Any]:
        """The learning rate of each leaf; None for one that is frozen."""
        members = self._members(tree)
        return [self._lr(path, members[name]) for path, name in _leaves(tree)]

    def decay(self, tree: Any) -> list[Any]:
        """The weight decay of each leaf; None for one that has none."""
        members = self._members(tree)
        return [self._decay(path, members[name]) for path, name in _leaves(tree)]

    def _members(self, tree: Any) -> dict[str, list[int]]:
        """The groups of each parameter, in order."""
        names = [name for _, name in _leaves(tree)]
        chosen = [set(group.select(names)) for group in self.groups]
        return {name: [i for i, of_group in enumerate(chosen) if name in of_group] for name in names}

    def _lr(self, path: Any, members: list[int]) -> Any:
        factor = 1.0 if self.factors is None else self.factors.lr(path)
        if factor == 0.0 or any(self.groups[i].frozen for i in members):
            return None
        rate = self._value("lr", members, self.hyper.get("lr", 1.0))
        for i in members:
            if "lr_factor" in self.groups[i].sets:
                rate = rate * self.hyper[f"groups.{i}.lr_factor"]
        return rate * factor

    def _decay(self, path: Any, members: list[int]) -> Any:
        factor = 1.0 if self.factors is None else self.factors.decay(path)
        return None if factor == 0.0 else self._value("weight_decay", members, self.hyper["weight_decay"]) * factor

    def _value(self, name: str, members: list[int], default: Any) -> Any:
        """What the last of some groups that sets a hyperparameter sets it to."""
        for i in reversed(members):
            if name in self.groups[i].sets:
                return self.hyper[f"groups.{i}.{name}"]
        return default


def _leaves(tree: Any) -> list[tuple[Any, str]]:
    """Path and dotted name of each leaf."""
    return [(path, ".".join(path_names(path))) for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]


def parameter_names(params: Any) -> tuple[str, ...]:
    """The dotted name of every leaf of a tree of parameters, as groups see them.

    >>> parameter_names({"head": {"bias": 0.0, "kernel": 1.0}})
    ('head.bias', 'head.kernel')
    """
    return tuple(name for _, name in _leaves(params))


def decayed(rates: Rates) -> optax.GradientTransformation:
    """Adds weight decay to the updates, each parameter's by its own rate."""
    if rates.uniform:
        return optax.add_decayed_weights(rates.hyper["weight_decay"])

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        leaves, tree = jax.tree.flatten(updates)
        weights, decay = jax.tree.leaves(params), rates.decay(updates)
        moved = [u if d is None else u + d * p for u, p, d in zip(leaves, weights, decay, strict=True)]
        return jax.tree.unflatten(tree, moved), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def descended(rates: Rates, *, sign: float = -1.0) -> optax.GradientTransformation:
    """Multiplies updates by minus the learning rate, each parameter's by its own; what is frozen does not move."""
    if rates.uniform:
        return optax.scale_by_learning_rate(rates.hyper["lr"]) if sign < 0 else optax.identity()

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        del params
        leaves, tree = jax.tree.flatten(updates)
        pairs = zip(leaves, rates.lr(updates), strict=True)
        return jax.tree.unflatten(tree, [jnp.zeros_like(u) if r is None else (sign * r) * u for u, r in pairs]), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def thawed(params: Any, groups: Sequence[Any]) -> Any:
    """The parameters, those of frozen groups as constants: no gradient is computed for them."""
    if not any(group.frozen for group in groups):
        return params
    leaves, tree = jax.tree.flatten(params)
    rates = Rates({}, [_Frozen(group.select, group.frozen) for group in groups]).lr(params)
    pairs = zip(leaves, rates, strict=True)
    return jax.tree.unflatten(tree, [jax.lax.stop_gradient(p) if r is None else p for p, r in pairs])


@dataclass(frozen=True)
class _Frozen:
    """A group of which only matters whether it is frozen."""

    select: Any
    frozen: bool
    sets: tuple[str, ...] = ()
