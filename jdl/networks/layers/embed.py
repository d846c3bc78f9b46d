"""Embeddings of numbers and codes: the modules of `jdl.networks.embeddings` as layers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import nnx

from jdl.core.errors import ConfigError, ConfigTypeError, ShapeError
from jdl.core.fields import Field
from jdl.networks.array_spec import ArraySpec
from jdl.networks.embeddings import (
    CategoricalEmbeddings,
    LinearEmbeddings,
    LinearReLUEmbeddings,
    OneHotEncoding,
    PBLDEmbeddings,
    PeriodicEmbeddings,
    PiecewiseLinearEmbeddings,
)
from jdl.networks.embeddings.piecewise import BINNINGS
from jdl.networks.initial import UniformFanIn, ZeroRows
from jdl.networks.layer import Site, layer_kind
from jdl.networks.layers.common import need_codes
from jdl.networks.layers.token import CARDINALITIES, cardinalities_of

_FEATURES = "(batch, feature)"


def _d_embedding(default: int) -> Field:
    return Field("int", default, low=1, doc="Size of the vector of a number.")


def _n_features(x: ArraySpec) -> int:
    x.need_ndim(2, what=_FEATURES)
    if x.size(1) < 1:
        raise ShapeError(f"needs at least one column, but its input is {x}")
    return x.size(1)


@layer_kind(d_embedding=Field("int", low=1, doc="Size of the vector of a number."))
def embed_linear(site: Site, x: ArraySpec, d_embedding: int) -> nnx.Module:
    """A linear function per number: (batch, feature) -> (batch, feature, d_embedding)."""
    return LinearEmbeddings(_n_features(x), d_embedding, rngs=site.rngs)


@layer_kind(d_embedding=_d_embedding(32))
def embed_linear_relu(site: Site, x: ArraySpec, d_embedding: int) -> nnx.Module:
    """ReLU of a linear function per number: (batch, feature) -> (batch, feature, d_embedding)."""
    return LinearReLUEmbeddings(_n_features(x), d_embedding, rngs=site.rngs)


@layer_kind(
    d_embedding=_d_embedding(24),
    n_frequencies=Field("int", 48, low=1, doc="Sines, and cosines, per number."),
    frequency_init_scale=Field(
        "float", 0.01, low=0, open_low=True, doc="Standard deviation of the initial frequencies; worth tuning."
    ),
    activation=Field("bool", True, doc="Whether ReLU follows the linear map."),
    lite=Field("bool", False, doc="Whether all numbers share one linear map; with activation only."),
)
def embed_periodic(site: Site, x: ArraySpec, **values: Any) -> nnx.Module:
    """Sines and cosines of learned frequencies, a linear map, and ReLU: (batch, feature, d_embedding).

    Gorishniy et al., On embeddings for numerical features in tabular deep learning, 2022.
    """
    n_features = _n_features(x)
    if values["lite"] and not values["activation"]:
        raise ConfigError(f"layer '{site.id or 'embed_periodic'}': lite=True needs activation=True.")
    return PeriodicEmbeddings(n_features, values.pop("d_embedding"), **values, rngs=site.rngs)


@layer_kind(
    d_embedding=Field("int", 4, low=2, doc="Size of the vector of a number, whose last value is the number itself."),
    n_frequencies=Field("int", 16, low=1, doc="Cosines per number."),
    frequency_init_scale=Field(
        "float", 0.1, low=0, open_low=True, doc="Standard deviation of the initial frequencies; worth tuning."
    ),
    activation=Field("bool", False, doc="Whether ReLU follows the linear map."),
)
def embed_pbld(site: Site, x: ArraySpec, **values: Any) -> nnx.Module:
    """Cosines with learned frequencies and phases, a linear map, and the number itself: (batch, feature, d_embedding).

    RealMLP's embedding (Holzmüller et al., Better by default, 2024).
    """
    return PBLDEmbeddings(_n_features(x), values.pop("d_embedding"), **values, rngs=site.rngs)


def _bins(value: Any) -> Any:
    try:
        return None if value is None else tuple(tuple(float(edge) for edge in edges) for edges in value)
    except TypeError:
        raise ConfigTypeError(f"hyperparameter 'bins' must be a sequence of edges per column, got {value!r}.") from None


def _finds_bins(values: Mapping[str, Any]) -> bool:
    return values["bins"] is None


@layer_kind(
    prepares=_finds_bins,
    d_embedding=_d_embedding(16),
    n_bins=Field("int", 48, low=1, doc="Most bins of a column, where they are found in the training rows."),
    bins=Field(default=None, convert=_bins, doc="Rising edges of bins per column; None finds them."),
    binning=Field(
        "str",
        "quantile",
        choices=BINNINGS,
        doc="How they are found: quantiles, or the splits of a decision tree per column on the target.",
    ),
    activation=Field("bool", False, doc="Whether ReLU follows the linear map."),
    version=Field("str", "B", choices=("A", "B"), doc="'B', of TabM, adds a linear embedding and starts as one."),
)
def embed_piecewise_linear(site: Site, x: ArraySpec, **values: Any) -> nnx.Module:
    """How far a number is in each of its column's bins, and a linear map: (batch, feature, d_embedding).

    Bins that are not given come from the training rows of the fold, by the module's `prepare`, on the host in NumPy
    (trees: scikit-learn's); until then they count for nothing.
    Gorishniy et al., On embeddings for numerical features in tabular deep learning, 2022.
    """
    n_features, bins = _n_features(x), values["bins"]
    if bins is not None and len(bins) != n_features:
        raise ShapeError(f"has bins for {len(bins)} columns, but its input {x} has {n_features}")
    return PiecewiseLinearEmbeddings(
        None if bins is None else [np.asarray(edges, np.float32) for edges in bins],
        values["d_embedding"],
        activation=values["activation"],
        version=values["version"],
        n_features=n_features,
        max_bins=values["n_bins"] if bins is None else None,
        binning=values["binning"],
        rngs=site.rngs,
    )


@layer_kind(codes="takes", cardinalities=CARDINALITIES)
def onehot(site: Site, x: ArraySpec, cardinalities: tuple[int, ...] | None) -> nnx.Module:
    """A column of zeros and ones per code: (batch, feature) -> (batch, sum of cardinalities).

    Code 0 (missing or unseen) has a column of its own; a code out of range is 0 in all of them.
    """
    del site
    x.need_ndim(2, what=_FEATURES)
    need_codes(x)
    return OneHotEncoding(cardinalities_of(x, cardinalities))


@layer_kind(
    codes="takes",
    d_embedding=Field("int", low=1, doc="Size of the vector of a code."),
    cardinalities=CARDINALITIES,
    bias=Field("bool", True, doc="Whether to add a learned vector per column."),
)
def embed_categ(
    site: Site, x: ArraySpec, d_embedding: int, cardinalities: tuple[int, ...] | None, bias: bool
) -> nnx.Module:
    """A learned vector per code of each column: (batch, feature) -> (batch, feature, d_embedding).

    Code 0 is missing or unseen; its vectors start at 0. A code out of range adds nothing to the bias.
    """
    x.need_ndim(2, what=_FEATURES)
    need_codes(x)
    sizes = cardinalities_of(x, cardinalities)
    offsets = tuple(int(n) for n in np.cumsum((0, *sizes))[:-1])
    init = ZeroRows(UniformFanIn(d_embedding), offsets)
    return CategoricalEmbeddings(sizes, d_embedding, bias, init=init, rngs=site.rngs)


KINDS = (embed_linear, embed_linear_relu, embed_periodic, embed_pbld, embed_piecewise_linear, onehot, embed_categ)
