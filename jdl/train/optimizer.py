"""Optimizers: a name, its structure, and hyperparameters that are arrays at run time.

An `Optimizer` holds values only. Its `structure` (name, flags, groups) is part of a program; its `dynamic` values
travel in the train state, so that members of a population may differ in them and a change of value compiles nothing.
The Optax transformation is made from both inside the step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jdl.core.catalogue import Catalogue
from jdl.core.errors import ConfigError, ConfigTypeError, UnknownNameError
from jdl.core.fields import Field, with_defaults
from jdl.train.copies import by_copy
from jdl.train.factors import Factors, Rates, descended
from jdl.train.optimizers import groups as param_groups
from jdl.train.optimizers import optax_kinds, torch_kinds
from jdl.train.optimizers.fields import Hyper, Kind
from jdl.train.optimizers.groups import GroupStructure, ParamGroup, as_groups, check_groups

KINDS: dict[str, Kind] = torch_kinds.KINDS | optax_kinds.KINDS
TRANSFORMATION = "optax"  # name of an optimizer that is an Optax transformation of the user's own
_SHARED: dict[str, Field] = {
    "accumulate": Field(
        "int",
        1,
        low=1,
        dynamic=True,
        doc="Batches whose gradients make one step, as those of one batch of all their rows.",
    ),
    "groups": Field("any", (), doc="Parameter groups with a learning rate or decay of their own; see ParamGroup."),
}
FIELDS: dict[str, dict[str, Field]] = {name: kind.fields | _SHARED for name, kind in KINDS.items()}


@dataclass(frozen=True)
class OptimizerStructure:
    """The static part of an optimizer: which buffers it keeps and which terms it has."""

    name: str
    flags: tuple[str, ...] = ()
    groups: tuple[GroupStructure, ...] = ()
    transform: optax.GradientTransformation | None = None

    def transformation(self, hyper: Hyper, factors: Factors | None = None) -> optax.GradientTransformation:
        """The Optax transformation with these values of the hyperparameters (scalars or traced arrays).

        Args:
          hyper: By name; those of groups as "groups.0.lr".
          factors: Of learning rate and weight decay, by the path of a parameter; None for 1 everywhere.
        """
        rates = Rates(hyper, self.groups, factors)
        if self.transform is not None:
            return optax.chain(by_copy(_naming_errors(self.transform)), descended(rates, sign=1.0))
        built = KINDS[self.name].build(hyper, frozenset(self.flags), rates)
        if not any(group.frozen for group in self.groups):
            return built
        # What an optimizer computes from averages would move frozen parameters by rounding.
        return optax.chain(built, descended(Rates({}, [replace(g, sets=()) for g in self.groups]), sign=1.0))

    def evaluated(self, hyper: Hyper, state: Any, params: Any) -> Any:
        """The parameters that predict, from the transformation's state and the parameters that are trained."""
        evaluate = None if self.transform is not None else KINDS[self.name].evaluate
        if evaluate is None:
            return params
        return evaluate(hyper, state[0] if any(group.frozen for group in self.groups) else state, params)

    @property
    def averages(self) -> bool:
        """Whether other parameters predict than those that are trained."""
        return self.transform is None and KINDS[self.name].evaluate is not None

    def has_term(self, name: str) -> bool:
        """Whether a hyperparameter acts: some optimizers leave a term out where its value is 0."""
        return self.transform is not None or name not in KINDS[self.name].structural or name in self.flags

    @property
    def accumulates(self) -> bool:
        """Whether a step may take the gradients of several batches."""
        return "accumulate" in self.flags

    @property
    def fields(self) -> dict[str, Field]:
        """Its hyperparameters, those of its groups as "groups.0.lr"."""
        own = _SHARED if self.transform is not None else FIELDS[self.name]
        return own | {f"groups.{i}.{n}": param_groups.FIELDS[n] for i, g in enumerate(self.groups) for n in g.sets}

    def check(self, names: Sequence[str]) -> None:
        """Refuses parameter groups that do not fit a network with parameters of these names.

        Raises:
          ConfigError: A group matches nothing.
        """
        check_groups(f"optimizer '{self.name}'", self.groups, names)


