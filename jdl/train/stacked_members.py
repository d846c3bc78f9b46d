"""Members along one axis, for a program over all of them: what is their own, their orders, the shapes of their runs."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from jdl.train.member import Member, blank_member, draw_orders
from jdl.train.plan import Plan
from jdl.train.program import Program
from jdl.train.runs import RunRequest
from jdl.train.state import RunState, begin


def stacked(members: list[Member], plan: Plan) -> Member:
    """Members along a leading axis, filled up with copies of the first that train no epoch."""
    if plan.strategy == "loop":
        return members[0]
    idle = replace(members[0], max_epochs=np.asarray(0, np.int32))
    members = [*members, *[idle] * (plan.group - len(members))]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *members)


def orders_of(
    program: Program, requests: Sequence[RunRequest], plan: Plan, done: Int[np.ndarray, "run"], capacity: int
) -> np.ndarray:
    """Orders of the next `capacity` epochs of each member, in one array of the chunk's shape.

    Args:
      program: What is static.
      requests: The runs in flight.
      plan: How many members there are.
      done: Epochs that each run has done.
      capacity: Epochs of the chunk.
    """
    size = draw_orders(program, requests[0].key, requests[0].rows, range(0)).shape[1]
    orders = np.zeros((plan.group, capacity if program.shuffle else 1, size), np.int32)
    for i, (request, before) in enumerate(zip(requests, done, strict=True)):
        epochs = range(int(before), min(int(before) + capacity, request.epochs))
        drawn = draw_orders(program, request.key, request.rows, epochs)
        orders[i, : len(drawn)] = drawn
    return orders[0] if plan.strategy == "loop" else orders


def blank_runs(program: Program, member: Member, plan: Plan) -> Any:
    """Zeros in the shape of the runs' states, which the first chunk does not read."""
    shapes = _run_shapes(program, tuple((name, value.shape) for name, value in member.hyper.items()))
    lead = () if plan.strategy == "loop" else (plan.group,)
    return jax.tree.map(lambda s: np.zeros(lead + s.shape, s.dtype), shapes)


@lru_cache(maxsize=128)
def _run_shapes(program: Program, hyper: tuple[tuple[str, tuple[int, ...]], ...]) -> RunState:
    """Shapes of a run's state: they follow from the program and the shapes of its dynamic hyperparameters."""
    member = blank_member(program, {name: np.zeros(shape, np.float32) for name, shape in hyper})
    return jax.eval_shape(lambda m: begin(program, m), member)
