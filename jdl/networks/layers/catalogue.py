"""Layers by name."""

from jdl.core.catalogue import Catalogue
from jdl.networks.layers import (
    attention,
    conv,
    dropout,
    elementwise,
    embed,
    gate,
    linear,
    merge,
    norm,
    pool,
    position,
    recurrent,
    resize,
    shape,
    token,
)

_MODULES = (
    linear,
    elementwise,
    gate,
    dropout,
    norm,
    merge,
    shape,
    conv,
    pool,
    resize,
    token,
    embed,
    attention,
    position,
    recurrent,
)
LAYERS = Catalogue("layer", {kind.name: kind for module in _MODULES for kind in module.KINDS})
