"""Learners from graphs: stages, then a network, then what trains it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from jdl.core.errors import GraphError, UnknownNameError
from jdl.core.fields import Field
from jdl.core.graph import Graph
from jdl.data.table import ColumnType
from jdl.data.task import as_task
from jdl.learners.graph_nodes import MODELS, ModelPart
from jdl.learners.neural import NeuralLearner
from jdl.learners.task_type import ForClassif, ForRegrByLoss
from jdl.networks.block import dynamic_values, static_graph
from jdl.networks.branch import chosen_paths
from jdl.networks.graph_spec import GraphSpec, check_network
from jdl.networks.ingress import Ingress
from jdl.networks.spec import NetworkSpec
from jdl.networks.summary import summary
from jdl.pipeline.compose import out_specs
from jdl.pipeline.stage import Stage


class GraphLearner(NeuralLearner):
    """The learner that a graph stands for: its stages, its network, its loss, optimizer, callbacks and model node.

    All its hyperparameters are called `<node id>.<name>`.

    Args:
      graph: Ends in a model node.
      id: By default that of the model node.
      predict_type: "response"; in classification "prob", in regression "se" or "quantiles" if the loss predicts it.

    Raises:
      GraphError: The graph is no learner: names what is missing or stands in the wrong place.
    """

    fields: ClassVar[dict[str, Field]] = {}
    takes_missing_categories: ClassVar[bool] = True  # code 0 stands for them

    def __init__(self, graph: Graph, *, id: str | None = None, predict_type: str | None = None):
        stages, self.graph, parts = _parts_of(graph)
        model = parts["model"]
        self.name = model.node_id  # pyright: ignore[reportAttributeAccessIssue]
        self.task_type = MODELS[model.role]  # pyright: ignore[reportAttributeAccessIssue]
        self.predict_types = _PREDICT_TYPES[self.task_type]  # pyright: ignore[reportAttributeAccessIssue]
        types = {t for node in self.graph if isinstance(node.op, Ingress) for t in node.op.types}
        self.feature_types = tuple(t for t in _TYPES if t in types)  # pyright: ignore[reportAttributeAccessIssue]
        self.predict_type = self._checked_predict_type(predict_type)
        self.stages = stages
        self._id = id
        self._settle()

    def _settle(self) -> None:
        """Takes the values that all networks share from the nodes that hold them."""
        parts = _roles(self.graph)
        optimizer = parts["optimizer"].values[0][1] if "optimizer" in parts else "adam"
        callbacks = parts["callbacks"].values[0][1] if "callbacks" in parts else ()
        self.values = {
            **dict(parts["model"].values),
            "loss": parts["loss"].values[0][1],
            "optimizer": optimizer,
            "callbacks": callbacks,
        }
        self._check()

    def network(self) -> NetworkSpec:
        """The network of the graph, less the values of its dynamic hyperparameters."""
        parts = {node.id for node in self.graph if isinstance(node.op, ModelPart)}
        ends = tuple(e.source for e in self.graph.edges if e.target.node in parts and e.source.node not in parts)
        return GraphSpec(static_graph(chosen_paths(replace(self.graph.without(parts), outputs=ends))))

    def dynamic(self) -> dict[str, Any]:
        """Dynamic hyperparameters of the layers."""
        return dynamic_values(chosen_paths(self.graph))

    def set(self, values: Mapping[str, Any] | None = None, **more: Any) -> "GraphLearner":
        """The same learner with other hyperparameters; `<node id>.<name>` names one.

        Raises:
          UnknownNameError: A hyperparameter that it does not have.
          ConfigError: A value out of range.
        """
        given = {**(values or {}), **more}
        new = self._open_copy()
        new._id = given.pop("id", self._id)
        new.predict_type = self._checked_predict_type(given.pop("predict_type", self.predict_type))
        of_stages = {s.stage_id: {} for s in self.stages}
        for name in list(given):
            if name.partition(".")[0] in of_stages and name not in self.graph.fields():
                of_stages[name.partition(".")[0]][name.partition(".")[2]] = given.pop(name)
        unknown = next((name for name in given if name not in self.graph.fields()), None)
        if unknown is not None:
            raise UnknownNameError.of("hyperparameter", unknown, self._names(), owner=f"learner '{self.id}'")
        new.stages = tuple(s.set(**of_stages[s.stage_id]) if of_stages[s.stage_id] else s for s in self.stages)
        new.graph = self.graph.set(given) if given else self.graph
        new._settle()
        return new._seal()

    def parts(self) -> dict[str, Any]:
        """The graph, less its stages."""
        return {"graph": self.graph}

    def summary(self, task: Any = None) -> Any:
        """A table of the graph's nodes; see `Graph.summary`."""
        if task is None:
            return self.graph.summary()
        task = as_task(task)
        return summary(self.graph, task, spec=out_specs(self.stages, task.spec)[-1])

    def to_mermaid(self) -> str:
        """The graph, without the stages, in Mermaid's language."""
        return self.graph.to_mermaid()

    def to_svg(self) -> str:
        """The graph, without the stages, as a drawing; needs Graphviz.

        Raises:
          MissingPackageError: The program `dot` is not on the path.
        """
        return self.graph.to_svg()

    def _all_fields(self) -> dict[str, tuple[Field, Any]]:
        of_stages = {
            f"{stage.stage_id}.{name}": (entry, stage.params()[name])
            for stage in self.stages
            for name, entry in type(stage).fields.items()
        }
        return of_stages | self.graph.fields()

    def _shown(self) -> dict[str, Any]:
        return {}


