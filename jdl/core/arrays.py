"""Code that is written once and runs in NumPy on the host and in JAX inside a program."""

from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def namespace(*arrays: Any) -> ModuleType:
    """`numpy` if all arrays are NumPy's, else `jax.numpy`.

    >>> namespace(np.zeros(2)).__name__
    'numpy'
    """
    return jnp if any(isinstance(a, jax.Array) for a in arrays) else np


def aligned_empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An uninitialised array that begins at a multiple of 64 bytes, so that CPU devices can use it without a copy.

    >>> aligned_empty((3, 2), np.float32).ctypes.data % 64
    0
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.empty(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)
