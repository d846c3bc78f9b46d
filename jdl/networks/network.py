"""A network graph as one module: built node by node, each from the shapes that the ones before it give."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from flax import nnx

from jdl.core.errors import ConfigError, GraphError, JdlError, ShapeError
from jdl.core.graph import Graph, Port
from jdl.data.table import TableSpec
from jdl.networks.array_spec import ArraySpec, Unknowns, UnknownSizeError, is_symbol_of
from jdl.networks.branch import chosen_paths
from jdl.networks.infer import output_specs
from jdl.networks.ingress import Ingress, Reader
from jdl.networks.layer import Site

Wiring = tuple[tuple[str, tuple[tuple[str, int], ...]], ...]


class Network(nnx.Module):
    """The modules of a graph, called in its order.

    Args:
      nodes: Module by node id, without the inputs.
      wiring: For each of them, in order, the outputs that it takes: pairs of node id and output number.
      inputs: Names of the inputs, in the order of the arguments.
      outputs: What a call returns; a tuple if there is more than one.
      readers: How each input is read from a table, where it comes from one.
    """

    def __init__(
        self,
        nodes: Mapping[str, nnx.Module],
        wiring: Wiring,
        inputs: tuple[str, ...],
        outputs: tuple[tuple[str, int], ...],
        readers: tuple[Reader, ...] = (),
    ):
        self.nodes = nnx.Dict(dict(nodes))
        self.wiring = wiring
        self.inputs = inputs
        self.outputs = outputs
        self.readers = readers

    def __call__(self, *arrays: Any) -> Any:
        """The outputs for an array per input, in their order."""
        if len(arrays) != len(self.inputs):
            raise ShapeError(
                f"network: expected {len(self.inputs)} arrays ({', '.join(self.inputs)}), got {len(arrays)}."
            )
        values: dict[tuple[str, int], Any] = {(name, 0): x for name, x in zip(self.inputs, arrays, strict=True)}
        for node, sources in self.wiring:
            result = self.nodes[node](*(values[source] for source in sources))
            results = result if isinstance(result, tuple | list) else (result,)
            values |= {(node, i): each for i, each in enumerate(results)}
        outputs = tuple(values[port] for port in self.outputs)
        return outputs[0] if len(outputs) == 1 else outputs


@dataclass(frozen=True)
class Built:
    """A network with the shapes at its nodes.

    Args:
      module: The network.
      specs: Shapes that each node gives, by node id, in order.
    """

    module: Network
    specs: dict[str, tuple[ArraySpec, ...]]


def build_network(
    graph: Graph, inputs: Mapping[str, ArraySpec], site: Site, readers: Mapping[str, Reader] | None = None
) -> Built:
    """The network of a graph of layers, for inputs of these shapes.

    Args:
      graph: Its branches are cut back to the chosen paths.
      inputs: Shapes by node id for every ingress; or, by `input_names`, for every open input.
      site: Where it is built; its id comes before the ids of the nodes.
      readers: How ingress nodes read tables.

    Raises:
      ShapeError: A node does not suit its inputs; names the node.
      GraphError: Something else than layers, or an input that nothing feeds.
    """
    graph = chosen_paths(graph)
    specs: dict[str, tuple[ArraySpec, ...]] = {name: (spec,) for name, spec in inputs.items()}
    fed = {port: name for name, ports in open_inputs(graph).items() for port in ports}
    modules: dict[str, nnx.Module] = {}
    wiring: list[tuple[str, tuple[tuple[str, int], ...]]] = []
    for number, node in enumerate(graph):
        if isinstance(node.op, Ingress):
            continue
        if not hasattr(node.op, "build"):
            raise GraphError(f"graph: node '{node.id}' ({node.op!r}) is no layer and cannot be part of a network.")
        sources = _sources(graph, node.id, fed)
        where = site.below(node.id, number)
        modules[node.id], specs[node.id] = _built(node, where, [specs[name][i] for name, i in sources], graph)
        wiring.append((node.id, sources))
    names = tuple(inputs)
    outputs = tuple((port.node, port.index or 0) for port in graph.outputs)
    read = tuple((readers or {})[name] for name in names) if readers else ()
    return Built(Network(modules, tuple(wiring), names, outputs, read), specs)


def open_inputs(graph: Graph) -> dict[str, tuple[Port, ...]]:
    """The inputs of a graph without ingress: one, called "input", feeds all open ports."""
    ports = tuple(p for p in graph.inputs if not isinstance(graph[p.node], Ingress))
    return {"input": ports} if ports else {}


def _sources(graph: Graph, node: str, fed: Mapping[Port, str]) -> tuple[tuple[str, int], ...]:
    """What a node takes: outputs of other nodes, and the graph's own input at open ports."""
    by_index = {edge.target.index or 0: (edge.source.node, edge.source.index or 0) for edge in graph.edges
                if edge.target.node == node}  # fmt: skip
    for port, name in fed.items():
        if port.node == node:
            by_index.setdefault(port.index or 0, (name, 0))
    return tuple(source for _, source in sorted(by_index.items()))


