"""Modules of others inside jdl's programs: parts that know nothing of populations and padding are replaced."""

from typing import Any

from flax import nnx

from jdl.core.errors import ConfigError
from jdl.networks.dropout import Dropout
from jdl.networks.noise import forget_own_noise
from jdl.networks.norm import BatchNorm


def adopted(model: nnx.Module, owner: str) -> nnx.Module:
    """The module, in place, with jdl's dropout and batch norm for flax's.

    jdl's dropout needs no random state of its own; its batch norm does not see padded rows. It keeps the values, the
    epsilon and the momentum of flax's, but the unbiased running variance, as PyTorch does.

    Args:
      model: Built by code that knows nothing of jdl.
      owner: For the message.

    Raises:
      ConfigError: It keeps random state elsewhere, or normalises a batch over other axes.

    >>> net = adopted(nnx.Sequential(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), nnx.Dropout(0.5, rngs=nnx.Rngs(0))), "net")
    >>> type(net.layers[1]).__module__
    'jdl.networks.dropout'
    """
    own: dict[int, nnx.Module] = {}
    modules = [module for _, module in nnx.iter_modules(model)]
    for module in modules:
        if isinstance(module, nnx.Dropout):
            own[id(module)] = _dropout(module, sum(isinstance(m, Dropout) for m in own.values()))
        elif isinstance(module, nnx.BatchNorm):
            own[id(module)] = _batch_norm(module, owner)
    for module in modules:
        if id(module) not in own:
            _replace_children(module, own)
    adopted_model = own.get(id(model), model)
    forget_own_noise(adopted_model)
    _refuse_random_state(adopted_model, owner)
    return adopted_model


def _replace_children(module: Any, own: dict[int, nnx.Module]) -> None:
    if isinstance(module, nnx.List):
        for i, each in enumerate(module):
            if id(each) in own:
                module[i] = own[id(each)]
        return
    for name, value in list(vars(module).items()):
        if id(value) in own:
            setattr(module, name, own[id(value)])


def _dropout(dropout: nnx.Dropout, number: int) -> Dropout:
    # A name that no hyperparameter has: the rate stays the module's.
    return Dropout(dropout.rate, hyper=f"<{number}>", layer=number, shared=tuple(dropout.broadcast_dims))


def _batch_norm(norm: nnx.BatchNorm, owner: str) -> BatchNorm:
    if norm.axis != -1 or norm.use_scale != norm.use_bias or norm.axis_name is not None:
        raise ConfigError(
            f"{owner}: holds an nnx.BatchNorm with axis={norm.axis}, use_scale={norm.use_scale}, "
            f"use_bias={norm.use_bias}, axis_name={norm.axis_name}, for which padded rows would count.\n"
            "Hint: jdl.networks.BatchNorm, which leaves them out; features on the last axis."
        )
    features: Any = norm.num_features
    new = BatchNorm(features, momentum=1.0 - norm.momentum, eps=norm.epsilon, affine=norm.use_scale)
    new.mean, new.var, new.scale, new.bias = norm.mean, norm.var, norm.scale, norm.bias  # pyright: ignore
    return new


def _refuse_random_state(model: Any, owner: str) -> None:
    state = nnx.state(model, nnx.RngState)
    paths = [".".join(map(str, path)) for path, _ in nnx.to_flat_state(state)]
    if paths:
        raise ConfigError(
            f"{owner}: keeps JAX random state at '{paths[0]}', which runs that share a program cannot carry.\n"
            "Hint: nnx.Dropout and jdl.networks.Dropout are fine; elsewhere switch the noise off."
        )
