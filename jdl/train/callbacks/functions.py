"""A callback from functions, for what is too small to be a class."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from jdl.core.errors import ConfigError, ConfigTypeError, UnknownNameError
from jdl.train.callback import STAGES, Event, HostCallback, InScanCallback

Stages = tuple[tuple[str, Callable[..., Any]], ...]


@dataclass(frozen=True)
class InScanFunctions(InScanCallback):
    """An in-scan callback whose stages are functions of (memory, event), or of the event alone.

    Args:
      id: As given.
      functions: Pairs of stage and function.
      first: Gives the memory at the start from the train state; None for none.
    """

    id: str = "callback"  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]
    functions: Stages = ()
    first: Callable[[Any], Any] | None = None

    @property
    def stages(self) -> tuple[str, ...]:
        """Those that there is a function for."""
        return tuple(stage for stage, _ in self.functions)

    def init(self, state: Any) -> Any:
        """The memory at the start."""
        return () if self.first is None else self.first(state)

    def _call(self, stage: str, memory: Any, event: Event) -> tuple[Any, Event]:
        function = dict(self.functions)[stage]
        alone = len(inspect.signature(function).parameters) == 1
        result = (memory, function(event)) if alone else function(memory, event)
        if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], Event)):
            raise ConfigTypeError(
                f"callback '{self.id}': the function of '{stage}' must return "
                f"{'the event' if alone else 'the memory and the event'}, got {result!r}.\n"
                "Hint: return event.replace(grads=...)."
            )
        return result


def _stage_method(stage: str) -> Callable[..., Any]:
    def method(self: InScanFunctions, memory: Any, event: Event) -> tuple[Any, Event]:
        return self._call(stage, memory, event)

    return method


for _stage in STAGES:
    setattr(InScanFunctions, _stage, _stage_method(_stage))


class HostFunctions(HostCallback):
    """A host callback whose stages are functions of the context.

    Args:
      id: As given.
      functions: Function by stage.
      weight: Callbacks are called by ascending weight.
      forces_chunks: Whether it must be called at each of its stages, or takes chunks as they come.
    """

    def __init__(
        self, id: str, functions: dict[str, Callable[[Any], Any]], weight: float = 0.0, forces_chunks: bool = True
    ):
        self.id = id  # pyright: ignore[reportAttributeAccessIssue]
        self.weight = weight
        self.forces_chunks = forces_chunks  # pyright: ignore[reportAttributeAccessIssue]
        self._stages = tuple(stage for stage in STAGES if stage in functions)
        for stage, function in functions.items():
            setattr(self, stage, function)

    @property
    def stages(self) -> tuple[str, ...]:
        """Those that there is a function for."""
        return self._stages


def callback(
    *,
    id: str = "callback",
    kind: Literal["in_scan", "host"] | None = None,
    weight: float = 0.0,
    init: Callable[[Any], Any] | None = None,
    forces_chunks: bool = True,
    **stages: Callable[..., Any],
) -> InScanCallback | HostCallback:
    """A callback from functions, one per stage.

    Functions of `ctx` make a host callback, called in Python between compiled chunks. Functions of `event`, or of
    `memory` and `event`, make an in-scan one, compiled into the program: they return the event, or both. In-scan
    functions are compared by identity, so make them once.

    Args:
      id: Name in messages and among the callbacks' states.
      kind: "in_scan" or "host"; by default as the functions' arguments are called.
      weight: At each stage callbacks are called by ascending weight.
      init: Of in-scan callbacks: the memory at the start, from the train state.
      forces_chunks: Of host callbacks: whether they must be called at each stage, or take chunks as they come.
      stages: Functions by stage, such as `on_epoch_end`.

    Raises:
      ConfigError: No stage, both kinds at once, or an argument of the other kind.
      UnknownNameError: A stage that there is not.

    >>> import optax, jax
    >>> clipper = callback(on_after_backward=lambda event: event.replace(grads=optax.tree.clip(event.grads, -1, 1)))
    >>> clipper.stages
    ('on_after_backward',)
    >>> callback(on_epoch_end=lambda ctx: print(ctx.epoch)).stages
    ('on_epoch_end',)
    """
    who = f"callback '{id}'"
    for stage, function in stages.items():
        if stage not in STAGES:
            raise UnknownNameError.of("stage", stage, STAGES, owner=who)
        if not callable(function):
            raise ConfigTypeError(f"{who}: '{stage}' must be a function, got {function!r}.")
    if not stages:
        raise ConfigError(f"{who}: give at least one stage.\nHint: jdl.callback(on_epoch_end=lambda ctx: ...).")
    kinds = {kind} if kind else {_kind_of(who, stage, function) for stage, function in stages.items()}
    if len(kinds) > 1:
        raise ConfigError(
            f"{who}: its functions are of both kinds.\nHint: make two callbacks, one of functions of 'ctx' and one of "
            "functions of 'event'."
        )
    (made,) = kinds
    if made == "host":
        if init is not None:
            raise ConfigError(f"{who}: 'init' is for in-scan callbacks; host callbacks keep what they want themselves.")
        return HostFunctions(id, stages, weight, forces_chunks)
    ordered = tuple((stage, stages[stage]) for stage in STAGES if stage in stages)
    return InScanFunctions(id=id, functions=ordered, first=init, weight=weight)


def _kind_of(who: str, stage: str, function: Callable[..., Any]) -> str:
    names = list(inspect.signature(function).parameters)
    if len(names) == 2 or names == ["event"]:
        return "in_scan"
    if len(names) == 1:
        return "host"
    raise ConfigError(
        f"{who}: the function of '{stage}' takes {len(names)} arguments.\n"
        "Hint: (ctx) for a host callback; (event) or (memory, event) for an in-scan one."
    )
