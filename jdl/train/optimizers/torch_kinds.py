"""The five optimizers of PyTorch that mlr3torch has, with PyTorch's semantics; tests compare them in float64."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jdl.core.fields import REQUIRED
from jdl.train.factors import Rates, decayed, descended
from jdl.train.optimizers.fields import BETAS, Hyper, Kind, coupled, decoupled, eps, flag, lr, number, pair


def _adam(hyper: Hyper, flags: frozenset[str], rates: Rates) -> optax.GradientTransformation:
    return optax.chain(decayed(rates), scale_by_adam(hyper, flags), descended(rates))


def _adamw(hyper: Hyper, flags: frozenset[str], rates: Rates) -> optax.GradientTransformation:
    return optax.chain(scale_by_adam(hyper, flags), decayed(rates), descended(rates))


def scale_by_adam(hyper: Hyper, flags: frozenset[str] = frozenset()) -> optax.GradientTransformation:
    """Adam's direction; with the flag "amsgrad" over the largest average of squared gradients so far."""
    b1, b2 = hyper["betas"][0], hyper["betas"][1]
    if "amsgrad" in flags:
        return _scale_by_amsgrad(b1, b2, hyper["eps"])
    return optax.scale_by_adam(b1=b1, b2=b2, eps=hyper["eps"])


def _scale_by_amsgrad(b1: Any, b2: Any, epsilon: Any) -> optax.GradientTransformation:
    """PyTorch's: the largest average is kept before its bias is corrected, unlike `optax.scale_by_amsgrad`."""

    def init(params: Any) -> Any:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return jnp.zeros((), jnp.int32), zeros, zeros, zeros

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        del params
        count, mean, square, largest = state
        count = count + 1
        mean = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, mean, updates)
        square = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, square, updates)
        largest = jax.tree.map(jnp.maximum, largest, square)
        first, second = 1 - b1**count, jnp.sqrt(1 - b2**count)
        moved = jax.tree.map(lambda m, v: (m / first) / (jnp.sqrt(v) / second + epsilon), mean, largest)
        return moved, (count, mean, square, largest)

    return optax.GradientTransformation(init, update)


def _sgd(hyper: Hyper, flags: frozenset[str], rates: Rates) -> optax.GradientTransformation:
    chain = [decayed(rates)] if "weight_decay" in flags else []
    if "momentum" in flags:
        chain.append(_momentum(hyper["momentum"], hyper["dampening"], "nesterov" in flags))
    return optax.chain(*chain, descended(rates))


def _momentum(decay: Any, dampening: Any, nesterov: bool) -> optax.GradientTransformation:
    """PyTorch's momentum: the first step takes the whole gradient, later ones `1 - dampening` of it.

    `optax.trace` knows no dampening.
    """

    def init(params: Any) -> Any:
        return jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, params)

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        del params
        count, trace = state
        share = jnp.where(count == 0, 1.0, 1.0 - dampening)
        trace = jax.tree.map(lambda t, g: decay * t + share * g, trace, updates)
        ahead = jax.tree.map(lambda t, g: g + decay * t, trace, updates) if nesterov else trace
        return ahead, (count + 1, trace)

    return optax.GradientTransformation(init, update)


def _rmsprop(hyper: Hyper, flags: frozenset[str], rates: Rates) -> optax.GradientTransformation:
    chain = [decayed(rates), _scale_by_rms(hyper["alpha"], hyper["eps"], "centered" in flags)]
    if "momentum" in flags:
        chain.append(optax.trace(hyper["momentum"]))
    return optax.chain(*chain, descended(rates))


def _scale_by_rms(alpha: Any, epsilon: Any, centered: bool) -> optax.GradientTransformation:
    """PyTorch's: `eps` is added to the root; Optax adds it to the square."""

    def init(params: Any) -> Any:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return (zeros, zeros) if centered else (zeros,)

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        del params
        square = jax.tree.map(lambda v, g: alpha * v + (1 - alpha) * g * g, state[0], updates)
        if not centered:
            return jax.tree.map(lambda g, v: g / (jnp.sqrt(v) + epsilon), updates, square), (square,)
        mean = jax.tree.map(lambda m, g: alpha * m + (1 - alpha) * g, state[1], updates)
        # Rounding may bring the variance below 0, whose root PyTorch would have as NaN.
        moved = jax.tree.map(
            lambda g, v, m: g / (jnp.sqrt(jnp.maximum(v - m * m, 0.0)) + epsilon), updates, square, mean
        )
        return moved, (square, mean)

    return optax.GradientTransformation(init, update)


def _adagrad(hyper: Hyper, flags: frozenset[str], rates: Rates) -> optax.GradientTransformation:
    del flags

    def init(params: Any) -> Any:
        start = hyper["initial_accumulator_value"]
        return jnp.zeros((), jnp.int32), jax.tree.map(lambda p: jnp.zeros_like(p) + start, params)

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        del params
        count, total = state
        total = jax.tree.map(lambda s, g: s + g * g, total, updates)
        share = 1 / (1 + count * hyper["lr_decay"])
        moved = jax.tree.map(lambda g, s: share * g / (jnp.sqrt(s) + hyper["eps"]), updates, total)
        return moved, (count + 1, total)

    return optax.chain(decayed(rates), optax.GradientTransformation(init, update), descended(rates))


_AMSGRAD = flag(False, "Divide by the largest average of squared gradients so far, not by the last one.")
_MOMENTUM = number(0.0, 1.0, doc="Decay of the running sum of updates; 0 keeps none.")

KINDS = {
    "adam": Kind(
        {
            "lr": lr(1e-3),
            "betas": pair(0.9, 0.999, BETAS),
            "eps": eps(),
            "weight_decay": coupled(),
            "amsgrad": _AMSGRAD,
        },
        _adam,
        ("amsgrad",),
    ),
    "adamw": Kind(
        {
            "lr": lr(1e-3),
            "betas": pair(0.9, 0.999, BETAS),
            "eps": eps(),
            "weight_decay": decoupled(0.01),
            "amsgrad": _AMSGRAD,
        },
        _adamw,
        ("amsgrad",),
    ),
    "sgd": Kind(
        {
            "lr": lr(REQUIRED),
            "momentum": _MOMENTUM,
            "dampening": number(0.0, 1.0, doc="Share of each new gradient that is left out of the running sum."),
            "weight_decay": coupled(),
            "nesterov": flag(False, "Look ahead along the momentum."),
        },
        _sgd,
        # The others always have all their terms: their decay costs little, and 0 is then no special value.
        ("momentum", "weight_decay", "nesterov"),
    ),
    "rmsprop": Kind(
        {
            "lr": lr(0.01),
            "alpha": number(0.99, 1.0, doc="Decay rate of the running average of squared gradients."),
            "eps": eps(),
            "weight_decay": coupled(),
            "momentum": _MOMENTUM,
            "centered": flag(False, "Divide by an estimate of the gradient's deviation, not of its size."),
        },
        _rmsprop,
        ("momentum", "centered"),
    ),
    "adagrad": Kind(
        {
            "lr": lr(0.01),
            "lr_decay": number(0.0, 1.0, doc="The learning rate of step t (from 0) is lr / (1 + t lr_decay)."),
            "weight_decay": coupled(),
            "initial_accumulator_value": number(0.0, doc="What the sums of squared gradients begin with."),
            "eps": eps(1e-10),
        },
        _adagrad,
    ),
}
