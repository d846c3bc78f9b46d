"""The contract of numeric embeddings, and the linear map that each feature has for itself."""

import abc
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from jdl.networks.check import columns, positive
from jdl.networks.initial import UniformFanIn
from jdl.networks.torch_state import Slot, Slots, TorchModule


class NumericEmbeddings(TorchModule):
    """Turns each numeric feature into a vector.

    What a kind computes is written once over an array namespace (`embed`): networks whose initial values depend on
    the training rows run it in NumPy, so that preparing them compiles nothing.
    """

    @property
    @abc.abstractmethod
    def n_features(self) -> int:
        """Number of features it takes."""

    @property
    @abc.abstractmethod
    def output_shape(self) -> tuple[int, ...]:
        """What becomes of the feature axis: `(n_features, d_embedding)`, or a single width."""

    @abc.abstractmethod
    def embed(self, xp: Any, x: Float[Any, "*batch feature"]) -> Float[Any, "*batch feature embedding"]:
        """The embeddings of `x`, computed with the array namespace `xp`."""

    def __call__(self, x: Float[Array, "*batch feature"]) -> Float[Array, "*batch feature embedding"]:
        """A vector per row and feature."""
        x = columns(type(self).__name__, "x", x, self.n_features)
        return self.embed(jnp, jnp.asarray(x))

    def flat(self, x: Float[Any, "*batch feature"], xp: Any = jnp) -> Float[Any, "*batch flat"]:
        """All vectors of a row one after the other, as the first layer of an MLP takes them."""
        x = columns(type(self).__name__, "x", x, self.n_features)
        return self.embed(xp, xp.asarray(x)).reshape(*x.shape[:-1], self.d_flat)

    def prepare(self, x_num: Float[np.ndarray, "row feature"], target: np.ndarray | None = None) -> None:
        """Takes from the training rows what the kind learns from them, in place and in NumPy; most learn nothing."""
        del x_num, target

    @property
    def d_flat(self) -> int:
        """Width of `flat`."""
        return int(np.prod(self.output_shape))


class NLinear(TorchModule):
    """A linear map per feature.

    Args:
      n_features: Number of features.
      d_in: Width of what a feature has.
      d_out: Width of what it gets.
      bias: Whether each feature has a bias.
      init: Initialiser of the matrices; U(-1/sqrt(d_in), 1/sqrt(d_in)) by default.
      rngs: `nnx.Rngs`, or `HostRngs` to draw on the host.

    >>> NLinear(3, 2, 4, rngs=nnx.Rngs(0)).embed(jnp, jnp.ones((5, 3, 2))).shape
    (5, 3, 4)
    """

    def __init__(self, n_features: int, d_in: int, d_out: int, *, bias: bool = True, init: Any = None, rngs: Any):
        default = UniformFanIn(d_in)
        self.weight = nnx.Param((init or default)(rngs.params(), (n_features, d_in, d_out)))
        self.bias = nnx.Param(default(rngs.params(), (n_features, d_out))) if bias else None

    def embed(self, xp: Any, x: Float[Any, "*batch feature inner"]) -> Float[Any, "*batch feature outer"]:
        """Every feature by its own matrix."""
        y = nlinear(xp, x, xp.asarray(self.weight[...]))
        return y if self.bias is None else y + like(xp.asarray(self.bias[...]), y)

    def torch_slots(self) -> Slots:
        """Names of the package's own `_NLinear`."""
        slots: Slots = {"weight": Slot(self.weight)}
        return slots if self.bias is None else slots | {"bias": Slot(self.bias)}


def check_sizes(owner: str, n_features: int, d_embedding: int) -> None:
    """Refuses embeddings of no feature or of no width.

    Raises:
      ConfigError: A size below 1.
    """
    positive(owner, n_features=n_features, d_embedding=d_embedding)


def nlinear(
    xp: Any, x: Float[Any, "*batch feature inner"], weight: Float[Any, "feature inner outer"]
) -> Float[Any, "*batch feature outer"]:
    """A matrix per feature.

    >>> nlinear(np, np.ones((5, 3, 2)), np.ones((3, 2, 4))).shape
    (5, 3, 4)
    """
    if xp is jnp:
        return jnp.einsum("...fi,fio->...fo", x, weight)
    rows = x.reshape(-1, *x.shape[-2:])
    out = np.matmul(rows.swapaxes(0, 1), weight).swapaxes(0, 1)  # (row, feature, outer)
    return out.reshape(*x.shape[:-1], weight.shape[-1])


def per_feature(x: Float[Any, "*batch feature"], values: Float[Any, "feature inner"]) -> tuple[Any, Any]:
    """`x` with an axis at its end, and `values` with as many axes in front as `x` has: ready to be multiplied."""
    return x[..., None], values.reshape((1,) * (x.ndim - 1) + values.shape)


def no_longer_than(x: Any, y: Any) -> Any:
    """`y` in the type of `x` where that has fewer bits: what is computed in float32 for the sake of constants."""
    shorter = jnp.issubdtype(x.dtype, jnp.floating) and x.dtype.itemsize < y.dtype.itemsize
    return y.astype(x.dtype) if shorter else y


def like(values: Any, x: Any) -> Any:
    """`values` with axes of size 1 in front, so that they have as many as `x`."""
    return values.reshape((1,) * (x.ndim - values.ndim) + values.shape)
