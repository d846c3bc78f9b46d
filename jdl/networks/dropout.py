"""Dropout whose rate is a dynamic hyperparameter and whose noise is a hash of seed and position."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, UInt32

from jdl.core.errors import ConfigError
from jdl.networks.context import BatchContext, current_batch


class Dropout(nnx.Module):
    """Zeroes each value with probability `rate` while training and scales the others by `1 / (1 - rate)`.

    Inside jdl's training the rate is looked up under the name `hyper` at every step, so that it may differ
    between the members of a population, and the noise is an integer hash of (member, step, layer, call, position):
    a layer that is called twice for one batch draws twice.
    Elsewhere a JAX key must be handed in.

    Args:
      rate: Probability in [0, 1].
      hyper: Name of the dynamic hyperparameter that takes the place of `rate`.
      layer: Number of the layer in its network: equal layers with other numbers draw other noise.
      shared: Axes along which values are kept or zeroed together: (1, 2) drops whole channels of images; negative
        ones count from the last.

    References: Srivastava et al., Dropout, 2014.

    >>> Dropout(0.5)(jnp.ones((2, 3)), key=jax.random.key(0)).shape
    (2, 3)
    """

    def __init__(self, rate: float, *, hyper: str = "dropout", layer: int = 0, shared: tuple[int, ...] = ()):
        self.rate = rate
        self.hyper = hyper
        self.layer = layer
        self.shared = shared
        self.deterministic = False

    def __call__(self, x: Float[Array, "*shape"], *, key: Array | None = None) -> Float[Array, "*shape"]:
        """The values that are kept, scaled up; all of them, unscaled, when evaluating."""
        if self.deterministic:
            return x
        batch = current_batch()
        rate = batch.hyper.get(self.hyper, self.rate)
        shape = tuple(1 if {axis, axis - x.ndim} & {*self.shared} else size for axis, size in enumerate(x.shape))
        if key is not None:
            uniform = jax.random.uniform(key, shape)
        elif batch.seed is not None:
            uniform = batch_uniform(batch, self.layer, shape)
        elif isinstance(rate, float | int) and rate == 0:
            return x
        else:
            raise ConfigError(
                "Dropout: needs randomness while training, got no key.\n"
                "Hint: call the network inside `with jdl.networks.noise(key):`, a layer alone with key=..., or switch "
                "the noise off with model.eval()."
            )
        keep = uniform >= rate
        return jnp.where(keep, x / jnp.maximum(1.0 - rate, 1e-8).astype(x.dtype), 0.0)


def batch_uniform(batch: BatchContext, stream: int, shape: tuple[int, ...]) -> Float[Array, "*shape"]:
    """Numbers in [0, 1) for a layer's next call on a batch that has a seed: other ones for each call."""
    assert batch.seed is not None
    call = batch.call(stream)
    seed = batch.seed if call == 0 else mix(batch.seed ^ jnp.uint32((call * 0x85EBCA77) & 0xFFFFFFFF))
    return hash_uniform(seed, stream, shape)


def hash_uniform(seed: UInt32[Array, ""], stream: int, shape: tuple[int, ...]) -> Float[Array, "*shape"]:
    """Numbers in [0, 1) with 24 random bits each, from a hash of (seed, stream, position).

    Cheaper to compile and to run inside a scan than a counter-based generator; good enough for noise.
    References: Appleby, MurmurHash3, 32-bit finaliser.
    """
    size = 1
    for n in shape:
        size *= n
    position = jax.lax.iota(jnp.uint32, size).reshape(shape)
    word = mix(seed ^ jnp.uint32((stream * 0x9E3779B9 + 0x7F4A7C15) & 0xFFFFFFFF))
    bits = mix(position * jnp.uint32(0x9E3779B1) ^ word)
    return (bits >> 8).astype(jnp.float32) * jnp.float32(2.0**-24)


def mix(word: UInt32[Array, "*shape"]) -> UInt32[Array, "*shape"]:
    """Spreads every input bit over all output bits (a bijection of 32-bit words)."""
    word = (word ^ (word >> 16)) * jnp.uint32(0x85EBCA6B)
    word = (word ^ (word >> 13)) * jnp.uint32(0xC2B2AE35)
    return word ^ (word >> 16)
