"""Topology: nodes that hold operators, edges between their ports, and the two ways to compose graphs.

`a >> b` puts one behind the other; a list puts graphs side by side. A graph is a value: composing makes new ones,
and a graph that is used twice stands for two copies. What an operator does is not known here.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from jdl.core.errors import ConfigError, ConfigTypeError, GraphError, UnknownNameError, shown
from jdl.core.fields import Field
from jdl.core.graph_drawing import to_mermaid, to_svg
from jdl.core.topology import check_ports, cut_open, ordered


class Operator(Protocol):
    """What a node may hold: a hashable value with hyperparameters and a number of inputs and outputs."""

    @property
    def node_id(self) -> str:
        """The id that its node gets."""
        ...

    @property
    def has_own_id(self) -> bool:
        """Whether the id was given by hand, so that it must not be numbered."""
        ...

    @property
    def n_inputs(self) -> int | None:
        """Inputs; None takes any number."""
        ...

    @property
    def n_outputs(self) -> int:
        """Outputs."""
        ...

    @property
    def fields(self) -> Mapping[str, Field]:
        """Its hyperparameters."""
        ...

    def params(self) -> dict[str, Any]:
        """Their values."""
        ...

    def set(self, **values: Any) -> "Operator":
        """The same operator with other values."""
        ...


@dataclass(frozen=True)
class Node:
    """An operator and its id in a graph."""

    id: str
    op: Any


@dataclass(frozen=True)
class Port:
    """An input or output of a node; input None is that of a node that takes any number."""

    node: str
    index: int | None = 0


@dataclass(frozen=True)
class Edge:
    """From an output to an input."""

    source: Port
    target: Port


class Composable:
    """Gives `>>`, with lists on either side, to whatever `as_graph` understands."""

    def __rshift__(self, other: Any) -> Any:
        right = as_graph(other)
        if right is not None:
            return join(_known(self), right)
        # A number has the method too, to shift bits.
        knows = hasattr(other, "__rrshift__") and not isinstance(other, int)
        return NotImplemented if knows else _refuse_part(other)

    def __rrshift__(self, other: Any) -> Any:
        left = as_graph(other)
        return _refuse_part(other) if left is None else join(left, _known(self))


@dataclass(frozen=True, repr=False)
class Graph(Composable):
    """Nodes in an order in which each comes after those it gets its inputs from.

    Args:
      nodes: Ids are unique; in another order they are sorted.
      edges: Between the nodes.
      inputs: Ports that nothing feeds yet.
      outputs: Ports that feed nothing yet.

    Raises:
      GraphError: Two nodes with one id, an edge between ports that there are not, a cycle, an input that is fed twice
        or by nothing, or a node whose outputs go nowhere.
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", ordered(self.nodes, self.edges))
        check_ports(self.nodes, self.edges, self.inputs, self.outputs)

    @classmethod
    def of(cls, op: Any) -> "Graph":
        """The graph of one node."""
        node = op.node_id
        n_inputs = op.n_inputs
        inputs = (Port(node, None),) if n_inputs is None else tuple(Port(node, i) for i in range(n_inputs))
        return cls((Node(node, op),), (), inputs, tuple(Port(node, i) for i in range(op.n_outputs)))

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of all nodes, in order."""
        return tuple(node.id for node in self.nodes)

    def __getitem__(self, node: str) -> Any:
        for each in self.nodes:
            if each.id == node:
                return each.op
        raise UnknownNameError.of("node", node, self.ids, owner="the graph")

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def sources(self, node: str) -> tuple[Port, ...]:
        """The outputs that feed a node, in the order of its inputs."""
        edges = [edge for edge in self.edges if edge.target.node == node]
        return tuple(edge.source for edge in sorted(edges, key=lambda e: e.target.index or 0))

    def fields(self) -> dict[str, tuple[Field, Any]]:
        """Every hyperparameter as `<node id>.<name>`: its field and its value."""
        return {
            f"{node.id}.{name}": (field, node.op.params()[name])
            for node in self.nodes
            for name, field in node.op.fields.items()
        }

    def params(self) -> dict[str, Any]:
        """The value of every hyperparameter, by `<node id>.<name>`."""
        return {name: value for name, (_, value) in self.fields().items()}

    def set(self, values: Mapping[str, Any] | None = None, **more: Any) -> "Graph":
        """The same graph with other hyperparameters, named `<node id>.<name>`.

        Raises:
          UnknownNameError: No node has the hyperparameter.
          ConfigError: A value out of range.
        """
        given = {**(values or {}), **more}
        valid = self.fields()
        by_node: dict[str, dict[str, Any]] = {}
        for name, value in given.items():
            if name not in valid:
                raise UnknownNameError.of("hyperparameter", name, valid, owner="the graph")
            node = max((i for i in self.ids if name.startswith(f"{i}.")), key=len)
            by_node.setdefault(node, {})[name.removeprefix(f"{node}.")] = value
        nodes = [replace(n, op=n.op.set(**by_node[n.id])) if n.id in by_node else n for n in self.nodes]
        return replace(self, nodes=tuple(nodes))

    def with_ops(self, ops: Mapping[str, Any]) -> "Graph":
        """The same graph with other operators at some nodes."""
        return replace(self, nodes=tuple(replace(n, op=ops.get(n.id, n.op)) for n in self.nodes))

    def renamed(self, names: Mapping[str, str]) -> "Graph":
        """The same graph with other ids for some nodes."""

        def port(p: Port) -> Port:
            return replace(p, node=names.get(p.node, p.node))

        return Graph(
            tuple(replace(n, id=names.get(n.id, n.id)) for n in self.nodes),
            tuple(Edge(port(e.source), port(e.target)) for e in self.edges),
            tuple(map(port, self.inputs)),
            tuple(map(port, self.outputs)),
        )

    def without(self, nodes: Collection[str]) -> "Graph":
        """The graph less some nodes and all that touches them; what they fed, or took, is open then."""
        return Graph(
            tuple(n for n in self.nodes if n.id not in nodes),
            tuple(e for e in self.edges if e.source.node not in nodes and e.target.node not in nodes),
            *cut_open(self, nodes),
        )

    def summary(self, task: Any = None) -> Any:
        """A table of the nodes; of a network with the shapes that they give, as far as they are known.

        Args:
          task: A task or the name of one; makes more of them known.
        """
        shown = next((node.op for node in self.nodes if hasattr(node.op, "summary_of")), None)
        return self._chain() if shown is None else shown.summary_of(self, task)

    def to_mermaid(self) -> str:
        """The graph in Mermaid's language, which many tools draw."""
        return to_mermaid(self)

    def to_svg(self) -> str:
        """The graph as a drawing; needs Graphviz.

        Raises:
          MissingPackageError: The program `dot` is not on the path.
        """
        return to_svg(self)

    def _chain(self) -> str:
        return " >> ".join(self.ids)

    def __repr__(self) -> str:
        return repr(self.summary()) if hasattr(self.nodes[0].op, "id") else f"<Graph> {self._chain()}"


