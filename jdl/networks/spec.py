"""Network specs: hashable descriptions from which a network of the right sizes is built."""

import abc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from flax import nnx
from jaxtyping import Array, Float

from jdl.data.table import Table, TableSpec
from jdl.networks.embedding_spec import EmbeddingSpec, cat_embeddings, n_embedded
from jdl.networks.flat import WithCategories
from jdl.networks.mlp import MLP


@dataclass(frozen=True)
class NetworkSpec(abc.ABC):
    """A network before its input and output sizes are known. Equal specs build equal networks."""

    @abc.abstractmethod
    def build(self, spec: TableSpec, n_outputs: int, rngs: Any) -> nnx.Module:
        """The network for rows of columns `spec` with `n_outputs` outputs."""

    def forward(self, model: Any, table: Table) -> Float[Array, "row ..."]:
        """Outputs of the built network for a batch of rows; numeric columns only unless overridden.

        (row, output), or (row, member, output) of an ensemble: the loss is then the mean of the members' losses, a
        prediction the mean of their probabilities or values.
        """
        return model(table.numeric)

    # Whether `prepare` does something, which costs a build of the network per member.
    prepares: ClassVar[bool] = False

    def prepare(self, model: Any, table: Table, target: Any, key: Any) -> None:  # noqa: B027 - most take nothing
        """Sets what a built network takes from its training rows (bins, first values), in place and in NumPy.

        Args:
          model: From `build`.
          table: Training rows, as the network will see them.
          target: Class codes, or standardised values, of these rows.
          key: A `RandomKey`.
        """

    # Whether `lr_factor` or `decay_factor` differs from 1 anywhere.
    has_factors: ClassVar[bool] = False

    def lr_factor(self, path: Any) -> float:
        """What the learning rate of the parameter at `path` is multiplied with."""
        del path
        return 1.0

    def decay_factor(self, path: Any) -> float:
        """What the weight decay of the parameter at `path` is multiplied with; 0 leaves it out."""
        del path
        return 1.0


@dataclass(frozen=True)
class EmbeddedSpec(NetworkSpec):
    """A network whose numeric columns may be embedded.

    Args:
      embedding: Of the numeric columns; None takes them as they are.
    """

    embedding: EmbeddingSpec | None = field(default=None, kw_only=True)

    @property
    def prepares(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether there are bins to be found."""
        return self.embedding is not None and self.embedding.prepares

    def prepare(self, model: Any, table: Table, target: Any, key: Any) -> None:
        """Finds the bins of the embeddings."""
        del key
        assert self.embedding is not None
        self.embedding.prepare(self.embeddings_of(model), table.numeric, target)

    def embeddings_of(self, model: Any) -> Any:
        """The module of a built network that embeds its numbers; None where it has none."""
        return model.num_embeddings


@dataclass(frozen=True)
class FlatSpec(EmbeddedSpec):
    """A network on one array of numbers, behind which embedded categories may stand.

    Args:
      d_cat_embedding: Width of the embedding of each coded column; None takes numeric columns only.
    """

    d_cat_embedding: int | None = field(default=None, kw_only=True)

    @abc.abstractmethod
    def build_flat(self, spec: TableSpec, d_in: int, n_outputs: int, rngs: Any) -> nnx.Module:
        """The network for `d_in` columns, of which the first are the numeric ones of `spec`."""

    def build(self, spec: TableSpec, n_outputs: int, rngs: Any) -> nnx.Module:
        """The network on the numeric columns, and on the embeddings of the coded ones where there are any."""
        d_in, embeddings = len(spec.numeric), cat_embeddings(spec, self.d_cat_embedding, rngs)
        if embeddings is None:
            return self.build_flat(spec, d_in, n_outputs, rngs)
        return WithCategories(embeddings, self.build_flat(spec, d_in + embeddings.d_flat, n_outputs, rngs))

    def forward(self, model: Any, table: Table) -> Float[Array, "row output"]:
        """Outputs for numbers, and for codes where they are embedded."""
        return model(table.numeric, table.codes) if isinstance(model, WithCategories) else model(table.numeric)


@dataclass(frozen=True)
class MLPSpec(FlatSpec):
    """Spec of `jdl.networks.MLP`.

    Args:
      neurons: Widths of the hidden layers.
      activation: Name or function.
      activation_args: Named arguments of the activation, as pairs.
      norm: "none", "batch" or "layer".
      dropout: Whether there are dropout layers; their rate is the dynamic hyperparameter "dropout".
    """

    neurons: tuple[int, ...] = (128, 128)
    activation: str | Callable[..., Any] = "relu"
    activation_args: tuple[tuple[str, Any], ...] = ()
    norm: str = "none"
    dropout: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "neurons", tuple(self.neurons))

    def build_flat(self, spec: TableSpec, d_in: int, n_outputs: int, rngs: Any) -> nnx.Module:
        """An MLP on that many columns."""
        return MLP(
            d_in,
            n_outputs,
            neurons=self.neurons,
            activation=self.activation,
            activation_args=self.activation_args,
            dropout=0.0 if self.dropout else None,
            norm=self.norm,
            num_embeddings=self.embedding.build(n_embedded(spec), rngs) if self.embedding else None,
            rngs=rngs,
        )
