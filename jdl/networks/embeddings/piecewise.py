"""Piecewise-linear encoding and embeddings: how far a value has come in each bin of its feature.

Features, and folds, differ in their numbers of bins. All have `max_bins` slots here: the last bin is always in the
last slot, the others lie in the first ones, and unused slots hold 0. One multiply-add and one clip serve them all.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from flax import nnx
from jaxtyping import Float

from jdl.core.errors import ConfigError, UnknownNameError
from jdl.networks.check import positive
from jdl.networks.embeddings.base import NLinear, NumericEmbeddings, like, no_longer_than, per_feature
from jdl.networks.embeddings.bins import checked_bins, quantile_edges, tree_edges
from jdl.networks.embeddings.linear import LinearEmbeddings
from jdl.networks.fitted import Fitted
from jdl.networks.initial import Constant
from jdl.networks.torch_state import Slots, under

Bins = Sequence[Any] | None
Binning = Literal["quantile", "tree"]
BINNINGS = ("quantile", "tree")
_TINY = float(np.finfo(np.float32).tiny)
_BUFFERS = ("weight", "bias", "mask", "single_bin_mask")


class PiecewiseLinear(nnx.Module):
    """The encoding with a slot per bin; its constants are fitted, never learned.

    Without bins every slot is 0 for every value, until `set_bins` or `prepare`.
    """

    def __init__(
        self, owner: str, bins: Bins, n_features: int | None, max_bins: int | None, binning: Binning = "quantile"
    ):
        if binning not in BINNINGS:
            raise UnknownNameError.of("binning", binning, BINNINGS, owner=owner)
        edges = None if bins is None else checked_bins(owner, bins)
        if edges is not None:
            n_features = len(edges) if n_features is None else n_features
            max_bins = max(len(e) - 1 for e in edges) if max_bins is None else max_bins
        if n_features is None or max_bins is None:
            raise ConfigError(
                f"{owner}: expected bins, or n_features and max_bins where bins are to come from training rows, "
                f"got bins={bins}, n_features={n_features}, max_bins={max_bins}."
            )
        positive(owner, n_features=n_features, max_bins=max_bins)
        self.owner = owner
        self.binning = binning
        self.weight = Fitted(np.zeros((n_features, max_bins), np.float32))
        self.bias = Fitted(np.zeros((n_features, max_bins), np.float32))
        self.single = Fitted(np.zeros((n_features,), bool))
        if edges is not None:
            self.set_bins(edges)

    def set_bins(self, bins: Sequence[Any]) -> None:
        """Takes these edges, in place; None stands for a feature without bins, whose slots stay 0.

        Raises:
          ConfigError: Another number of features, more bins than slots, or edges that do not rise.
        """
        n_features, max_bins = self.weight.shape
        if len(bins) != n_features:
            raise ConfigError(f"{self.owner}: expected bins of {n_features} features, got {len(bins)}.")
        known = [e for e in bins if e is not None]
        edges = iter(checked_bins(self.owner, known) if known else [])
        weight, bias = np.zeros((2, n_features, max_bins), np.float32)
        single = np.zeros((n_features,), bool)
        for f, given in enumerate(bins):
            if given is None:
                continue
            e = next(edges)
            n_bins = len(e) - 1
            if n_bins > max_bins:
                raise ConfigError(
                    f"{self.owner}: feature {f} has {n_bins} bins, but there are slots for {max_bins}.\n"
                    f"Hint: build it with max_bins={n_bins}."
                )
            slots = [*range(n_bins - 1), max_bins - 1]
            weight[f, slots] = 1 / np.diff(e)
            bias[f, slots] = -e[:-1] / np.diff(e)
            single[f] = n_bins == 1
        for variable, values in ((self.weight, weight), (self.bias, bias), (self.single, single)):
            variable.set_value(values)

    def prepare(self, x_num: Float[np.ndarray, "row feature"], target: np.ndarray | None = None) -> None:
        """Takes the quantiles of these rows as edges, or the thresholds of a decision tree per column.

        Missing values count for nothing. A column without a range, up to float32, gets no bins: one that is a
        million times narrower than its values are large would turn rounding into huge numbers.

        Args:
          x_num: Training rows.
          target: Of each row, for trees: integers are classes, other numbers are values.

        Raises:
          ConfigError: Trees without a target.
        """
        if self.binning == "tree" and target is None:
            raise ConfigError(f"{self.owner}: binning='tree' needs the target of the rows.\nHint: prepare(x, target).")
        bins = []
        for column in np.asarray(x_num).T:
            finite = np.isfinite(column)
            edges = self._edges(column[finite], None if target is None else np.asarray(target)[finite])
            edges = edges[np.diff(edges, prepend=-np.inf) >= _TINY]  # of a narrower bin the slope would be infinite
            wide = len(edges) > 1 and edges[-1] - edges[0] > 1e-6 * float(np.abs(edges).max())
            bins.append(edges if wide else None)
        self.set_bins(bins)

    def _edges(self, column: Float[np.ndarray, "row"], target: np.ndarray | None) -> np.ndarray:
        """Edges of a column's bins; fewer than two where there are none."""
        if len(column) < 2:
            return np.zeros(1, np.float32)
        n_bins = min(self.weight.shape[1], max(len(column) - 1, 1))
        if self.binning == "quantile" or target is None or n_bins < 2:
            return quantile_edges(column, n_bins)
        return tree_edges(column, target, n_bins, regression=not np.issubdtype(target.dtype, np.integer))

    def embed(self, xp: Any, x: Float[Any, "*batch feature"]) -> Float[Any, "*batch feature slot"]:
        """How far `x` is in each bin: 0 before, 1 behind; beyond the outer edges the lines go on.

        It is computed in float32, since shorter numbers blur bins, and comes in the type of `x`.
        """
        return no_longer_than(x, self._clipped(xp, x))

    def _clipped(self, xp: Any, x: Float[Any, "*batch feature"]) -> Float[Any, "*batch feature slot"]:
        wide, weight = per_feature(x, xp.asarray(self.weight[...]))
        y = wide * weight + like(xp.asarray(self.bias[...]), wide)
        max_bins = weight.shape[-1]
        if max_bins == 1:
            return y
        first, last = np.arange(max_bins) == 0, np.arange(max_bins) == max_bins - 1
        single = xp.asarray(self.single[...])[:, None]
        lower = xp.where(first[None] | (last[None] & single), -np.inf, 0.0).astype(y.dtype)
        upper = np.where(last, np.inf, 1.0).astype(np.float32)
        return xp.clip(y, like(lower, y), like(upper, y).astype(y.dtype))


