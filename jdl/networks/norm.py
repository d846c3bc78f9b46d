"""Normalisation: over the real rows of a batch, and within rows."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from jdl.networks.context import current_batch
from jdl.networks.initial import Constant


class BatchNorm(nnx.Module):
    """Normalises each feature over the real rows of a batch; over running statistics when evaluating.

    `flax.nnx.BatchNorm` takes a mask as an argument of every call and keeps the biased variance; this layer
    takes the rows' weights from the training step and, as PyTorch does, keeps the unbiased variance. Features are
    the last axis; all axes between rows and features (positions of a sequence, pixels) are normalised over too.

    Args:
      num_features: Size of the last axis.
      momentum: Share of the new batch in the running statistics (PyTorch's meaning), in [0, 1].
      eps: Added to the variance.
      affine: Whether to scale and shift by learned values.
      track_running_stats: Whether to keep running statistics; without them the batch's own serve when evaluating too.
      frozen: Whether the running statistics stay as they are, and serve while training too.

    References: Ioffe & Szegedy, Batch Normalization, 2015.

    >>> y = BatchNorm(1)(jnp.array([[1.0], [3.0]]))
    >>> [round(float(v), 3) for v in y[:, 0]]
    [-1.0, 1.0]
    """

    def __init__(
        self,
        num_features: int,
        *,
        momentum: float = 0.1,
        eps: float = 1e-5,
        affine: bool = True,
        track_running_stats: bool = True,
        frozen: bool = False,
        rngs: Any = None,
    ):
        del rngs
        self.scale = nnx.Param(np.ones((num_features,), np.float32)) if affine else None
        self.bias = nnx.Param(np.zeros((num_features,), np.float32)) if affine else None
        self.mean = nnx.BatchStat(np.zeros((num_features,), np.float32)) if track_running_stats else None
        self.var = nnx.BatchStat(np.ones((num_features,), np.float32)) if track_running_stats else None
        self.momentum = momentum
        self.eps = eps
        self.frozen = frozen
        self.use_running_average = False

    def __call__(self, x: Float[Array, "row *position feature"]) -> Float[Array, "row *position feature"]:
        """The normalised rows. Statistics are float32 even where the rows are shorter numbers."""
        dtype = x.dtype
        x = x.astype(jnp.promote_types(dtype, jnp.float32))
        if (self.use_running_average or self.frozen) and self.mean is not None and self.var is not None:
            centered, var = x - _as_row(self.mean[...], x.ndim), self.var[...]
        else:
            centered, var = self._batch_statistics(x)
        if self.scale is None or self.bias is None:
            return (centered / _as_row(jnp.sqrt(var + self.eps), x.ndim)).astype(dtype)
        scale = self.scale[...] / jnp.sqrt(var + self.eps)
        return (centered * _as_row(scale, x.ndim) + _as_row(self.bias[...], x.ndim)).astype(dtype)

    def _batch_statistics(self, x: Array) -> tuple[Array, Array]:
        """Rows less their mean, and their variance. What padded rows hold reaches neither these nor a gradient."""
        weights = current_batch().weights
        real = jnp.ones(x.shape[:1], bool) if weights is None else weights > 0
        axes = tuple(range(x.ndim - 1))
        n = jnp.sum(real.astype(x.dtype))
        if x.ndim > 2:
            n = n * math.prod(x.shape[1:-1])
        safe_n = jnp.maximum(n, 1.0)
        real = real.reshape(-1, *(1 for _ in x.shape[1:]))
        mean = jnp.sum(jnp.where(real, x, 0.0), axis=axes) / safe_n
        centered = jnp.where(real, x - _as_row(mean, x.ndim), 0.0)
        var = jnp.sum(centered**2, axis=axes) / safe_n
        if self.mean is None or self.var is None:
            return centered, var
        # A single value has no spread (PyTorch refuses it): a last batch of one row must not pull the running
        # variance towards 0, and one without a real row must leave both statistics as they are.
        share = jnp.where(n > 1, self.momentum, 0.0)
        unbiased = var * safe_n / jnp.maximum(n - 1.0, 1.0)
        # Set whole: what was drawn on the host is a NumPy array, which must not be written into.
        self.mean.set_value((1 - share) * self.mean[...] + share * mean)
        self.var.set_value((1 - share) * self.var[...] + share * unbiased)
        return centered, var


def _as_row(values: Any, ndim: int) -> Any:
    return values[(None,) * (ndim - 1)]


def layer_norm(width: int, rngs: Any, *, eps: float = 1e-5, affine: bool = True, bias: bool = True) -> nnx.LayerNorm:
    """`nnx.LayerNorm` of the last axis with PyTorch's epsilon, and initial values that need no compilation."""
    return nnx.LayerNorm(
        width,
        epsilon=eps,
        use_scale=affine,
        use_bias=affine and bias,
        scale_init=Constant(1.0),
        bias_init=Constant(0.0),
        use_fast_variance=False,
        rngs=rngs,
    )


class TrailingNorm(nnx.Module):
    """Layer normalisation over several trailing axes at once.

    Args:
      shape: Sizes of these axes.
      eps: Added to the variance.
      affine: Whether to scale and shift each element by learned values.
      rngs: `nnx.Rngs` or `HostRngs`.

    >>> TrailingNorm((4, 3), rngs=nnx.Rngs(0))(jnp.ones((2, 4, 3))).shape
    (2, 4, 3)
    """

    def __init__(self, shape: tuple[int, ...], *, eps: float = 1e-5, affine: bool = True, rngs: Any):
        self.shape = shape
        self.norm = layer_norm(math.prod(shape), rngs, eps=eps, affine=affine)

    def __call__(self, x: Array) -> Array:
        """The normalised array."""
        leading = x.shape[: x.ndim - len(self.shape)]
        return self.norm(x.reshape(*leading, math.prod(self.shape))).reshape(x.shape)
