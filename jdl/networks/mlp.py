"""Multi-layer perceptron."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from jdl.core.errors import ConfigError, ConfigTypeError, UnknownNameError
from jdl.networks.activation import as_activation
from jdl.networks.check import columns, positive
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
      neurons: Widths of the hidden layers; empty is a linear model. By default two of 128.
      n_blocks: Number of hidden layers of equal width, in place of `neurons`.
      d_block: Their width.
      activation: Name or function.
      activation_args: Named arguments of the activation, as pairs.
      dropout: Probability in [0, 1] after each activation; None builds no dropout layer.
      norm: "none", "batch" or "layer", before each activation.
      num_embeddings: A module of `jdl.networks.embeddings`, for as many of the first inputs as it has features.
      rngs: `nnx.Rngs`, or `HostRngs` to draw on the host.

    Raises:
      ConfigError: A size below 1, a probability outside of [0, 1], or widths given in two ways.
      UnknownNameError: No such norm or activation.

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
        neurons: Sequence[int] | None = None,
        n_blocks: int | None = None,
        d_block: int | None = None,
        activation: str | Callable[..., Any] = "relu",
        activation_args: Sequence[tuple[str, Any]] = (),
        dropout: float | None = None,
        norm: str = "none",
        num_embeddings: NumericEmbeddings | None = None,
        rngs: Any,
    ):
        positive("MLP", d_in=d_in, d_out=d_out)
        if dropout is not None and not 0 <= dropout <= 1:
            raise ConfigError(f"MLP: dropout must lie in [0, 1], got {dropout!r}.")
        as_activation(activation)
        self.d_in = d_in
        self.num_embeddings = num_embeddings
        widths = [flat_width("MLP", d_in, num_embeddings), *_widths(neurons, n_blocks, d_block)]
        blocks = []
        for i, (width_in, width_out) in enumerate(itertools.pairwise(widths)):
            blocks.append(Block(width_in, width_out, activation, tuple(activation_args), dropout, norm, i, rngs))
        self.blocks = nnx.List(blocks)
        self.head = linear(widths[-1], d_out, rngs)
        self.noise = OwnNoise(rngs, dropout)

    @with_own_noise
    def __call__(self, x: Float[Array, "row feature"]) -> Float[Array, "row output"]:
        """Outputs for a batch of rows."""
        x = columns("MLP", "x", x, self.d_in, (2,))
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


def _widths(neurons: Sequence[int] | None, n_blocks: int | None, d_block: int | None) -> tuple[int, ...]:
    """Widths of the hidden layers, however they were given.

    Raises:
      ConfigError: In two ways, or a width below 1.
    """
    if neurons is None:
        n_blocks, d_block = 2 if n_blocks is None else n_blocks, 128 if d_block is None else d_block
        positive("MLP", n_blocks=n_blocks, d_block=d_block)
        return (d_block,) * n_blocks
    if n_blocks is not None or d_block is not None:
        raise ConfigError(f"MLP: takes 'neurons', or 'n_blocks' and 'd_block', got neurons={neurons!r} and the others.")
    if isinstance(neurons, str) or not isinstance(neurons, Sequence):
        raise ConfigTypeError(f"MLP: neurons must be a sequence of integers, got {neurons!r}.")
    positive("MLP", **{f"neurons[{i}]": width for i, width in enumerate(neurons)})
    return tuple(neurons)


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