@dataclass(frozen=True)
class Optimizer:
    """An optimizer by name with a value for each hyperparameter.

    Args:
      name: Of the catalogue, or "optax" for a transformation of one's own.
      values: Pairs of name and value.
      transform: The transformation.

    >>> Optimizer.named("sgd", lr=0.1).structure.flags
    ()
    >>> Optimizer.named("sgd", lr=0.1, momentum=0.9).structure.flags
    ('momentum',)
    """

    name: str
    values: tuple[tuple[str, Any], ...]
    transform: optax.GradientTransformation | None = None

    @classmethod
    def named(cls, name: str, **given: Any) -> "Optimizer":
        """The optimizer of that name; hyperparameters not given take their defaults.

        Raises:
          ConfigError: An unknown hyperparameter, or a value out of range.
        """
        if name not in KINDS:
            raise UnknownNameError.of("optimizer", name, KINDS)
        return cls(name, ()).set(**given)

    @classmethod
    def of(cls, transform: optax.GradientTransformation, **given: Any) -> "Optimizer":
        """The optimizer that an Optax transformation is; its own hyperparameters are fixed.

        Each transformation made anew is another program: make it once.

        Args:
          transform: Takes gradients to updates, the learning rate included.
          given: `accumulate` and `groups`, which can set `lr_factor` and `frozen`.

        Raises:
          ConfigError: An unknown hyperparameter, a value out of range, or a transformation that needs more than
            gradients and parameters, such as the loss or the function that computes it.

        >>> Optimizer.of(optax.yogi(0.01), groups=[ParamGroup(lambda names: names[:1], frozen=True)]).name
        'optax'
        """
        _check_arguments(transform)
        return cls(TRANSFORMATION, (), transform).set(**given)

    @property
    def _own_fields(self) -> dict[str, Field]:
        return _SHARED if self.transform is not None else FIELDS[self.name]

    @property
    def groups(self) -> tuple[ParamGroup, ...]:
        """Its parameter groups."""
        return dict(self.values)["groups"]

    @property
    def fields(self) -> dict[str, Field]:
        """Its hyperparameters, those of its groups as "groups.0.lr"."""
        return self.structure.fields

    def get(self, name: str) -> Any:
        """The value of one hyperparameter."""
        if name.startswith("groups."):
            _, i, of_group = name.split(".")
            return getattr(self.groups[int(i)], of_group)
        return dict(self.values)[name]

    def set(self, **given: Any) -> "Optimizer":
        """The same optimizer with other values."""
        who = f"optimizer '{self.name}'"
        of_groups = {n: given.pop(n) for n in list(given) if n.startswith("groups.")}
        values = with_defaults(who, self._own_fields, {**dict(self.values), **given})
        values["groups"] = as_groups(who, values["groups"])
        _check_together(who, values)
        new = Optimizer(self.name, tuple(values.items()), self.transform)
        return new._with_group_values(of_groups) if of_groups else new

    def _with_group_values(self, given: dict[str, Any]) -> "Optimizer":
        groups = list(self.groups)
        for name, value in given.items():
            if name not in self.fields:
                raise UnknownNameError.of("hyperparameter", name, self.fields, owner=f"optimizer '{self.name}'")
            _, i, of_group = name.split(".")
            checked = param_groups.FIELDS[of_group].check(f"optimizer '{self.name}'", name, value)
            groups[int(i)] = replace(groups[int(i)], **{of_group: checked})
        values = dict(self.values) | {"groups": tuple(groups)}
        return replace(self, values=tuple(values.items()))

    @property
    def structure(self) -> OptimizerStructure:
        """Its static part."""
        values = dict(self.values)
        structural = () if self.transform is not None else KINDS[self.name].structural
        flags = [n for n in structural if values[n] or any(n in g.structure.sets for g in self.groups)]
        flags += ["accumulate"] if values["accumulate"] > 1 else []
        return OptimizerStructure(
            self.name, tuple(flags), tuple(group.structure for group in self.groups), self.transform
        )

    def dynamic(self) -> dict[str, np.ndarray]:
        """The values that are arrays at run time."""
        return {n: np.asarray(self.get(n), np.float32) for n, field in self.fields.items() if field.dynamic}

    def has_term(self, name: str) -> bool:
        """Whether a hyperparameter has a term in the program: some optimizers leave it out where the value is 0."""
        if name not in self.fields:
            return False
        return self.get(name) != 0 or self.set(**{name: 0.5}).structure == self.structure

    def optax(self) -> optax.GradientTransformation:
        """The Optax transformation, for use without jdl; `accumulate` is the business of the loop that uses it."""
        return self.structure.transformation({n: self.get(n) for n in self.fields})

    def __repr__(self) -> str:
        shown = {n: v for n, v in self.values if n not in _SHARED or v != _SHARED[n].default}
        inside = ", ".join(f"{n}={v!r}" for n, v in shown.items())
        return f"{self.name}({inside})"


