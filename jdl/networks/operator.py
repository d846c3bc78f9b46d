"""What all nodes of a network graph have in common: an id, and how a graph of them is shown."""

import abc
from collections.abc import Mapping
from typing import Any

from jdl.core.fields import Field
from jdl.core.graph import Composable, Graph


class NetworkOperator(Composable, abc.ABC):
    """A node of a network graph. Subclasses are frozen dataclasses with a field `id`, None where it was not given."""

    id: str | None
    n_inputs: Any = 1
    n_outputs: Any = 1

    @property
    @abc.abstractmethod
    def default_id(self) -> str:
        """The id of its node where none was given."""

    @property
    def node_id(self) -> str:
        """Its id, or else the default one."""
        return self.id or self.default_id

    @property
    def has_own_id(self) -> bool:
        """Whether the id was given by hand."""
        return self.id is not None

    @property
    def fields(self) -> Mapping[str, Field]:
        """Its hyperparameters."""
        return {}

    def params(self) -> dict[str, Any]:
        """Their values."""
        return {}

    def summary_of(self, graph: Graph, task: Any) -> Any:
        """The summary of a graph that it is part of, for `Graph.summary`."""
        from jdl.networks.summary import summary

        return summary(graph, task)
