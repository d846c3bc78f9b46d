"""Optax's own optimizers, with Optax's semantics; weight decay is decoupled and takes the learning rate's factor.

What does not compute element by element stands in `by_copy`.
"""

from typing import Any

import jax
import optax
import optax.contrib

from jdl.train.copies import by_copy
from jdl.train.factors import Rates, decayed, descended
from jdl.train.optimizers.fields import BETAS, Hyper, Kind, decoupled, eps, flag, lr, number, pair


def _nadamw(hyper: Hyper, flags: frozenset[str], rates: Rates) -> optax.GradientTransformation:
    del flags
    scaled = optax.scale_by_adam(hyper["betas"][0], hyper["betas"][1], hyper["eps"], nesterov=True)
    return optax.chain(scaled, decayed(rates), descended(rates))


def _lamb(hyper: Hyper, flags: frozenset[str], rates: Rates) -> optax.GradientTransformation:
    del flags
    scaled = optax.scale_by_adam(hyper["betas"][0], hyper["betas"][1], hyper["eps"])
    return optax.chain(scaled, decayed(rates), by_copy(optax.scale_by_trust_ratio()), descended(rates))


def _lion(hyper: Hyper, flags: frozenset[str], rates: Rates) -> optax.GradientTransformation:
    del flags
    return optax.chain(optax.scale_by_lion(hyper["betas"][0], hyper["betas"][1]), decayed(rates), descended(rates))


def _adafactor(hyper: Hyper, flags: frozenset[str], rates: Rates) -> optax.GradientTransformation:
    chain: list[Any] = [
        optax.scale_by_factored_rms(decay_rate=hyper["decay_rate"], epsilon=hyper["eps"]),
        optax.clip_by_block_rms(hyper["clipping_threshold"]),
    ]
    if "multiply_by_parameter_scale" in flags:
        chain.append(optax.scale_by_param_block_rms())
    return optax.chain(by_copy(optax.chain(*chain)), decayed(rates), descended(rates))


def _adabelief(hyper: Hyper, flags: frozenset[str], rates: Rates) -> optax.GradientTransformation:
    del flags
    scaled = optax.scale_by_belief(hyper["betas"][0], hyper["betas"][1], hyper["eps"])
    return optax.chain(scaled, decayed(rates), descended(rates))


def _radam(hyper: Hyper, flags: frozenset[str], rates: Rates) -> optax.GradientTransformation:
    del flags
    scaled = optax.scale_by_radam(hyper["betas"][0], hyper["betas"][1], hyper["eps"], threshold=hyper["threshold"])
    return optax.chain(scaled, decayed(rates), descended(rates))


def _muon(hyper: Hyper, flags: frozenset[str], rates: Rates) -> optax.GradientTransformation:
    """Muon for matrices, Adam for everything else, as `optax.contrib.muon` has it."""
    nesterov = "nesterov" in flags
    # With its own rate 1 and no decay, the transformation gives minus the direction.
    scaled = optax.contrib.muon(
        1.0,
        beta=hyper["beta"],
        eps=hyper["eps"],
        nesterov=nesterov,
        adam_b1=hyper["betas"][0],
        adam_b2=hyper["betas"][1],
    )
    return optax.chain(by_copy(scaled), optax.scale(-1.0), decayed(rates), descended(rates))


def _schedule_free(hyper: Hyper, flags: frozenset[str], rates: Rates) -> optax.GradientTransformation:
    del flags
    base = optax.chain(
        optax.scale_by_rms(decay=hyper["betas"][1], eps=hyper["eps"], eps_in_sqrt=False, bias_correction=True),
        decayed(rates),
        descended(rates),
    )
    return optax.contrib.schedule_free(
        base, hyper["lr"], b1=hyper["betas"][0], weight_lr_power=hyper["weight_lr_power"]
    )


def _averaged(hyper: Hyper, state: Any, params: Any) -> Any:
    """The average of the path, x, from y (the parameters) and z (in the state)."""
    b1 = hyper["betas"][0]
    return jax.tree.map(lambda y, z: (y - (1.0 - b1) * z) / b1, params, state.z)


KINDS = {
    "nadamw": Kind(
        {
            "lr": lr(1e-3),
            "betas": pair(0.9, 0.999, BETAS),
            "eps": eps(),
            "weight_decay": decoupled(1e-4),
        },
        _nadamw,
    ),
    "lamb": Kind(
        {
            "lr": lr(1e-3),
            "betas": pair(0.9, 0.999, BETAS),
            "eps": eps(1e-6),
            "weight_decay": decoupled(0.0),
        },
        _lamb,
    ),
    "lion": Kind(
        {
            "lr": lr(1e-4),
            "betas": pair(0.9, 0.99, "Share of the average in a step, and decay rate of the average."),
            "weight_decay": decoupled(1e-3),
        },
        _lion,
    ),
    "adafactor": Kind(
        {
            "lr": lr(0.01),
            "decay_rate": number(0.8, doc="The average of step t forgets with the rate t^-decay_rate."),
            "clipping_threshold": number(1.0, low=1e-6, doc="Root mean square above which an update is clipped."),
            "eps": number(1e-30, low=1e-38, doc="Added to the squared gradient."),
            "weight_decay": decoupled(0.0),
            "multiply_by_parameter_scale": flag(True, "Multiply the step of a parameter by its root mean square."),
        },
        _adafactor,
        ("multiply_by_parameter_scale",),
    ),
    "adabelief": Kind(
        {
            "lr": lr(1e-3),
            "betas": pair(0.9, 0.999, "Decay rates of the averages of the gradient and of its squared surprise."),
            "eps": eps(1e-16),
            "weight_decay": decoupled(0.0),
        },
        _adabelief,
    ),
    "radam": Kind(
        {
            "lr": lr(1e-3),
            "betas": pair(0.9, 0.999, BETAS),
            "eps": eps(),
            "threshold": number(5.0, low=4.0, doc="Length of the average from which on its variance is rectified."),
            "weight_decay": decoupled(0.0),
        },
        _radam,
    ),
    "muon": Kind(
        {
            "lr": lr(1e-3),
            "beta": number(0.95, 1.0, doc="Decay rate of the running average of a matrix's gradient."),
            "betas": pair(0.9, 0.999, "Those of Adam, which moves what is no matrix."),
            "eps": eps(),
            "weight_decay": decoupled(0.0),
            "nesterov": flag(True, "Look ahead along the momentum."),
        },
        _muon,
        ("nesterov",),
    ),
    "schedule_free": Kind(
        {
            "lr": lr(2.5e-3),
            "betas": pair(
                0.9, 0.999, "Share of the average in what the gradient is taken at; that of squared gradients."
            ),
            "eps": eps(),
            "weight_decay": decoupled(0.0),
            "weight_lr_power": number(2.0, doc="A step counts in the average by its learning rate to this power."),
        },
        _schedule_free,
        evaluate=_averaged,
    ),
}
