"""Another last layer for a network whose other layers are kept."""

from typing import Any

from flax import nnx

from jdl.core.errors import ConfigError, ConfigTypeError, shown
from jdl.networks.check import positive
from jdl.networks.ensemble import LinearEnsemble
from jdl.networks.initial import Constant, Normal, UniformFanIn
from jdl.networks.network import Network
from jdl.networks.ntk import NTKLinear
from jdl.networks.realmlp import OutputClamp, RealMLP

_LINEAR = (nnx.Linear, LinearEnsemble, NTKLinear)


def replace_head(model: nnx.Module, d_out: int, *, rngs: Any) -> nnx.Module:
    """The network with a new last linear layer of `d_out` outputs, in place.

    The last layer is the model's `head`; in a network graph its last linear node; else the linear layer that was
    made last. The new one is of the old one's kind: TabM gets a head per member. It has the initial values of a new
    network: PyTorch's defaults; N(0, 1) in RealMLP (0 in its simple form), whose outputs are no longer clamped until
    `prepare` has seen the new targets.

    Args:
      model: Of `jdl.networks`, of a graph, or any other one with a linear layer.
      d_out: Number of outputs.
      rngs: `nnx.Rngs`, or `HostRngs` to draw on the host.

    Raises:
      ConfigError: There is no linear layer at the end, or `d_out` is below 1.

    >>> net = nnx.Sequential(nnx.Linear(4, 8, rngs=nnx.Rngs(0)), nnx.relu, nnx.Linear(8, 2, rngs=nnx.Rngs(0)))
    >>> replace_head(net, 5, rngs=nnx.Rngs(1)).layers[2].out_features
    5
    """
    if not isinstance(model, nnx.Module):
        raise ConfigTypeError(f"replace_head: expected an nnx.Module, got {shown(model)}.")
    positive("replace_head", d_out=d_out)
    places = _linear_layers(model)
    if not places:
        raise ConfigError(f"replace_head: {type(model).__name__} has no linear layer to replace.")
    holder, name, old = places[-1]
    new = _like(old, d_out, rngs, zeros=isinstance(model, RealMLP) and not model.data_init)
    if isinstance(name, int) or isinstance(holder, nnx.Dict):
        holder[name] = new
    else:
        setattr(holder, name, new)
    if isinstance(model, RealMLP) and model.clamp is not None:
        model.clamp = OutputClamp(d_out)
    return model


def _like(old: Any, d_out: int, rngs: Any, zeros: bool) -> nnx.Module:
    """A new layer of the kind and input width of `old`."""
    if isinstance(old, LinearEnsemble):
        k, d_in, _ = old.weight.shape
        return LinearEnsemble(d_in, d_out, k=k, rngs=rngs)
    if isinstance(old, NTKLinear):
        kernel_init = Constant(0.0) if zeros else Normal()
        return NTKLinear(old.kernel.shape[0], d_out, kernel_init=kernel_init, bias_init=Constant(0.0), rngs=rngs)
    init = UniformFanIn(old.in_features)
    bias = old.bias is not None
    return nnx.Linear(old.in_features, d_out, use_bias=bias, kernel_init=init, bias_init=init, rngs=rngs)


def _last_of_graph(model: Network) -> list[tuple[Any, Any, Any]]:
    """The linear node from which alone the output of a graph comes; what stands behind it keeps its width."""
    sources = dict(model.wiring)
    name = model.outputs[0][0]
    while name in sources and not isinstance(model.nodes[name], _LINEAR):
        if len(sources[name]) != 1:
            raise ConfigError(
                f"replace_head: node '{name}', at the end of the graph, joins several paths, so that no linear node "
                "gives the output alone.\nHint: end the graph with jdl.nn('head')."
            )
        name = sources[name][0][0]
    return [(model.nodes, name, model.nodes[name])] if name in sources else []


def _linear_layers(model: Any) -> list[tuple[Any, Any, Any]]:
    """Holder, name and layer of each linear layer, that of the network's end last."""
    if isinstance(getattr(model, "head", None), _LINEAR):
        return [(model, "head", model.head)]
    if isinstance(model, Network):
        return _last_of_graph(model)
    children = enumerate(model) if isinstance(model, nnx.List) else vars(model).items()
    found = []
    for name, child in list(children):
        if isinstance(child, _LINEAR):
            found.append((model, name, child))
        elif isinstance(child, nnx.Module | nnx.List):
            found += _linear_layers(child)
    return found
