"""Convolutions, channels last: (batch, *space, channel)."""

import math
from typing import Any

from flax import nnx

from jdl.core.errors import ConfigError, ShapeError
from jdl.core.fields import Field
from jdl.networks.array_spec import ArraySpec
from jdl.networks.conv import Conv, ConvTranspose, Geometry, Pairs, TransposedGeometry
from jdl.networks.initial import bias_initializer, kernel_initializer
from jdl.networks.layer import LayerKind, Site, layer_kind
from jdl.networks.layers.common import PerAxis, bias_field, init_field, per_axis

SPACE = {1: "sequences", 2: "images", 3: "volumes"}


def axes_of(n: int) -> str:
    """What the axes of an input mean."""
    return {1: "(batch, position, channel)", 2: "(batch, height, width, channel)"}.get(
        n, "(batch, depth, height, width, channel)"
    )


def same_or_sizes(n: int) -> Field:
    """A number per axis, or "same"."""

    def convert(value: Any) -> Any:
        if isinstance(value, str):
            if value != "same":
                raise ConfigError(f"hyperparameter 'padding' must be integers of at least 0 or 'same', got {value!r}.")
            return value
        try:
            sizes = Field("ints", low=0).check("padding", "padding", value)
        except ConfigError:
            message = f"hyperparameter 'padding' must be integers of at least 0 or 'same', got {value!r}."
            raise ConfigError(message) from None
        return PerAxis("padding", n)(sizes)

    doc = "How much is added on both sides of each axis of space; 'same' keeps sizes, with stride 1."
    return Field(default=(0,) * n, convert=convert, doc=doc)


def need_groups(x: ArraySpec, groups: int, out_channels: int) -> None:
    """Refuses channels that do not divide into groups.

    Raises:
      ShapeError: Says which.
    """
    if x.size(-1) % groups:
        raise ShapeError(f"cannot split the {x.size(-1)} channels of its input {x} into {groups} groups")
    if out_channels % groups:
        raise ShapeError(f"cannot split its {out_channels} output channels into {groups} groups")


def need_room(x: ArraySpec, sizes: tuple[int, ...], dilation: tuple[int, ...], padding: Pairs) -> None:
    """Refuses an input that is smaller than one window.

    Raises:
      ShapeError: Says on which axis.
    """
    for axis, (k, d, (low, high)) in enumerate(zip(sizes, dilation, padding, strict=True), start=1):
        size, extent = x.shape[axis], d * (k - 1) + 1
        if isinstance(size, int) and size + low + high < extent:
            padded = f", {size + low + high} with padding" if low or high else ""
            raise ShapeError(
                f"has windows of {extent} on axis {axis}, but its input {x} has size {size} there{padded}: "
                "nothing would be left"
            )


