"""TabM: k multi-layer perceptrons that share almost all of their weights."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from jdl.core.errors import ConfigError, ConfigTypeError, ShapeError, UnknownNameError
from jdl.networks.activation import activation_name, as_activation
from jdl.networks.check import cardinalities, columns, positive, rate, some_features
from jdl.networks.dropout import Dropout
from jdl.networks.embeddings import (
    CategoricalEmbeddings,
    NumericEmbeddings,
    OneHotEncoding,
    PiecewiseLinearEncoding,
)
from jdl.networks.ensemble import LinearBatchEnsemble, LinearEnsemble, Scaling, member_view, scaling_init
from jdl.networks.initial import UniformFanIn
from jdl.networks.noise import OwnNoise, with_own_noise
from jdl.networks.paths import path_names
from jdl.networks.rowwise import on_rows
from jdl.networks.scan import in_turn
from jdl.networks.torch_state import Slots, TorchModule, under

ArchType = Literal["tabm", "tabm-mini", "tabm-packed"]
_ARCH_TYPES = ("tabm", "tabm-mini", "tabm-packed")
_SCALINGS = ("normal", "random-signs")


class TabM(TorchModule):
    """k multi-layer perceptrons with shared weights, each with its own output.

    Numeric features (as they are, or embedded) and one-hot categories are the input of all members. Train with the
    mean of the members' losses, never with the loss of their mean; predict with the mean of their probabilities.

    Args:
      n_num_features: Number of numeric features.
      cat_cardinalities: Number of codes of each categorical feature; a code outside of `[0, cardinality)` is
        encoded as zeros.
      d_out: Outputs of each member.
      k: Number of members.
      n_blocks: Hidden layers; 2 with embeddings and 3 without by default.
      d_block: Width of the hidden layers.
      dropout: Probability after each hidden layer; 0 or None builds no dropout layer.
      activation: Name or function.
      arch_type: "tabm" scales inputs and outputs of every layer per member; "tabm-mini" scales the input only;
        "tabm-packed" shares nothing.
      start_scaling_init: First scales, "normal" or "random-signs"; by default "normal" with embeddings and
        "random-signs" without. "tabm-packed" takes none.
      num_embeddings: A module of `jdl.networks.embeddings` for all numeric features, shared by the members.
      cat_embeddings: `CategoricalEmbeddings` of the same cardinalities, shared by the members, in the place of the
        one-hot encoding; the package has none.
      rngs: `nnx.Rngs`, or `HostRngs` to draw on the host.

    Raises:
      ConfigError: No features, a size below 1, or embeddings of another number of features.

    References: Gorishniy et al., TabM: Advancing Tabular Deep Learning with Parameter-Efficient Ensembling, 2024.

    >>> model = TabM(n_num_features=3, cat_cardinalities=[2, 4], d_out=1, k=5, d_block=8, rngs=nnx.Rngs(0))
    >>> model.eval()
    >>> model(jnp.zeros((7, 3)), jnp.zeros((7, 2), int)).shape
    (7, 5, 1)
    """

    def __init__(
        self,
        *,
        n_num_features: int = 0,
        cat_cardinalities: Sequence[int] | None = None,
        d_out: int,
        k: int = 32,
        n_blocks: int | None = None,
        d_block: int = 512,
        dropout: float | None = 0.1,
        activation: str | Callable[..., Any] = "relu",
        arch_type: ArchType = "tabm",
        start_scaling_init: str | None = None,
        num_embeddings: NumericEmbeddings | None = None,
        cat_embeddings: CategoricalEmbeddings | None = None,
        rngs: Any,
    ):
        sizes = cardinalities("TabM", cat_cardinalities)
        some_features("TabM", n_num_features, len(sizes))
        n_blocks = n_blocks if n_blocks is not None else (3 if num_embeddings is None else 2)
        positive("TabM", d_out=d_out, k=k, n_blocks=n_blocks, d_block=d_block)
        rate("TabM", dropout=dropout)
        d_numeric = _check_embeddings(num_embeddings, n_num_features)
        _check_cat_embeddings(cat_embeddings, sizes)
        kind = _start_scaling(arch_type, start_scaling_init, num_embeddings is not None)
        self.n_num_features = n_num_features
        self.cat_cardinalities = sizes
        self.k = k
        self.arch_type = arch_type
        self.num_embeddings = num_embeddings
        self.cat_embeddings = cat_embeddings
        self.one_hot = OneHotEncoding(sizes) if sizes and cat_embeddings is None else None
        d_categorical = sizes if cat_embeddings is None else [cat_embeddings.output_shape[1]] * len(sizes)
        chunks = (*[d_numeric] * n_num_features, *d_categorical)
        d_in = sum(chunks)
        init = None if kind is None else scaling_init(kind, chunks)
        self.scaling = Scaling(k, d_in, init=init, rngs=rngs) if arch_type == "tabm-mini" else None
        blocks = []
        for i in range(n_blocks):
            layer = _layer(arch_type, d_in if i == 0 else d_block, d_block, k, init if i == 0 else None, rngs)
            blocks.append(EnsembleBlock(layer, activation, dropout, i))
        self.blocks = nnx.List(blocks)
        self.head = LinearEnsemble(d_block, d_out, k=k, rngs=rngs)
        self.noise = OwnNoise(rngs, dropout)

    @with_own_noise
    def __call__(
        self, x_num: Float[Array, "row ..."] | None = None, x_cat: Int[Array, "row ..."] | None = None
    ) -> Float[Array, "row member output"]:
        """Outputs of each member, for rows `(row, feature)` of all members or `(row, member, feature)` of each."""
        x = member_view(self._flat(x_num, x_cat), self.k)
        if self.scaling is not None:
            x = self.scaling(x)
        first, *others = self.blocks  # of which only the first sees the features
        return self.head(in_turn(others, first(x)))

    def _flat(self, x_num: Any, x_cat: Any) -> Array:
        x_num = columns("TabM", "x_num", x_num, self.n_num_features, (2, 3))
        x_cat = columns("TabM", "x_cat", x_cat, len(self.cat_cardinalities), (2, 3), codes=True)
        parts = []
        if self.n_num_features:
            x = jnp.asarray(x_num)
            parts.append(x if self.num_embeddings is None else self.num_embeddings.flat(x))
        if self.one_hot is not None:
            parts.append(self.one_hot(x_cat).astype(self.head.weight[...].dtype))
        if self.cat_embeddings is not None:
            parts.append(self.cat_embeddings.flat(x_cat))
        if len({part.shape[:-1] for part in parts}) > 1:
            raise ShapeError(f"TabM: x_num and x_cat must have equal rows, got {x_num.shape} and {x_cat.shape}.")
        if parts[0].ndim == 3 and parts[0].shape[1] != self.k:
            raise ShapeError(f"TabM: expected rows of {self.k} members on axis 1, got {parts[0].shape[1]}.")
        return jnp.concatenate(parts, axis=-1)

    def prepare(
        self,
        x_num: np.ndarray | None = None,
        x_cat: np.ndarray | None = None,
        key: Any = None,
        target: np.ndarray | None = None,
    ) -> None:
        """Fits the bins of the embeddings to the training rows, in place, in NumPy; nothing where there are none."""
        del x_cat, key
        if self.num_embeddings is not None:
            assert x_num is not None
            self.num_embeddings.prepare(np.asarray(x_num), target)

    @staticmethod
    def no_weight_decay(path: Iterable[Any]) -> bool:
        """Whether the parameter at `path` takes no weight decay.

        As in the paper's code: biases, linear embeddings, and frequencies of periodic ones take none; nor do
        embeddings of categories, which are linear maps of the one-hot encoding.

        >>> TabM.no_weight_decay(("head", "bias")), TabM.no_weight_decay(("blocks", 0, "layer", "r"))
        (True, False)
        """
        names = path_names(path)
        return names[-1] in ("bias", "bias_1", "bias_2") or names[0] == "cat_embeddings" or is_plain_embedding(names)

    def torch_slots(self) -> Slots:
        """Names of `tabm.TabM`; embeddings of categories are below `cat_embeddings`."""
        slots = under("num_module", self.num_embeddings) | under("cat_embeddings", self.cat_embeddings)
        slots |= under("backbone.affine", self.scaling)
        for i, block in enumerate(self.blocks):
            slots |= under(f"backbone.blocks.{i}.0", block.layer)
        return slots | under("output", self.head)


class EnsembleBlock(nnx.Module):
    """One hidden layer of all members: linear, activation, dropout."""

    def __init__(self, layer: Any, activation: str | Callable[..., Any], dropout: float | None, number: int):
        self.layer = layer
        self.activation = activation_name(activation)
        self.dropout = Dropout(dropout, layer=number) if dropout else None

    def __call__(self, x: Float[Array, "row member feature"]) -> Float[Array, "row member hidden"]:
        """The hidden layer's values."""
        y = on_rows(self.layer, x) if isinstance(self.layer, nnx.Linear) else self.layer(x)
        x = as_activation(self.activation)(y)
        return x if self.dropout is None else self.dropout(x)


