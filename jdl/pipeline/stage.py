"""The contract of a preprocessing stage, and chains of stages."""

import abc
from dataclasses import dataclass, field, fields, replace
from functools import reduce
from itertools import count
from typing import Any, ClassVar, NoReturn

from jaxtyping import Float

from jdl.core.errors import ConfigError, ConfigTypeError, GraphError, UnknownNameError
from jdl.core.fields import REQUIRED, Field, check_values, with_defaults
from jdl.core.graph import Graph, as_graph, join
from jdl.data.table import Table, TableSpec


@dataclass(frozen=True)
class Stage(abc.ABC):
    """A pure pair of functions over columns: `fit` learns a state from weighted rows, `apply` uses it.

    A stage is a frozen, hashable value that holds its hyperparameters only. `fit` and `apply` are written once over
    an array namespace (`jdl.core.arrays.namespace`): in NumPy they run on the host, in JAX they trace.
    Weights count rows: a row of weight 0 is absent, a row of weight 2 is there twice. A row of weight 0 may hold
    NaN or infinities without effect on the state. Statistics are over the observed values only.

    A subclass is a frozen dataclass whose `fields` describe each of its hyperparameters. They are checked, and
    brought to their kept form, once: here.

    Args:
      id: Names the stage in a chain, and its hyperparameters as `<id>.<name>`; its catalogue name by default.

    Raises:
      UnknownNameError: A hyperparameter that it does not have.
      ConfigError: A value out of range.
    """

    fields: ClassVar[dict[str, Field]] = {}
    name: ClassVar[str] = ""
    # Whether `apply` does something else to training rows: they are then never transformed ahead of training.
    differs_in_training: ClassVar[bool] = False

    id: str | None = field(default=None, kw_only=True)

    def __new__(cls, *args: Any, **kwargs: Any) -> "Stage":
        """Refuses arguments that there are not, by name; Python itself would not say which are near."""
        who = f"pipeline operator '{cls.name}'"
        taken = [f for f in fields(cls) if f.init]
        for name in kwargs:
            if name not in {f.name for f in taken}:
                raise UnknownNameError.of("hyperparameter", name, (f.name for f in taken), owner=who)
        positional = [f.name for f in taken if not f.kw_only]
        if len(args) > len(positional):
            raise ConfigTypeError(
                f"{who} takes {len(positional)} arguments without a name, got {len(args)}.\n"
                f"Hint: name them. It takes {', '.join(f.name for f in taken)}."
            )
        return super().__new__(cls)

    def __post_init__(self) -> None:
        if self.id is not None and (not isinstance(self.id, str) or not self.id or "." in self.id):
            raise ConfigError(f"pipeline operator '{self.name}': 'id' must be a text without a dot, got {self.id!r}.")
        given = {name: value for name, value in self.params().items() if value is not REQUIRED}
        for name, value in with_defaults(self._owner, self.fields, given).items():
            object.__setattr__(self, name, value)

    @property
    def stage_id(self) -> str:
        """Its name in a chain: the id, or else the catalogue name."""
        return self.id or self.name

    # What a node of a graph may be asked.
    n_inputs: ClassVar[int] = 1
    n_outputs: ClassVar[int] = 1

    @property
    def node_id(self) -> str:
        """Its id in a graph."""
        return self.stage_id

    @property
    def has_own_id(self) -> bool:
        """Whether the id was given by hand."""
        return self.id is not None

    @property
    def _owner(self) -> str:
        return f"pipeline operator '{self.stage_id}'"

    def params(self) -> dict[str, Any]:
        """Its hyperparameters and their values."""
        return {name: getattr(self, name) for name in self.fields}

    def set(self, **values: Any) -> "Stage":
        """The same stage with other hyperparameters.

        Raises:
          UnknownNameError: A hyperparameter that it does not have.
          ConfigError: A value out of range.
        """
        return replace(self, **check_values(self._owner, self.fields, values))

    @abc.abstractmethod
    def out_spec(self, spec: TableSpec) -> TableSpec:
        """The columns that `apply` returns for columns such as these."""

    @abc.abstractmethod
    def fit(self, spec: TableSpec, table: Table, weights: Float[Any, "row"], key: Any) -> Any:
        """The state, a pytree of float32 arrays without a row axis, whose shapes follow from `spec` alone.

        Args:
          spec: Describes `table`.
          table: All rows, NumPy's on the host.
          weights: How often each row counts.
          key: A `RandomKey`, a JAX key inside a program, or None where nothing is drawn.
        """

    @abc.abstractmethod
    def apply(self, spec: TableSpec, state: Any, table: Table, key: Any, train: bool) -> Table:
        """The transformed rows, as `out_spec` says. Each row depends on the state and itself only.

        Args:
          spec: Describes `table`; the one that `fit` had, for shapes and positions follow from it.
          state: From `fit`.
          table: Any rows.
          key: None, except where a stage draws random numbers per row.
          train: Whether these are training rows.
        """

    def __rshift__(self, other: Any) -> Any:
        return StageChain((self,)) >> other

    def train(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused: only what ends in a learner is trained.

        Raises:
          GraphError: Always.
        """
        StageChain((self,)).train(*args, **kwargs)


@dataclass(frozen=True)
class StageChain:
    """Stages in the order in which they are applied; an id that repeats is numbered: `scale`, `scale_2`.

    Raises:
      GraphError: Two stages were given one id, so that `<id>.<name>` would name two hyperparameters.
    """

    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        taken = {stage.id for stage in self.stages if stage.id is not None}
        seen: set[str] = set()
        numbered = []
        for stage in self.stages:
            if stage.id is not None and stage.id in seen:
                raise GraphError(
                    f"pipeline: two of its operators have the id '{stage.id}'.\n"
                    f"Hint: give one of them another id, such as id='{stage.id}_2'."
                )
            if stage.id is None and stage.name in seen | taken:
                stage = replace(stage, id=_free_id(stage.name, seen | taken))
            seen.add(stage.stage_id)
            numbered.append(stage)
        object.__setattr__(self, "stages", tuple(numbered))

    def as_graph(self) -> Graph:
        """The stages as a graph of nodes in a row."""
        return reduce(join, map(Graph.of, self.stages))

    def train(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused: only what ends in a learner is trained.

        Raises:
          GraphError: Always.
        """
        del args, kwargs
        ids = " >> ".join(stage.stage_id for stage in self.stages)
        raise GraphError(
            f"pipeline '{ids}': a pipeline that is trained must end in a learner, but this one ends in "
            f"'{self.stages[-1].stage_id}'.\nHint: (pipeline >> jdl.lrn('classif.mlp')).train(task)."
        )

    def __rshift__(self, other: Any) -> Any:
        if isinstance(other, StageChain):
            return StageChain((*self.stages, *other.stages))
        if isinstance(other, Stage):
            return StageChain((*self.stages, other))
        graph = as_graph(other)
        if graph is not None:
            return join(self.as_graph(), graph)
        if hasattr(other, "__rrshift__") and not isinstance(other, int):
            return NotImplemented  # a learner knows how to take stages itself
        raise GraphError(
            f"pipeline: expected a pipeline operator, a learner or a graph behind '{self.stages[-1].stage_id}', got "
            f"{other!r}.\nHint: jdl.po('scale'), jdl.lrn('classif.mlp')."
        )


def _free_id(name: str, taken: set[str]) -> str:
    return next(f"{name}_{n}" for n in count(2) if f"{name}_{n}" not in taken)
