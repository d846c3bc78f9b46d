"""Activation functions by name."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jdl.core.errors import ConfigTypeError, UnknownNameError


def gelu(x: Float[Array, "*shape"], approximate: bool = False) -> Float[Array, "*shape"]:
    """X times the normal distribution function of x, as in PyTorch; `approximate` takes a formula with tanh.

    References: Hendrycks & Gimpel, Gaussian Error Linear Units, 2016.

    >>> round(float(gelu(jnp.float32(1.0))), 4)
    0.8413
    """
    return jax.nn.gelu(x, approximate=approximate)


def leaky_relu(x: Float[Array, "*shape"], negative_slope: float = 0.01) -> Float[Array, "*shape"]:
    """X above 0, `negative_slope * x` below; the slope at 0 is the negative one, as in PyTorch.

    References: Maas et al., Rectifier nonlinearities improve neural network acoustic models, 2013.

    >>> round(float(leaky_relu(jnp.float32(-1.0))), 2)
    -0.01
    """
    return jnp.where(x > 0, x, negative_slope * x)


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "celu": nnx.celu,
    "elu": nnx.elu,
    "gelu": gelu,
    "hardswish": nnx.hard_swish,
    "identity": lambda x: x,
    "leaky_relu": leaky_relu,
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
# Names of PyTorch's classes are these but for capitals and underscores.
_WITHOUT_UNDERSCORES = {name.replace("_", ""): name for name in ACTIVATIONS}


def as_activation(activation: str | Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The function of that name (or of PyTorch's class name), or the function itself.

    Raises:
      UnknownNameError: No activation has the name.
      ConfigTypeError: Neither a name nor a function.

    >>> float(as_activation("relu")(jnp.float32(-1)))
    0.0
    """
    activation = activation_name(activation)
    return ACTIVATIONS[activation] if isinstance(activation, str) else activation


def activation_name(activation: str | Callable[[Any], Any]) -> str | Callable[[Any], Any]:
    """A function as it is, or an activation's name in the catalogue, PyTorch's class names ("LeakyReLU") translated.

    Raises:
      UnknownNameError: No activation has the name.
      ConfigTypeError: Neither a name nor a function.

    >>> activation_name("LeakyReLU")
    'leaky_relu'
    """
    if isinstance(activation, str):
        name = activation if activation in ACTIVATIONS else _WITHOUT_UNDERSCORES.get(activation.lower())
        if name is None:
            raise UnknownNameError.of("activation", activation, ACTIVATIONS)
        return name
    if callable(activation):
        return activation
    raise ConfigTypeError(f"activation: expected a name or a function, got {activation!r}.")
