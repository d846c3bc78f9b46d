"""Embeddings of numeric and of categorical features."""

from jdl.networks.embeddings.base import NumericEmbeddings as NumericEmbeddings
from jdl.networks.embeddings.bins import quantile_bins as quantile_bins
from jdl.networks.embeddings.bins import tree_bins as tree_bins
from jdl.networks.embeddings.categorical import CategoricalEmbeddings as CategoricalEmbeddings
from jdl.networks.embeddings.categorical import OneHotEncoding as OneHotEncoding
from jdl.networks.embeddings.linear import LinearEmbeddings as LinearEmbeddings
from jdl.networks.embeddings.linear import LinearReLUEmbeddings as LinearReLUEmbeddings
from jdl.networks.embeddings.pbld import PBLDEmbeddings as PBLDEmbeddings
from jdl.networks.embeddings.periodic import PeriodicEmbeddings as PeriodicEmbeddings
from jdl.networks.embeddings.piecewise import PiecewiseLinearEmbeddings as PiecewiseLinearEmbeddings
from jdl.networks.embeddings.piecewise import PiecewiseLinearEncoding as PiecewiseLinearEncoding
