"""Recurrent layers: LSTM and GRU over sequences, as PyTorch defines them.

The inputs of all steps are multiplied with their weights at once, so that only the recurrent product is left inside
the scan; flax's cells multiply both at every step.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jdl.networks.dropout import Dropout
from jdl.networks.initial import UniformFanIn

Sequence = Float[Array, "row step feature"]
State = tuple[Array, ...]


def lstm_cell(carry: State, x: Array, recurrent: Array, bias: Any) -> State:
    """One step of a long short-term memory: state and memory cell after it."""
    state, memory = carry
    gates = x + state @ recurrent
    if bias is not None:
        gates = gates + bias[None]
    into, keep, new, out = jnp.split(gates, 4, axis=-1)
    memory = jax.nn.sigmoid(keep) * memory + jax.nn.sigmoid(into) * jnp.tanh(new)
    return jax.nn.sigmoid(out) * jnp.tanh(memory), memory


def gru_cell(carry: State, x: Array, recurrent: Array, bias: Any) -> State:
    """One step of a gated recurrent unit: state after it."""
    (state,) = carry
    inner = state @ recurrent
    if bias is not None:
        inner = inner + bias[None]
    x_reset, x_keep, x_new = jnp.split(x, 3, axis=-1)
    h_reset, h_keep, h_new = jnp.split(inner, 3, axis=-1)
    keep = jax.nn.sigmoid(x_keep + h_keep)
    new = jnp.tanh(x_new + jax.nn.sigmoid(x_reset + h_reset) * h_new)
    return ((1 - keep) * new + keep * state,)


CELLS: dict[str, tuple[Callable[..., State], int, int]] = {"lstm": (lstm_cell, 4, 2), "gru": (gru_cell, 3, 1)}


class Direction(nnx.Module):
    """One layer in one direction. All values start as U(-b, b) with b = 1 / sqrt(d_hidden), as PyTorch's.

    Args:
      kind: "lstm" or "gru".
      d_in: Width of the input.
      d_hidden: Width of the state.
      bias: Whether both products have a bias.
      reverse: Whether it runs from the last step to the first.
      rngs: `nnx.Rngs` or `HostRngs`.
    """

    def __init__(self, kind: str, d_in: int, d_hidden: int, *, bias: bool, reverse: bool, rngs: Any):
        self.kind = kind
        self.d_hidden = d_hidden
        self.reverse = reverse
        init = UniformFanIn(d_hidden)
        width = CELLS[kind][1] * d_hidden
        self.inputs = nnx.Linear(d_in, width, use_bias=bias, kernel_init=init, bias_init=init, rngs=rngs)
        self.recurrent = nnx.Linear(d_hidden, width, use_bias=bias, kernel_init=init, bias_init=init, rngs=rngs)

    def __call__(self, x: Sequence) -> tuple[Sequence, Float[Array, "row hidden"]]:
        """The states of all steps, and that of the last one that was run."""
        cell, _, n_carried = CELLS[self.kind]
        kernel = jnp.asarray(self.recurrent.kernel[...])
        bias = None if self.recurrent.bias is None else jnp.asarray(self.recurrent.bias[...])

        def step(carry: State, x: Array) -> tuple[State, Array]:
            carry = cell(carry, x, kernel, bias)
            return carry, carry[0]

        inputs = jnp.moveaxis(self.inputs(x), 1, 0)
        start = (jnp.zeros((x.shape[0], self.d_hidden), inputs.dtype),) * n_carried
        carry, states = jax.lax.scan(step, start, inputs, reverse=self.reverse)
        return jnp.moveaxis(states, 0, 1), carry[0]


class Recurrent(nnx.Module):
    """Layers of LSTM or GRU, each on the states of the one before it.

    Args:
      kind: "lstm" or "gru".
      d_in: Width of the input.
      d_hidden: Width of the state.
      n_layers: Number of layers.
      bidirectional: Whether each runs in both directions; their states stand side by side.
      bias: Whether products have a bias.
      dropouts: Behind each layer but the last; each may be None.
      last: Whether to give only the last state, of the backward direction that of the first step.
      rngs: `nnx.Rngs` or `HostRngs`.

    References: Hochreiter & Schmidhuber, Long short-term memory, 1997; Cho et al., Learning phrase representations,
    2014.

    >>> Recurrent("gru", 3, 4, rngs=nnx.Rngs(0))(jnp.ones((2, 5, 3))).shape
    (2, 5, 4)
    """

    def __init__(
        self,
        kind: str,
        d_in: int,
        d_hidden: int,
        *,
        n_layers: int = 1,
        bidirectional: bool = False,
        bias: bool = True,
        dropouts: tuple[Dropout | None, ...] = (),
        last: bool = False,
        rngs: Any,
    ):
        directions = (False, True) if bidirectional else (False,)
        widths = [d_in, *[d_hidden * len(directions)] * (n_layers - 1)]
        self.layers = nnx.List(
            nnx.List(Direction(kind, width, d_hidden, bias=bias, reverse=r, rngs=rngs) for r in directions)
            for width in widths
        )
        self.dropouts = nnx.List(dropouts)
        self.last = last

    def __call__(self, x: Sequence) -> Array:
        """States of all steps, (row, step, state), or the last one, (row, state)."""
        finals: list[Array] = []
        for i, layer in enumerate(self.layers):
            outputs = [direction(x) for direction in layer]
            finals = [final for _, final in outputs]
            x = jnp.concatenate([states for states, _ in outputs], axis=-1)
            dropout = self.dropouts[i] if i < len(self.dropouts) else None
            x = x if dropout is None else dropout(x)
        return jnp.concatenate(finals, axis=-1) if self.last else x
