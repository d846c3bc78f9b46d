"""Merges: several inputs become one."""

import functools
import operator
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from jdl.core.errors import ShapeError
from jdl.core.fields import Field
from jdl.networks.array_spec import ArraySpec
from jdl.networks.layer import Apply, LayerKind, Site, layer_kind
from jdl.networks.layers.common import listed, need_equal, need_same_ndim


def sum_of(*inputs: Array) -> Array:
    """The inputs, added."""
    return functools.reduce(operator.add, inputs)


def product_of(*inputs: Array) -> Array:
    """The inputs, multiplied."""
    return functools.reduce(operator.mul, inputs)


class Concatenate(nnx.Module):
    """Puts its inputs behind each other on an axis."""

    def __init__(self, axis: int):
        self.axis = axis

    def __call__(self, *inputs: Array) -> Array:
        """One array."""
        return jnp.concatenate(inputs, axis=self.axis)


def _broadcasts(a: Any, b: Any) -> bool:
    return (isinstance(a, int) and a == 1) or (isinstance(b, int) and b == 1) or a == b


def _combining(name: str, function: Callable[..., Any], doc: str) -> LayerKind:
    def build(site: Site, *inputs: ArraySpec) -> nnx.Module:
        del site
        need_same_ndim(inputs)
        axes = range(inputs[0].ndim)
        need_equal(inputs, axes[:1], "needs inputs with equally many rows", operator.eq)
        need_equal(inputs, axes[1:], "needs inputs whose sizes are equal or 1", _broadcasts)
        return Apply(function)

    build.__doc__ = doc
    return layer_kind(name=name, n_inputs=None)(build)


@layer_kind(
    n_inputs=None, codes="keeps", axis=Field("int", -1, doc="Axis on which the inputs are put behind each other.")
)
def merge_cat(site: Site, *inputs: ArraySpec, axis: int) -> nnx.Module:
    """Concatenates its inputs on an axis; their other sizes are equal."""
    del site
    need_same_ndim(inputs)
    position = inputs[0].axis(axis)
    if position == 0:
        raise ShapeError(f"cannot concatenate {listed(inputs)} on axis {axis}: axis 0 is the batch")
    others = [i for i in range(inputs[0].ndim) if i != position]
    need_equal(inputs, others, f"needs inputs of equal sizes but on axis {position}", operator.eq)
    return Concatenate(position)


KINDS = (
    _combining("merge_sum", sum_of, "Adds its inputs; an axis of size 1 is repeated to fit the others."),
    _combining("merge_prod", product_of, "Multiplies its inputs; an axis of size 1 is repeated to fit the others."),
    merge_cat,
)
