"""Short names for constructors: what users type. Each takes a name, or nothing to list the names."""

from collections.abc import Callable, Sequence
from typing import Any, overload

import optax

from jdl.core.catalogue import Catalogue, Names
from jdl.core.errors import ConfigTypeError, UnknownNameError, shown
from jdl.learners.catalogue import LEARNERS
from jdl.learners.graph_nodes import PARTS
from jdl.learners.learner import Learner
from jdl.measures.catalogue import MEASURES, as_measures
from jdl.measures.measure import Measure
from jdl.networks.block import block
from jdl.networks.branch import branch, unbranch
from jdl.networks.ingress import INGRESSES
from jdl.networks.layer import split_name
from jdl.networks.layers.catalogue import LAYERS
from jdl.networks.own_layer import fn, module
from jdl.pipeline.catalogue import STAGES
from jdl.resampling.catalogue import RESAMPLINGS
from jdl.resampling.splitter import Splitter
from jdl.train.callback import HostCallback, InScanCallback
from jdl.train.callbacks.catalogue import CALLBACKS, as_callbacks
from jdl.train.loss import LOSSES, FunctionLoss, Loss
from jdl.train.optimizer import OPTIMIZERS, Optimizer
from jdl.train.sampler import Sampler
from jdl.train.samplers import SAMPLERS

# What a graph is made of beside layers: stages, and the nodes where data enters a network and where it ends.
OPERATORS = Catalogue("pipeline operator", {**STAGES, **INGRESSES, "branch": branch, "unbranch": unbranch, **PARTS})
NODES = Catalogue("layer", {**LAYERS, "block": block, "fn": fn, "module": module})


def _look_up(catalogue: Catalogue, name: str | None, args: tuple[Any, ...], arguments: dict[str, Any]) -> Any:
    return catalogue.names() if name is None else catalogue.make(name, *args, **arguments)


def _look_up_node(catalogue: Catalogue, name: str | None, args: tuple[Any, ...], arguments: dict[str, Any]) -> Any:
    """As `_look_up`; a number at the end of a name belongs to the id."""
    if name is not None:
        _refuse_of_the_other(catalogue, name)
        name, id = split_name(name, catalogue)
        arguments = arguments if id is None else {"id": id, **arguments}
    return _look_up(catalogue, name, args, arguments)


def _refuse_of_the_other(catalogue: Catalogue, name: Any) -> None:
    """A layer that was asked of `po`, or an operator that was asked of `nn`, is said where to find."""
    other, maker = (OPERATORS, "po") if catalogue is NODES else (NODES, "nn")
    here, there = (split_name(name, each)[0] for each in (catalogue, other))
    if isinstance(name, str) and here not in catalogue and there in other:
        raise UnknownNameError(
            f"Unknown {catalogue.kind} '{name}': it is a {other.kind}.\nHint: jdl.{maker}({name!r}, ...)."
        )


@overload
def tsk() -> Names: ...
@overload
def tsk(name: str, **arguments: Any) -> Any: ...
def tsk(name: str | None = None, **arguments: Any) -> Any:
    """A ready-made task by name; without a name, the list of names.

    >>> tsk("iris").n_rows
    150
    """
    # Loaded here: who brings their own data need not wait for ours.
    from jdl.data.datasets.catalogue import TASKS

    return _look_up(TASKS, name, (), arguments)


@overload
def lrn() -> Names: ...
@overload
def lrn(name: str, **hyperparameters: Any) -> Learner: ...
def lrn(name: str | None = None, **hyperparameters: Any) -> Any:
    """A learner by name; without a name, the list of names.

    >>> lrn("regr.mlp", neurons=(50,)).get("neurons")
    (50,)
    """
    return _look_up(LEARNERS, name, (), hyperparameters)


@overload
def po() -> Names: ...
@overload
def po(name: str, *args: Any, **parameters: Any) -> Any: ...
def po(name: str | None = None, *args: Any, **parameters: Any) -> Any:
    """A pipeline operator by name; without a name, the list of names. `scale_1` is a `scale` with that id.

    >>> (po("scale") >> lrn("classif.mlp")).id
    'scale.classif.mlp'
    """
    return _look_up_node(OPERATORS, name, args, parameters)


