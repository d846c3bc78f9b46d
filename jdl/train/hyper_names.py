"""Short names of dynamic hyperparameters: "lr" for "opt.lr", "momentum" for the first beta of Adam."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp

from jdl.core.errors import UnknownNameError


@dataclass(frozen=True)
class Slot:
    """A number among the dynamic hyperparameters: a whole one, or one entry of several such as Adam's betas."""

    name: str
    entry: int | None = None

    def read(self, hyper: Mapping[str, Any]) -> Any:
        """Its value."""
        value = jnp.asarray(hyper[self.name])
        return value if self.entry is None else value[..., self.entry]

    def written(self, hyper: Mapping[str, Any], value: Any) -> dict[str, Any]:
        """The hyperparameters with another value, in the type that it had."""
        old = jnp.asarray(hyper[self.name])
        value = jnp.asarray(value, old.dtype)
        new = value if self.entry is None else old.at[..., self.entry].set(value)
        return {**hyper, self.name: jnp.broadcast_to(new, old.shape)}


def slots_of(hyper: Mapping[str, Any], of: str, who: str) -> tuple[Slot, ...]:
    """What a name stands for: a dynamic hyperparameter, or all those of a graph's nodes that are called so.

    >>> slots_of({"opt.lr": 0.1, "drop_1.p": 0.2, "drop_2.p": 0.3}, "lr", "test")
    (Slot(name='opt.lr', entry=None),)
    >>> [slot.name for slot in slots_of({"opt.lr": 0.1, "drop_1.p": 0.2, "drop_2.p": 0.3}, "drop", "test")]
    ['drop_1.p', 'drop_2.p']
    >>> slots_of({"opt.betas": [0.9, 0.99]}, "momentum", "test")
    (Slot(name='opt.betas', entry=0),)

    Raises:
      UnknownNameError: There is none of that name.
    """
    own = [name for name in hyper if not name.startswith("cb.")]
    for exact in (of, f"opt.{of}", f"loss.{of}"):
        if exact in own:
            return (Slot(exact),)
    if of == "momentum" and "opt.betas" in own:
        return (Slot("opt.betas", 0),)
    last = [name for name in own if name.rpartition(".")[2] == of]
    nodes = [name for name in own if re.sub(r"_\d+$", "", name.partition(".")[0]) == of]
    if not (last or nodes):
        raise UnknownNameError.of("dynamic hyperparameter", of, own, owner=who)
    return tuple(Slot(name) for name in last or nodes)


def with_value(state: Any, slots: tuple[Slot, ...], value: Any) -> Any:
    """The train state with one value in all these slots."""
    hyper = state.hyper
    for slot in slots:
        hyper = slot.written(hyper, value)
    return replace(state, hyper=hyper)