def _built(node: Any, site: Site, inputs: list[ArraySpec], graph: Graph) -> tuple[nnx.Module, tuple[ArraySpec, ...]]:
    kind = getattr(getattr(node.op, "kind", None), "name", "")
    who = f"node '{site.id or node.id}'" + (f" ({kind})" if kind and kind != node.id else "")
    try:
        module = _module(who, node.op, site, inputs)
        outputs = output_specs(module, *inputs)
    except UnknownSizeError as error:
        raise UnknownSizeError(f"{who} {error}.{_hint(error.size, graph)}", error.size) from error
    except ShapeError as error:
        text = str(error)
        raise ShapeError(text if text.startswith("node ") else f"{who} {text}.") from error
    _check_outputs(who, node.op.n_outputs, outputs, inputs)
    if getattr(node.op, "keeps_codes", False):
        outputs = tuple(_with_cardinalities(spec, inputs) for spec in outputs)
    return module, outputs


def _module(who: str, op: Any, site: Site, inputs: list[ArraySpec]) -> nnx.Module:
    """What a layer builds; an error of a constructor of one's own names the node.

    Raises:
      ConfigError: The constructor fails.
    """
    try:
        return op.build(site, *inputs)
    except ShapeError:
        raise
    except ConfigError as error:
        raise error if who in str(error) else type(error)(f"{who}: {error}") from error
    except JdlError:
        raise
    except Exception as error:
        if isinstance(error, TypeError | AttributeError) and not isinstance(site.rngs, nnx.Rngs):
            raise  # its initialisers want JAX keys, which come next
        raise ConfigError(f"{who} fails: {type(error).__name__}: {error}") from error


def _check_outputs(who: str, n_outputs: int, outputs: tuple[ArraySpec, ...], inputs: list[ArraySpec]) -> None:
    """Refuses outputs that are not as many as declared, have lost the batch, or have no elements.

    Raises:
      ShapeError: Says which.
    """
    given = ", ".join(map(str, inputs))
    if len(outputs) != n_outputs:
        raise ShapeError(
            f"{who} must give {n_outputs} array{'s' * (n_outputs != 1)}, but it gives {len(outputs)} for {given}.\n"
            f"Hint: jdl.layer(..., n_outputs={len(outputs)}) makes a layer with so many outputs."
        )
    for spec in outputs:
        if inputs and (spec.ndim == 0 or spec.shape[0] != inputs[0].shape[0]):
            raise ShapeError(f"{who} would give {spec} for {given}, but axis 0 is the batch, which every layer keeps.")
        if any(isinstance(n, int) and n == 0 for n in spec.shape):
            raise ShapeError(f"{who} would give {spec} for {given}: an axis without elements.")


def _with_cardinalities(spec: ArraySpec, inputs: list[ArraySpec]) -> ArraySpec:
    """What a layer gives that keeps codes, with the numbers of codes of its columns, as far as they are known."""
    sizes = [x.cardinalities for x in inputs]
    if any(each is None for each in sizes):
        return spec
    joined = tuple(n for each in sizes for n in each or ())
    return replace(spec, cardinalities=joined) if spec.ndim == 2 and spec.shape[1] == len(joined) else spec


def _hint(size: Any, graph: Graph) -> str:
    """Which hyperparameter of which ingress would make a size known."""
    parameter = {"ingress_num": "n_features", "ingress_categ": "cardinalities", "ingress_tensor": "shape"}
    for node in graph:
        if isinstance(node.op, Ingress) and any(is_symbol_of(node.id, word) for word in re.findall(r"\w+", str(size))):
            return f"\nHint: '{node.id}.{parameter[node.op.kind]}' would give it, and so would a task."
    return "\nHint: the size of the network's input would give it, and so would a task."


def ingress_specs(
    graph: Graph, spec: TableSpec | None, unknowns: Unknowns
) -> tuple[dict[str, ArraySpec], dict[str, Reader]]:
    """Shapes and readers of the ingress nodes for a table, or what is known of the shapes without one."""
    # Its messages and symbols are to say how the node is called here.
    nodes = [replace(node, op=replace(node.op, id=node.id)) for node in graph if isinstance(node.op, Ingress)]
    if spec is None:
        return {node.id: node.op.expected_spec(unknowns) for node in nodes}, {}
    return (
        {node.id: node.op.array_spec(spec, unknowns) for node in nodes},
        {node.id: node.op.reader(spec) for node in nodes},
    )
