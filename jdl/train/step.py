"""One optimizer step on one batch of one member."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Shaped

from jdl.data.table import Table
from jdl.train.accumulate import accumulated
from jdl.train.callback import Event, call_in_scan
from jdl.train.factors import thawed
from jdl.train.loss import mean_loss, row_weights
from jdl.train.program import Program, step_seed
from jdl.train.state import StepInfo, TrainState, optimizer_hyper


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Batch:
    """Rows as the network sees them, their targets and weights; a row of weight 0 is padding."""

    x: Table
    target: Shaped[Array, "row"]
    weights: Float[Array, "row"]


def backward(program: Program, state: TrainState, batch: Batch) -> tuple[Any, Any, StepInfo]:
    """Gradients, the network's other variables after the batch, and the step's info."""
    seed = step_seed(state.seed, state.step)

    loss_now = program.loss.at(state.hyper)

    def loss_of(params: Any) -> tuple[Array, Any]:
        output, rest = program.forward(
            thawed(params, program.optimizer.groups),
            state.rest,
            batch.x,
            train=True,
            weights=batch.weights,
            seed=seed,
            hyper=state.hyper,
        )
        loss = mean_loss(loss_now, output, batch.target, batch.weights)
        return loss, (program.combined(output, state.hyper), rest)

    (loss, (output, rest)), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params)
    weight = jnp.sum(row_weights(loss_now, batch.target, batch.weights))
    return grads, rest, StepInfo(loss=loss, weight=weight, output=output)


def update(
    program: Program, state: TrainState, grads: Any, rest: Any, weight: Any = 1.0, last: Any = True
) -> TrainState:
    """The state after the optimizer's step along `grads`.

    Args:
      program: What is static.
      state: The state before.
      grads: Gradients of the batch's mean loss.
      rest: Other variables of the network after the batch.
      weight: Weight of the batch's rows, by which gradients of several batches are accumulated.
      last: Whether the epoch has no further batch; what waits is then applied.
    """
    hyper = optimizer_hyper(state.hyper)
    transformation = program.transformation(hyper, state.params)
    if program.optimizer.accumulates:
        params, opt_state = accumulated(
            transformation, state.opt_state, state.params, grads, weight, hyper["accumulate"], last
        )
    else:
        updates, opt_state = transformation.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
    return TrainState(
        step=state.step + 1,
        params=params,
        rest=rest,
        opt_state=opt_state,
        hyper=state.hyper,
        seed=state.seed,
    )


def step(program: Program, state: TrainState, batch: Batch, last: Any = False) -> tuple[TrainState, StepInfo]:
    """One step: forward, backward, update. Pure; in-scan callbacks are called by `fit`, not here.

    The batch must have a row of positive weight. `last` says that it ends an epoch: gradients that were accumulated are
    applied.
    """
    grads, rest, info = backward(program, state, batch)
    return update(program, state, grads, rest, info.weight, last), info


def step_with_callbacks(
    program: Program, event: Event, memories: tuple[Any, ...], batch: Batch, last: Any = False
) -> tuple[TrainState, tuple[Any, ...], Array, StepInfo]:
    """One step with the batch stages of the in-scan callbacks around it, from an event without a batch."""
    callbacks = program.callbacks
    event = event.replace(x=batch.x, target=batch.target, weights=batch.weights)
    memories, event = call_in_scan(callbacks, "on_batch_begin", memories, event)
    batch = Batch(x=event.x, target=event.target, weights=event.weights)
    grads, rest, info = backward(program, event.state, batch)
    event = event.replace(grads=grads, loss=info.loss)
    memories, event = call_in_scan(callbacks, "on_after_backward", memories, event)
    event = event.replace(state=update(program, event.state, event.grads, rest, info.weight, last), grads=None)
    memories, event = call_in_scan(callbacks, "on_batch_end", memories, event)
    return event.state, memories, jnp.asarray(event.stop), info