def as_graph(part: Any) -> Graph | None:
    """A graph, the graph of an operator or of graphs side by side (a list); None for anything else."""
    if isinstance(part, Graph):
        return part
    if isinstance(part, list | tuple):
        graphs = [as_graph(each) for each in part]
        known = [g for g in graphs if g is not None]
        return side_by_side(known) if known and len(known) == len(graphs) else None
    own = getattr(part, "as_graph", None)
    if own is not None and not isinstance(part, type):
        return own()
    return Graph.of(part) if hasattr(part, "node_id") and hasattr(part, "n_outputs") else None


def _refuse_part(part: Any) -> Any:
    if isinstance(part, str):
        hint = f"jdl.nn('{part}') is a layer of that name, jdl.po('{part}') a stage."
    elif isinstance(part, type):
        hint = f"jdl.nn('module', {part.__name__}), and jdl.layer({part.__name__}), make a layer of a class."
    elif callable(part):
        hint = "jdl.nn('fn', function) makes a layer of a function."
    else:
        hint = "a list of them puts paths side by side."
    raise ConfigTypeError(
        f"graph: '>>' joins layers, stages, learners and graphs of them, or lists of these, got {shown(part)}.\n"
        f"Hint: {hint}"
    )


def _known(part: Any) -> Graph:
    graph = as_graph(part)
    assert graph is not None
    return graph


