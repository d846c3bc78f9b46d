"""Residual network for tables."""

from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from jdl.core.errors import ConfigError
from jdl.networks.check import columns, positive, rate
from jdl.networks.dropout import Dropout
from jdl.networks.embeddings import NumericEmbeddings
from jdl.networks.flat import embed_flat, flat_width
from jdl.networks.mlp import linear
from jdl.networks.noise import OwnNoise, with_own_noise
from jdl.networks.norm import BatchNorm
from jdl.networks.scan import in_turn
from jdl.networks.torch_state import Slots, TorchModule, under


class TabResNet(TorchModule):
    """A linear layer, residual blocks with batch norm, and a head.

    Args:
      d_in: Number of inputs.
      d_out: Number of outputs.
      n_blocks: Residual blocks.
      d_block: Width between the blocks.
      d_hidden: Width inside a block.
      d_hidden_multiplier: `d_hidden` as a multiple of `d_block`; 2 where neither is given.
      dropout1: Probability inside a block, the hyperparameter "dropout1"; 0 or None builds no dropout layer.
      dropout2: Probability at the end of a block, the hyperparameter "dropout2".
      final_norm: Whether a batch norm stands before the head.
      num_embeddings: A module of `jdl.networks.embeddings`, for as many of the first inputs as it has features.
      rngs: `nnx.Rngs`, or `HostRngs` to draw on the host.

    Raises:
      ConfigError: A size below 1, or both `d_hidden` and its multiplier.

    References: Gorishniy et al., Revisiting Deep Learning Models for Tabular Data, 2021.

    >>> model = TabResNet(4, 3, d_block=8, rngs=nnx.Rngs(0))
    >>> model.eval()
    >>> model(jnp.zeros((5, 4))).shape
    (5, 3)
    """

    def __init__(
        self,
        d_in: int,
        d_out: int,
        n_blocks: int = 2,
        d_block: int = 192,
        *,
        d_hidden: int | None = None,
        d_hidden_multiplier: float | None = None,
        dropout1: float | None = 0.3,
        dropout2: float | None = 0.0,
        final_norm: bool = True,
        num_embeddings: NumericEmbeddings | None = None,
        rngs: Any,
    ):
        d_hidden = hidden_width("TabResNet", d_block, d_hidden, d_hidden_multiplier, 2.0)
        positive("TabResNet", d_in=d_in, d_out=d_out, n_blocks=n_blocks, d_block=d_block, d_hidden=d_hidden)
        rate("TabResNet", dropout1=dropout1, dropout2=dropout2)
        self.d_in = d_in
        self.num_embeddings = num_embeddings
        self.input_projection = linear(flat_width("TabResNet", d_in, num_embeddings), d_block, rngs)
        blocks = [ResidualBlock(d_block, d_hidden, dropout1, dropout2, 2 * i, rngs) for i in range(n_blocks)]
        self.blocks = nnx.List(blocks)
        self.final_norm = BatchNorm(d_block, rngs=rngs) if final_norm else None
        self.head = linear(d_block, d_out, rngs)
        self.noise = OwnNoise(rngs, dropout1, dropout2)

    @with_own_noise
    def __call__(self, x: Float[Array, "row feature"]) -> Float[Array, "row output"]:
        """Outputs for a batch of rows."""
        x = jnp.asarray(columns("TabResNet", "x", x, self.d_in, (2,)))
        x = self.input_projection(embed_flat(self.num_embeddings, x))
        x = in_turn(self.blocks, x)
        if self.final_norm is not None:
            x = self.final_norm(x)
        return self.head(nnx.relu(x))

    def prepare(self, x: np.ndarray, x_cat: None = None, key: Any = None, target: np.ndarray | None = None) -> None:
        """Fits the bins of the embeddings to the training rows, in place, in NumPy; nothing where there are none."""
        del x_cat, key
        if self.num_embeddings is not None:
            self.num_embeddings.prepare(x[:, : self.num_embeddings.n_features], target)

    @staticmethod
    def no_weight_decay(path: Iterable[Any]) -> bool:
        """Whether the parameter at `path` takes no weight decay: none is left out, as in the package's recipe."""
        del path
        return False

    def torch_slots(self) -> Slots:
        """Names of `rtdl_revisiting_models.ResNet`; embeddings are below `num_embeddings`."""
        slots = under("num_embeddings", self.num_embeddings) | under("input_projection", self.input_projection)
        for i, block in enumerate(self.blocks):
            for name in ("normalization", "linear1", "linear2"):
                slots |= under(f"blocks.{i}.{name}", getattr(block, name))
        return slots | under("output.normalization", self.final_norm) | under("output.linear", self.head)


class ResidualBlock(nnx.Module):
    """Batch norm, linear, ReLU, dropout, linear, dropout; added to the input."""

    def __init__(
        self, d_block: int, d_hidden: int, dropout1: float | None, dropout2: float | None, number: int, rngs: Any
    ):
        self.normalization = BatchNorm(d_block, rngs=rngs)
        self.linear1 = linear(d_block, d_hidden, rngs)
        self.dropout1 = Dropout(dropout1, hyper="dropout1", layer=number) if dropout1 else None
        self.linear2 = linear(d_hidden, d_block, rngs)
        self.dropout2 = Dropout(dropout2, hyper="dropout2", layer=number + 1) if dropout2 else None

    def __call__(self, x: Float[Array, "row feature"]) -> Float[Array, "row feature"]:
        """The input plus what the block makes of it."""
        y = nnx.relu(self.linear1(self.normalization(x)))
        y = self.linear2(y if self.dropout1 is None else self.dropout1(y))
        return x + (y if self.dropout2 is None else self.dropout2(y))


def hidden_width(owner: str, d_block: int, d_hidden: int | None, multiplier: float | None, default: float) -> int:
    """Width inside a block, from itself or as a multiple of `d_block`.

    Raises:
      ConfigError: Both are given.

    >>> hidden_width("TabResNet", 192, None, None, 2.0)
    384
    """
    if d_hidden is not None and multiplier is not None:
        raise ConfigError(f"{owner}: expected a hidden width or its multiplier, got both: {d_hidden} and {multiplier}.")
    return int(d_block * (default if multiplier is None else multiplier)) if d_hidden is None else d_hidden