def _conv(n: int) -> LayerKind:
    def build(site: Site, x: ArraySpec, **values: Any) -> nnx.Module:
        x.need_ndim(n + 2, what=axes_of(n))
        sizes, strides, dilation = values["kernel_size"], values["stride"], values["dilation"]
        groups, n_out, init = values["groups"], values["out_channels"], values["init"]
        need_groups(x, groups, n_out)
        padding = _pairs(values["padding"], sizes, strides, dilation)
        need_room(x, sizes, dilation, padding)
        need_mode(x, dict(enumerate(padding, start=1)), values["padding_mode"])
        fan_in = x.size(-1) // groups * math.prod(sizes)
        return Conv(
            x.size(-1),
            n_out,
            sizes,
            Geometry(strides, padding, dilation, groups),
            bias=values["bias"],
            padding_mode=values["padding_mode"],
            kernel_init=kernel_initializer(init, fan_in, n_out // groups * math.prod(sizes)),
            bias_init=bias_initializer(init, fan_in),
            rngs=site.rngs,
        )

    build.__doc__ = (
        f"Convolution of {SPACE[n]}: {axes_of(n)} to out_channels.\n\n"
        "Initial values: U(-b, b) with b = 1 / sqrt(channels of a group * size of the kernel), PyTorch's default."
    )
    return layer_kind(
        name=f"conv{n}d",
        **_shared(n),
        padding=same_or_sizes(n),
        padding_mode=Field(
            "str", "zeros", choices=("zeros", "reflect", "replicate", "circular"), doc="What padding consists of."
        ),
    )(build)


def _pairs(padding: Any, sizes: tuple[int, ...], strides: tuple[int, ...], dilation: tuple[int, ...]) -> Pairs:
    if padding != "same":
        return tuple((p, p) for p in padding)
    if set(strides) != {1}:
        raise ShapeError(f"keeps sizes (padding 'same') with stride 1 only, but its stride is {strides}")
    reach = [d * (k - 1) for k, d in zip(sizes, dilation, strict=True)]
    return tuple((r // 2, r - r // 2) for r in reach)


def need_mode(x: ArraySpec, padding: dict[int, tuple[int, int]], mode: str) -> None:
    """Refuses padding that takes more than an axis holds.

    Raises:
      ShapeError: Says on which axis.
    """
    if mode not in ("reflect", "circular"):
        return
    for axis, pair in padding.items():
        size = x.shape[axis]
        most = size - (mode == "reflect") if isinstance(size, int) else None
        if most is not None and max(pair) > most:
            raise ShapeError(f"pads axis {axis} by {max(pair)} ({mode}), at most {most} for its input {x}")


def _shared(n: int) -> dict[str, Any]:
    return {
        "out_channels": Field("int", low=1, doc="Channels of the output."),
        "kernel_size": per_axis("kernel_size", n, "Size of a window: one number, or one per axis of space."),
        "stride": per_axis("stride", n, "Steps between windows.", 1),
        "dilation": per_axis("dilation", n, "Steps between the elements of a window.", 1),
        "groups": Field("int", 1, low=1, doc="Parts of the channels that do not see each other."),
        "bias": bias_field("Whether to add a learned number per channel."),
        "init": init_field(),
    }


def _conv_transpose(n: int) -> LayerKind:
    def build(site: Site, x: ArraySpec, **values: Any) -> nnx.Module:
        x.need_ndim(n + 2, what=axes_of(n))
        sizes, strides, dilation = values["kernel_size"], values["stride"], values["dilation"]
        groups, n_out, init = values["groups"], values["out_channels"], values["init"]
        padding, more = values["padding"], values["output_padding"]
        need_groups(x, groups, n_out)
        if any(o >= max(s, d) for o, s, d in zip(more, strides, dilation, strict=True)):
            raise ShapeError(f"needs output_padding {more} below stride {strides} or dilation {dilation}")
        for axis, (k, s, d, p, o) in enumerate(zip(sizes, strides, dilation, padding, more, strict=True), start=1):
            size = x.shape[axis]
            if isinstance(size, int) and (size - 1) * s + d * (k - 1) + 1 + o <= 2 * p:
                raise ShapeError(f"cuts off all of axis {axis} of its input {x} by padding {p}: nothing would be left")
        # PyTorch takes for fan_in what goes out: its kernel lies the other way round.
        fan_in, fan_out = n_out // groups * math.prod(sizes), x.size(-1) // groups * math.prod(sizes)
        return ConvTranspose(
            x.size(-1),
            n_out,
            sizes,
            TransposedGeometry(strides, padding, more, dilation, groups),
            bias=values["bias"],
            kernel_init=kernel_initializer(init, fan_in, fan_out),
            bias_init=bias_initializer(init, fan_in),
            rngs=site.rngs,
        )

    build.__doc__ = (
        f"Transposed convolution of {SPACE[n]}: {axes_of(n)} to out_channels, larger by the stride.\n\n"
        "Initial values: U(-b, b) with b = 1 / sqrt(output channels of a group * size of the kernel), as in PyTorch."
    )
    return layer_kind(
        name=f"conv_transpose{n}d",
        **_shared(n),
        padding=per_axis("padding", n, "How much is cut off on both sides of each axis of space.", 0, low=0),
        output_padding=per_axis(
            "output_padding", n, "How much longer each axis of space becomes at its end.", 0, low=0
        ),
    )(build)


KINDS = (*(_conv(n) for n in (1, 2, 3)), *(_conv_transpose(n) for n in (1, 2, 3)))
