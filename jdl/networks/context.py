"""What a training step tells the layers of a network: row weights, a random seed, dynamic hyperparameters.

Layers read it while they are traced, so a network keeps the plain signature `model(x)` and a foreign module needs
to know nothing of padding, seeds, or hyperparameters that are arrays.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32


@dataclass(frozen=True)
class BatchContext:
    """The batch that a network is being applied to.

    Args:
      weights: Weight per row, 0 for padding; None if all rows are real.
      seed: Random word of this member and step; None outside of training.
      hyper: Values of dynamic hyperparameters by name.
      copies: How many rows in a row belong to one row of an ensemble whose members see rows of their own.
      dtype: Type in which layers compute, for those that make numbers of what are none; others go by their input.
      remat: Whether blocks are computed again on the way back, instead of keeping what they compute.
      calls: How often each source of noise was used: a layer that is called twice draws twice.
    """

    weights: Float[Array, "row"] | None = None
    seed: UInt32[Array, ""] | None = None
    hyper: Mapping[str, Any] = field(default_factory=dict)
    copies: int = 1
    dtype: Any = jnp.float32
    remat: bool = False
    calls: dict[Any, int] = field(default_factory=dict, compare=False, repr=False)

    def call(self, source: Any) -> int:
        """How often a source of noise has been used for this batch before; counts this use.

        It is counted while the network is traced, in the order of its calls, so equal programs count alike.
        """
        number = self.calls.get(source, 0)
        self.calls[source] = number + 1
        return number


_NOTHING = BatchContext()
_CURRENT: ContextVar[BatchContext] = ContextVar("batch_context")


@contextmanager
def batch_context(context: BatchContext) -> Iterator[None]:
    """Makes `context` the one that layers see inside the `with` block."""
    token = _CURRENT.set(context)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current_batch() -> BatchContext:
    """The context of the batch being computed; an empty one outside of jdl's training."""
    return _CURRENT.get(_NOTHING)
