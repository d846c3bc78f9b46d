"""Gates: one half of an axis times a function of the other half."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from jdl.core.errors import ShapeError
from jdl.core.fields import Field
from jdl.networks.array_spec import ArraySpec
from jdl.networks.layer import Apply, LayerKind, Site, layer_kind
from jdl.networks.layers.common import inner_axis


def exact_gelu(x: Array) -> Array:
    """X times the normal distribution function of x."""
    return jax.nn.gelu(x, approximate=False)


def gated(x: Array, function: Callable[[Array], Array], axis: int = -1) -> Array:
    """The first half of an axis times the function of the second half."""
    first, second = jnp.split(x, 2, axis=axis)
    return first * function(second)


def _gate(name: str, function: Callable[[Any], Any], doc: str) -> LayerKind:
    def build(site: Site, x: ArraySpec, axis: int) -> nnx.Module:
        del site
        axis = inner_axis(x, axis, "halve")
        if x.size(axis) % 2:
            raise ShapeError(f"halves axis {axis}, whose size must be even, but its input is {x}")
        return Apply(gated, (function, axis))

    build.__doc__ = doc
    return layer_kind(name=name, axis=Field("int", -1, doc="Axis that is halved; not the batch."))(build)


KINDS = (
    _gate("glu", jax.nn.sigmoid, "First half of an axis times the sigmoid of the second half (Dauphin et al., 2017)."),
    _gate("reglu", jax.nn.relu, "First half of an axis times the relu of the second half (Shazeer, 2020)."),
    _gate("geglu", exact_gelu, "First half of an axis times the exact gelu of the second half (Shazeer, 2020)."),
    _gate("swiglu", jax.nn.silu, "First half of an axis times the silu of the second half (Shazeer, 2020)."),
)
