"""Layers that change the shape alone. The batch stays what it is."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from jdl.core.errors import ConfigError, ConfigTypeError, ShapeError
from jdl.core.fields import Field
from jdl.networks.array_spec import ArraySpec, UnknownSizeError
from jdl.networks.layer import Apply, Site, layer_kind
from jdl.networks.layers.common import inner_axis


class Reshape(nnx.Module):
    """Gives each row another shape.

    Args:
      shape: Sizes behind the batch, one of which may be -1; or a function from the whole shape to the new one.
    """

    def __init__(self, shape: tuple[int, ...] | Callable[[tuple[Any, ...]], Any]):
        self.shape = shape

    def __call__(self, x: Array) -> Array:
        """The rows in their new shape."""
        if callable(self.shape):
            return x.reshape(tuple(self.shape(x.shape)))
        return x.reshape(x.shape[0], *self.shape)


def merge_axes(x: Array, start: int, end: int) -> Array:
    """Axes `start` to `end`, both included, as one."""
    return x.reshape(*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :])


def _new_shape(value: Any) -> Any:
    if callable(value):
        return value
    try:
        sizes = tuple(-1 if size is None else int(size) for size in value)
    except (TypeError, ValueError):
        raise ConfigTypeError(
            f"hyperparameter 'shape' must be integers or a function of a shape, got {value!r}."
        ) from None
    if not sizes or any(size < 1 and size != -1 for size in sizes):
        raise ConfigError(f"the sizes of 'shape' must be at least 1, or -1 for what is left, got {sizes}.")
    if sizes[1:].count(-1) > 1:
        raise ConfigError(f"only one size of 'shape' behind the batch may be -1, got {sizes}.")
    return sizes


@layer_kind(
    codes="keeps",
    shape=Field(
        convert=_new_shape,
        doc="The whole new shape: -1 (or None) for the batch, then sizes, one of which may be -1 for what is left; "
        "or a function from the old shape to the new one.",
    ),
)
def reshape(site: Site, x: ArraySpec, shape: Any) -> nnx.Module:
    """Another shape for the same elements of each row."""
    del site
    new = _called(shape, x) if callable(shape) else shape
    batch = x.shape[0]
    if not new or not (new[0] == batch or (isinstance(new[0], int) and new[0] == -1)):
        hint = "the first size of 'shape' is the batch and is -1"
        raise ShapeError(f"must keep the batch of its input {x}, but its shape is {ArraySpec(tuple(new))}: {hint}")
    rest, inside = tuple(new[1:]), x.shape[1:]
    if all(isinstance(size, int) for size in (*rest, *inside)):
        have, want = math.prod(inside), math.prod(size for size in rest if size != -1)
        if have % want if -1 in rest else have != want:
            raise ShapeError(f"cannot give the {have} elements of a row of its input {x} the shape {_shown(rest)}")
    module = Reshape(shape if callable(shape) else rest)
    try:
        jax.eval_shape(module, x.struct)
    except Exception as error:
        unknown = next((i for i, size in enumerate(x.shape) if i and not isinstance(size, int)), None)
        if unknown is None:
            raise ShapeError(f"cannot give its input {x} the shape {_shown(rest)}") from error
        message = f"needs the size of axis {unknown} of its input {x}, which is unknown"
        raise UnknownSizeError(message, x.shape[unknown]) from error
    return module


def _called(function: Callable[..., Any], x: ArraySpec) -> tuple[Any, ...]:
    try:
        return tuple(function(x.shape))
    except Exception as error:
        raise ShapeError(f"cannot get a shape from its function for its input {x}: {error}") from error


def _shown(rest: tuple[Any, ...]) -> str:
    return f"({', '.join(['batch', *map(str, rest)])})"


@layer_kind(codes="keeps", axes=Field("ints", doc="Axes to take away where their size is 1; not the batch."))
def squeeze(site: Site, x: ArraySpec, axes: tuple[int, ...]) -> nnx.Module:
    """Takes away axes whose size is 1; an axis of another or unknown size stays."""
    del site
    positions = {inner_axis(x, axis, "take away") for axis in axes}
    return Apply(jnp.squeeze, (tuple(sorted(i for i in positions if isinstance(x.shape[i], int) and x.shape[i] == 1)),))


@layer_kind(
    codes="keeps", axis=Field("int", doc="Position of the new axis in the output; negative ones count from the end.")
)
def unsqueeze(site: Site, x: ArraySpec, axis: int) -> nnx.Module:
    """Inserts an axis of size 1."""
    del site
    n = x.ndim + 1
    if not -n <= axis < n:
        raise ShapeError(f"cannot insert axis {axis}: its output has {n} axes, its input is {x}")
    if axis % n == 0:
        raise ShapeError(f"cannot insert axis {axis} before the batch of its input {x}")
    return Apply(jnp.expand_dims, (axis % n,))


@layer_kind(
    codes="keeps",
    start_axis=Field("int", 1, doc="First of the axes that become one; not the batch."),
    end_axis=Field("int", -1, doc="Last of the axes that become one."),
)
def flatten(site: Site, x: ArraySpec, start_axis: int, end_axis: int) -> nnx.Module:
    """Makes one axis of several."""
    del site
    if x.ndim == 1 and (start_axis, end_axis) == (1, -1):
        x.need_ndim(2, math.inf, what="(batch, ...)")
    start, end = inner_axis(x, start_axis, "flatten"), x.axis(end_axis)
    if end < start:
        raise ShapeError(f"must end where it starts or later, but it flattens axes {start} to {end} of its input {x}")
    return Apply(merge_axes, (start, end))


KINDS = (reshape, squeeze, unsqueeze, flatten)
