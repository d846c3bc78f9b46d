"""Affine maps of the last axis."""

import math
from typing import Any

from flax import nnx

from jdl.core.errors import ShapeError
from jdl.core.fields import Field
from jdl.networks.array_spec import ArraySpec
from jdl.networks.initial import bias_initializer, kernel_initializer
from jdl.networks.layer import Site, layer_kind
from jdl.networks.layers.common import bias_field, init_field


def affine(n_in: int, n_out: int, bias: bool, rngs: Any, init: str = "default") -> nnx.Linear:
    """A linear layer; PyTorch's default initial values are U(-1/sqrt(n_in), 1/sqrt(n_in)) for weights and bias."""
    return nnx.Linear(
        n_in,
        n_out,
        use_bias=bias,
        kernel_init=kernel_initializer(init, n_in, n_out),
        bias_init=bias_initializer(init, n_in),
        rngs=rngs,
    )


@layer_kind(
    out_features=Field("int", low=1, doc="Size of the last axis of the output."), bias=bias_field(), init=init_field()
)
def linear(site: Site, x: ArraySpec, out_features: int, bias: bool, init: str) -> nnx.Module:
    """Affine map of the last axis: (..., feature) -> (..., out_features).

    Initial values: U(-b, b) with b = 1 / sqrt(feature), PyTorch's default; with another `init` the bias starts at 0.
    """
    x.need_ndim(2, math.inf, what="(batch, ..., feature)")
    return affine(x.size(-1), out_features, bias, site.rngs, init)


@layer_kind(bias=bias_field(), init=init_field())
def head(site: Site, x: ArraySpec, bias: bool, init: str) -> nnx.Module:
    """The last layer: an affine map to as many outputs as task and loss need, (batch, feature) -> (batch, output)."""
    x.need_ndim(2, what="(batch, feature); a flatten layer before it makes them")
    if site.n_outputs is None:
        raise ShapeError("needs a task, which says how many outputs there are")
    return affine(x.size(-1), site.n_outputs, bias, site.rngs, init)


KINDS = (linear, head)
