"""Layers of network graphs, by kind; `catalogue` holds their names."""

from jdl.networks.layers.catalogue import LAYERS as LAYERS
