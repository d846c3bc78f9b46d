"""A network graph as the spec of a learner's network."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from jdl.core.errors import GraphError, ShapeError
from jdl.core.graph import Graph
from jdl.data.table import Table, TableSpec
from jdl.networks.array_spec import Unknowns, check_real
from jdl.networks.block import Block
from jdl.networks.branch import Branch, chosen_paths
from jdl.networks.ingress import Ingress
from jdl.networks.layer import Layer, Site
from jdl.networks.network import Built, build_network, ingress_specs
from jdl.networks.prepare import prepare
from jdl.networks.spec import NetworkSpec


@dataclass(frozen=True)
class GraphSpec(NetworkSpec):
    """Builds the network of a graph that begins with ingress nodes and ends in one output per need of the task.

    Args:
      graph: Ingress nodes and layers, less the values of dynamic hyperparameters.
    """

    graph: Graph

    @property
    def prepares(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether a layer takes something from the training rows, such as bins."""
        return any(_prepares(node.op) for node in self.graph)

    def prepare(self, model: Any, table: Table, target: Any, key: Any) -> None:
        """Hands the training rows, and their target, to the layers that take something from them."""
        arrays = {name: np.asarray(read(table)) for name, read in zip(model.inputs, model.readers, strict=True)}
        for node, _ in model.wiring:
            if _prepares(self.graph[node]):
                given = [arrays[name] for name in _origins(self.graph, node)]
                x_cat = next((x for x in given if np.issubdtype(x.dtype, np.integer)), None)
                x_num = next((x for x in given if x is not x_cat), None)
                prepare(model.nodes[node], x_num, x_cat, target, key.fold(node))

    def build(self, spec: TableSpec, n_outputs: int, rngs: Any) -> nnx.Module:
        """The network for rows of these columns.

        Raises:
          ShapeError: A node does not suit its inputs, or the output does not suit the task.
        """
        built = build_for_table(self.graph, spec, Site(rngs, n_outputs=n_outputs))
        (port,) = self.graph.outputs
        out = built.specs[port.node][port.index or 0]
        if out.ndim != 2 or out.shape[1] != n_outputs:
            raise ShapeError(
                f"graph: the task needs an output of shape (batch, {n_outputs}), but node '{port.node}' gives {out}.\n"
                "Hint: end the network with jdl.nn('head'), whose width follows from the task."
            )
        check_real(f"graph: node '{port.node}'", out)
        return built.module

    def forward(self, model: Any, table: Table) -> Float[Array, "row output"]:
        """Outputs for a batch of rows, of which each ingress reads its columns."""
        return model(*(reader(table) for reader in model.readers))


def _prepares(op: Any) -> bool:
    return getattr(op, "prepares", False)


def _origins(graph: Graph, node: str) -> list[str]:
    """The nodes from which a node gets its inputs; a branch only hands them on."""
    behind = [port.node for port in graph.sources(node)]
    return [name for each in behind for name in (_origins(graph, each) if isinstance(graph[each], Branch) else [each])]


def _check_bins(graph: Graph) -> None:
    """Refuses layers that take something from columns where they do not get columns.

    Raises:
      GraphError: Names the layer.
    """
    for node in graph:
        if isinstance(node.op, Block):
            inner = next((each.id for each in node.op.graph if _prepares(each.op)), None)
            if inner is not None:
                raise GraphError(
                    f"graph: node '{node.id}.{inner}' takes something, such as bins, from columns, but a block's "
                    "layers get what others compute.\n"
                    "Hint: put it before the block, right behind the ingress, or give it bins."
                )
        behind = _origins(graph, node.id)
        if _prepares(node.op) and not all(isinstance(graph[name], Ingress) for name in behind):
            raise GraphError(
                f"graph: node '{node.id}' takes something, such as bins, from columns, but it gets what "
                f"node '{behind[0]}' computes.\n"
                "Hint: put it right behind the ingress, or give it bins."
            )


def _heads(graph: Graph) -> list[str]:
    """Names of all heads on the chosen paths; those inside of blocks are called "<block>.<head>"."""
    found = []
    for node in chosen_paths(graph):
        if isinstance(node.op, Block):
            found += [f"{node.id}.{inner}" for inner in _heads(node.op.graph)]
        elif isinstance(node.op, Layer) and node.op.kind.name == "head":
            found.append(node.id)
    return found


def build_for_table(graph: Graph, spec: TableSpec | None, site: Site) -> Built:
    """The network of a graph for the columns of a table, or before there is one.

    Raises:
      GraphError: It has no ingress.
      ShapeError: A node does not suit its inputs.
    """
    check_network(graph)
    inputs, readers = ingress_specs(graph, spec, Unknowns())
    return build_network(graph, inputs, site, readers)


def check_network(graph: Graph) -> None:
    """Refuses a graph that cannot be a network with data from a table.

    Raises:
      GraphError: No ingress, a layer that nothing feeds, two heads, or not one output.
    """
    if not any(isinstance(node.op, Ingress) for node in graph):
        raise GraphError(
            "graph: there is no ingress, so that no data reaches it.\nHint: begin with jdl.po('ingress_num'), "
            "jdl.po('ingress_categ') or jdl.po('ingress_tensor')."
        )
    _check_bins(graph)
    heads = _heads(graph)
    if len(heads) > 1 or any("." in head for head in heads):
        where = f"nodes '{heads[0]}' and '{heads[1]}' are heads" if len(heads) > 1 else f"a block repeats '{heads[0]}'"
        raise GraphError(
            f"graph: {where}, but a network has one head, as wide as the task needs.\n"
            "Hint: jdl.nn('linear', out_features=...) is a layer of any width."
        )
    unfed = [port.node for port in graph.inputs if not isinstance(graph[port.node], Ingress)]
    if unfed:
        raise GraphError(f"graph: nothing feeds node '{unfed[0]}'.\nHint: put an ingress before it.")
    if len(graph.outputs) != 1:
        ends = ", ".join(f"'{port.node}'" for port in graph.outputs)
        raise GraphError(
            f"graph: a learner's network has one output, but this one ends in {ends}.\n"
            "Hint: a merge, such as jdl.nn('merge_cat'), makes one of several."
        )
