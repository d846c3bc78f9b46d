"""Activation functions by name."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jdl.core.errors import ConfigTypeError, UnknownNameError

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "celu": nnx.celu,
    "elu": nnx.elu,
    "gelu": nnx.gelu,
    "hardswish": nnx.hard_swish,
    "identity": lambda x: x,
    "leaky_relu": nnx.leaky_relu,
    "mish": jax.nn.mish,
    "relu": nnx.relu,
    "relu6": nnx.relu6,
    "selu": nnx.selu,
    "sigmoid": nnx.sigmoid,
    "silu": nnx.silu,
    "softplus": nnx.softplus,
    "softsign": nnx.soft_sign,
    "tanh": jnp.tanh,
}


def as_activation(activation: str | Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The function of that name, or the function itself.

    Raises:
      UnknownNameError: No activation has the name.
      ConfigTypeError: Neither a name nor a function.

    >>> float(as_activation("relu")(jnp.float32(-1)))
    0.0
    """
    if isinstance(activation, str):
        if activation not in ACTIVATIONS:
            raise UnknownNameError.of("activation", activation, ACTIVATIONS)
        return ACTIVATIONS[activation]
    if callable(activation):
        return activation
    raise ConfigTypeError(f"activation: expected a name or a function, got {activation!r}.")
