"""Initialisers that tabular networks need beside those of `initial`: frozen values, for the host and for JAX keys.

Two networks with equal arguments hold equal initialisers, so that their graph definitions are equal.
"""

import abc
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jdl.networks.initial import HostKey


@dataclass(frozen=True)
class Distribution(abc.ABC):
    """Something that fills an array of any shape with random numbers."""

    def __call__(self, key: Any, shape: tuple[int, ...], dtype: Any = jnp.float32, out_sharding: Any = None) -> Any:
        """Values of that shape: NumPy's for a `HostKey`, JAX's for a JAX key."""
        del out_sharding
        if isinstance(key, HostKey):
            values = self.on_host(key.generator, tuple(shape)).astype(dtype, copy=False)
            return key.note(values, self, shape, dtype)
        return self.from_key(key, tuple(shape)).astype(dtype)

    @abc.abstractmethod
    def on_host(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Values from a NumPy generator."""

    @abc.abstractmethod
    def from_key(self, key: Any, shape: tuple[int, ...]) -> jax.Array:
        """Values from a JAX key."""


@dataclass(frozen=True)
class TruncatedNormal(Distribution):
    """N(0, scale^2), redrawn where it is further than three scales from zero.

    >>> bool(abs(np.asarray(TruncatedNormal(2.0)(jax.random.key(0), (999,)))).max() <= 6.0)
    True
    """

    scale: float

    def on_host(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Values from a NumPy generator."""
        values = generator.standard_normal(shape, dtype=np.float32)
        while (far := np.abs(values) > 3).any():
            values[far] = generator.standard_normal(int(far.sum()), dtype=np.float32)
        return values * np.float32(self.scale)

    def from_key(self, key: Any, shape: tuple[int, ...]) -> jax.Array:
        """Values from a JAX key."""
        return self.scale * jax.random.truncated_normal(key, -3.0, 3.0, shape)


@dataclass(frozen=True)
class CopiedRow(Distribution):
    """One row of U(-1/sqrt(fan_in), 1/sqrt(fan_in)), the same for every index of the first axis.

    >>> values = np.asarray(CopiedRow(4)(jax.random.key(0), (3, 2)))
    >>> bool((values == values[:1]).all())
    True
    """

    fan_in: int

    def on_host(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Values from a NumPy generator."""
        bound = np.float32(self.fan_in**-0.5)
        row = (2 * generator.random(shape[1:], dtype=np.float32) - 1) * bound
        return np.array(np.broadcast_to(row[None], shape))

    def from_key(self, key: Any, shape: tuple[int, ...]) -> jax.Array:
        """Values from a JAX key."""
        bound = self.fan_in**-0.5
        row = jax.random.uniform(key, shape[1:], minval=-bound, maxval=bound)
        return jnp.broadcast_to(row[None], shape)


@dataclass(frozen=True)
class ChunkedScaling(Distribution):
    """Random scales, one per chunk of the last axis: all columns that one feature became share a value.

    Args:
      chunks: Sizes of the chunks; their sum is the size of the last axis.
      kind: "normal", or "random-signs" for -1 and 1 with equal chances.

    References: Gorishniy et al., TabM, 2024, appendix on initialisation.

    >>> ChunkedScaling((2, 1), "random-signs")(jax.random.key(0), (4, 3)).shape
    (4, 3)
    """

    chunks: tuple[int, ...]
    kind: str = "normal"

    def on_host(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Values from a NumPy generator."""
        few = (*shape[:-1], len(self.chunks))
        if self.kind == "normal":
            values = generator.standard_normal(few, dtype=np.float32)
        else:
            values = (2 * generator.integers(2, size=few) - 1).astype(np.float32)
        return np.repeat(values, self.chunks, axis=-1)

    def from_key(self, key: Any, shape: tuple[int, ...]) -> jax.Array:
        """Values from a JAX key."""
        few = (*shape[:-1], len(self.chunks))
        if self.kind == "normal":
            values = jax.random.normal(key, few)
        else:
            values = jax.random.rademacher(key, few, jnp.float32)
        return jnp.repeat(values, np.array(self.chunks), axis=-1, total_repeat_length=shape[-1])
