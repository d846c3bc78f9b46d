"""Averages of the weights along the run, which validate and predict in place of the last ones."""

import abc
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from jdl.core.fields import Field
from jdl.train.accumulate import Accumulated
from jdl.train.callback import Event, InScanCallback
from jdl.train.precision import like


@dataclass(frozen=True)
class Averaging(InScanCallback, abc.ABC):
    """Keeps a mean of the weights, taken after every step of the optimizer from an epoch on.

    Statistics that the network keeps beside its parameters (of batch norm) are averaged too. Until the first
    average the weights themselves count. Best weights, where they are kept, are the best averages.

    Args:
      weight: After other callbacks.
    """

    start: Any = 1
    weight: float = field(default=100.0, kw_only=True)

    def init(self, state: Any) -> Any:
        """The weights as they are, and how many were averaged."""
        kept = jax.tree.map(_in_float32, (state.params, state.rest))
        return {"mean": kept, "n": jnp.zeros((), jnp.int32)}

    @abc.abstractmethod
    def share(self, n: Any, state: Any) -> Any:
        """Share of the new weights in the mean that `n` others are in."""

    def on_batch_end(self, memory: Any, event: Event) -> tuple[Any, Event]:
        """Takes the weights after the step into the mean."""
        n, state = memory["n"], event.state
        due = event.epoch >= self.value("start", state)
        share = self.share(n, state)
        if isinstance(state.opt_state, Accumulated):
            stepped = state.opt_state.n_batches == 0  # else gradients wait, and the weights are those of before
            share, taken = jnp.where(stepped, share, 0.0), due & stepped
        else:
            taken = due
        # The first mean is a copy; before it the mean follows, for which no other branch is needed.
        share = jnp.where(due & (n > 0), share, 1.0)
        mean = jax.tree.map(lambda a, p: _towards(a, p, share), memory["mean"], (state.params, state.rest))
        return {"mean": mean, "n": n + taken.astype(n.dtype)}, event

    def weights(self, memory: Any, state: Any) -> tuple[Any, Any]:
        """The mean."""
        return like(memory["mean"], (state.params, state.rest))


def _in_float32(leaf: Any) -> Any:
    # In shorter numbers a small share of the new weights would be rounded away.
    return leaf.astype(jnp.float32) if leaf.dtype == jnp.bfloat16 else jnp.copy(leaf)


def _towards(mean: Any, new: Any, share: Any) -> Any:
    if not jnp.issubdtype(mean.dtype, jnp.floating):
        return new
    new = new.astype(mean.dtype)
    # By a choice, since a share of 1 must give the weights to the last bit.
    return jnp.where(share == 1.0, new, mean + jnp.asarray(share, mean.dtype) * (new - mean))


@dataclass(frozen=True)
class EMA(Averaging):
    """Validates and predicts by an exponential moving average of the weights.

    References: Tarvainen & Valpola, Mean teachers are better role models, 2017.

    >>> EMA(decay=0.99).decay
    0.99
    """

    id: ClassVar[str] = "ema"
    fields: ClassVar[dict[str, Field]] = {
        "decay": Field(
            "float", 0.999, low=0.0, high=1.0, dynamic=True, doc="Share of the average that each step keeps."
        ),
        "start": Field("int", 1, low=1, dynamic=True, doc="Epoch, from 1, with which averaging begins."),
    }

    decay: Any = field(default=0.999, kw_only=True)

    def share(self, n: Any, state: Any) -> Any:
        """One less the decay."""
        del n
        return 1.0 - self.value("decay", state)


@dataclass(frozen=True)
class Polyak(Averaging):
    """Validates and predicts by the plain mean of the weights after every step from an epoch on.

    References: Polyak & Juditsky, Acceleration of Stochastic Approximation by Averaging, 1992.

    >>> Polyak(start=10).start
    10
    """

    id: ClassVar[str] = "polyak"
    fields: ClassVar[dict[str, Field]] = {
        "start": Field("int", 1, low=1, dynamic=True, doc="Epoch, from 1, with which averaging begins."),
    }

    def share(self, n: Any, state: Any) -> Any:
        """One of all."""
        del state
        return 1.0 / (n + 1.0)
