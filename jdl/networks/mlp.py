"""Multi-layer perceptron."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from jdl.core.errors import UnknownNameError
from jdl.networks.activation import as_activation
from jdl.networks.dropout import Dropout
from jdl.networks.embeddings import NumericEmbeddings
from jdl.networks.flat import embed_flat, flat_width
from jdl.networks.initial import Constant, UniformFanIn
from jdl.networks.noise import OwnNoise, with_own_noise
from jdl.networks.norm import BatchNorm
from jdl.networks.remat import apply_block
from jdl.networks.torch_state import Slots, TorchModule, under


def linear(d_in: int, d_out: int, rngs: Any) -> nnx.Linear:
    """A linear layer with PyTorch's default initial values, drawn on the host or from JAX keys."""
    init = UniformFanIn(d_in)
    return nnx.Linear(d_in, d_out, kernel_init=init, bias_init=init, rngs=rngs)


class MLP(TorchModule):
    """Linear layers, each but the last followed by norm, activation and dropout.

    Args:
      d_in: Number of inputs.
      d_out: Number of outputs.
      neurons: Widths of the hidden layers; empty is a linear model.
      activation: Name or function.
      activation_args: Named arguments of the activation, as pairs.
      dropout: Probability in [0, 1] after each activation; None builds no dropout layer.
      norm: "none", "batch" or "layer", before each activation.
      num_embeddings: A module of `jdl.networks.embeddings`, for as many of the first inputs as it has features.
      rngs: `nnx.Rngs`, or `HostRngs` to draw on the host.

    >>> model = MLP(4, 3, neurons=(8,), dropout=None, rngs=nnx.Rngs(0))
    >>> import jax.numpy as jnp
    >>> model(jnp.zeros((5, 4))).shape
    (5, 3)
    """

    def __init__(
        self,
        d_in: int,
        d_out: int,
        *,
        neurons: Sequence[int] = (128, 128),
        activation: str | Callable[..., Any] = "relu",
        activation_args: Sequence[tuple[str, Any]] = (),
        dropout: float | None = None,
        norm: str = "none",
        num_embeddings: NumericEmbeddings | None = None,
        rngs: Any,
    ):
        self.num_embeddings = num_embeddings
        widths = [flat_width("MLP", d_in, num_embeddings), *neurons]
        blocks = []
        for i, (width_in, width_out) in enumerate(itertools.pairwise(widths)):
            blocks.append(Block(width_in, width_out, activation, tuple(activation_args), dropout, norm, i, rngs))
        self.blocks = nnx.List(blocks)
        self.head = linear(widths[-1], d_out, rngs)
        self.noise = OwnNoise(rngs, dropout)

    @with_own_noise
    def __call__(self, x: Float[Array, "row feature"]) -> Float[Array, "row output"]:
        """Outputs for a batch of rows."""
        x = embed_flat(self.num_embeddings, x)
        for block in self.blocks:
            x = apply_block(block, x)
        return self.head(x)

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
        """Names of `rtdl_revisiting_models.MLP`; embeddings are below `num_embeddings`, norms are `blocks.{i}.norm`."""
        slots = under("num_embeddings", self.num_embeddings)
        for i, block in enumerate(self.blocks):
            slots |= under(f"blocks.{i}.linear", block.linear) | under(f"blocks.{i}.norm", block.norm)
        return slots | under("output", self.head)


class Block(nnx.Module):
    """One hidden layer of an MLP: linear, norm, activation, dropout."""

    def __init__(
        self,
        d_in: int,
        d_out: int,
        activation: str | Callable[..., Any],
        activation_args: tuple[tuple[str, Any], ...],
        dropout: float | None,
        norm: str,
        layer: int,
        rngs: Any,
    ):
        self.linear = linear(d_in, d_out, rngs)
        self.norm = _norm(norm, d_out, rngs)
        self.activation = activation
        self.activation_args = activation_args
        self.dropout = None if dropout is None else Dropout(dropout, layer=layer)

    def __call__(self, x: Float[Array, "row feature"]) -> Float[Array, "row hidden"]:
        """The hidden layer's values."""
        x = self.linear(x)
        if self.norm is not None:
            x = self.norm(x)
        x = as_activation(self.activation)(x, **dict(self.activation_args))
        return x if self.dropout is None else self.dropout(x)


def _norm(norm: str, width: int, rngs: Any) -> nnx.Module | None:
    if norm == "batch":
        return BatchNorm(width, rngs=rngs)
    if norm == "layer":
        return LayerNorm(width, rngs=rngs)
    if norm != "none":
        raise UnknownNameError.of("norm", norm, ("none", "batch", "layer"), owner="MLP")
    return None


class LayerNorm(nnx.LayerNorm):
    """`nnx.LayerNorm` with PyTorch's epsilon and initial values that need no compilation."""

    def __init__(self, num_features: int, *, rngs: Any):
        super().__init__(
            num_features,
            epsilon=1e-5,
            scale_init=Constant(1.0),
            bias_init=Constant(0.0),
            use_fast_variance=False,
            rngs=rngs,
        )
