"""Layers that change the sizes of the axes between batch and channels."""

import math
from typing import Any

from flax import nnx

from jdl.core.errors import ConfigError, ShapeError
from jdl.core.fields import Field
from jdl.networks.array_spec import ArraySpec
from jdl.networks.layer import Apply, Site, layer_kind
from jdl.networks.layers.common import inner_axis
from jdl.networks.layers.conv import need_mode
from jdl.networks.resize import pad_axes, pixel_shuffle, upsample


@layer_kind(
    size=Field("ints", None, low=1, optional=True, doc="New sizes of the axes of space: one number, or one per axis."),
    scale_factor=Field("floats", None, low=0, open_low=True, optional=True, doc="Or by how much they grow, likewise."),
    mode=Field("str", "nearest", choices=("nearest", "linear"), doc="The nearest element, or a mean of the two."),
    align_corners=Field("bool", False, doc="In mode 'linear': whether first and last elements stay where they are."),
)
def upsample_(
    site: Site,
    x: ArraySpec,
    size: tuple[int, ...] | None,
    scale_factor: tuple[float, ...] | None,
    mode: str,
    align_corners: bool,
) -> nnx.Module:
    """More (or fewer) elements along each axis of space; 'linear' on images is PyTorch's 'bilinear'."""
    x.need_ndim(3, math.inf, what="(batch, *space, channel)")
    who = f"layer '{site.id or 'upsample'}'"
    if (size is None) == (scale_factor is None):
        raise ConfigError(f"{who}: give size or scale_factor, one of them.")
    n = x.ndim - 2
    given: Any = size or scale_factor
    if len(given) not in (1, n):
        raise ShapeError(f"has {len(given)} sizes or factors, but its input {x} has {n} axes of space")
    given = given * n if len(given) == 1 else given
    for axis, each in enumerate(given, start=1):
        whole = scale_factor is not None and each == int(each) and not (align_corners and mode == "linear")
        if not whole and x.size(axis) * (each if scale_factor else 1) < 1:
            raise ShapeError(f"scales axis {axis} of its input {x} by {each}: nothing would be left")
    options = {"size": given if size else None, "scale": given if scale_factor else None}
    return Apply(upsample, kwargs={**options, "linear": mode == "linear", "align_corners": align_corners})


@layer_kind(upscale_factor=Field("int", low=1, doc="By how much height and width grow."))
def pixel_shuffle_(site: Site, x: ArraySpec, upscale_factor: int) -> nnx.Module:
    """Channels become space: (batch, h, w, c * r^2) -> (batch, h * r, w * r, c) (Shi et al., 2016)."""
    del site
    x.need_ndim(4, what="(batch, height, width, channel)")
    if x.size(-1) % upscale_factor**2:
        raise ShapeError(
            f"needs a multiple of {upscale_factor**2} channels (upscale_factor squared), but its input is {x}"
        )
    return Apply(pixel_shuffle, (upscale_factor,))


@layer_kind(
    padding=Field(
        "ints", low=0, doc="How much: one number; or before and after; or before and after of each axis in turn."
    ),
    axes=Field("ints", None, optional=True, doc="Which axes; None is all between batch and channels."),
    mode=Field(
        "str", "constant", choices=("constant", "reflect", "replicate", "circular"), doc="What padding consists of."
    ),
    value=Field("float", 0.0, doc="What is added in mode 'constant'."),
)
def pad(
    site: Site, x: ArraySpec, padding: tuple[int, ...], axes: tuple[int, ...] | None, mode: str, value: float
) -> nnx.Module:
    """Continues axes on both sides, by a value or by what they hold."""
    del site
    if axes is None:
        x.need_ndim(3, math.inf, what="(batch, *space, channel); 'axes' names others")
        axes = tuple(range(1, x.ndim - 1))
    positions = [inner_axis(x, axis, "pad") for axis in axes]
    if len(padding) not in (1, 2, 2 * len(axes)):
        raise ShapeError(f"has {len(padding)} numbers (padding), but pads {len(axes)} axes: give 1, 2 or 2 per axis")
    if len(padding) == 1:
        padding *= 2
    pairs = [padding] * len(axes) if len(padding) == 2 else [padding[2 * i : 2 * i + 2] for i in range(len(axes))]
    need_mode(x, {axis: (low, high) for axis, (low, high) in zip(positions, pairs, strict=True)}, mode)
    pads = tuple((axis, low, high) for axis, (low, high) in zip(positions, pairs, strict=True))
    return Apply(pad_axes, (pads, mode, value))


KINDS = (upsample_, pixel_shuffle_, pad)
