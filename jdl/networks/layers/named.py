"""Which name stands for a kind of layers, in files and in other processes."""

from typing import Any

from jdl.core.errors import ConfigTypeError, shown
from jdl.networks.layer import LayerKind
from jdl.networks.layers.catalogue import LAYERS
from jdl.networks.own_layer import layer


def name_of_kind(kind: LayerKind) -> str | None:
    """Its name in the catalogue; None if it is not in it.

    >>> name_of_kind(LAYERS["relu"])
    'relu'
    """
    return kind.name if kind.name in LAYERS and LAYERS[kind.name] is kind else None


def kind_of(target: Any) -> LayerKind:
    """The kind of layers that a name in the catalogue, a function or an nnx.Module class stands for.

    Args:
      target: One of these, or the kind itself, which is what a decorated function's name stands for.

    Raises:
      UnknownNameError: No layer has the name.
      ConfigTypeError: None of these.
    """
    if isinstance(target, str):
        found = LAYERS[target]
    else:
        found = target if isinstance(target, LayerKind) else layer(target)
    if not isinstance(found, LayerKind):
        raise ConfigTypeError(f"expected a kind of layers, got {shown(target)}.")
    return found
