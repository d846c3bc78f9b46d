"""A graph that is repeated in series: `n_blocks` copies, each with parameters of its own.

Copies of equal shape are stacked and run in one scan, so that ten of them compile in the time of one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from flax import nnx

from jdl.core.errors import ConfigError, ConfigTypeError, GraphError
from jdl.core.fields import Field, check_values
from jdl.core.graph import Graph, as_graph, checked_id
from jdl.networks.array_spec import ArraySpec
from jdl.networks.branch import chosen_paths, same
from jdl.networks.layer import Apply, Site
from jdl.networks.network import build_network, open_inputs
from jdl.networks.operator import NetworkOperator
from jdl.networks.scan import SCANNED, Series, Stacked

Trafo = Callable[[int, dict[str, Any]], Mapping[str, Any]]
_TRAFO_HINT = "Hint: trafo=lambda i, values: {'linear.out_features': 2 * values['linear.out_features']}."
N_BLOCKS = Field("int", low=0, doc="Number of copies; 0 hands its input on.")


@dataclass(frozen=True, repr=False)
class Block(NetworkOperator):
    """Copies of a graph in series: a node of a network.

    Args:
      graph: Takes one input and gives one output.
      n_blocks: Number of copies.
      trafo: `trafo(i, values)` gives hyperparameters that differ in copy i (from 0) from the block's own.
      id: As given; None takes "block".
      each: The graph of each copy, where they differ and are known: what `static` makes of a trafo.
    """

    graph: Graph
    n_blocks: int
    trafo: Trafo | None = None
    id: str | None = None
    each: tuple[Graph, ...] | None = None

    @property
    def default_id(self) -> str:
        """Of its node."""
        return "block"

    @property
    def fields(self) -> Mapping[str, Field]:
        """The number of copies, and the hyperparameters of what is repeated."""
        return {"n_blocks": N_BLOCKS} | {name: field for name, (field, _) in self.graph.fields().items()}

    def params(self) -> dict[str, Any]:
        """Their values."""
        return {"n_blocks": self.n_blocks} | self.graph.params()

    def set(self, **values: Any) -> "Block":
        """The same block with other hyperparameters."""
        checked = check_values(f"node '{self.node_id}'", self.fields, values)
        n_blocks = checked.pop("n_blocks", self.n_blocks)
        return replace(self, n_blocks=n_blocks, graph=self.graph.set(checked) if checked else self.graph)

    def static(self) -> "Block":
        """The block less the values of dynamic hyperparameters; a trafo is applied first, and is no part of it."""
        bare = static_graph(chosen_paths(self.graph))
        if self.trafo is None:
            return replace(self, graph=bare)
        # Each copy has values of its own then, which `dynamic` tells apart.
        each = tuple(static_graph(chosen_paths(copy)) for copy in self.copies())
        return replace(self, graph=bare, trafo=None, each=each)

    def dynamic(self) -> dict[str, Any]:
        """Values of the dynamic hyperparameters; of each copy, where there is a trafo."""
        if self.trafo is None:
            return dynamic_values(self.graph)
        copies = enumerate(self.copies())
        return {f"{i}.{name}": value for i, copy in copies for name, value in dynamic_values(copy).items()}

    def copies(self) -> list[Graph]:
        """The graph of each copy.

        Raises:
          ConfigError: The trafo names a hyperparameter that there is not, or a value out of range.
        """
        if self.each is not None:
            return list(self.each)
        if self.trafo is None:
            return [self.graph] * self.n_blocks
        return [self.graph.set(self._differing(i)) for i in range(self.n_blocks)]

    def _differing(self, i: int) -> Mapping[str, Any]:
        """The hyperparameters that differ in copy i."""
        assert self.trafo is not None
        who = f"node '{self.node_id}': 'trafo' of copy {i}"
        try:
            values = self.trafo(i, self.graph.params())
        except Exception as error:
            raise ConfigError(f"{who} fails: {type(error).__name__}: {error}\n{_TRAFO_HINT}") from error
        if not isinstance(values, Mapping):
            raise ConfigTypeError(f"{who} must give a dict of hyperparameters, got {values!r}.\n{_TRAFO_HINT}")
        try:
            self.graph.set(values)
        except ConfigError as error:
            raise type(error)(f"{who}: {error}") from error
        return values

    def build(self, site: Site, x: ArraySpec) -> nnx.Module:
        """All copies, the first for `x`, each other one for what the one before it gives."""
        if self.n_blocks == 0:
            return Apply(same)
        modules, inputs = [], x
        alike = self.trafo is None and self.each is None
        for i, graph in enumerate(self.copies()):
            # Copies that are scanned look up one name each; those of a trafo have values, so names, of their own.
            inner = site if alike else site.below(str(i), i)
            built = build_network(graph, dict.fromkeys(open_inputs(graph), inputs), inner)
            (port,) = graph.outputs
            modules.append(built.module)
            given, inputs = inputs, built.specs[port.node][port.index or 0]
            if i == 0:
                keeps_shape = (given.shape, given.dtype) == (inputs.shape, inputs.dtype)
        if self.n_blocks >= SCANNED and keeps_shape and alike:
            return Stacked(modules)
        return Series(modules)

    def __repr__(self) -> str:
        return f"<{self.node_id}> {self.n_blocks} x ({', '.join(self.graph.ids)})"


def static_graph(graph: Graph) -> Graph:
    """The graph less the values of dynamic hyperparameters."""
    return graph.with_ops({node.id: node.op.static() for node in graph if hasattr(node.op, "static")})


def dynamic_values(graph: Graph) -> dict[str, Any]:
    """Values of the dynamic hyperparameters by `<node id>.<name>`."""
    return {
        f"{node.id}.{name}": value
        for node in graph
        if hasattr(node.op, "dynamic")
        for name, value in node.op.dynamic().items()
    }


def block(graph: Any, n_blocks: int = 1, trafo: Trafo | None = None, *, id: str | None = None, **values: Any) -> Block:
    """A graph, repeated in series.

    Args:
      graph: A graph, a layer or a list of paths; it takes one input and gives one output.
      n_blocks: Number of copies.
      trafo: `trafo(i, values)` gives a dict of hyperparameters that differ in copy i, counted from 0. Dynamic ones,
        such as rates of dropout, stay dynamic: other values need no other compilation.
      id: Id of the node.
      values: Hyperparameters of the graph, as `**{"linear.out_features": 20}`.

    Raises:
      GraphError: No graph of layers with one output.
    """
    inner = as_graph(graph)
    if inner is None:
        raise ConfigTypeError(f"node 'block': expected a graph of layers, got {graph!r}.")
    if len(inner.outputs) != 1:
        raise GraphError(
            f"node 'block': its graph must give one output, but it gives {len(inner.outputs)}.\n"
            "Hint: end its paths with a merge, such as jdl.nn('merge_sum')."
        )
    if not inner.inputs or not all(hasattr(node.op, "build") for node in inner):
        raise GraphError("node 'block': its graph must begin with a layer; ingress and model nodes stay outside.")
    if trafo is not None and not callable(trafo):
        raise ConfigTypeError(f"node 'block': 'trafo' must be a function of a number and a dict, got {trafo!r}.")
    made = Block(inner, 1, trafo, None if id is None else checked_id("node 'block'", id))
    return made.set(n_blocks=n_blocks, **values)
