"""Pooling of the axes between batch and channels.

On CPU windows are shifted slices, or a reshape where they do not overlap, elsewhere `lax.reduce_window`; see `conv` for
how the form is chosen. The forms agree but where equal elements share a maximum: its gradient goes to one of them or is
divided among them.
"""

import math
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int

from jdl.networks.conv import Image, Pairs, by_platform, pad_with, windows


def max_pool(
    x: Image, *, sizes: tuple[int, ...], strides: tuple[int, ...], padding: Pairs, dilation: tuple[int, ...]
) -> Image:
    """The greatest element of each window; what is padded is never it."""
    options: Any = {"sizes": sizes, "strides": strides, "padding": padding, "dilation": dilation}
    # reduce_window has no gradient with dilation.
    general = partial(reduced_max if set(dilation) == {1} else sliced_max, **options)
    return by_platform(partial(sliced_max, **options), general, x, unknown=partial(reduced_max, **options))


def sliced_max(
    x: Image, *, sizes: tuple[int, ...], strides: tuple[int, ...], padding: Pairs, dilation: tuple[int, ...]
) -> Image:
    """`max_pool` by slices."""
    x = pad_with(x, padding, -math.inf)
    if strides == sizes and set(dilation) == {1}:
        return jnp.max(_blocks(x, sizes), axis=_inside(len(sizes)))
    first, *others = windows(x, sizes, strides, dilation)
    for part in others:
        first = jnp.maximum(first, part)
    return first


def reduced_max(
    x: Image, *, sizes: tuple[int, ...], strides: tuple[int, ...], padding: Pairs, dilation: tuple[int, ...]
) -> Image:
    """`max_pool` by `lax.reduce_window`."""
    low = np.array(-np.inf, x.dtype)
    return lax.reduce_window(x, low, lax.max, (1, *sizes, 1), (1, *strides, 1), _all(padding), None, (1, *dilation, 1))


def max_pool_with_indices(
    x: Image, *, sizes: tuple[int, ...], strides: tuple[int, ...], padding: Pairs, dilation: tuple[int, ...]
) -> tuple[Image, Int[Array, "row *space channel"]]:
    """The greatest element of each window, and where it is: its number among the positions of its channel."""
    n_positions = math.prod(x.shape[1:-1])
    numbers = jnp.arange(n_positions, dtype=jnp.int32).reshape(1, *x.shape[1:-1], 1)
    start = (np.array(-np.inf, x.dtype), np.int32(np.iinfo(np.int32).max))
    _, indices = lax.reduce_window(
        (lax.stop_gradient(x), jnp.broadcast_to(numbers, x.shape)),
        start,
        _greater,
        (1, *sizes, 1),
        (1, *strides, 1),
        _all(padding),
        None,
        (1, *dilation, 1),
    )
    flat = x.reshape(x.shape[0], n_positions, x.shape[-1])
    where = indices.reshape(x.shape[0], math.prod(indices.shape[1:-1]), x.shape[-1])
    values = jnp.take_along_axis(flat, where, axis=1, mode="clip")
    return values.reshape(indices.shape), indices


def _greater(a: Any, b: Any) -> Any:
    """Of two pairs of value and number the one with the greater value; of equal ones that with the lower number."""
    first = (a[0] > b[0]) | ((a[0] == b[0]) & (a[1] < b[1])) | jnp.isnan(a[0])
    return jnp.where(first, a[0], b[0]), jnp.where(first, a[1], b[1])


def avg_pool(
    x: Image,
    *,
    sizes: tuple[int, ...],
    strides: tuple[int, ...],
    padding: Pairs,
    count_include_pad: bool,
    divisor: int | None,
) -> Image:
    """The mean of each window.

    Args:
      x: Padded with zeros on both sides of each axis of space by `padding`; what lies further behind than before was
        added to complete the last window and never counts.
      sizes: Of a window.
      strides: Steps between windows.
      padding: Pairs of before and after.
      count_include_pad: Whether zeros of the padding count as elements.
      divisor: Divides the sums instead of the number of elements.
    """
    options: Any = {"sizes": sizes, "strides": strides, "padding": padding}
    total = by_platform(partial(sliced_sum, **options), partial(reduced_sum, **options), x)
    if divisor is not None:
        return total / divisor
    if not any(low or high for low, high in padding):
        return total / math.prod(sizes)
    for axis, (size, stride, (low, _)) in enumerate(zip(sizes, strides, padding, strict=True), start=1):
        start = jnp.arange(total.shape[axis]) * stride - low
        around = low if count_include_pad else 0
        n = jnp.minimum(start + size, x.shape[axis] + around) - jnp.maximum(start, -around)
        total = total / n.astype(x.dtype).reshape(*(-1 if i == axis else 1 for i in range(x.ndim)))
    return total


def sliced_sum(x: Image, *, sizes: tuple[int, ...], strides: tuple[int, ...], padding: Pairs) -> Image:
    """The sum of each window by slices."""
    x = pad_with(x, padding, 0.0)
    if strides == sizes:
        return jnp.sum(_blocks(x, sizes), axis=_inside(len(sizes)))
    first, *others = windows(x, sizes, strides, (1,) * len(sizes))
    for part in others:
        first = first + part
    return first


def reduced_sum(x: Image, *, sizes: tuple[int, ...], strides: tuple[int, ...], padding: Pairs) -> Image:
    """The sum of each window by `lax.reduce_window`."""
    return lax.reduce_window(x, np.array(0, x.dtype), lax.add, (1, *sizes, 1), (1, *strides, 1), _all(padding))


def adaptive_pool(x: Image, *, output_size: tuple[int | None, ...], how: str) -> Image:
    """Windows that share out each axis evenly, as many as asked for; "avg" or "max" of each.

    Window i of n covers the elements from floor(i * size / n) to ceil((i + 1) * size / n). An output size of None keeps
    the axis. Both mean and maximum of a box are those of its axes in turn.
    """
    reduce = jnp.mean if how == "avg" else jnp.max
    for axis, n in enumerate(output_size, start=1):
        size = x.shape[axis]
        if n is None or (isinstance(size, int) and size == n):
            continue
        if n == 1:
            x = reduce(x, axis=axis, keepdims=True)
        elif size % n == 0:
            x = reduce(x.reshape(*x.shape[:axis], n, size // n, *x.shape[axis + 1 :]), axis=axis + 1)
        else:
            bounds = [(i * size // n, -(-(i + 1) * size // n)) for i in range(n)]
            parts = [reduce(lax.slice_in_dim(x, a, b, axis=axis), axis=axis, keepdims=True) for a, b in bounds]
            x = jnp.concatenate(parts, axis=axis)
    return x


def _all(padding: Pairs) -> Pairs:
    return ((0, 0), *padding, (0, 0))


def _inside(n: int) -> tuple[int, ...]:
    return tuple(2 * i + 2 for i in range(n))


def _blocks(x: Array, sizes: tuple[int, ...]) -> Array:
    """(row, n_1, size_1, n_2, size_2, ..., channel); what does not fill a window is left out."""
    shape: list[Any] = [x.shape[0]]
    for axis, size in enumerate(sizes, start=1):
        n = x.shape[axis] // size
        x = lax.slice_in_dim(x, 0, n * size, axis=axis)
        shape += [n, size]
    return x.reshape(*shape, x.shape[-1])
