"""Positions of a sequence: learned, sinusoidal, rotary."""

import math
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jdl.networks.initial import Normal


class LearnedPositions(nnx.Module):
    """Adds a learned vector per position.

    Args:
      length: Greatest number of positions.
      d: Size of a vector.
      std: Standard deviation of the initial values.
      rngs: `nnx.Rngs` or `HostRngs`.
    """

    def __init__(self, length: int, d: int, *, std: float = 0.02, rngs: Any):
        self.table = nnx.Param(Normal(std)(rngs.params(), (length, d)))

    def __call__(self, x: Float[Array, "row position feature"]) -> Float[Array, "row position feature"]:
        """The sequence with its positions."""
        table = jnp.asarray(self.table[...])
        n = x.shape[1]
        rows = table[:n] if isinstance(n, int) else jnp.take(table, jnp.arange(n), axis=0, mode="clip")
        return x + rows[None]


def sinusoids(n: Any, d: int, base: float) -> Float[Array, "n d"]:
    """Sines in the even and cosines in the odd columns, of wavelengths from 2 pi to 2 pi `base`."""
    angles = _angles(n, (d + 1) // 2, 2.0 / d, base)
    return jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1).reshape(n, -1)[:, :d]


def add_sinusoids(x: Float[Array, "row position feature"], base: float) -> Float[Array, "row position feature"]:
    """The sequence with a fixed vector per position."""
    return x + sinusoids(x.shape[1], x.shape[2], base).astype(x.dtype)[None]


def rotate(x: Array, base: float) -> Array:
    """Turns pairs of features by an angle that grows with the position (axis 1).

    Feature i is paired with feature i + d/2, as in GPT-NeoX and Llama. The scalar product of two vectors that are
    rotated so depends on their distance and not on where they are.

    References: Su et al., RoFormer, 2021.
    """
    half = x.shape[-1] // 2
    angles = _angles(x.shape[1], half, 1.0 / half, base)
    angles = angles.reshape(1, x.shape[1], *(1 for _ in x.shape[2:-1]), half)
    cos, sin = jnp.cos(angles).astype(x.dtype), jnp.sin(angles).astype(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def _angles(n: Any, n_frequencies: int, step: float, base: float) -> Float[Array, "n frequency"]:
    frequencies = jnp.exp(jnp.arange(n_frequencies, dtype=jnp.float32) * (-math.log(base) * step))
    return jnp.arange(n, dtype=jnp.float32)[:, None] * frequencies[None]
