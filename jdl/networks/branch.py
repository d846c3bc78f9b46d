"""Choice between sub-graphs as a hyperparameter: `branch` opens paths, `unbranch` joins them, one is built."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flax import nnx

from jdl.core.errors import ConfigError, GraphError
from jdl.core.fields import Field, check_values
from jdl.core.graph import Edge, Graph, Node, Port, checked_id
from jdl.networks.array_spec import ArraySpec
from jdl.networks.layer import Apply, Site
from jdl.networks.operator import NetworkOperator


def same(x: Any) -> Any:
    """Its argument."""
    return x


class _PassesOn:
    """What branch and unbranch have in common once a path is chosen: they hand on what they get."""

    keeps_codes = True

    def build(self, site: Site, *inputs: ArraySpec) -> nnx.Module:
        """The identity."""
        del site, inputs
        return Apply(same)


@dataclass(frozen=True, repr=False)
class Branch(NetworkOperator, _PassesOn):
    """Hands its input to the chosen one of several paths; the others are not built.

    Args:
      options: A name per path, in the order of the list that follows.
      selection: The chosen one.
      id: As given; None takes "branch".
    """

    options: tuple[str, ...]
    selection: str
    id: str | None = None

    @property
    def default_id(self) -> str:
        """Of its node."""
        return "branch"

    @property
    def n_outputs(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """One per path."""
        return len(self.options)

    @property
    def fields(self) -> Mapping[str, Field]:
        """The selection."""
        return {"selection": Field("str", self.options[0], choices=self.options, doc="The path that is built.")}

    def params(self) -> dict[str, Any]:
        """Its value."""
        return {"selection": self.selection}

    def set(self, **values: Any) -> "Branch":
        """The same branch with another selection."""
        if isinstance(values.get("selection"), int):
            values["selection"] = str(values["selection"])
        return replace(self, **check_values(f"node '{self.node_id}'", self.fields, values))

    def __repr__(self) -> str:
        return f"<{self.node_id}> {self.selection!r} of {', '.join(map(repr, self.options))}"


@dataclass(frozen=True, repr=False)
class Unbranch(NetworkOperator, _PassesOn):
    """Joins the paths of a branch: gives what the chosen one gives."""

    id: str | None = None

    n_inputs = None

    @property
    def default_id(self) -> str:
        """Of its node."""
        return "unbranch"

    def set(self, **values: Any) -> "Unbranch":
        """The same node; it has no hyperparameter to set."""
        check_values(f"node '{self.node_id}'", {}, values)
        return self

    def __repr__(self) -> str:
        return f"<{self.node_id}>"


def branch(options: Sequence[str] | int, selection: str | int | None = None, *, id: str | None = None) -> Branch:
    """A choice between the paths of the list that follows, ended by `unbranch`.

    Args:
      options: Names of the paths, or their number (then they are called "0", "1", ...).
      selection: Name (or number) of the chosen one; by default the first.
      id: Id of the node.

    >>> branch(["relu", "tanh"], "tanh").selection
    'tanh'

    Raises:
      ConfigError: Fewer than two options, two equal ones, or a selection that is none of them.
    """
    names = tuple(map(str, range(options))) if isinstance(options, int) else tuple(options)
    names = () if isinstance(options, str) else names
    if len(names) < 2 or len(set(names)) < len(names) or not all(isinstance(n, str) for n in names):
        raise ConfigError(f"node 'branch': 'options' must be two or more different names, got {options!r}.")
    checked = None if id is None else checked_id("node 'branch'", id)
    made = Branch(names, names[0], checked)
    return made if selection is None else made.set(selection=str(selection))


def unbranch(*, id: str | None = None) -> Unbranch:
    """The end of a choice between paths."""
    return Unbranch(None if id is None else checked_id("node 'unbranch'", id))


def chosen_paths(graph: Graph) -> Graph:
    """The graph with only the selected path of every branch, which then is a branch of one path.

    Raises:
      GraphError: Paths of a branch end in different places, or an `unbranch` joins none.
    """
    if not any(isinstance(node.op, Branch | Unbranch) for node in graph):
        return graph
    dead: set[str] = set()
    edges: list[Edge] = []
    for node in graph:
        incoming = [edge for edge in graph.edges if edge.target.node == node.id]
        alive = [edge for edge in incoming if edge.source.node not in dead and _is_open(graph, edge.source)]
        if isinstance(node.op, Unbranch):
            if incoming and not alive:
                dead.add(node.id)
            elif len(alive) != 1:
                raise GraphError(
                    f"graph: node '{node.id}' must get one of several paths of a branch, but it gets {len(alive)}.\n"
                    "Hint: jdl.po('branch', [...]) >> [path, other_path] >> jdl.po('unbranch')."
                )
            alive = [replace(edge, target=replace(edge.target, index=0)) for edge in alive]
        elif len(alive) < len(incoming):
            dead.add(node.id)
            if alive:
                raise GraphError(
                    f"graph: node '{node.id}' gets outputs of a path that is not chosen.\n"
                    "Hint: end the paths of a branch with jdl.po('unbranch')."
                )
        edges += alive
    return Graph(
        tuple(_of_one_path(node) for node in graph if node.id not in dead),
        tuple(_through_branch(graph, edge) for edge in edges if edge.target.node not in dead),
        tuple(port for port in graph.inputs if port.node not in dead),
        tuple(port for port in graph.outputs if port.node not in dead),
    )


def _of_one_path(node: Node) -> Node:
    return replace(node, op=replace(node.op, options=(node.op.selection,))) if isinstance(node.op, Branch) else node


def _is_open(graph: Graph, source: Port) -> bool:
    op = graph[source.node]
    return not isinstance(op, Branch) or op.options[source.index or 0] == op.selection


def _through_branch(graph: Graph, edge: Edge) -> Edge:
    if isinstance(graph[edge.source.node], Branch):
        return replace(edge, source=replace(edge.source, index=0))
    return edge
