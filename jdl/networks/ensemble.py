"""Layers of k members side by side: `(row, member, feature)` in and out.

`LinearEnsemble` has weights of its own for each member; `LinearBatchEnsemble` shares the matrix and scales its inputs
and outputs per member; `Scaling` only scales.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jdl.networks.distributions import ChunkedScaling, CopiedRow
from jdl.networks.initial import Constant, UniformFanIn
from jdl.networks.rowwise import on_rows
from jdl.networks.torch_state import Slot, Slots, TorchModule


def member_view(x: Float[Array, "row ..."], k: int) -> Float[Array, "row member feature"]:
    """Rows that all members share, as k equal copies (which are never stored); others as they are."""
    return x if x.ndim == 3 else jnp.broadcast_to(x[:, None], (x.shape[0], k, x.shape[1]))


def scaling_init(kind: str, chunks: Sequence[int]) -> Any:
    """Initialiser of scales by name: "ones", "normal" or "random-signs"."""
    return Constant(1.0) if kind == "ones" else ChunkedScaling(tuple(chunks), kind)


class Scaling(TorchModule):
    """Multiplies each feature of each member by a learned number.

    Args:
      k: Number of members.
      d_in: Number of features.
      init: Initialiser of the `(k, d_in)` numbers.
      rngs: `nnx.Rngs`, or `HostRngs` to draw on the host.

    >>> Scaling(3, 2, init=Constant(2.0), rngs=nnx.Rngs(0))(jnp.ones((1, 3, 2))).sum().item()
    12.0
    """

    def __init__(self, k: int, d_in: int, *, init: Any, rngs: Any):
        self.weight = nnx.Param(init(rngs.params(), (k, d_in)))

    def __call__(self, x: Float[Array, "row member feature"]) -> Float[Array, "row member feature"]:
        """Scaled features."""
        return x * self.weight[...][None]

    def torch_slots(self) -> Slots:
        """Names of `tabm.ElementwiseAffine` without bias."""
        return {"weight": Slot(self.weight)}


class LinearEnsemble(TorchModule):
    """k linear layers side by side.

    Args:
      d_in: Number of inputs of each member.
      d_out: Number of outputs of each member.
      k: Number of members.
      rngs: `nnx.Rngs`, or `HostRngs` to draw on the host.

    >>> LinearEnsemble(4, 2, k=3, rngs=nnx.Rngs(0))(jnp.ones((5, 3, 4))).shape
    (5, 3, 2)
    """

    def __init__(self, d_in: int, d_out: int, *, k: int, rngs: Any):
        init = UniformFanIn(d_in)
        self.weight = nnx.Param(init(rngs.params(), (k, d_in, d_out)))
        self.bias = nnx.Param(init(rngs.params(), (k, d_out)))

    def __call__(self, x: Float[Array, "row member feature"]) -> Float[Array, "row member output"]:
        """Each member's outputs."""
        return jnp.einsum("bki,kio->bko", x, self.weight[...]) + self.bias[...][None]

    def torch_slots(self) -> Slots:
        """Names of `tabm.LinearEnsemble`."""
        return {"weight": Slot(self.weight), "bias": Slot(self.bias)}


class LinearBatchEnsemble(TorchModule):
    """A matrix that k members share; each scales its inputs by `r` and its outputs by `s`, and has a bias.

    Args:
      d_in: Number of inputs.
      d_out: Number of outputs.
      k: Number of members.
      r_init: Initialiser of the `(k, d_in)` scales of the inputs; ones by default.
      rngs: `nnx.Rngs`, or `HostRngs` to draw on the host.

    References: Wen et al., BatchEnsemble, 2020; Gorishniy et al., TabM, 2024.

    >>> LinearBatchEnsemble(4, 2, k=3, rngs=nnx.Rngs(0))(jnp.ones((5, 3, 4))).shape
    (5, 3, 2)
    """

    def __init__(self, d_in: int, d_out: int, *, k: int, r_init: Any = None, rngs: Any):
        self.kernel = nnx.Param(UniformFanIn(d_in)(rngs.params(), (d_in, d_out)))
        self.r = nnx.Param((r_init or Constant(1.0))(rngs.params(), (k, d_in)))
        self.s = nnx.Param(Constant(1.0)(rngs.params(), (k, d_out)))
        self.bias = nnx.Param(CopiedRow(d_in)(rngs.params(), (k, d_out)))

    def __call__(self, x: Float[Array, "row member feature"]) -> Float[Array, "row member output"]:
        """Each member's outputs."""
        y = on_rows(lambda rows: rows @ self.kernel[...], x * self.r[...][None])
        return y * self.s[...][None] + self.bias[...][None]

    def torch_slots(self) -> Slots:
        """Names of `tabm.LinearBatchEnsemble`."""
        return {
            "weight": Slot(self.kernel, transpose=True),
            "r": Slot(self.r),
            "s": Slot(self.s),
            "bias": Slot(self.bias),
        }
