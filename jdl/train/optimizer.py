"""Optimizers: a name, its structure, and hyperparameters that are arrays at run time.

An `Optimizer` holds values only. Its `structure` (name and flags) is part of a program; its `dynamic` values travel
in the train state, so that members of a population may differ in them and a change of value compiles nothing. The
Optax transformation is made from both inside the step.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jdl.core.catalogue import Catalogue
from jdl.core.errors import ConfigError, ConfigTypeError
from jdl.core.fields import REQUIRED, Field, check_values, with_defaults
from jdl.train.factors import Factors, decayed, descended

Hyper = Mapping[str, Any]


def _dynamic(default: Any, high: float | None = None, doc: str = "", low: float = 0.0) -> Field:
    return Field("float", default, low=low, high=high, dynamic=True, doc=doc)


_LR = _dynamic(1e-3, doc="Learning rate.")
_BETAS = Field(
    "floats",
    (0.9, 0.999),
    low=0.0,
    high=1.0,
    length=2,
    dynamic=True,
    doc="Decay rates of the running averages of gradient and squared gradient.",
)
_EPS = _dynamic(1e-8, low=1e-16, doc="Added to the root of the squared gradient's average.")
_DECAY = "Weight decay, coupled: added to the gradient as an L2 penalty."
_DECOUPLED = "Weight decay, decoupled: subtracted from the weights, times the learning rate."

FIELDS: dict[str, dict[str, Field]] = {
    "adam": {"lr": _LR, "betas": _BETAS, "eps": _EPS, "weight_decay": _dynamic(0.0, doc=_DECAY)},
    "adamw": {"lr": _LR, "betas": _BETAS, "eps": _EPS, "weight_decay": _dynamic(0.01, doc=_DECOUPLED)},
    "sgd": {
        "lr": _dynamic(REQUIRED, doc="Learning rate."),
        "momentum": _dynamic(0.0, 1.0, doc="Decay of the running sum of gradients."),
        "dampening": _dynamic(0.0, 1.0, doc="Share of each new gradient that is left out of the running sum."),
        "weight_decay": _dynamic(0.0, doc=_DECAY),
        "nesterov": Field("bool", False, doc="Look ahead along the momentum."),
    },
}


@dataclass(frozen=True)
class OptimizerStructure:
    """The static part of an optimizer: which buffers it keeps and which terms it has."""

    name: str
    flags: tuple[str, ...] = ()

    def transformation(self, hyper: Hyper, factors: Factors | None = None) -> optax.GradientTransformation:
        """The Optax transformation with these values of the hyperparameters (scalars or traced arrays).

        Args:
          hyper: By name.
          factors: Of learning rate and weight decay, per parameter; None for 1 everywhere.
        """
        return _BUILDERS[self.name](hyper, frozenset(self.flags), factors)


@dataclass(frozen=True)
class Optimizer:
    """An optimizer by name with a value for each hyperparameter.

    >>> Optimizer.named("sgd", lr=0.1).structure
    OptimizerStructure(name='sgd', flags=())
    >>> Optimizer.named("sgd", lr=0.1, momentum=0.9).structure.flags
    ('momentum',)
    """

    name: str
    values: tuple[tuple[str, Any], ...]

    @classmethod
    def named(cls, name: str, **given: Any) -> "Optimizer":
        """The optimizer of that name; hyperparameters not given take their defaults.

        Raises:
          ConfigError: An unknown hyperparameter, or a value out of range.
        """
        values = with_defaults(f"optimizer '{name}'", FIELDS[name], given)
        if values.get("nesterov") and (values["momentum"] == 0 or values["dampening"] != 0):
            raise ConfigError(
                f"optimizer '{name}': nesterov=True needs a momentum above 0 and no dampening, got "
                f"momentum={values['momentum']:g}, dampening={values['dampening']:g}."
            )
        return cls(name, tuple(values.items()))

    @property
    def fields(self) -> dict[str, Field]:
        """Its hyperparameters."""
        return FIELDS[self.name]

    def get(self, name: str) -> Any:
        """The value of one hyperparameter."""
        return dict(self.values)[name]

    def set(self, **given: Any) -> "Optimizer":
        """The same optimizer with other values."""
        check_values(f"optimizer '{self.name}'", self.fields, given)
        return Optimizer.named(self.name, **{**dict(self.values), **given})

    @property
    def structure(self) -> OptimizerStructure:
        """Its static part."""
        # The others always have all their terms: their decay costs little, and 0 is then no special value.
        structural = ("momentum", "weight_decay", "nesterov") if self.name == "sgd" else ()
        return OptimizerStructure(self.name, tuple(name for name in structural if self.get(name)))

    def dynamic(self) -> dict[str, np.ndarray]:
        """The values that are arrays at run time."""
        return {n: np.asarray(v, np.float32) for n, v in self.values if self.fields[n].dynamic}

    def optax(self) -> optax.GradientTransformation:
        """The Optax transformation, for use without jdl."""
        return self.structure.transformation(dict(self.values))

    def __repr__(self) -> str:
        inside = ", ".join(f"{n}={v!r}" for n, v in self.values)
        return f"{self.name}({inside})"


def as_optimizer(optimizer: "Optimizer | str", owner: str) -> Optimizer:
    """The optimizer of that name or the optimizer itself.

    Raises:
      ConfigTypeError: Neither an optimizer nor a name.
    """
    if isinstance(optimizer, str):
        return OPTIMIZERS.make(optimizer)
    if isinstance(optimizer, Optimizer):
        return optimizer
    raise ConfigTypeError(
        f"{owner}: 'optimizer' must be an optimizer or its name, got {optimizer!r}.\nHint: jdl.opt(\"adamw\", lr=1e-3)."
    )


def _adam(hyper: Hyper, flags: frozenset[str], factors: Factors | None) -> optax.GradientTransformation:
    del flags
    return optax.chain(
        decayed(hyper["weight_decay"], factors),
        _scale_by_adam(hyper),
        descended(hyper["lr"], factors),
    )


def _adamw(hyper: Hyper, flags: frozenset[str], factors: Factors | None) -> optax.GradientTransformation:
    del flags
    return optax.chain(
        _scale_by_adam(hyper),
        decayed(hyper["weight_decay"], factors),
        descended(hyper["lr"], factors),
    )


def _scale_by_adam(hyper: Hyper) -> optax.GradientTransformation:
    return optax.scale_by_adam(b1=hyper["betas"][0], b2=hyper["betas"][1], eps=hyper["eps"])


def _sgd(hyper: Hyper, flags: frozenset[str], factors: Factors | None) -> optax.GradientTransformation:
    chain = [decayed(hyper["weight_decay"], factors)] if "weight_decay" in flags else []
    if "momentum" in flags:
        chain.append(_momentum(hyper["momentum"], hyper["dampening"], "nesterov" in flags))
    return optax.chain(*chain, descended(hyper["lr"], factors))


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


_BUILDERS: dict[str, Callable[[Hyper, frozenset[str], Factors | None], optax.GradientTransformation]] = {
    "adam": _adam,
    "adamw": _adamw,
    "sgd": _sgd,
}


def adam(**values: Any) -> Optimizer:
    """Adam with PyTorch's semantics: `weight_decay` is coupled.

    References: Kingma & Ba, Adam, 2015.

    >>> adam(lr=0.01).get("lr")
    0.01
    """
    return Optimizer.named("adam", **values)


def adamw(**values: Any) -> Optimizer:
    """Adam with decoupled weight decay.

    References: Loshchilov & Hutter, Decoupled Weight Decay Regularization, 2019.

    >>> adamw().get("weight_decay")
    0.01
    """
    return Optimizer.named("adamw", **values)


def sgd(**values: Any) -> Optimizer:
    """Stochastic gradient descent with PyTorch's momentum; `lr` is required.

    >>> sgd(lr=0.1, momentum=0.9).get("momentum")
    0.9
    """
    return Optimizer.named("sgd", **values)


OPTIMIZERS = Catalogue("optimizer", {"adam": adam, "adamw": adamw, "sgd": sgd})
