"""Activations: functions of each element, of which a few have a learned or a random slope."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jdl.core.errors import ConfigError, ShapeError
from jdl.core.fields import Field
from jdl.networks import activation
from jdl.networks.array_spec import ArraySpec
from jdl.networks.context import current_batch
from jdl.networks.dropout import batch_uniform
from jdl.networks.initial import Constant
from jdl.networks.layer import Apply, Codes, LayerKind, Site, layer_kind
from jdl.networks.layers.common import inner_axis, stream


def same(x: Array) -> Array:
    """The input."""
    return x


def hard_shrink(x: Array, lambd: float) -> Array:
    """0 near zero, the input elsewhere."""
    return jnp.where(jnp.abs(x) <= lambd, 0.0, x)  # asked so that NaN stays NaN, here and below


def soft_shrink(x: Array, lambd: float) -> Array:
    """The input moved towards 0 by `lambd`, and 0 near zero."""
    return jnp.where(jnp.abs(x) <= lambd, 0.0, jnp.where(x > 0, x - lambd, x + lambd))


def soft_plus(x: Array, beta: float, threshold: float) -> Array:
    """A smooth maximum of 0 and the input; the input itself where it is large."""
    return jnp.where(beta * x > threshold, x, jax.nn.softplus(beta * x) / beta)


def cut_below(x: Array, threshold: float, value: float) -> Array:
    """The input where it exceeds `threshold`, else `value`."""
    return jnp.where(x <= threshold, value, x)


def cut_off(x: Array, low: float, high: float) -> Array:
    """The input, cut off at both ends, where `jnp.clip` has half a slope and PyTorch none."""
    return jnp.where(x <= low, low, jnp.where(x >= high, high, x))


def tanh_shrink(x: Array) -> Array:
    """The input less its hyperbolic tangent."""
    return x - jnp.tanh(x)


def soft_min(x: Array, axis: int) -> Array:
    """Shares that sum to 1 along an axis, small where the input is large."""
    return jax.nn.softmax(-x, axis=axis)


def _plain(name: str, function: Callable[..., Any], doc: str, codes: Codes = "refuses") -> LayerKind:
    def build(site: Site, x: ArraySpec) -> nnx.Module:
        del site, x
        return Apply(function)

    build.__doc__ = doc
    return layer_kind(name=name, codes=codes)(build)


PLAIN = [
    _plain("identity", same, "The input as it is.", codes="keeps"),
    _plain("relu", jax.nn.relu, "max(0, x)."),
    _plain("relu6", jax.nn.relu6, "min(max(0, x), 6)."),
    _plain("selu", jax.nn.selu, "Scaled exponential unit, which keeps mean 0 and variance 1 (Klambauer et al., 2017)."),
    _plain("sigmoid", jax.nn.sigmoid, "1 / (1 + exp(-x))."),
    _plain("hardsigmoid", jax.nn.hard_sigmoid, "min(max(0, x + 3), 6) / 6."),
    _plain("log_sigmoid", jax.nn.log_sigmoid, "Logarithm of the sigmoid."),
    _plain("softsign", jax.nn.soft_sign, "x / (1 + |x|)."),
    _plain("tanh", jnp.tanh, "Hyperbolic tangent."),
    _plain("tanhshrink", tanh_shrink, "x - tanh(x)."),
    _plain("silu", jax.nn.silu, "x * sigmoid(x) (Elfwing et al., 2018)."),
    _plain("swish", jax.nn.silu, "x * sigmoid(x): another name of silu."),
    _plain("mish", jax.nn.mish, "x * tanh(softplus(x)) (Misra, 2020)."),
    _plain("hardswish", jax.nn.hard_swish, "x * hardsigmoid(x) (Howard et al., 2019)."),
]


@layer_kind(alpha=Field("float", 1.0, doc="Size of the lowest value, which is -alpha."))
def elu(site: Site, x: ArraySpec, alpha: float) -> nnx.Module:
    """X above 0, alpha * (exp(x) - 1) below (Clevert et al., 2016)."""
    del site, x
    return Apply(jax.nn.elu, (alpha,))


@layer_kind(alpha=Field("float", 1.0, low=0, open_low=True, doc="Size of the lowest value, which is -alpha."))
def celu(site: Site, x: ArraySpec, alpha: float) -> nnx.Module:
    """X above 0, alpha * (exp(x / alpha) - 1) below: an elu whose slope is continuous (Barron, 2017)."""
    del site, x
    return Apply(jax.nn.celu, (alpha,))


@layer_kind(
    approximate=Field("str", "none", choices=("none", "tanh"), doc="'tanh' approximates the normal distribution.")
)
def gelu(site: Site, x: ArraySpec, approximate: str) -> nnx.Module:
    """X times the normal distribution function of x (Hendrycks & Gimpel, 2016); exact unless told otherwise."""
    del site, x
    return Apply(jax.nn.gelu, (approximate == "tanh",))


@layer_kind(lambd=Field("float", 0.5, low=0, doc="Half the width of the interval that becomes 0."))
def hardshrink(site: Site, x: ArraySpec, lambd: float) -> nnx.Module:
    """0 in [-lambd, lambd], x elsewhere."""
    del site, x
    return Apply(hard_shrink, (lambd,))


@layer_kind(lambd=Field("float", 0.5, low=0, doc="Half the width of the interval that becomes 0."))
def softshrink(site: Site, x: ArraySpec, lambd: float) -> nnx.Module:
    """0 in [-lambd, lambd], elsewhere x moved towards 0 by lambd."""
    del site, x
    return Apply(soft_shrink, (lambd,))


@layer_kind(
    min_val=Field("float", -1.0, doc="Least value."),
    max_val=Field("float", 1.0, doc="Greatest value."),
)
def hardtanh(site: Site, x: ArraySpec, min_val: float, max_val: float) -> nnx.Module:
    """X cut off at both ends."""
    del x
    if not min_val < max_val:
        raise ConfigError(f"layer '{site.id or 'hardtanh'}': min_val ({min_val}) must be below max_val ({max_val}).")
    return Apply(cut_off, (min_val, max_val))


@layer_kind(negative_slope=Field("float", 0.01, doc="Slope below 0."))
def leaky_relu(site: Site, x: ArraySpec, negative_slope: float) -> nnx.Module:
    """X above 0, negative_slope * x below (Maas et al., 2013)."""
    del site, x
    return Apply(activation.leaky_relu, (negative_slope,))


@layer_kind(
    beta=Field("float", 1.0, low=0, open_low=True, doc="How sharp the bend is."),
    threshold=Field("float", 20.0, doc="Where beta * x exceeds it, the result is x itself."),
)
def softplus(site: Site, x: ArraySpec, beta: float, threshold: float) -> nnx.Module:
    """log(1 + exp(beta * x)) / beta."""
    del site, x
    return Apply(soft_plus, (beta, threshold))


@layer_kind(
    threshold=Field("float", doc="What x must exceed to stay."),
    value=Field("float", doc="What takes its place otherwise."),
)
def threshold(site: Site, x: ArraySpec, threshold: float, value: float) -> nnx.Module:
    """X where it exceeds a threshold, else a value."""
    del site, x
    return Apply(cut_below, (threshold, value))


_AXIS = Field("int", -1, doc="Axis along which the result sums to 1; not the batch.")


@layer_kind(axis=_AXIS)
def softmax(site: Site, x: ArraySpec, axis: int) -> nnx.Module:
    """exp(x), divided by its sum along an axis."""
    del site
    return Apply(jax.nn.softmax, (inner_axis(x, axis, "normalise along"),))


@layer_kind(axis=_AXIS)
def log_softmax(site: Site, x: ArraySpec, axis: int) -> nnx.Module:
    """Logarithm of the softmax along an axis."""
    del site
    return Apply(jax.nn.log_softmax, (inner_axis(x, axis, "normalise along"),))


@layer_kind(axis=_AXIS)
def softmin(site: Site, x: ArraySpec, axis: int) -> nnx.Module:
    """Softmax of -x along an axis."""
    del site
    return Apply(soft_min, (inner_axis(x, axis, "normalise along"),))


class PReLU(nnx.Module):
    """Leaky ReLU with a learned slope, one for all channels or one for each.

    Args:
      num_parameters: Number of slopes.
      init: Where they start.

    References: He et al., Delving deep into rectifiers, 2015.
    """

    def __init__(self, num_parameters: int, init: float):
        self.slope = nnx.Param(Constant(init)(None, (num_parameters,)))

    def __call__(self, x: Float[Array, "*any channel"]) -> Float[Array, "*any channel"]:
        """X above 0, slope * x below."""
        slope = self.slope[...][(None,) * (x.ndim - 1)]
        return jnp.where(x > 0, x, slope * x)


@layer_kind(
    num_parameters=Field("int", 1, low=1, doc="1, or the number of channels (the last axis): a slope for each."),
    init=Field("float", 0.25, doc="Where the slopes start."),
)
def prelu(site: Site, x: ArraySpec, num_parameters: int, init: float) -> nnx.Module:
    """X above 0, a learned slope times x below (He et al., 2015)."""
    del site
    if num_parameters > 1 and x.size(-1) != num_parameters:
        raise ShapeError(
            f"has {num_parameters} slopes (num_parameters), but the last axis of its input {x} is {x.size(-1)}"
        )
    return PReLU(num_parameters, init)


class RReLU(nnx.Module):
    """Leaky ReLU whose slope is drawn anew for each element while training.

    Args:
      lower: Least slope.
      upper: Greatest slope.
      layer: Number of the layer's source of noise.

    References: Xu et al., Empirical evaluation of rectified activations, 2015.
    """

    def __init__(self, lower: float, upper: float, layer: int):
        self.lower = lower
        self.upper = upper
        self.layer = layer
        self.deterministic = False

    def __call__(self, x: Float[Array, "*any"]) -> Float[Array, "*any"]:
        """X above 0, slope * x below; the mean slope when evaluating."""
        batch = current_batch()
        if self.deterministic:
            return jnp.where(x > 0, x, x * ((self.lower + self.upper) / 2))
        if batch.seed is None:
            raise ConfigError(
                "rrelu: needs randomness while training, and there is none outside of jdl's training.\n"
                "Hint: switch it off with model.eval()."
            )
        uniform = batch_uniform(batch, self.layer, x.shape).astype(x.dtype)
        return jnp.where(x > 0, x, x * (self.lower + (self.upper - self.lower) * uniform))


@layer_kind(
    lower=Field("float", 1 / 8, doc="Least slope below 0."),
    upper=Field("float", 1 / 3, doc="Greatest slope below 0."),
)
def rrelu(site: Site, x: ArraySpec, lower: float, upper: float) -> nnx.Module:
    """X above 0, below it x times a slope drawn for each element while training, the mean slope later."""
    del x
    if lower > upper:
        raise ConfigError(f"layer '{site.id or 'rrelu'}': lower ({lower}) must not exceed upper ({upper}).")
    return RReLU(lower, upper, stream(site, 0))


KINDS = (
    *PLAIN,
    elu,
    celu,
    gelu,
    hardshrink,
    softshrink,
    hardtanh,
    leaky_relu,
    softplus,
    threshold,
    softmax,
    log_softmax,
    softmin,
    prelu,
    rrelu,
)
