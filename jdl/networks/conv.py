"""Convolutions of sequences, images and volumes, channels last, in two forms.

XLA's convolution on CPU is about ten times slower than a matrix product, above all in loops and under vmap. So there
the shifted slices of the input are put side by side and multiplied with the kernel as one matrix; a transposed
convolution adds up shifted products. Elsewhere it is `lax.conv_general_dilated`. `lax.platform_dependent` chooses while
a program is lowered, so that programs exported for other platforms get theirs; it costs nothing (a 3x3 convolution of
64 x 28 x 28 x 16 to 16 channels with gradients, two cores: 42 ms with and without it, 336 ms as lax.conv). Sizes that
are symbols go through `lax.conv_general_dilated` everywhere.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

Pairs = tuple[tuple[int, int], ...]
Image = Float[Array, "row *space channel"]


@dataclass(frozen=True)
class Geometry:
    """Where the windows of a convolution lie.

    Args:
      strides: Steps between windows, a number per axis of space.
      padding: Zeros before and after each axis.
      dilation: Steps between the elements of a window.
      groups: Parts of the channels that do not see each other.
    """

    strides: tuple[int, ...]
    padding: Pairs
    dilation: tuple[int, ...]
    groups: int = 1


@dataclass(frozen=True)
class TransposedGeometry:
    """Where the windows of a transposed convolution lie in its output.

    Args:
      strides: Steps between windows, a number per axis of space.
      padding: How much is cut off on both sides of each axis.
      output_padding: How much longer each axis becomes at its end.
      dilation: Steps between the elements of a window.
      groups: Parts of the channels that do not see each other.
    """

    strides: tuple[int, ...]
    padding: tuple[int, ...]
    output_padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1


def convolve(x: Image, kernel: Array, at: Geometry) -> Image:
    """Scalar products of a kernel, (*space, in / groups, out), with every window of the input."""
    return by_platform(partial(matrix_form, at=at), partial(general_form, at=at), x, kernel)


def by_platform(
    cpu: Callable[..., Any],
    default: Callable[..., Any],
    x: Array,
    *more: Any,
    unknown: Callable[..., Any] | None = None,
) -> Any:
    """One function on CPU and another one elsewhere; `unknown` (that other one) everywhere if sizes are unknown."""
    if not all(isinstance(size, int) for size in x.shape[1:]):
        return (unknown or default)(x, *more)
    return lax.platform_dependent(x, *more, cpu=cpu, default=default)


def general_form(x: Image, kernel: Array, at: Geometry) -> Image:
    """`convolve` by XLA's own convolution."""
    return lax.conv_general_dilated(
        x,
        kernel.astype(x.dtype),
        at.strides,
        at.padding,
        rhs_dilation=at.dilation,
        dimension_numbers=_numbers(x.ndim),
        feature_group_count=at.groups,
    )