class PiecewiseLinearEncoding(NumericEmbeddings):
    """The encoding itself, all bins of a row one after the other.

    Args:
      bins: Rising edges per feature; None leaves them to `prepare` or `set_bins`.
      n_features: Number of features, where there are no bins yet.
      max_bins: Slots per feature, where there are no bins yet. Then all of them are kept, else those in use.
      binning: How `prepare` finds edges: "quantile", or "tree" for the thresholds of a decision tree on the target.

    Raises:
      ConfigError: Edges that do not rise, or neither bins nor sizes.

    References: Gorishniy et al., On Embeddings for Numerical Features in Tabular Deep Learning, 2022.

    >>> import jax.numpy as jnp
    >>> encoding = PiecewiseLinearEncoding([[0.0, 1.0, 3.0], [0.0, 2.0]])
    >>> encoding(jnp.array([[2.0, 1.0], [-1.0, 3.0]])).tolist()
    [[1.0, 0.5, 0.5], [-1.0, 0.0, 1.5]]
    """

    def __init__(
        self,
        bins: Bins = None,
        *,
        n_features: int | None = None,
        max_bins: int | None = None,
        binning: Binning = "quantile",
    ):
        self.impl = PiecewiseLinear("PiecewiseLinearEncoding", bins, n_features, max_bins, binning)
        n, m = self.impl.weight.shape
        kept = range(n * m)
        if bins is not None and max_bins is None:
            kept = (f * m + t for f, e in enumerate(bins) for t in [*range(len(e) - 2), m - 1])
        self.slots = tuple(kept)

    @property
    def n_features(self) -> int:
        """Number of features it takes."""
        return self.impl.weight.shape[0]

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Number of bins of all features together."""
        return (len(self.slots),)

    def embed(self, xp: Any, x: Float[Any, "*batch feature"]) -> Float[Any, "*batch bin"]:
        """How far each value has come in each bin of its feature."""
        y = self.impl.embed(xp, x)
        y = y.reshape(*x.shape[:-1], -1)
        return y if len(self.slots) == y.shape[-1] else y[..., np.array(self.slots)]

    def set_bins(self, bins: Sequence[Any]) -> None:
        """Takes these edges, in place; not more per feature than there are slots."""
        self.impl.set_bins(bins)

    def prepare(self, x_num: Float[np.ndarray, "row feature"], target: np.ndarray | None = None) -> None:
        """Takes edges from the training rows, in place; trees need the target of each row."""
        self.impl.prepare(x_num, target)

    def torch_slots(self) -> Slots:
        """No weights, but the names of the package's buffers."""
        return {f"impl.{name}": None for name in _BUFFERS}