def is_plain_embedding(names: tuple[str, ...]) -> bool:
    """Whether a parameter is the weight of a linear embedding of numbers, or holds frequencies."""
    if names[:1] != ("num_embeddings",) or names[-1] not in ("weight", "weight_1"):
        return False
    return names[1] in ("weight_1", "linear0", "periodic") or names[1:] == ("weight",)


def _layer(arch_type: str, d_in: int, d_out: int, k: int, init: Any, rngs: Any) -> Any:
    if arch_type == "tabm":
        return LinearBatchEnsemble(d_in, d_out, k=k, r_init=init, rngs=rngs)
    if arch_type == "tabm-packed":
        return LinearEnsemble(d_in, d_out, k=k, rngs=rngs)
    start = UniformFanIn(d_in)
    return nnx.Linear(d_in, d_out, kernel_init=start, bias_init=start, rngs=rngs)


def _check_embeddings(embeddings: Any, n_features: int) -> int:
    """Width per numeric feature."""
    if embeddings is None:
        return 1
    if not isinstance(embeddings, NumericEmbeddings) or isinstance(embeddings, PiecewiseLinearEncoding):
        raise ConfigTypeError(
            f"TabM: num_embeddings must give one vector of equal width per feature, got {type(embeddings).__name__}.\n"
            "Hint: PiecewiseLinearEmbeddings(..., version='B') is the usual choice."
        )
    if embeddings.n_features != n_features:
        raise ConfigError(
            f"TabM: num_embeddings are for {embeddings.n_features} features, but n_num_features={n_features}."
        )
    return embeddings.output_shape[1]


def _check_cat_embeddings(embeddings: Any, sizes: Sequence[int]) -> None:
    if embeddings is None:
        return
    if not isinstance(embeddings, CategoricalEmbeddings):
        raise ConfigTypeError(
            f"TabM: cat_embeddings must be CategoricalEmbeddings or None, got {type(embeddings).__name__}."
        )
    if embeddings.cardinalities != sizes:
        raise ConfigError(
            f"TabM: cat_embeddings are for cardinalities {embeddings.cardinalities}, but cat_cardinalities={sizes}."
        )


def _start_scaling(arch_type: str, given: str | None, embedded: bool) -> str | None:
    if arch_type not in _ARCH_TYPES:
        raise UnknownNameError.of("arch_type", arch_type, _ARCH_TYPES, owner="TabM")
    if arch_type == "tabm-packed":
        if given is not None:
            raise ConfigError("TabM: arch_type='tabm-packed' takes no start_scaling_init, since nothing is scaled.")
        return None
    if given is None:
        return "normal" if embedded else "random-signs"
    if given not in _SCALINGS:
        raise UnknownNameError.of("start_scaling_init", given, _SCALINGS, owner="TabM")
    return given
