"""One optimizer step on one batch of one member."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Shaped

from jdl.data.table import Table
from jdl.train.callback import Event, call_in_scan
from jdl.train.loss import mean_loss
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

    def loss_of(params: Any) -> tuple[Array, Any]:
        output, rest = program.forward(
            params,
            state.rest,
            batch.x,
            train=True,
            weights=batch.weights,
            seed=seed,
            hyper=state.hyper,
        )
        return mean_loss(program.loss, output, batch.target, batch.weights), (program.combined(output), rest)

    (loss, (output, rest)), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params)
    return grads, rest, StepInfo(loss=loss, weight=jnp.sum(batch.weights), output=output)


def update(program: Program, state: TrainState, grads: Any, rest: Any) -> TrainState:
    """The state after the optimizer's step along `grads`."""
    transformation = program.transformation(optimizer_hyper(state.hyper), state.params)
    updates, opt_state = transformation.update(grads, state.opt_state, state.params)
    return TrainState(
        step=state.step + 1,
        params=optax.apply_updates(state.params, updates),
        rest=rest,
        opt_state=opt_state,
        hyper=state.hyper,
        seed=state.seed,
    )


def step(program: Program, state: TrainState, batch: Batch) -> tuple[TrainState, StepInfo]:
    """One step: forward, backward, update. Pure; in-scan callbacks are called by `fit`, not here.

    The batch must have a row of positive weight.
    """
    grads, rest, info = backward(program, state, batch)
    return update(program, state, grads, rest), info


def step_with_callbacks(
    program: Program,
    state: TrainState,
    memories: tuple[Any, ...],
    batch: Batch,
    epoch: Array,
    stop: Array,
    total_steps: Array | None = None,
) -> tuple[TrainState, tuple[Any, ...], Array, StepInfo]:
    """One step with the batch stages of the in-scan callbacks around it."""
    callbacks = program.callbacks
    event = Event(state=state, epoch=epoch, stop=stop, x=batch.x, target=batch.target, weights=batch.weights)
    event = event.replace(total_steps=total_steps)
    memories, event = call_in_scan(callbacks, "on_batch_begin", memories, event)
    batch = Batch(x=event.x, target=event.target, weights=event.weights)
    grads, rest, info = backward(program, event.state, batch)
    event = event.replace(grads=grads, loss=info.loss)
    memories, event = call_in_scan(callbacks, "on_after_backward", memories, event)
    event = event.replace(state=update(program, event.state, event.grads, rest), grads=None)
    memories, event = call_in_scan(callbacks, "on_batch_end", memories, event)
    return event.state, memories, jnp.asarray(event.stop), info