def side_by_side(graphs: Sequence[Graph]) -> Graph:
    """Graphs next to each other: open ports in the graphs' order.

    Raises:
      GraphError: Two nodes were given one id.
    """
    result = graphs[0]
    for graph in graphs[1:]:
        graph = _numbered(result, graph)
        result = Graph(
            result.nodes + graph.nodes,
            result.edges + graph.edges,
            result.inputs + graph.inputs,
            result.outputs + graph.outputs,
        )
    return result


def join(left: Graph, right: Graph) -> Graph:
    """`right` behind `left`: outputs feed inputs one to one, or one output feeds all inputs.

    Raises:
      GraphError: Their numbers do not fit, or two nodes were given one id.
    """
    right = _numbered(left, right)
    return Graph(
        left.nodes + right.nodes,
        left.edges + _between(left, right) + right.edges,
        left.inputs,
        right.outputs,
    )


def _between(left: Graph, right: Graph) -> tuple[Edge, ...]:
    sources, targets = left.outputs, right.inputs
    if not sources:
        raise GraphError(f"graph: {_said(left)} has no output, so that nothing can follow it.")
    if not targets:
        raise GraphError(
            f"graph: {_said(right)} takes no input, but {_said(left)} is put before it.\n"
            "Hint: graphs that start side by side go into a list: [first, second] >> merge."
        )
    if len(targets) == 1 and targets[0].index is None:
        return tuple(Edge(source, Port(targets[0].node, i)) for i, source in enumerate(sources))
    targets = tuple(Port(t.node, 0) if t.index is None else t for t in targets)
    if len(sources) == 1:
        if len(right.nodes) == 1 and len(targets) > 1:
            raise GraphError(
                f"graph: {_said(right)} takes {len(targets)} inputs, but {_said(left)} gives one, which would feed all "
                f"of them.\nHint: a list gives it several: [path, other_path] >> {right.ids[0]}."
            )
        sources = sources * len(targets)
    if len(sources) != len(targets):
        raise GraphError(
            f"graph: {_said(left)} has {_ports(sources, 'output')}, but {_said(right)} takes "
            f"{_ports(targets, 'input')}.\nHint: a merge, such as jdl.nn('merge_cat'), makes one of several."
        )
    return tuple(Edge(source, target) for source, target in zip(sources, targets, strict=True))


def _ports(ports: Sequence[Port], kind: str) -> str:
    """A number of ports, and their nodes where those are several."""
    nodes = dict.fromkeys(port.node for port in ports)
    names = f" ({', '.join(map(repr, nodes))})" if len(nodes) > 1 else ""
    return f"{len(ports)} {kind}{'s' * (len(ports) != 1)}{names}"


def _said(graph: Graph) -> str:
    ids = graph.ids if len(graph.ids) <= 3 else (graph.ids[0], "...", graph.ids[-1])
    return ("node " if len(graph.ids) == 1 else "graph ") + "'" + ", ".join(ids) + "'"


def _numbered(left: Graph, right: Graph) -> Graph:
    """`right` with ids that `left` has not: `linear`, `linear_2`, ...; an id given by hand must not repeat."""
    taken, names = {*left.ids, *right.ids}, {}
    for node in right.nodes:
        if node.id not in left.ids:
            continue
        if node.op.has_own_id:
            raise GraphError(
                f"graph: two nodes have the id '{node.id}'.\nHint: give one of them another id, such as "
                f"id='{node.id}_2'; to feed one node into several, use {node.id} >> [path, other_path]."
            )
        number = 2
        while f"{node.op.node_id}_{number}" in taken:
            number += 1
        names[node.id] = f"{node.op.node_id}_{number}"
        taken.add(names[node.id])
    return right.renamed(names) if names else right


def checked_id(owner: str, id: Any) -> str:
    """A node's id as it was given, if it can be one.

    Raises:
      ConfigError: No text, or one with a dot.
    """
    if not isinstance(id, str) or not id or "." in id:
        raise ConfigError(f"{owner}: 'id' must be a text without a dot, got {id!r}.")
    return id