@overload
def nn() -> Names: ...
@overload
def nn(name: str, *args: Any, **parameters: Any) -> Any: ...
def nn(name: str | None = None, *args: Any, **parameters: Any) -> Any:
    """A layer of a network graph by name; without a name, the list of names. `linear_1` is a `linear` with that id.

    >>> nn("linear_1", out_features=20)
    <layer 'linear_1'> out_features=20
    """
    return _look_up_node(NODES, name, args, parameters)


@overload
def msr() -> Names: ...
@overload
def msr(name: str, **parameters: Any) -> Measure: ...
def msr(name: str | None = None, **parameters: Any) -> Any:
    """A measure by name; without a name, the list of names.

    >>> msr("classif.acc").id
    'classif.acc'
    """
    return _look_up(MEASURES, name, (), parameters)


def msrs(*measures: str | Measure | Sequence[str | Measure]) -> list[Measure]:
    """Several measures, or their names, one after another or in a list.

    >>> [m.id for m in msrs("classif.acc", "classif.auc")]
    ['classif.acc', 'classif.auc']
    """
    return list(as_measures([m for given in measures for m in (given if isinstance(given, list | tuple) else [given])]))


@overload
def rsmp() -> Names: ...
@overload
def rsmp(name: str, **parameters: Any) -> Splitter: ...
def rsmp(name: str | None = None, **parameters: Any) -> Any:
    """A resampling by name; without a name, the list of names.

    >>> len(rsmp("cv", folds=5).split(tsk("iris")))
    5
    """
    return _look_up(RESAMPLINGS, name, (), parameters)


@overload
def opt() -> Names: ...
@overload
def opt(name: "str | optax.GradientTransformation", **hyperparameters: Any) -> Optimizer: ...
def opt(name: Any = None, **hyperparameters: Any) -> Any:
    """An optimizer by name, or the one that an Optax transformation is; without a name, the list of names.

    >>> opt("adamw", lr=1e-3).get("lr")
    0.001
    """
    if isinstance(name, optax.MultiSteps):
        name = name.gradient_transformation()
    if isinstance(name, optax.GradientTransformation):
        return Optimizer.of(name, **hyperparameters)
    if callable(name):
        raise ConfigTypeError(
            f"opt: expected a name or an Optax transformation, got {shown(name)}.\n"
            "Hint: call what makes the transformation: jdl.opt(optax.yogi(1e-2))."
        )
    return _look_up(OPTIMIZERS, name, (), hyperparameters)


@overload
def loss() -> Names: ...
@overload
def loss(name: "str | Callable[..., Any]", **parameters: Any) -> Loss: ...
def loss(name: Any = None, **parameters: Any) -> Any:
    """A loss by name, or from a function `(output, target) -> loss of each row`; without a name, the list of names.

    >>> loss("mse").id
    'mse'
    """
    if name is not None and callable(name):
        return FunctionLoss(name, **parameters)
    return _look_up(LOSSES, name, (), parameters)


@overload
def sampler() -> Names: ...
@overload
def sampler(name: str, **parameters: Any) -> Sampler: ...
def sampler(name: str | None = None, **parameters: Any) -> Any:
    """A sampler by name: which rows an epoch visits; without a name, the list of names.

    >>> sampler("class_balanced").id
    'class_balanced'
    """
    return _look_up(SAMPLERS, name, (), parameters)


@overload
def cb() -> Names: ...
@overload
def cb(name: str, *args: Any, **parameters: Any) -> InScanCallback | HostCallback: ...
def cb(name: str | None = None, *args: Any, weight: float | None = None, **parameters: Any) -> Any:
    """A callback by name; without a name, the list of names. `weight` moves it before or behind others.

    >>> cb("grad_clip", max_norm=1.0).max_norm
    1.0
    """
    made = _look_up(CALLBACKS, name, args, parameters)
    if weight is None:
        return made
    if isinstance(made, InScanCallback):
        return made.set(weight=weight)
    made.weight = weight
    return made


def cbs(*callbacks: str | InScanCallback | HostCallback) -> list[InScanCallback | HostCallback]:
    """Several callbacks, or their names.

    >>> [callback.id for callback in cbs("history", "ema")]
    ['history', 'ema']
    """
    return list(as_callbacks(list(callbacks), "cbs"))
