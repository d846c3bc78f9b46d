"""Specs of numeric embeddings: hashable descriptions, from which modules are built when the columns are known."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from jdl.core.errors import ConfigError, UnknownNameError
from jdl.data.table import TableSpec
from jdl.networks.embeddings import (
    CategoricalEmbeddings,
    LinearEmbeddings,
    LinearReLUEmbeddings,
    NumericEmbeddings,
    PBLDEmbeddings,
    PeriodicEmbeddings,
    PiecewiseLinearEmbeddings,
)
from jdl.networks.embeddings.piecewise import BINNINGS, Binning
from jdl.networks.initial import Normal

KINDS = ("linear", "linear_relu", "periodic", "pbld", "piecewise_linear")
_WIDTHS = {"linear": 16, "linear_relu": 32, "periodic": 24, "pbld": 4, "piecewise_linear": 16}
# The packages' frequencies per feature, and the standard deviation of the first ones.
_WAVES = {"periodic": (48, 0.01), "pbld": (16, 0.1)}


@dataclass(frozen=True)
class EmbeddingSpec:
    """How each number becomes a vector.

    Args:
      kind: "linear", "linear_relu", "periodic", "pbld" or "piecewise_linear".
      d_embedding: Width of a vector; None takes the package's for the kind.
      n_frequencies: Of "periodic" and "pbld"; None takes 48 and 16.
      frequency_init_scale: Standard deviation of their first frequencies; None takes 0.01 and 0.1.
      lite: Whether all features share the linear map of "periodic".
      activation: Whether ReLU follows; None: after "periodic", not after "piecewise_linear".
      n_bins: Most bins per feature of "piecewise_linear".
      binning: "quantile", or "tree" for the thresholds of a decision tree of the target on the column.
      version: "A" or "B" of "piecewise_linear".

    Raises:
      UnknownNameError: No kind has the name.
      ConfigError: A value that the kind does not take.

    >>> EmbeddingSpec("periodic").width
    24
    """

    kind: str
    d_embedding: int | None = None
    n_frequencies: int | None = None
    frequency_init_scale: float | None = None
    lite: bool = False
    activation: bool | None = None
    n_bins: int = 48
    binning: Binning = "quantile"
    version: str = "B"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnknownNameError.of("num_embeddings", self.kind, KINDS)
        if self.binning not in BINNINGS:
            raise UnknownNameError.of("binning", self.binning, BINNINGS)
        if self.lite and self.activation is False:
            raise ConfigError(
                f"num_embeddings {self.kind!r}: lite=True needs the activation, got lite=True and activation=False.\n"
                "Hint: leave one of them out."
            )
        if self.kind == "pbld" and self.width < 2:
            raise ConfigError(
                "num_embeddings 'pbld': d_embedding must be at least 2, since the last value of an embedding is the "
                f"number itself, got {self.width}.\nHint: d_embedding=4 is the package's."
            )

    @property
    def width(self) -> int:
        """Width of a vector."""
        return self.d_embedding or _WIDTHS[self.kind]

    @property
    def _waves(self) -> dict[str, Any]:
        n, scale = _WAVES[self.kind]
        return {
            "n_frequencies": n if self.n_frequencies is None else self.n_frequencies,
            "frequency_init_scale": scale if self.frequency_init_scale is None else self.frequency_init_scale,
        }

    @property
    def prepares(self) -> bool:
        """Whether it takes bins from the training rows."""
        return self.kind == "piecewise_linear"

    def build(self, n_features: int, rngs: Any) -> NumericEmbeddings | None:
        """The module for that many features; None for none."""
        if n_features == 0:
            return None
        if self.kind == "linear":
            return LinearEmbeddings(n_features, self.width, rngs=rngs)
        if self.kind == "linear_relu":
            return LinearReLUEmbeddings(n_features, self.width, rngs=rngs)
        if self.kind == "periodic":
            active = self.activation is not False
            options = self._waves | {"activation": active, "lite": self.lite}
            return PeriodicEmbeddings(n_features, self.width, rngs=rngs, **options)
        if self.kind == "pbld":
            options = self._waves | {"activation": bool(self.activation)}
            return PBLDEmbeddings(n_features, self.width, rngs=rngs, **options)
        options: Any = {"activation": bool(self.activation), "version": self.version, "max_bins": self.n_bins}
        options["binning"] = self.binning
        return PiecewiseLinearEmbeddings(None, self.width, n_features=n_features, rngs=rngs, **options)

    def prepare(self, module: Any, x_num: Float[np.ndarray, "row feature"], target: Shaped[np.ndarray, "row"]) -> None:
        """Finds the bins in the training rows, in place and in NumPy."""
        if module is not None and self.prepares:
            module.prepare(x_num[:, : module.n_features], target)


def n_levels(spec: TableSpec) -> list[int]:
    """Levels of each coded column."""
    return [len(column.levels) for column in spec.categorical]


def n_codes(spec: TableSpec) -> list[int]:
    """Codes of each coded column: its levels, and code 0 for missing and unseen ones."""
    return [n + 1 for n in n_levels(spec)]


def cat_embeddings(spec: TableSpec, width: int | None, rngs: Any) -> CategoricalEmbeddings | None:
    """Embeddings of the coded columns, code 0 included; None without width or columns.

    As RealMLP's they begin as N(0, 1) and have no bias, for a linear layer with one follows.
    """
    if width is None or not spec.categorical:
        return None
    return CategoricalEmbeddings(n_codes(spec), width, bias=False, init=Normal(), rngs=rngs)


def n_embedded(spec: TableSpec) -> int:
    """How many of the first numeric columns hold numbers, behind which there are only columns of 0 and 1."""
    numbers = [i for i, column in enumerate(spec.numeric) if column.type != "bool"]
    return numbers[-1] + 1 if numbers else 0
