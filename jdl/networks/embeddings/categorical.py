"""Embeddings of categorical features, and their one-hot encoding."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from jdl.core.errors import ConfigError
from jdl.networks.check import cardinalities as checked
from jdl.networks.check import columns, positive
from jdl.networks.context import current_batch
from jdl.networks.embeddings.base import like
from jdl.networks.initial import UniformFanIn
from jdl.networks.torch_state import Slot, Slots, TorchModule


class CategoricalEmbeddings(TorchModule):
    """A table of vectors per feature, and a bias per feature.

    The tables lie one below the other in one variable, so that one look-up serves all features. A code outside of
    `[0, cardinality)` adds nothing to the bias.

    Args:
      cardinalities: Number of codes of each feature.
      d_embedding: Width of each embedding.
      bias: Whether each feature has a bias.
      init: Distribution of the tables; PyTorch's U(-1/sqrt(d), 1/sqrt(d)) by default.
      rngs: `nnx.Rngs`, or `HostRngs` to draw on the host.

    Raises:
      ConfigError: No feature, or a size below 1.

    References: Gorishniy et al., Revisiting Deep Learning Models for Tabular Data, 2021.

    >>> CategoricalEmbeddings([2, 5], 4, rngs=nnx.Rngs(0))(jnp.array([[1, 4], [0, 0]])).shape
    (2, 2, 4)
    """

    def __init__(
        self,
        cardinalities: Sequence[int],
        d_embedding: int,
        bias: bool = True,
        *,
        init: Callable[..., Any] | None = None,
        rngs: Any,
    ):
        positive("CategoricalEmbeddings", d_embedding=d_embedding)
        self.cardinalities = _some("CategoricalEmbeddings", cardinalities)
        default = UniformFanIn(d_embedding)
        self.table = nnx.Param((init or default)(rngs.params(), (sum(self.cardinalities), d_embedding)))
        shape = (len(self.cardinalities), d_embedding)
        self.bias = nnx.Param(default(rngs.params(), shape)) if bias else None

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Features and width."""
        return len(self.cardinalities), self.table.shape[-1]

    @property
    def d_flat(self) -> int:
        """Width of `flat`."""
        return int(np.prod(self.output_shape))

    def flat(self, x: Int[Array, "*batch feature"]) -> Float[Array, "*batch flat"]:
        """All vectors of a row one after the other, as the first layer of an MLP takes them."""
        y = self(x)
        return y.reshape(*y.shape[:-2], self.d_flat)

    def __call__(self, x: Int[Array, "*batch feature"]) -> Float[Array, "*batch feature embedding"]:
        """A vector per row and feature."""
        x = columns("CategoricalEmbeddings", "x", x, len(self.cardinalities), codes=True)
        return self.embed(jnp, jnp.asarray(x))

    def embed(self, xp: Any, x: Int[Any, "*batch feature"]) -> Float[Any, "*batch feature embedding"]:
        """The embeddings of `x`, computed with the array namespace `xp`."""
        sizes = np.array(self.cardinalities, np.int32)
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int32)
        inside = (x >= 0) & (x < like(sizes, x))
        rows = xp.asarray(self.table[...])[xp.where(inside, x + like(starts, x), 0)]
        y = xp.where(inside[..., None], rows, xp.zeros((), rows.dtype))
        return y if self.bias is None else y + like(xp.asarray(self.bias[...]), y)

    def torch_slots(self) -> Slots:
        """Names of `rtdl_revisiting_models.CategoricalEmbeddings`."""
        ends = np.cumsum(self.cardinalities).tolist()
        slots: Slots = {
            f"embeddings.{i}.weight": Slot(self.table, rows=(end - size, end))
            for i, (size, end) in enumerate(zip(self.cardinalities, ends, strict=True))
        }
        return slots if self.bias is None else slots | {"bias": Slot(self.bias)}


class OneHotEncoding(TorchModule):
    """A column per code, 1 where the row has it. A code outside of `[0, cardinality)` gives zeros.

    Args:
      cardinalities: Number of codes of each feature.

    Raises:
      ConfigError: No feature, or a cardinality below 1.

    >>> OneHotEncoding([2, 3])(jnp.array([[1, 0], [2, -1]])).tolist()
    [[0.0, 1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0]]
    """

    def __init__(self, cardinalities: Sequence[int]):
        self.cardinalities = _some("OneHotEncoding", cardinalities)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Number of codes of all features together."""
        return (sum(self.cardinalities),)

    def __call__(self, x: Int[Array, "*batch feature"]) -> Float[Array, "*batch code"]:
        """Zeros and ones, in the type in which the batch is computed."""
        x = columns("OneHotEncoding", "x", x, len(self.cardinalities), codes=True)
        return self.embed(jnp, jnp.asarray(x)).astype(current_batch().dtype)

    def embed(self, xp: Any, x: Int[Any, "*batch feature"]) -> Float[Any, "*batch code"]:
        """The encoding of `x` in float32, computed with the array namespace `xp`."""
        # One gather and one comparison, however many features there are.
        feature = np.repeat(np.arange(len(self.cardinalities)), self.cardinalities)
        code = np.concatenate([np.arange(n) for n in self.cardinalities]).astype(np.int32)
        return (x[..., feature] == like(code, x)).astype(np.float32)

    def torch_slots(self) -> Slots:
        """Nothing: it has no weights."""
        return {}


def _some(owner: str, values: Sequence[int]) -> tuple[int, ...]:
    values = checked(owner, values)
    if not values:
        raise ConfigError(f"{owner}: cardinalities must hold at least one number, got none.")
    return values