def matrix_form(x: Image, kernel: Array, at: Geometry) -> Image:
    """`convolve` by matrix products."""
    sizes, (n_in, n_out), groups = kernel.shape[:-2], kernel.shape[-2:], at.groups
    parts = windows(pad_with(x, at.padding, 0), sizes, at.strides, at.dilation)
    kernel = kernel.astype(x.dtype)
    if n_in == 1 and groups > 1:  # each channel by itself: no matrix, but a weighted sum of the parts
        weights = kernel.reshape(len(parts), groups, n_out // groups)
        total = sum(part[..., None] * _leading(w, x.ndim + 1) for part, w in zip(parts, weights, strict=True))
        return jnp.asarray(total).reshape(*parts[0].shape[:-1], n_out)
    if groups == 1:
        return _side_by_side(parts) @ kernel.reshape(-1, n_out)
    parts = [part.reshape(*part.shape[:-1], groups, n_in) for part in parts]
    matrices = jnp.moveaxis(kernel.reshape(-1, groups, n_out // groups), 1, 0)
    out = jnp.einsum("...gi,gio->...go", _side_by_side(parts), matrices)
    return out.reshape(*out.shape[:-2], n_out)


def convolve_transposed(x: Image, kernel: Array, at: TransposedGeometry) -> Image:
    """The kernel, (*space, in, out / groups), times each element of the input, added up in windows of the output."""
    return by_platform(partial(transposed_matrix_form, at=at), partial(transposed_general_form, at=at), x, kernel)


def transposed_general_form(x: Image, kernel: Array, at: TransposedGeometry) -> Image:
    """`convolve_transposed` by XLA's own convolution."""
    sizes, (n_in, n_out), groups = kernel.shape[:-2], kernel.shape[-2:], at.groups
    reach = [d * (k - 1) for d, k in zip(at.dilation, sizes, strict=True)]
    pads = [(r - p, r - p + more) for r, p, more in zip(reach, at.padding, at.output_padding, strict=True)]
    kernel = kernel.reshape(*sizes, groups, n_in // groups, n_out)
    kernel = jnp.moveaxis(kernel, -3, -2).reshape(*sizes, n_in // groups, groups * n_out)
    return lax.conv_general_dilated(
        x,
        jnp.flip(kernel.astype(x.dtype), range(len(sizes))),
        (1,) * len(sizes),
        pads,
        lhs_dilation=at.strides,
        rhs_dilation=at.dilation,
        dimension_numbers=_numbers(x.ndim),
        feature_group_count=groups,
    )


def transposed_matrix_form(x: Image, kernel: Array, at: TransposedGeometry) -> Image:
    """`convolve_transposed` by a matrix product, and a sum of its parts where they belong."""
    sizes, (n_in, n_out), groups = kernel.shape[:-2], kernel.shape[-2:], at.groups
    n_parts = math.prod(sizes)
    matrices = kernel.astype(x.dtype).reshape(n_parts, groups, n_in // groups, n_out)
    inputs = x.reshape(*x.shape[:-1], groups, n_in // groups)
    products = jnp.einsum("...gi,pgio->...pgo", inputs, matrices)
    products = products.reshape(*x.shape[:-1], n_parts, groups * n_out)
    out: Any = 0
    for i, offset in enumerate(np.ndindex(sizes)):
        pads = [(0, 0, 0)]
        for axis, (o, k, s, p, more, d) in enumerate(
            zip(offset, sizes, at.strides, at.padding, at.output_padding, at.dilation, strict=True)
        ):
            spread = (x.shape[axis + 1] - 1) * s
            low = o * d - p
            pads.append((low, spread + d * (k - 1) + more - 2 * p - low - spread, s - 1))
        out = out + lax.pad(products[..., i, :], jnp.zeros((), x.dtype), (*pads, (0, 0, 0)))
    return out


def windows(x: Image, sizes: tuple[int, ...], strides: tuple[int, ...], dilation: tuple[int, ...]) -> list[Image]:
    """For each position inside a window the elements that all windows have there; the last position comes last."""
    parts = []
    for offset in np.ndindex(*sizes):
        low, high = [0], [x.shape[0]]
        for axis, (o, k, s, d) in enumerate(zip(offset, sizes, strides, dilation, strict=True)):
            n = (x.shape[axis + 1] - d * (k - 1) - 1) // s
            low.append(o * d)
            high.append(o * d + n * s + 1)
        parts.append(lax.slice(x, (*low, 0), (*high, x.shape[-1]), (1, *strides, 1)))
    return parts


def pad_with(x: Array, padding: Pairs, value: float) -> Array:
    """The input with a value around it in the axes between batch and channels; negative numbers cut off."""
    if not any(low or high for low, high in padding):
        return x
    pads = ((0, 0, 0), *((low, high, 0) for low, high in padding), (0, 0, 0))
    return lax.pad(x, jnp.asarray(value, x.dtype), pads)


def pad_like(x: Array, axis: int, low: int, high: int, mode: str) -> Array:
    """One axis continued on both sides by what it holds: "reflect", "replicate" or "circular"."""
    if not low and not high:
        return x
    size = x.shape[axis]
    if isinstance(size, int):
        numpy_mode = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[mode]
        pads = [(low, high) if i == axis else (0, 0) for i in range(x.ndim)]
        return jnp.pad(x, pads, mode=numpy_mode)
    index = jnp.arange(size + low + high) - low
    if mode == "circular":
        index = index % size
    elif mode == "replicate":
        index = jnp.clip(index, 0, size - 1)
    else:
        index = (size - 1) - jnp.abs((size - 1) - jnp.abs(index))
    return jnp.take(x, index, axis=axis, mode="clip")


def _side_by_side(parts: list[Array]) -> Array:
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=-1)


def _leading(values: Array, ndim: int) -> Array:
    return values.reshape((1,) * (ndim - values.ndim) + values.shape)


def _numbers(ndim: int) -> lax.ConvDimensionNumbers:
    space = tuple(range(1, ndim - 1))
    last = ndim - 1
    kernel_space = tuple(range(ndim - 2))
    return lax.ConvDimensionNumbers((0, last, *space), (last, last - 1, *kernel_space), (0, last, *space))


class Conv(nnx.Module):
    """A convolution over the axes between batch and channels, with as many as its kernel has.

    Args:
      n_in: Channels of the input.
      n_out: Channels of the output.
      kernel_size: Of a window, a number per axis of space.
      at: Where its windows lie.
      bias: Whether to add a learned number per channel.
      padding_mode: What is added around the input: "zeros", "reflect", "replicate" or "circular".
      kernel_init: Initialiser of the kernel.
      bias_init: Initialiser of the bias.
      rngs: `nnx.Rngs` or `HostRngs`.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel_size: tuple[int, ...],
        at: Geometry,
        *,
        bias: bool = True,
        padding_mode: str = "zeros",
        kernel_init: Callable[..., Any],
        bias_init: Callable[..., Any],
        rngs: Any,
    ):
        self.kernel = nnx.Param(kernel_init(rngs.params(), (*kernel_size, n_in // at.groups, n_out)))
        self.bias = nnx.Param(bias_init(rngs.params(), (n_out,))) if bias else None
        self.at = at
        self.padding_mode = padding_mode

    def __call__(self, x: Image) -> Image:
        """The convolved input."""
        at = self.at
        if self.padding_mode != "zeros":
            for axis, (low, high) in enumerate(at.padding, start=1):
                x = pad_like(x, axis, low, high, self.padding_mode)
            at = replace(at, padding=((0, 0),) * len(at.padding))
        return _plus_bias(convolve(x, jnp.asarray(self.kernel[...]), at), self.bias)


class ConvTranspose(nnx.Module):
    """A transposed convolution: the gradient of a convolution, taken as a layer.

    Args:
      n_in: Channels of the input.
      n_out: Channels of the output.
      kernel_size: Of a window, a number per axis of space.
      at: Where its windows lie.
      bias: Whether to add a learned number per channel.
      kernel_init: Initialiser of the kernel.
      bias_init: Initialiser of the bias.
      rngs: `nnx.Rngs` or `HostRngs`.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel_size: tuple[int, ...],
        at: TransposedGeometry,
        *,
        bias: bool = True,
        kernel_init: Callable[..., Any],
        bias_init: Callable[..., Any],
        rngs: Any,
    ):
        self.kernel = nnx.Param(kernel_init(rngs.params(), (*kernel_size, n_in, n_out // at.groups)))
        self.bias = nnx.Param(bias_init(rngs.params(), (n_out,))) if bias else None
        self.at = at

    def __call__(self, x: Image) -> Image:
        """The convolved input."""
        return _plus_bias(convolve_transposed(x, jnp.asarray(self.kernel[...]), self.at), self.bias)


def _plus_bias(y: Image, bias: Any) -> Image:
    return y if bias is None else y + _leading(jnp.asarray(bias[...]), y.ndim)
