"""A table of a network graph: nodes, where their inputs come from, the shapes that they give, their parameters."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import pandas as pd
from flax import nnx

from jdl.core.errors import ShapeError
from jdl.core.graph import Graph
from jdl.core.random import RandomKey
from jdl.data.table import TableSpec
from jdl.data.task import as_task
from jdl.networks.array_spec import ArraySpec, Unknowns
from jdl.networks.branch import chosen_paths
from jdl.networks.ingress import Ingress
from jdl.networks.initial import HostRngs
from jdl.networks.layer import Site
from jdl.networks.network import build_network, ingress_specs, open_inputs

UNKNOWN = "?"


@dataclass(frozen=True)
class Row:
    """What is known of a node: where its inputs come from, the shapes that it gives, how many parameters it has."""

    node: str
    takes: str
    gives: str
    parameters: int | None


@dataclass(frozen=True, repr=False)
class Summary:
    """What is known of a graph's nodes; prints as a table."""

    rows: tuple[Row, ...]

    def to_pandas(self) -> pd.DataFrame:
        """The table as a data frame."""
        return pd.DataFrame([vars(row) for row in self.rows])

    def __repr__(self) -> str:
        counts = [row.parameters for row in self.rows]
        total = f"{sum(n or 0 for n in counts):,}" + (" and more" if None in counts else "")
        cells = [("node", "takes", "gives", "parameters")]
        for row in self.rows:
            cells.append((row.node, row.takes, row.gives, _count(row)))
        cells.append(("", "", "in all", total))
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = []
        for *texts, count in cells:
            left = [text.ljust(width) for text, width in zip(texts, widths, strict=False)]
            lines.append("  ".join([*left, count.rjust(widths[-1])]))
        return "\n".join(lines)


def _count(row: Row) -> str:
    if row.parameters is None:
        return UNKNOWN
    return f"{row.parameters:,}" if row.parameters or row.gives else ""


def summary(graph: Graph, task: Any = None, *, spec: TableSpec | None = None) -> Summary:
    """The summary of a graph, with the shapes that a task makes known.

    Args:
      graph: Of layers; other nodes (stages, model nodes) are listed without shapes.
      task: A task or the name of one; says how many columns and outputs there are.
      spec: The columns that reach the graph, where stages before it change those of the task.

    Raises:
      ShapeError: A node does not suit what reaches it. Without a task there may be sizes that are not known, and the
        table says `?` from there on.
      TaskError: The task is of another type than the graph's model node.
    """
    network = network_part(graph)
    n_outputs = None
    if task is not None:
        task = as_task(task)
        _check_task(graph, task)
        spec = table_spec(graph, task) if spec is None else spec
        n_outputs = n_outputs_of(graph, task)
    inputs, _ = ingress_specs(network, spec, Unknowns())
    inputs |= {name: ArraySpec(Unknowns().shape("input", (None, None))) for name in open_inputs(network)}
    build = _built if task is not None else _built_as_far_as_possible
    try:
        shapes, counts = build(network, inputs, Site(HostRngs(RandomKey((0,))), n_outputs=n_outputs))
    except (TypeError, AttributeError):
        # Initialisers that are not jdl's want JAX keys.
        shapes, counts = build(network, inputs, Site(nnx.Rngs(0), n_outputs=n_outputs))
    of_network = set(chosen_paths(network).ids)
    rows = []
    for node in graph:
        given = shapes.get(node.id)
        rows.append(
            Row(
                node.id,
                ", ".join(dict.fromkeys(port.node for port in graph.sources(node.id))),
                "" if node.id not in of_network else UNKNOWN if given is None else ", ".join(map(str, given)),
                counts.get(node.id) if node.id in of_network else 0,
            )
        )
    return Summary(tuple(rows))


def network_part(graph: Graph) -> Graph:
    """The ingress nodes and layers of a graph."""
    others = {n.id for n in graph if not (isinstance(n.op, Ingress) or hasattr(n.op, "build"))}
    if not others:
        return graph
    kept = graph.without(others)
    ends = [e.source for e in graph.edges if e.target.node in others and e.source.node not in others]
    return replace(kept, outputs=tuple(dict.fromkeys((*kept.outputs, *ends))))


def table_spec(graph: Graph, task: Any) -> TableSpec:
    """The columns that reach the ingress nodes: those of the task, after the stages before them."""
    spec = task.spec
    for node in graph:
        if hasattr(node.op, "out_spec"):
            spec = node.op.out_spec(spec)
    return spec


def n_outputs_of(graph: Graph, task: Any) -> int:
    """Outputs that the loss of the graph needs; without one a logit for two classes, else one per class, or one."""
    for node in graph:
        needed = node.op.n_outputs_for(task) if hasattr(node.op, "n_outputs_for") else None
        if needed is not None:
            return needed
    n_classes = len(getattr(task, "class_names", ()))
    return n_classes if n_classes > 2 else 1


def _check_task(graph: Graph, task: Any) -> None:
    for node in graph:
        if hasattr(node.op, "check_task"):
            node.op.check_task(task)


Found = tuple[dict[str, tuple[ArraySpec, ...]], dict[str, int]]


def _built(graph: Graph, inputs: dict[str, ArraySpec], site: Site) -> Found:
    """Shapes and parameter counts by node."""
    built = build_network(graph, inputs, site)
    counts = {name: n_parameters(module) for name, module in built.module.nodes.items()}
    return built.specs, counts | {name: 0 for name in inputs}


def _built_as_far_as_possible(graph: Graph, inputs: dict[str, ArraySpec], site: Site) -> Found:
    """Shapes and parameter counts by node; without the nodes that stumble, and those behind them."""
    while True:
        try:
            return _built(graph, inputs, site)
        except ShapeError as error:
            stuck = next((n.id for n in graph if str(error).startswith(f"node '{n.id}'")), None)
            if stuck is None:
                return {name: (spec,) for name, spec in inputs.items()}, {}
            graph = graph.without(_from(graph, stuck))


def _from(graph: Graph, start: str) -> set[str]:
    """A node and all that depend on it."""
    reached = {start}
    for node in graph:
        if any(port.node in reached for port in graph.sources(node.id)):
            reached.add(node.id)
    return reached


def n_parameters(module: nnx.Module) -> int:
    """How many numbers a module learns."""
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.split(module, nnx.Param, ...)[1]))
