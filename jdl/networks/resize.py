"""Other sizes for the axes between batch and channels."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from jdl.networks.conv import Image, pad_like


def upsample(
    x: Image, *, size: tuple[int, ...] | None, scale: tuple[float, ...] | None, linear: bool, align_corners: bool
) -> Image:
    """Each axis of space at another size: the nearest element, or a mean of the two nearest ones.

    Args:
      x: The input.
      size: New sizes; or else
      scale: by how much sizes grow.
      linear: Whether to interpolate.
      align_corners: Whether first and last elements stay where they are, rather than the outer edges of both.
    """
    for axis in range(1, x.ndim - 1):
        old = x.shape[axis]
        factor = None if scale is None else scale[axis - 1]
        new = _scaled(old, factor) if factor is not None else size[axis - 1] if size is not None else old
        # PyTorch keeps to a given scale, even where the new size is rounded.
        step = 1 / factor if factor is not None else old / new
        x = _linear(x, axis, new, step, align_corners) if linear else _nearest(x, axis, new, step, factor)
    return x


def _scaled(size: Any, factor: float) -> Any:
    return size * int(factor) if factor == int(factor) else int(size * factor)


def _nearest(x: Array, axis: int, new: Any, step: Any, factor: float | None) -> Array:
    if factor is not None and factor == int(factor):
        return jnp.repeat(x, int(factor), axis=axis)
    index = jnp.floor(jnp.arange(new) * step).astype(jnp.int32)
    return jnp.take(x, jnp.minimum(index, x.shape[axis] - 1), axis=axis, mode="clip")


def _linear(x: Array, axis: int, new: Any, step: Any, align_corners: bool) -> Array:
    last = x.shape[axis] - 1
    numbers = jnp.arange(new, dtype=jnp.float32)
    if align_corners:
        place = numbers * (
            last / max(new - 1, 1) if isinstance(new, int) and isinstance(last, int) else last / (new - 1)
        )
    else:
        place = jnp.maximum((numbers + 0.5) * step - 0.5, 0.0)
    low = jnp.minimum(jnp.floor(place).astype(jnp.int32), last)
    high = jnp.minimum(low + 1, last)
    share = (place - low).astype(x.dtype).reshape(*(-1 if i == axis else 1 for i in range(x.ndim)))
    below, above = (jnp.take(x, index, axis=axis, mode="clip") for index in (low, high))
    return below + share * (above - below)


def pixel_shuffle(x: Image, factor: int) -> Image:
    """Channels become space: (row, h, w, c * factor^2) -> (row, h * factor, w * factor, c)."""
    rows, height, width, channels = x.shape
    out = channels // factor**2
    x = x.reshape(rows, height, width, out, factor, factor).transpose(0, 1, 4, 2, 5, 3)
    return x.reshape(rows, height * factor, width * factor, out)


def pad_axes(x: Array, pads: tuple[tuple[int, int, int], ...], mode: str, value: float) -> Array:
    """Continues axes on both sides.

    Args:
      x: The input.
      pads: Triples of axis, how much before, how much after.
      mode: "constant", "reflect", "replicate" or "circular".
      value: What is added in mode "constant".
    """
    if mode != "constant":
        for axis, low, high in pads:
            x = pad_like(x, axis, low, high, mode)
        return x
    pairs = {axis: (low, high) for axis, low, high in pads}
    return jnp.pad(x, [pairs.get(i, (0, 0)) for i in range(x.ndim)], constant_values=value)