def _naming_errors(transform: optax.GradientTransformation) -> optax.GradientTransformation:
    """The transformation, whose errors are those of the optimizer."""

    def named(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            except Exception as error:
                raise ConfigError(
                    f"optimizer '{TRANSFORMATION}': the transformation fails on the parameters of this network: "
                    f"{type(error).__name__}: {error}"
                ) from error

        return call

    return optax.GradientTransformation(named(transform.init), named(transform.update))


def _check_arguments(transform: optax.GradientTransformation) -> None:
    """Refuses a transformation whose `update` needs more than gradients, state and parameters."""

    def step(params: Any) -> Any:
        return transform.update(params, transform.init(params), params)

    try:
        _, state = jax.eval_shape(step, {"kernel": np.zeros((2, 2), np.float32), "bias": np.zeros(2, np.float32)})
    except TypeError as error:
        # Of wrapped functions no signature says what they need: only calling one does.
        if "required keyword-only argument" in str(error):
            raise ConfigError(
                f"optimizer '{TRANSFORMATION}': a step gives the transformation gradients, its state and the "
                f"parameters, but it needs more: {error}.\n"
                "Hint: line searches and second-order methods such as optax.lbfgs do not fit; optax.adam does."
            ) from error
    except Exception:
        # Made for the parameters of one network, as by a tree of labels: whether it fits shows when a run begins.
        return
    if any(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) for leaf in jax.tree.leaves(state)):
        raise ConfigError(
            f"optimizer '{TRANSFORMATION}': the transformation keeps a random key of JAX's, which the state of a run "
            "does not hold.\nHint: noise on gradients is a callback's business, see examples/07_callbacks.py."
        )


def _check_together(who: str, values: dict[str, Any]) -> None:
    if values.get("nesterov") and "dampening" in values and (values["momentum"] == 0 or values["dampening"] != 0):
        raise ConfigError(
            f"{who}: nesterov=True needs a momentum above 0 and no dampening, got "
            f"momentum={values['momentum']:g}, dampening={values['dampening']:g}."
        )
    if "weight_lr_power" in values and values["betas"][0] == 0:
        raise ConfigError(f"{who}: the first of 'betas' must be above 0, for the average is divided by it.")
    for name in ("lr", "weight_decay"):
        for i, group in enumerate(values["groups"]):
            if name not in values and name in group.structure.sets:
                raise ConfigError(
                    f"{who}: parameter group {i} sets '{name}', which a transformation of one's own has inside.\n"
                    "Hint: lr_factor or frozen; optax.partition gives parts of a network transformations of their own."
                )


def as_optimizer(optimizer: Any, owner: str) -> Optimizer:
    """The optimizer of that name, the optimizer itself, or the one that an Optax transformation is.

    Raises:
      ConfigTypeError: None of them.
    """
    if isinstance(optimizer, str):
        return OPTIMIZERS.make(optimizer)
    if isinstance(optimizer, Optimizer):
        return optimizer
    if isinstance(optimizer, optax.GradientTransformation):
        return Optimizer.of(optimizer)
    raise ConfigTypeError(
        f"{owner}: 'optimizer' must be an optimizer, its name or an Optax transformation, got {optimizer!r}.\n"
        'Hint: jdl.opt("adamw", lr=1e-3).'
    )


def adam(**values: Any) -> Optimizer:
    """Adam with PyTorch's semantics: `weight_decay` is coupled.

    References: Kingma & Ba, Adam, 2015; Reddi et al., On the Convergence of Adam and Beyond, 2018 (amsgrad).

    >>> adam(lr=0.01).get("lr")
    0.01
    """
    return Optimizer.named("adam", **values)


