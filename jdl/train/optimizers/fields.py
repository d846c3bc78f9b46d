"""Fields that optimizers share, and what a kind of optimizer is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import optax

from jdl.core.fields import Field
from jdl.train.factors import Rates

Hyper = Mapping[str, Any]
Build = Callable[[Hyper, frozenset[str], Rates], optax.GradientTransformation]


@dataclass(frozen=True)
class Kind:
    """A kind of optimizer.

    Args:
      fields: Its hyperparameters.
      build: The Optax transformation from values, structural flags and the rates of all parameters.
      structural: Hyperparameters that make another program where they are 0 or False.
      evaluate: `(hyper, state, params) -> params` that predict, where those are not the trained ones.
    """

    fields: dict[str, Field]
    build: Build
    structural: tuple[str, ...] = ()
    evaluate: Callable[[Hyper, Any, Any], Any] | None = None


def number(default: Any, high: float | None = None, doc: str = "", low: float = 0.0) -> Field:
    """A number that is an array at run time."""
    return Field("float", default, low=low, high=high, dynamic=True, doc=doc)


def pair(first: float, second: float, doc: str) -> Field:
    """Two decay rates."""
    return Field("floats", (first, second), low=0.0, high=1.0, length=2, dynamic=True, doc=doc)


def flag(default: bool, doc: str) -> Field:
    """A switch that is a part of the program."""
    return Field("bool", default, doc=doc)


def lr(default: Any) -> Field:
    """The learning rate."""
    return number(default, doc="Learning rate.")


def eps(default: float = 1e-8) -> Field:
    """What keeps a denominator from 0."""
    return number(default, low=1e-16, doc="Added to the root of the squared gradient's average.")


BETAS = "Decay rates of the running averages of gradient and squared gradient."


def coupled(default: float = 0.0) -> Field:
    """Weight decay as a penalty."""
    return number(default, doc="Weight decay, coupled: added to the gradient as an L2 penalty.")


def decoupled(default: float) -> Field:
    """Weight decay apart from the gradient."""
    return number(default, doc="Weight decay, decoupled: subtracted from the weights, times the learning rate.")
