"""What changes during a run: the train state, and around it what stopping and callbacks remember."""

import enum
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt32

from jdl.train.accumulate import Accumulated
from jdl.train.callback import ask, call_in_scan
from jdl.train.events import event_of
from jdl.train.member import Member
from jdl.train.precision import kept
from jdl.train.program import Program


class Status(enum.IntEnum):
    """How a member's run stands."""

    RUNNING = 0
    COMPLETE = 1
    STOPPED_EARLY = 2
    DIVERGED = 3


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """Fed back from step to step.

    Args:
      step: Batches done.
      params: Parameters of the network.
      rest: Its other variables (batch statistics).
      opt_state: State of the Optax transformation; with gradients that wait, where they are accumulated.
      hyper: Dynamic hyperparameters by name: "opt.lr", "dropout", ...
      seed: Random word from which the noise of each step is hashed.
    """

    step: Int[Array, ""]
    params: Any
    rest: Any
    opt_state: Any
    hyper: dict[str, Array]
    seed: UInt32[Array, ""]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class StepInfo:
    """Diagnostics of one step, never fed back: mean loss, real rows, and the outputs."""

    loss: Float[Array, ""]
    weight: Float[Array, ""]
    output: Float[Array, "row output"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RunState:
    """A member between two epochs.

    Args:
      train: The train state.
      best: Parameters and other variables of the best evaluated epoch, where they are kept.
      best_score: Its score, signed so that less is better.
      best_epoch: Its number; 0 if there was none.
      stagnation: Evaluations since the last improvement.
      epoch: Epochs done.
      status: A `Status`.
      memories: Memory of each in-scan callback.
    """

    train: TrainState
    best: Any
    best_score: Float[Array, ""]
    best_epoch: Int[Array, ""]
    stagnation: Int[Array, ""]
    epoch: Int[Array, ""]
    status: Int[Array, ""]
    memories: tuple[Any, ...]


def init(program: Program, member: Member) -> TrainState:
    """The train state before the first step.

    Pure: `jit`, `vmap` and `grad` apply.
    """
    params = kept(program.precision, jax.tree.map(jnp.asarray, member.params))
    opt_state = program.transformation(optimizer_hyper(member.hyper), params).init(params)
    if program.optimizer.accumulates:
        opt_state = Accumulated.empty(opt_state, params)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        rest=jax.tree.map(jnp.asarray, member.rest),
        opt_state=opt_state,
        hyper={name: jnp.asarray(value) for name, value in member.hyper.items()},
        seed=jnp.asarray(member.seed, jnp.uint32),
    )


def begin(program: Program, member: Member) -> RunState:
    """The run before its first epoch, after the callbacks' `on_begin`."""
    train = init(program, member)
    memories = tuple(ask(callback, "init", train) for callback in program.callbacks)
    event = event_of(program, member, train, jnp.zeros((), jnp.int32))
    memories, event = call_in_scan(program.callbacks, "on_begin", memories, event)
    status = jnp.where(event.stop, int(Status.STOPPED_EARLY), int(Status.RUNNING))
    status = jnp.where(member.max_epochs <= 0, int(Status.COMPLETE), status).astype(jnp.int32)
    train = event.state
    run = RunState(
        train=train,
        best=jax.tree.map(jnp.copy, (train.params, train.rest)) if program.keep_best else (),
        best_score=jnp.asarray(jnp.inf, jnp.float32),
        best_epoch=jnp.zeros((), jnp.int32),
        stagnation=jnp.zeros((), jnp.int32),
        epoch=jnp.zeros((), jnp.int32),
        status=status,
        memories=memories,
    )
    return end(program, member, run)


def end(program: Program, member: Member, run: RunState) -> RunState:
    """The run after the callbacks' `on_end` and `on_exit`, if it goes no further."""
    if not any({"on_end", "on_exit"} & set(callback.stages) for callback in program.callbacks):
        return run

    def call() -> RunState:
        event = event_of(program, member, run.train, run.epoch)
        memories, event = call_in_scan(program.callbacks, "on_end", run.memories, event)
        memories, event = call_in_scan(program.callbacks, "on_exit", memories, event)
        return replace(run, train=event.state, memories=memories)

    return jax.lax.cond(run.status != int(Status.RUNNING), call, lambda: run)


def evaluation_weights(program: Program, train: TrainState, memories: tuple[Any, ...]) -> tuple[Any, Any]:
    """Parameters and other variables that validate and predict: the current ones, or a callback's mean of them."""
    for callback, memory in zip(program.callbacks, memories, strict=True):
        averaged = ask(callback, "weights", memory, train)
        if averaged is not None:
            return averaged
    return predicting(program, train)


def final_weights(program: Program, run: RunState) -> tuple[Any, Any]:
    """Parameters and other variables that predict: the best ones, where they are kept and there are any."""
    last = evaluation_weights(program, run.train, run.memories)
    if not program.keep_best:
        return last
    return jax.tree.map(lambda best, now: jnp.where(run.best_epoch > 0, best, now), run.best, last)


def predicting(program: Program, train: TrainState) -> tuple[Any, Any]:
    """Parameters and other variables that predict: those that are trained, unless the optimizer averages them."""
    if not program.optimizer.averages:
        return train.params, train.rest
    state = train.opt_state.inner if program.optimizer.accumulates else train.opt_state
    return program.optimizer.evaluated(optimizer_hyper(train.hyper), state, train.params), train.rest


def replace_hyper(state: TrainState, values: dict[str, Any]) -> TrainState:
    """The state with other values of some dynamic hyperparameters, in the types that they had."""
    types = {name: getattr(state.hyper.get(name), "dtype", jnp.float32) for name in values}
    return replace(state, hyper={**state.hyper, **{n: jnp.asarray(v, types[n]) for n, v in values.items()}})


def optimizer_hyper(hyper: dict[str, Any]) -> dict[str, Any]:
    """The optimizer's part of the dynamic hyperparameters, without its prefix."""
    return {name.removeprefix("opt."): value for name, value in hyper.items() if name.startswith("opt.")}