def adamw(**values: Any) -> Optimizer:
    """Adam with decoupled weight decay.

    References: Loshchilov & Hutter, Decoupled Weight Decay Regularization, 2019.

    >>> adamw(groups=["no_decay"]).get("weight_decay")
    0.01
    """
    return Optimizer.named("adamw", **values)


def sgd(**values: Any) -> Optimizer:
    """Stochastic gradient descent with PyTorch's momentum; `lr` is required.

    >>> sgd(lr=0.1, momentum=0.9).get("momentum")
    0.9
    """
    return Optimizer.named("sgd", **values)


def rmsprop(**values: Any) -> Optimizer:
    """Gradients over the root of their running mean square.

    References: Tieleman & Hinton, lecture 6.5, 2012; Graves, Generating Sequences with Recurrent Neural Networks,
    2013 (centered).

    >>> rmsprop(momentum=0.9, centered=True).structure.flags
    ('momentum', 'centered')
    """
    return Optimizer.named("rmsprop", **values)


def adagrad(**values: Any) -> Optimizer:
    """Gradients over the root of the sum of their squares.

    References: Duchi, Hazan & Singer, Adaptive Subgradient Methods, 2011.

    >>> adagrad(lr_decay=0.01).get("lr")
    0.01
    """
    return Optimizer.named("adagrad", **values)


def nadamw(**values: Any) -> Optimizer:
    """AdamW with Nesterov's momentum.

    References: Dozat, Incorporating Nesterov Momentum into Adam, 2016.

    >>> nadamw().get("weight_decay")
    0.0001
    """
    return Optimizer.named("nadamw", **values)


def lamb(**values: Any) -> Optimizer:
    """Adam whose step is scaled, parameter by parameter, to the size of the weights: for large batches.

    References: You et al., Large Batch Optimization for Deep Learning, 2020.

    >>> lamb(lr=0.01).get("eps")
    1e-06
    """
    return Optimizer.named("lamb", **values)


def lion(**values: Any) -> Optimizer:
    """The sign of an average of gradients; takes a learning rate 3 to 10 times below AdamW's, and more decay.

    References: Chen et al., Symbolic Discovery of Optimization Algorithms, 2023.

    >>> lion().get("lr")
    0.0001
    """
    return Optimizer.named("lion", **values)


def adafactor(**values: Any) -> Optimizer:
    """Adam without momentum whose squared averages are kept by rows and columns, from 128 of both on.

    References: Shazeer & Stern, Adafactor: Adaptive Learning Rates with Sublinear Memory Cost, 2018.

    >>> adafactor().structure.flags
    ('multiply_by_parameter_scale',)
    """
    return Optimizer.named("adafactor", **values)


def adabelief(**values: Any) -> Optimizer:
    """Adam that divides by how far gradients are from what was expected.

    References: Zhuang et al., AdaBelief Optimizer, 2020.

    >>> adabelief(lr=0.01).get("betas")
    (0.9, 0.999)
    """
    return Optimizer.named("adabelief", **values)


def radam(**values: Any) -> Optimizer:
    """Adam without its large variance in the first steps: a warm-up that needs no schedule.

    References: Liu et al., On the Variance of the Adaptive Learning Rate and Beyond, 2020.

    >>> radam().get("threshold")
    5.0
    """
    return Optimizer.named("radam", **values)


def muon(**values: Any) -> Optimizer:
    """Momentum made orthogonal by Newton-Schulz steps for matrices, Adam for all other parameters.

    References: Jordan, Muon, 2024; Liu et al., Muon is Scalable for LLM Training, 2025.

    >>> muon(lr=0.02).get("beta")
    0.95
    """
    return Optimizer.named("muon", **values)


def schedule_free(**values: Any) -> Optimizer:
    """AdamW whose weights are averaged along the way, in place of a schedule; the average predicts.

    References: Defazio et al., The Road Less Scheduled, 2024.

    >>> schedule_free().structure.averages
    True
    """
    return Optimizer.named("schedule_free", **values)


_CONSTRUCTORS: tuple[Callable[..., Optimizer], ...] = (
    adam, adamw, sgd, rmsprop, adagrad, nadamw, lamb, lion, adafactor, adabelief, radam, muon, schedule_free,
)  # fmt: skip
OPTIMIZERS = Catalogue("optimizer", {make.__name__: make for make in _CONSTRUCTORS})
