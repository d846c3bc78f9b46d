"""RealMLP's layers: linear maps in the neural tangent parametrisation and activations with a learned strength.

Their data-dependent initial values make every unit's pre-activation vary by 1 over the training rows, and put its
kink at a random point between some of them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from jdl.networks.activation import as_activation
from jdl.networks.dropout import Dropout
from jdl.networks.initial import Constant
from jdl.networks.torch_state import Slot, Slots, TorchModule

_SELU = (1.0507009873554805, 1.6732632423543772)
_N_ROWS_PER_BIAS = 5


class NTKLinear(TorchModule):
    """`x @ kernel / sqrt(d_in) + bias`.

    Args:
      d_in: Number of inputs.
      d_out: Number of outputs.
      kernel_init: Initialiser of the matrix.
      bias_init: Initialiser of the bias.
      rngs: `nnx.Rngs`, or `HostRngs` to draw on the host.

    References: Jacot et al., Neural Tangent Kernel, 2018; Holzmüller et al., Better by Default, 2024.

    >>> import jax.numpy as jnp
    >>> layer = NTKLinear(4, 1, kernel_init=Constant(1.0), bias_init=Constant(0.5), rngs=nnx.Rngs(0))
    >>> layer(jnp.ones((1, 4))).item()
    2.5
    """

    def __init__(self, d_in: int, d_out: int, *, kernel_init: Any, bias_init: Any, rngs: Any):
        self.kernel = nnx.Param(kernel_init(rngs.params(), (d_in, d_out)))
        self.bias = nnx.Param(bias_init(rngs.params(), (d_out,)))

    def __call__(self, x: Float[Array, "row feature"]) -> Float[Array, "row unit"]:
        """Pre-activations."""
        return (x @ self.kernel[...]) * self.kernel.shape[0] ** -0.5 + self.bias[...][None]

    def prepare(self, x: Float[np.ndarray, "row feature"], generator: np.random.Generator) -> np.ndarray:
        """Scales the matrix to units of variance 1 on these rows, draws the biases, returns the pre-activations.

        A bias is minus a random convex combination of its unit's values in five random rows.
        """
        kernel = np.asarray(self.kernel[...])
        z = (x @ kernel) * np.float32(kernel.shape[0] ** -0.5)
        spread = z.std(axis=0, dtype=np.float64)
        factor = (1 / np.where(spread > 0, spread, 1)).astype(np.float32)
        z *= factor[None]
        n_rows, n_units = z.shape
        rows = generator.integers(n_rows, size=(_N_ROWS_PER_BIAS, n_units))
        shares = generator.standard_exponential((_N_ROWS_PER_BIAS, n_units), dtype=np.float32)
        shares /= shares.sum(axis=0, keepdims=True)
        bias = -(np.take_along_axis(z, rows, axis=0) * shares).sum(axis=0)
        self.kernel.set_value(kernel * factor[None])
        self.bias.set_value(bias)
        return z + bias[None]

    def torch_slots(self) -> Slots:
        """Names of the scopes in `pytabkit`, whose biases have an axis of size 1 in front."""
        return {"weight": Slot(self.kernel), "bias": Slot(self.bias, shape=(1, self.bias.shape[0]))}


class RealBlock(TorchModule):
    """One hidden layer of RealMLP: linear, activation of learned strength, dropout."""

    def __init__(
        self,
        layer: NTKLinear,
        activation: str | Callable[..., Any],
        *,
        parametric: bool,
        dropout: float | None,
        number: int,
        rngs: Any,
    ):
        self.linear = layer
        self.activation = activation
        units = layer.bias.shape
        self.act = nnx.Param(Constant(1.0)(rngs.params(), units)) if parametric else None
        self.dropout = Dropout(dropout, layer=number) if dropout else None

    def __call__(self, x: Float[Array, "row feature"]) -> Float[Array, "row unit"]:
        """The hidden layer's values."""
        x = self.activate(self.linear(x), as_activation(self.activation))
        return x if self.dropout is None else self.dropout(x)

    def activate(self, x: Any, function: Callable[..., Any]) -> Any:
        """`x + (f(x) - x) * act`, or f(x)."""
        return function(x) if self.act is None else x + (function(x) - x) * self.act[...][None]

    def prepare(self, x: Float[np.ndarray, "row feature"], generator: np.random.Generator) -> np.ndarray:
        """Initial values from the training rows, in place; returns the hidden values in evaluation."""
        return np.asarray(self.activate(self.linear.prepare(x, generator), host_activation(self.activation)))

    def torch_slots(self) -> Slots:
        """Names of the scopes in `pytabkit`."""
        slots = self.linear.torch_slots()
        return slots if self.act is None else slots | {"act": Slot(self.act, shape=(1, self.act.shape[0]))}


def host_activation(activation: str | Callable[..., Any]) -> Callable[[np.ndarray], Any]:
    """The activation in NumPy where it is one that RealMLP is used with; else JAX's, which compiles.

    >>> host_activation("relu")(np.array([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    return _ON_HOST[activation] if activation in _ON_HOST else as_activation(activation)


def _selu(x: np.ndarray) -> np.ndarray:
    scale, alpha = (np.float32(c) for c in _SELU)
    return scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _mish(x: np.ndarray) -> np.ndarray:
    return x * np.tanh(np.logaddexp(x, np.float32(0)))


def _silu(x: np.ndarray) -> np.ndarray:
    return x * np.float32(0.5) * (1 + np.tanh(x * np.float32(0.5)))


_ON_HOST: dict[Any, Callable[[np.ndarray], Any]] = {
    "selu": _selu,
    "mish": _mish,
    "silu": _silu,
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "identity": lambda x: x,
}
