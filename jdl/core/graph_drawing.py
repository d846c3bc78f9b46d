"""Drawings of graphs: text for Mermaid and for Graphviz."""

import shutil
import subprocess
from typing import Any

from jdl.core.errors import MissingPackageError


def to_mermaid(graph: Any) -> str:
    """A flowchart in Mermaid's language, from top to bottom.

    Args:
      graph: A `Graph`.
    """
    names = {node.id: f"n{i}" for i, node in enumerate(graph.nodes)}
    lines = ["flowchart TD"]
    lines += [f'  {names[node.id]}["{_label(node).replace(chr(34), "#quot;")}"]' for node in graph.nodes]
    lines += [f"  {names[source]} --> {names[target]}" for source, target in _pairs(graph)]
    return "\n".join(lines)


def to_dot(graph: Any) -> str:
    """The graph in Graphviz' language."""
    lines = ["digraph network {", "  node [shape=box, style=rounded, fontname=sans];"]
    for node in graph.nodes:
        label = _label(node).replace("\\", "\\\\").replace('"', r"\"")
        lines.append(f'  "{node.id}" [label="{label}"];')
    lines += [f'  "{source}" -> "{target}";' for source, target in _pairs(graph)]
    return "\n".join([*lines, "}"])


def to_svg(graph: Any) -> str:
    """The graph drawn by Graphviz.

    Raises:
      MissingPackageError: The program `dot` is not on the path.
    """
    dot = shutil.which("dot")
    if dot is None:
        raise MissingPackageError(
            "to_svg needs Graphviz, whose program 'dot' is not on the path.\n"
            "Hint: install it (the package is called graphviz), or take to_mermaid()."
        )
    drawn = subprocess.run([dot, "-Tsvg"], input=to_dot(graph), capture_output=True, text=True, check=True)
    return drawn.stdout


def _label(node: Any) -> str:
    shown = repr(node.op).partition(">")[2].strip()
    return f"{node.id}: {shown}" if shown else node.id


def _pairs(graph: Any) -> list[tuple[str, str]]:
    return list(dict.fromkeys((edge.source.node, edge.target.node) for edge in graph.edges))