_PREDICT_TYPES = {"classif": ForClassif.predict_types, "regr": ForRegrByLoss.predict_types}
_TYPES: tuple[ColumnType, ...] = ("bool", "int", "float", "category", "ordered")


def _parts_of(graph: Graph) -> tuple[tuple[Stage, ...], Graph, dict[str, ModelPart]]:
    """The stages of a graph, the rest of it, and the nodes behind the network by role.

    Raises:
      GraphError: Something is missing, twice there, or stands in the wrong place.
    """
    parts = _roles(graph)
    stages = _leading_stages(graph)
    rest = graph.without([stage.stage_id for stage in stages])
    for node in rest:
        behind = [port for port in rest.sources(node.id) if isinstance(rest[port.node], ModelPart)]
        if behind and not isinstance(node.op, ModelPart):
            raise GraphError(
                f"graph: node '{node.id}' stands behind node '{behind[0].node}'.\n"
                "Hint: layers come first, then loss, optimizer and callbacks, the model node last."
            )
    network = rest.without([node.id for node in rest if isinstance(node.op, ModelPart)])
    last = next(node for node in rest if isinstance(node.op, ModelPart))
    ends = tuple(e.source for e in rest.edges if e.target.node == last.id)
    check_network(replace(network, outputs=tuple(dict.fromkeys(network.outputs + ends))))
    return stages, rest, parts


def _roles(graph: Graph) -> dict[str, ModelPart]:
    """The loss, optimizer, callbacks and model node of a graph, by role ("model" for either model node)."""
    parts: dict[str, ModelPart] = {}
    for node in graph:
        if isinstance(node.op, ModelPart):
            role = "model" if node.op.role in MODELS else node.op.role
            if role in parts:
                raise GraphError(
                    f"graph: node '{node.id}' sets the {role} a second time.\nHint: leave one of them out."
                )
            parts[role] = node.op if node.op.id == node.id else replace(node.op, id=node.id)
    for role, hint in (("model", "jdl.po('model_classif', epochs=10)"), ("loss", "jdl.po('loss', loss='mse')")):
        if role not in parts:
            raise GraphError(f"graph: there is no {role} node, so that it is no learner.\nHint: put {hint} at its end.")
    return parts


def _leading_stages(graph: Graph) -> tuple[Stage, ...]:
    """The stages before the ingress nodes, which all of them share.

    Raises:
      GraphError: A stage that only some paths have, or one behind a layer.
    """
    stages = [node for node in graph if isinstance(node.op, Stage)]
    for before, node in zip([None, *stages], stages, strict=False):
        sources = [port.node for port in graph.sources(node.id)]
        if sources != ([] if before is None else [before.id]):
            raise GraphError(
                f"graph: stage '{node.id}' must stand before all paths of the network, in a row with other stages.\n"
                "Hint: stage >> other_stage >> [path, other_path]."
            )
    last = stages[-1].id if stages else None
    for node in graph:
        sources = [port.node for port in graph.sources(node.id)]
        if isinstance(node.op, Ingress) and sources != ([] if last is None else [last]):
            got = ", ".join(f"'{source}'" for source in sources) or "nothing"
            wanted = "nothing before it" if last is None else f"its rows from the last stage, '{last}'"
            raise GraphError(
                f"graph: ingress '{node.id}' must get {wanted}, but it gets {got}.\n"
                "Hint: paths from several ingress nodes go into a list: [path, other_path] >> jdl.nn('merge_cat')."
            )
    return tuple(node.op if node.op.stage_id == node.id else replace(node.op, id=node.id) for node in stages)
