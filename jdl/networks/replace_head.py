"""Another last layer for a network whose other layers are kept."""

from typing import Any

from flax import nnx

from jdl.core.errors import ConfigError
from jdl.networks.initial import UniformFanIn
from jdl.networks.network import Network


def replace_head(model: nnx.Module, d_out: int, *, rngs: Any) -> nnx.Module:
    """The network with a new last linear layer of `d_out` outputs, in place.

    The last layer is the model's `head`; in a network graph its last linear node; else the linear layer that was
    made last. The new one has PyTorch's default initial values.

    Raises:
      ConfigError: There is no linear layer, or `d_out` is below 1.

    >>> net = nnx.Sequential(nnx.Linear(4, 8, rngs=nnx.Rngs(0)), nnx.relu, nnx.Linear(8, 2, rngs=nnx.Rngs(0)))
    >>> replace_head(net, 5, rngs=nnx.Rngs(1)).layers[2].out_features
    5
    """
    if d_out < 1:
        raise ConfigError(f"replace_head: 'd_out' must be 1 or more, got {d_out}.")
    places = _linear_layers(model)
    if not places:
        raise ConfigError(f"replace_head: {type(model).__name__} has no linear layer to replace.")
    holder, name, old = places[-1]
    init = UniformFanIn(old.in_features)
    bias = old.bias is not None
    new = nnx.Linear(old.in_features, d_out, use_bias=bias, kernel_init=init, bias_init=init, rngs=rngs)
    if isinstance(name, int) or isinstance(holder, nnx.Dict):
        holder[name] = new
    else:
        setattr(holder, name, new)
    return model


def _linear_layers(model: Any) -> list[tuple[Any, Any, nnx.Linear]]:
    """Holder, name and layer of each linear layer, that of the network's end last."""
    if isinstance(getattr(model, "head", None), nnx.Linear):
        return [(model, "head", model.head)]
    if isinstance(model, Network):
        nodes = [(name, model.nodes[name]) for name, _ in model.wiring]
        return [(model.nodes, name, node) for name, node in nodes if isinstance(node, nnx.Linear)]
    children = enumerate(model) if isinstance(model, nnx.List) else vars(model).items()
    found = []
    for name, child in list(children):
        if isinstance(child, nnx.Linear):
            found.append((model, name, child))
        elif isinstance(child, nnx.Module | nnx.List):
            found += _linear_layers(child)
    return found
