"""Random keys: named streams of a root key, drawn on the host.

Drawing with a counter-based generator in NumPy needs no compilation, and it gives each purpose (splits, initial
values, batch orders, dropout) numbers of its own that depend on nothing but the root key and the purpose.
"""

import zlib
from dataclasses import dataclass

import jax
import numpy as np

from jdl.core.errors import ConfigTypeError

KeyLike = "int | jax.Array | RandomKey"


@dataclass(frozen=True)
class RandomKey:
    """A root seed and the path of names and numbers that leads from it to this stream."""

    words: tuple[int, ...]

    def fold(self, *path: int | str) -> "RandomKey":
        """The key of a stream below this one; equal paths give equal keys."""
        return RandomKey(self.words + tuple(_word(part) for part in path))

    def generator(self, *path: int | str) -> np.random.Generator:
        """A fresh NumPy generator (Philox) for this stream.

        >>> key = as_key(0)
        >>> bool(key.generator("a").random() == key.generator("a").random())
        True
        >>> bool(key.generator("a").random() == key.generator("b").random())
        False
        """
        words = self.fold(*path).words
        # A seed sequence takes missing words for zeros: without their number, stream 0 below a key would be the key's.
        return np.random.Generator(np.random.Philox(np.random.SeedSequence((*words, len(words)))))

    def seed(self, *path: int | str) -> int:
        """A seed in [0, 2**32) for code that takes an integer."""
        return int(self.generator(*path).integers(2**32))


def as_key(key: "int | np.integer | jax.Array | RandomKey") -> RandomKey:
    """A `RandomKey` from an integer or a JAX key.

    Raises:
      ConfigTypeError: `key` is neither a non-negative integer nor a JAX key.
    """
    if isinstance(key, RandomKey):
        return key
    if isinstance(key, int | np.integer) and not isinstance(key, bool) and key >= 0:
        return RandomKey((0, int(key)))
    if isinstance(key, jax.Array):
        typed = jax.numpy.issubdtype(key.dtype, jax.dtypes.prng_key)
        data = np.asarray(jax.random.key_data(key) if typed else key)
        if data.ndim == 1 and data.dtype == np.uint32:
            return RandomKey((1, *(int(word) for word in data)))
    raise ConfigTypeError(
        f"key: expected a non-negative integer or one JAX key, got {key!r}.\nHint: key=0 or jax.random.key(0)."
    )


def _word(part: int | str) -> int:
    return part if isinstance(part, int) else zlib.crc32(part.encode())
