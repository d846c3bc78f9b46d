"""Noise of networks that are trained outside of jdl's programs, which give each step a seed of its own."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from jdl.networks.context import batch_context, current_batch


@contextmanager
def noise(key: Array | int) -> Iterator[None]:
    """Layers with noise, such as dropout, draw from `key` inside the `with` block: each layer and call its own.

    Args:
      key: A JAX key, which may be traced, or an integer. Equal keys give equal noise.

    >>> from jdl.networks import TabM
    >>> model = TabM(n_num_features=3, d_out=1, k=2, d_block=8, rngs=nnx.Rngs(0))
    >>> with noise(jax.random.key(1)):
    ...     out = model(jnp.ones((5, 3)))
    >>> out.shape
    (5, 2, 1)
    """
    key = jax.random.key(key) if isinstance(key, int) else key
    seed = jax.random.bits(key, (), jnp.uint32)
    with batch_context(replace(current_batch(), seed=seed, calls={})):
        yield


class OwnNoise(nnx.Module):
    """A stream of keys for the noise of a network, as flax's dropout has one; none in networks that jdl builds.

    Args:
      rngs: Its stream "dropout" is forked; what is no `nnx.Rngs` gives none.
      rates: Of all kinds of dropout in the network; where all are 0, there is no stream.
    """

    def __init__(self, rngs: Any, *rates: float | None):
        own = isinstance(rngs, nnx.Rngs) and any(rates) and ("dropout" in rngs or "default" in rngs)
        self.stream = nnx.data(rngs.dropout.fork() if own else None)
        self.deterministic = False

    @property
    def is_wanted(self) -> bool:
        """Whether this stream is the one to draw from: while training, outside of jdl's programs and of `noise`."""
        return self.stream is not None and not self.deterministic and current_batch().seed is None


def with_own_noise(call: Callable[..., Any]) -> Callable[..., Any]:
    """Makes the call of a network draw from `self.noise`, an `OwnNoise`, where nothing else gives its noise."""

    @functools.wraps(call)
    def called(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not self.noise.is_wanted:
            return call(self, *args, **kwargs)
        with noise(self.noise.stream()):
            return call(self, *args, **kwargs)

    return called


def forget_own_noise(model: nnx.Module) -> None:
    """Takes the streams out of a network, in place: runs that share a program get a seed for each step."""
    for _, module in nnx.iter_modules(model):
        if isinstance(module, OwnNoise):
            module.stream = nnx.data(None)
