"""Modules of others inside jdl's programs: parts that know nothing of populations and padding are replaced."""

from contextlib import suppress
from typing import Any

import jax
from flax import nnx

from jdl.core.errors import ConfigError
from jdl.networks.dropout import Dropout
from jdl.networks.noise import forget_own_noise
from jdl.networks.norm import BatchNorm


def adopted(model: nnx.Module, owner: str, *, built: bool = True) -> nnx.Module:
    """The module, in place, with jdl's dropout and batch norm for flax's.

    jdl's dropout needs no random state of its own; its batch norm does not see padded rows. It keeps the values, the
    epsilon and the momentum of flax's, but the unbiased running variance, as PyTorch does. One that was made to use
    its running statistics goes on doing so while training.

    Args:
      model: Built by code that knows nothing of jdl.
      owner: For the message.
      built: Whether it comes from its constructor; an object may have been switched to evaluation as a whole.

    Raises:
      ConfigError: It keeps random state elsewhere, normalises a batch over other axes, or hides such a part.

    >>> net = adopted(nnx.Sequential(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), nnx.Dropout(0.5, rngs=nnx.Rngs(0))), "net")
    >>> type(net.layers[1]).__module__
    'jdl.networks.dropout'
    """
    own: dict[int, nnx.Module] = {}
    parts: list[Any] = [part for _, part in nnx.iter_graph(model) if isinstance(part, nnx.Pytree)]
    mode_is_meant = built or not all(_evaluates(part) for part in parts)
    for part in parts:
        if isinstance(part, nnx.Dropout):
            own[id(part)] = _dropout(part, sum(isinstance(m, Dropout) for m in own.values()))
        elif isinstance(part, nnx.BatchNorm):
            own[id(part)] = _batch_norm(part, owner, frozen=mode_is_meant and bool(part.use_running_average))
    for part in parts:
        if id(part) not in own:
            _replace_children(part, own)
    adopted_model = own.get(id(model), model)
    forget_own_noise(adopted_model)
    _refuse_others(adopted_model, owner)
    _refuse_random_state(adopted_model, owner)
    return adopted_model


def _evaluates(part: Any) -> bool:
    """Whether a module is in evaluation, or knows no modes."""
    return bool(getattr(part, "deterministic", True)) and bool(getattr(part, "use_running_average", True))


def _replace_children(part: Any, own: dict[int, nnx.Module]) -> None:
    if isinstance(part, nnx.List):
        for i, value in enumerate(part):
            part[i] = _replaced(value, own)
        return
    for name, value in list(vars(part).items()):
        new = _replaced(value, own)
        if new is not value:
            with suppress(AttributeError):  # of a frozen object: what stays in it is refused by name
                setattr(part, name, new)


def _replaced(value: Any, own: dict[int, nnx.Module]) -> Any:
    """A child, or the tuple or dict that it is, with what takes the place of its modules."""
    if isinstance(value, nnx.Pytree | nnx.Variable):
        return own.get(id(value), value)

    def is_leaf(each: Any) -> bool:
        return isinstance(each, nnx.Pytree | nnx.Variable)

    if not any(id(leaf) in own for leaf in jax.tree.leaves(value, is_leaf=is_leaf)):
        return value
    return nnx.data(jax.tree.map(lambda leaf: own.get(id(leaf), leaf), value, is_leaf=is_leaf))


def _dropout(dropout: nnx.Dropout, number: int) -> Dropout:
    # A name that no hyperparameter has: the rate stays the module's.
    return Dropout(dropout.rate, hyper=f"<{number}>", layer=number, shared=tuple(dropout.broadcast_dims))


def _batch_norm(norm: nnx.BatchNorm, owner: str, *, frozen: bool) -> BatchNorm:
    if norm.axis != -1 or norm.use_scale != norm.use_bias or norm.axis_name is not None:
        raise ConfigError(
            f"{owner}: holds an nnx.BatchNorm with axis={norm.axis}, use_scale={norm.use_scale}, "
            f"use_bias={norm.use_bias}, axis_name={norm.axis_name}, for which padded rows would count.\n"
            "Hint: jdl.networks.BatchNorm, which leaves them out; features on the last axis."
        )
    features: Any = norm.num_features
    options: Any = {"momentum": 1.0 - norm.momentum, "eps": norm.epsilon, "affine": norm.use_scale}
    new = BatchNorm(features, frozen=frozen, **options)
    new.mean, new.var, new.scale, new.bias = norm.mean, norm.var, norm.scale, norm.bias  # pyright: ignore
    return new


def _refuse_others(model: Any, owner: str) -> None:
    for path, part in nnx.iter_graph(model):
        if isinstance(part, nnx.Dropout | nnx.BatchNorm):
            raise ConfigError(
                f"{owner}: holds an nnx.{type(part).__name__} at '{'.'.join(map(str, path))}', where jdl's cannot take "
                "its place: padded rows would count, or noise would differ between runs.\n"
                "Hint: an attribute, nnx.List or nnx.Dict, or jdl.networks.BatchNorm and jdl.networks.Dropout."
            )


def _refuse_random_state(model: Any, owner: str) -> None:
    state = nnx.state(model, nnx.RngState)
    paths = [".".join(map(str, path)) for path, _ in nnx.to_flat_state(state)]
    if paths:
        raise ConfigError(
            f"{owner}: keeps JAX random state at '{paths[0]}', which runs that share a program cannot carry.\n"
            "Hint: nnx.Dropout and jdl.networks.Dropout are fine; elsewhere switch the noise off."
        )
