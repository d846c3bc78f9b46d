"""Normalisation. Only the batch norms look at more than one row, and none at padded rows."""

import math

import jax.numpy as jnp
from flax import nnx

from jdl.core.errors import ShapeError
from jdl.core.fields import Field
from jdl.networks.array_spec import ArraySpec
from jdl.networks.initial import Constant
from jdl.networks.layer import LayerKind, Site, layer_kind
from jdl.networks.norm import BatchNorm, TrailingNorm, layer_norm


def _eps(default: float = 1e-5) -> Field:
    return Field("float", default, low=0, doc="Added to the variance.")


def _batch_norm(n: int) -> LayerKind:
    def build(
        site: Site, x: ArraySpec, eps: float, momentum: float, affine: bool, track_running_stats: bool
    ) -> nnx.Module:
        del site
        what = "(batch, feature) or (batch, position, feature)" if n == 1 else f"(batch, {n} of space, channel)"
        x.need_ndim(2 if n == 1 else n + 2, n + 2, what=what)
        return BatchNorm(x.size(-1), eps=eps, momentum=momentum, affine=affine, track_running_stats=track_running_stats)

    build.__doc__ = (
        "Normalises each feature or channel (the last axis) over the rows of a batch"
        + (" and over positions.\n\n" if n == 1 else f" and over {n} axes of space.\n\n")
        + "Rows of weight 0 are not seen. Running statistics serve when evaluating (Ioffe & Szegedy, 2015)."
    )
    return layer_kind(
        name=f"batch_norm{n}d",
        eps=_eps(),
        momentum=Field("float", 0.1, low=0, high=1, doc="Share of the new batch in the running statistics."),
        affine=Field("bool", True, doc="Whether to scale and shift by learned values."),
        track_running_stats=Field(
            "bool", True, doc="Whether running statistics serve when evaluating; otherwise the batch's own do."
        ),
    )(build)


@layer_kind(
    n_axes=Field("int", 1, low=1, doc="Number of trailing axes to normalise over."),
    elementwise_affine=Field("bool", True, doc="Whether to scale and shift each element by learned values."),
    eps=_eps(),
)
def layer_norm_(site: Site, x: ArraySpec, n_axes: int, elementwise_affine: bool, eps: float) -> nnx.Module:
    """Normalises over the last axes, each row by itself (Ba et al., 2016)."""
    if n_axes >= x.ndim:
        raise ShapeError(f"normalises over {n_axes} axes (n_axes), but its input {x} has {x.ndim - 1} beside the batch")
    shape = tuple(x.size(axis) for axis in range(x.ndim - n_axes, x.ndim))
    if n_axes == 1:
        return layer_norm(shape[0], site.rngs, eps=eps, affine=elementwise_affine)
    return TrailingNorm(shape, eps=eps, affine=elementwise_affine, rngs=site.rngs)


def _group_norm(x: ArraySpec, num_groups: int, eps: float, affine: bool, site: Site) -> nnx.Module:
    return nnx.GroupNorm(
        x.size(-1),
        num_groups,
        epsilon=eps,
        use_bias=affine,
        use_scale=affine,
        scale_init=Constant(1.0),
        bias_init=Constant(0.0),
        use_fast_variance=False,
        rngs=site.rngs,
    )


@layer_kind(
    num_groups=Field("int", low=1, doc="Number of groups of channels."),
    eps=_eps(),
    affine=Field("bool", True, doc="Whether to scale and shift each channel by learned values."),
)
def group_norm(site: Site, x: ArraySpec, num_groups: int, eps: float, affine: bool) -> nnx.Module:
    """Normalises over all positions and a group of channels, each row by itself (Wu & He, 2018)."""
    x.need_ndim(2, math.inf, what="(batch, ..., channel)")
    if x.size(-1) % num_groups:
        raise ShapeError(f"cannot split the {x.size(-1)} channels of its input {x} into {num_groups} groups")
    return _group_norm(x, num_groups, eps, affine, site)


@layer_kind(
    eps=_eps(),
    affine=Field("bool", False, doc="Whether to scale and shift each channel by learned values."),
)
def instance_norm(site: Site, x: ArraySpec, eps: float, affine: bool) -> nnx.Module:
    """Normalises each channel of each row over all its positions (Ulyanov et al., 2016)."""
    x.need_ndim(3, math.inf, what="(batch, ..., channel)")
    return _group_norm(x, x.size(-1), eps, affine, site)


@layer_kind(
    eps=Field(
        "float",
        float(jnp.finfo(jnp.float32).eps),
        low=0,
        doc="Added to the mean square; by default the spacing of float32, as in PyTorch.",
    ),
    elementwise_affine=Field("bool", True, doc="Whether to scale each feature by a learned value."),
)
def rms_norm(site: Site, x: ArraySpec, eps: float, elementwise_affine: bool) -> nnx.Module:
    """Divides by the root mean square of the last axis (Zhang & Sennrich, 2019)."""
    x.need_ndim(2, math.inf, what="(batch, ..., feature)")
    return nnx.RMSNorm(
        x.size(-1),
        epsilon=eps,
        use_scale=elementwise_affine,
        scale_init=Constant(1.0),
        use_fast_variance=False,
        rngs=site.rngs,
    )


KINDS = (*(_batch_norm(n) for n in (1, 2, 3)), layer_norm_, group_norm, instance_norm, rms_norm)
