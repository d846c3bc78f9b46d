"""What makes nodes and edges a graph: checked whenever one is made, so that one put together by hand is too."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from jdl.core.errors import GraphError


def ordered(nodes: Sequence[Any], edges: Sequence[Any]) -> tuple[Any, ...]:
    """The nodes, each behind those it gets its inputs from; unchanged where they are in such an order already.

    Raises:
      GraphError: Two nodes with one id, an edge between ports that there are not, or a cycle.
    """
    counts = Counter(node.id for node in nodes)
    twice = next((name for name, n in counts.items() if n > 1), None)
    if twice is not None:
        raise GraphError(f"graph: two nodes have the id '{twice}'.\nHint: give one of them another id.")
    by_id = {node.id: node for node in nodes}
    for edge in edges:
        _check_port(by_id, edge.source, "output", edge)
        _check_port(by_id, edge.target, "input", edge)
    place = {node.id: i for i, node in enumerate(nodes)}
    if all(place[edge.source.node] < place[edge.target.node] for edge in edges):
        return tuple(nodes)
    before: dict[str, list[str]] = {node.id: [] for node in nodes}
    for edge in edges:
        before[edge.target.node].append(edge.source.node)
    try:
        return tuple(by_id[name] for name in TopologicalSorter(before).static_order())
    except CycleError as error:
        loop = list(reversed(error.args[1]))
        raise GraphError(
            f"graph: nodes {_listed(dict.fromkeys(loop))} form a cycle ({' >> '.join(loop)}).\n"
            "Hint: a layer never gets what it gives; jdl.nn('block', ...) repeats layers, 'lstm' and 'gru' recur."
        ) from None


def check_ports(nodes: Sequence[Any], edges: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
    """Refuses inputs that are fed twice or by nothing, and nodes whose outputs go nowhere.

    Raises:
      GraphError: Names the node.
    """
    by_id = {node.id: node for node in nodes}
    for port in inputs:
        _check_port(by_id, port, "input", None)
    for port in outputs:
        _check_port(by_id, port, "output", None)
    fed = Counter((edge.target.node, edge.target.index or 0) for edge in edges)
    twice = next((port for port, n in fed.items() if n > 1), None)
    if twice is not None:
        raise GraphError(
            f"graph: input {twice[1]} of node '{twice[0]}' is fed by more than one edge.\n"
            "Hint: a merge, such as jdl.nn('merge_sum'), makes one of several."
        )
    open_ports = {(port.node, port.index or 0) for port in inputs}
    both = next((port for port in fed if port in open_ports and by_id[port[0]].op.n_inputs is not None), None)
    if both is not None:
        raise GraphError(f"graph: input {both[1]} of node '{both[0]}' is fed, and listed as an open input too.")
    used = {port.node for port in (*outputs, *(edge.source for edge in edges))}
    for node in nodes:
        missing = [
            i for i in range(node.op.n_inputs or 0) if (node.id, i) not in fed and (node.id, i) not in open_ports
        ]
        if missing:
            raise GraphError(
                f"graph: nothing feeds input {missing[0]} of node '{node.id}'.\n"
                "Hint: add an edge to it, or list the port among the graph's inputs."
            )
    for node in nodes:
        if node.op.n_outputs and node.id not in used:
            raise GraphError(
                f"graph: node '{node.id}' dangles: no edge takes what it gives, and it is no output of the graph.\n"
                "Hint: add an edge from it, list it among the graph's outputs, or leave it out."
            )


def cut_open(graph: Any, gone: Iterable[str]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Open inputs and outputs of what is left of a graph without some nodes: edges that are cut leave ports open."""
    gone = set(gone)
    cut_in = [e.target for e in graph.edges if e.source.node in gone and e.target.node not in gone]
    kept = [e for e in graph.edges if e.source.node not in gone and e.target.node not in gone]
    still_used = {e.source.node for e in kept}
    cut_out = [e.source for e in graph.edges if e.target.node in gone and e.source.node not in gone]
    wide = {node.id for node in graph.nodes if node.op.n_inputs is None}
    cut_in = [replace(port, index=None) if port.node in wide else port for port in cut_in]
    inputs = [p for p in graph.inputs if p.node not in gone] + cut_in
    outputs = [p for p in graph.outputs if p.node not in gone]
    outputs += [port for port in cut_out if port.node not in still_used]
    return tuple(dict.fromkeys(inputs)), tuple(dict.fromkeys(outputs))


def _check_port(by_id: dict[str, Any], port: Any, kind: str, edge: Any) -> None:
    where = "" if edge is None else f" (edge '{edge.source.node}' >> '{edge.target.node}')"
    if port.node not in by_id:
        raise GraphError(f"graph: there is no node '{port.node}'{where}.\nHint: its nodes are {_listed(by_id)}.")
    op = by_id[port.node].op
    n = op.n_inputs if kind == "input" else op.n_outputs
    if n is not None and not 0 <= (port.index or 0) < n:
        raise GraphError(f"graph: node '{port.node}' has {n} {kind}s, so there is no {kind} {port.index or 0}{where}.")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