class PiecewiseLinearEmbeddings(NumericEmbeddings):
    """Piecewise-linear encoding and a linear map per feature.

    Version A is the map of the encoding, with a bias. Version B, which TabM uses, adds it to a linear embedding and
    has a map without bias that starts at zero, so that it begins as a linear embedding.

    Args:
      bins: Rising edges per feature; None leaves them to `prepare` or `set_bins`.
      d_embedding: Width of each embedding.
      activation: Whether ReLU follows the map.
      version: "A" or "B".
      n_features: Number of features, where there are no bins yet.
      max_bins: Slots per feature; by default the most bins that a feature has.
      binning: How `prepare` finds edges: "quantile", or "tree" for the thresholds of a decision tree on the target.
      rngs: `nnx.Rngs`, or `HostRngs` to draw on the host.

    Raises:
      ConfigError: Edges that do not rise, an unknown version, or neither bins nor sizes.

    References: Gorishniy et al., On Embeddings for Numerical Features in Tabular Deep Learning, 2022; TabM, 2024.

    >>> import jax.numpy as jnp
    >>> embeddings = PiecewiseLinearEmbeddings(
    ...     None, 16, activation=False, version="B", n_features=3, max_bins=8, rngs=nnx.Rngs(0)
    ... )
    >>> embeddings.prepare(np.random.default_rng(0).normal(size=(100, 3)))
    >>> embeddings(jnp.ones((5, 3))).shape
    (5, 3, 16)
    """

    def __init__(
        self,
        bins: Bins,
        d_embedding: int,
        *,
        activation: bool,
        version: Literal["A", "B"],
        n_features: int | None = None,
        max_bins: int | None = None,
        binning: Binning = "quantile",
        rngs: Any,
    ):
        owner = "PiecewiseLinearEmbeddings"
        positive(owner, d_embedding=d_embedding)
        if version not in ("A", "B"):
            raise ConfigError(f"{owner}: version must be 'A' or 'B', got {version!r}.\nHint: TabM uses 'B'.")
        self.activation = activation
        self.version = version
        self.impl = PiecewiseLinear(owner, bins, n_features, max_bins, binning)
        n, m = self.impl.weight.shape
        self.linear0 = LinearEmbeddings(n, d_embedding, rngs=rngs) if version == "B" else None
        init = Constant(0.0) if version == "B" else None
        self.linear = NLinear(n, m, d_embedding, bias=version == "A", init=init, rngs=rngs)

    @property
    def n_features(self) -> int:
        """Number of features it takes."""
        return self.linear.weight.shape[0]

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Features and width."""
        return self.n_features, self.linear.weight.shape[-1]

    def embed(self, xp: Any, x: Float[Any, "*batch feature"]) -> Float[Any, "*batch feature embedding"]:
        """The embeddings of `x`."""
        y = self.linear.embed(xp, self.impl.embed(xp, x))
        if self.activation:
            y = xp.maximum(y, 0)
        return y if self.linear0 is None else self.linear0.embed(xp, x) + y

    def set_bins(self, bins: Sequence[Any]) -> None:
        """Takes these edges, in place; not more per feature than there are slots."""
        self.impl.set_bins(bins)

    def prepare(self, x_num: Float[np.ndarray, "row feature"], target: np.ndarray | None = None) -> None:
        """Takes edges from the training rows, in place; trees need the target of each row."""
        self.impl.prepare(x_num, target)

    def torch_slots(self) -> Slots:
        """Names of `rtdl_num_embeddings.PiecewiseLinearEmbeddings`."""
        slots: Slots = {f"impl.{name}": None for name in _BUFFERS}
        return slots | under("linear0", self.linear0) | under("linear", self.linear)
