"""Specs of the networks for tables: they build the models of this room from the columns of a table."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from jdl.core.random import RandomKey
from jdl.data.table import Table, TableSpec
from jdl.networks.context import current_batch
from jdl.networks.embedding_spec import cat_embeddings, n_codes, n_embedded, n_levels
from jdl.networks.ft_transformer import FTTransformer
from jdl.networks.realmlp import RealMLP
from jdl.networks.spec import EmbeddedSpec, FlatSpec
from jdl.networks.tab_resnet import TabResNet
from jdl.networks.tabm import TabM


def _or_none(block: Any) -> Any:
    """A block of columns; None if it has none."""
    return block if block.shape[-1] else None


@dataclass(frozen=True)
class TabResNetSpec(FlatSpec):
    """Spec of `jdl.networks.TabResNet`.

    Args:
      n_blocks: Residual blocks.
      d_block: Width between the blocks.
      d_hidden: Width inside a block; or give its multiple.
      d_hidden_multiplier: `d_hidden` as a multiple of `d_block`.
      dropout1: Whether there is dropout inside a block.
      dropout2: Whether there is dropout at the end of a block.
      final_norm: Whether a batch norm stands before the head.
    """

    n_blocks: int = 2
    d_block: int = 192
    d_hidden: int | None = None
    d_hidden_multiplier: float | None = None
    dropout1: bool = True
    dropout2: bool = False
    final_norm: bool = True

    def build_flat(self, spec: TableSpec, d_in: int, n_outputs: int, rngs: Any) -> nnx.Module:
        """The network on that many columns."""
        return TabResNet(
            d_in,
            n_outputs,
            self.n_blocks,
            self.d_block,
            d_hidden=self.d_hidden,
            d_hidden_multiplier=self.d_hidden_multiplier,
            dropout1=0.5 if self.dropout1 else None,
            dropout2=0.5 if self.dropout2 else None,
            final_norm=self.final_norm,
            num_embeddings=self.embedding.build(n_embedded(spec), rngs) if self.embedding else None,
            rngs=rngs,
        )


@dataclass(frozen=True)
class FTTransformerSpec(EmbeddedSpec):
    """Spec of `jdl.networks.FTTransformer`, for numeric and coded columns.

    Args:
      sizes: Arguments of the model that are sizes, as pairs.
      dropouts: Names of the kinds of dropout that there are.
    """

    sizes: tuple[tuple[str, Any], ...] = ()
    dropouts: tuple[str, ...] = ()

    has_factors: ClassVar[bool] = True

    def decay_factor(self, path: Any) -> float:
        """0 for embeddings, norms of blocks and biases."""
        return 0.0 if FTTransformer.no_weight_decay(path) else 1.0

    def embeddings_of(self, model: Any) -> Any:
        """The module that embeds numbers."""
        return model.cont_embeddings

    def build(self, spec: TableSpec, n_outputs: int, rngs: Any) -> nnx.Module:
        """The network on all columns."""
        sizes = dict(self.sizes)
        embedding = self.embedding and replace(self.embedding, d_embedding=sizes["d_block"])
        names = ("attention_dropout", "ffn_dropout", "residual_dropout")
        rates: Any = {name: 0.5 if name in self.dropouts else 0.0 for name in names}
        return FTTransformer(
            n_cont_features=len(spec.numeric),
            cat_cardinalities=n_codes(spec),
            d_out=n_outputs,
            num_embeddings=embedding.build(len(spec.numeric), rngs) if embedding else None,
            rngs=rngs,
            **sizes,
            **rates,
        )

    def forward(self, model: Any, table: Table) -> Float[Array, "row output"]:
        """Outputs for numbers and codes."""
        return model(_or_none(table.numeric), _or_none(table.codes))


@dataclass(frozen=True)
class TabMSpec(EmbeddedSpec):
    """Spec of `jdl.networks.TabM`, for numeric and coded columns.

    Args:
      k: Members.
      n_blocks: Hidden layers.
      d_block: Their width.
      dropout: Whether there is dropout.
      activation: Name or function.
      arch_type: "tabm", "tabm-mini" or "tabm-packed".
      start_scaling_init: First scales; None takes the model's.
      d_cat_embedding: Width of the embedding of each coded column; None encodes them one-hot.
    """

    k: int = 32
    n_blocks: int = 3
    d_block: int = 512
    dropout: bool = True
    activation: str | Callable[..., Any] = "relu"
    arch_type: str = "tabm-mini"
    start_scaling_init: str | None = None
    d_cat_embedding: int | None = None

    has_factors: ClassVar[bool] = True

    def decay_factor(self, path: Any) -> float:
        """0 for biases, linear embeddings and frequencies."""
        return 0.0 if TabM.no_weight_decay(path) else 1.0

    def build(self, spec: TableSpec, n_outputs: int, rngs: Any) -> nnx.Module:
        """The network on all columns."""
        arch: Any = self.arch_type
        embeddings = cat_embeddings(spec, self.d_cat_embedding, rngs)
        return TabM(
            n_num_features=len(spec.numeric),
            cat_cardinalities=n_levels(spec) if embeddings is None else n_codes(spec),
            d_out=n_outputs,
            k=self.k,
            n_blocks=self.n_blocks,
            d_block=self.d_block,
            dropout=0.5 if self.dropout else None,
            activation=self.activation,
            arch_type=arch,
            start_scaling_init=self.start_scaling_init,
            num_embeddings=self.embedding.build(len(spec.numeric), rngs) if self.embedding else None,
            cat_embeddings=embeddings,
            rngs=rngs,
        )

    def forward(self, model: Any, table: Table) -> Float[Array, "row ..."]:
        """Outputs of each member; of its own rows only, where members see batches of their own."""
        # Codes of the one-hot encoding count from 0, and what lies outside of them (jdl's code 0) is no level.
        x_num, x_cat = table.numeric, table.codes - (model.cat_embeddings is None)
        copies = current_batch().copies
        if copies == 1:
            return model(_or_none(x_num), _or_none(x_cat))
        n_rows = len(x_num) // copies
        x_num, x_cat = (block.reshape(n_rows, copies, block.shape[1]) for block in (x_num, x_cat))
        output = model(_or_none(x_num), _or_none(x_cat))
        return output.reshape(-1, output.shape[-1])


@dataclass(frozen=True)
class RealMLPSpec(EmbeddedSpec):
    """Spec of `jdl.networks.RealMLP`, for numeric and coded columns.

    Args:
      options: Arguments of the model, as pairs.
      simple: Whether it is RealMLP-TD-S.
      dropout: Whether there is dropout.
    """

    options: tuple[tuple[str, Any], ...] = ()
    simple: bool = False
    dropout: bool = True

    prepares: ClassVar[bool] = True  # pyright: ignore[reportIncompatibleMethodOverride]
    has_factors: ClassVar[bool] = True

    def lr_factor(self, path: Any) -> float:
        """6 for the first scale, 0.1 for biases, activations and embeddings of numbers."""
        return RealMLP.lr_factor(path)

    def decay_factor(self, path: Any) -> float:
        """The package multiplies decay with the squares of both factors, of which one is the learning rate's own."""
        return RealMLP.lr_factor(path) * RealMLP.wd_factor(path) ** 2

    def build(self, spec: TableSpec, n_outputs: int, rngs: Any) -> nnx.Module:
        """The network on all columns."""
        make = RealMLP.simple if self.simple else RealMLP
        options = dict(self.options)
        if self.embedding is not None:
            options["num_embeddings"] = self.embedding.build(len(spec.numeric), rngs)
        return make(
            n_num_features=len(spec.numeric),
            cat_cardinalities=n_codes(spec),
            d_out=n_outputs,
            p_drop=0.5 if self.dropout else None,
            rngs=rngs,
            **options,
        )

    def prepare(self, model: Any, table: Table, target: Any, key: RandomKey) -> None:
        """Takes scales and initial values from the training rows."""
        x_num, x_cat = _or_none(np.asarray(table.numeric)), _or_none(np.asarray(table.codes))
        model.prepare(x_num, x_cat, key=key, target=target)

    def forward(self, model: Any, table: Table) -> Float[Array, "row output"]:
        """Outputs for numbers and codes."""
        return model(_or_none(table.numeric), _or_none(table.codes))
