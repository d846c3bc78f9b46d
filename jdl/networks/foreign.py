"""Modules of others inside jdl's programs: their random state is replaced by what populations can carry."""

from typing import Any

from flax import nnx

from jdl.core.errors import ConfigError
from jdl.networks.dropout import Dropout


def adopted(model: nnx.Module, owner: str) -> nnx.Module:
    """The module, in place, with jdl's dropout for flax's, whose noise needs no state of its own.

    Args:
      model: Built by code that knows nothing of jdl.
      owner: For the message.

    Raises:
      ConfigError: It keeps random state elsewhere.

    >>> net = adopted(nnx.Sequential(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), nnx.Dropout(0.5, rngs=nnx.Rngs(0))), "net")
    >>> type(net.layers[1]).__module__
    'jdl.networks.dropout'
    """
    number = 0
    for _, module in list(nnx.iter_modules(model)):
        for name, value in list(vars(module).items()):
            if isinstance(value, nnx.Dropout):
                setattr(module, name, _own(value, number))
                number += 1
            elif isinstance(value, nnx.List):
                for i, each in enumerate(value):
                    if isinstance(each, nnx.Dropout):
                        value[i] = _own(each, number)
                        number += 1
    _refuse_random_state(model, owner)
    return model


def _own(dropout: nnx.Dropout, number: int) -> Dropout:
    # A name that no hyperparameter has: the rate stays the module's.
    return Dropout(dropout.rate, hyper=f"<{number}>", layer=number)


def _refuse_random_state(model: Any, owner: str) -> None:
    state = nnx.state(model, nnx.RngState)
    paths = [".".join(map(str, path)) for path, _ in nnx.to_flat_state(state)]
    if paths:
        raise ConfigError(
            f"{owner}: keeps JAX random state at '{paths[0]}', which runs that share a program cannot carry.\n"
            "Hint: nnx.Dropout and jdl.networks.Dropout are fine; elsewhere switch the noise off."
        )
