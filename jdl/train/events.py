"""The events that in-scan callbacks see, filled from a program and a member."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Int

from jdl.train.callback import Event
from jdl.train.member import Member
from jdl.train.program import Program


def epoch_steps(program: Program, member: Member) -> Int[Array, ""]:
    """Steps of an epoch of a member."""
    return -(-jnp.asarray(member.n_train) // program.batch_size)


def event_of(program: Program, member: Member, state: Any, epoch: Any, stop: Any = None, **more: Any) -> Event:
    """An event of a member's run.

    Args:
      program: What is static.
      member: What is the member's own.
      state: Its train state.
      epoch: Number of the epoch; 0 before the first.
      stop: Whether the end was asked for; None for not.
      more: Further fields of `Event`.
    """
    measures = program.measures_valid
    return Event(
        state=state,
        epoch=epoch,
        stop=jnp.zeros((), bool) if stop is None else stop,
        total_epochs=jnp.asarray(member.max_epochs),
        total_steps=epoch_steps(program, member) * member.max_epochs,
        minimize=measures[0].minimize if measures else True,
        **more,
    )
