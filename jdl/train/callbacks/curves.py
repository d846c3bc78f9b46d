"""Curves of schedules: from the share of a run that is done to what a hyperparameter is multiplied with."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def coslog4(t: Float[Array, ""]) -> Float[Array, ""]:
    """Four cosine waves, each about twice as long as the one before it; 0 at both ends.

    References: Holzmüller et al., Better by Default, 2024.

    >>> round(float(coslog4(jnp.float32(1 / 30))), 4)
    0.9304
    """
    return 0.5 * (1.0 - jnp.cos(2.0 * jnp.pi * jnp.log2(1.0 + 15.0 * t)))


def flat_cos(t: Float[Array, ""]) -> Float[Array, ""]:
    """1 up to the middle, then half a cosine wave down to 0.

    >>> [round(float(flat_cos(jnp.float32(t))), 3) for t in (0.2, 0.75, 1.0)]
    [1.0, 0.5, 0.0]
    """
    return jnp.where(t < 0.5, 1.0, 0.5 * (1.0 + jnp.cos(jnp.pi * (2.0 * t - 1.0))))


def half_cosine(t: Float[Array, ""]) -> Float[Array, ""]:
    """From 1 at 0 to 0 at 1, and on as a wave.

    >>> round(float(half_cosine(jnp.float32(0.5))), 6)
    0.5
    """
    return 0.5 * (1.0 + jnp.cos(jnp.pi * t))
