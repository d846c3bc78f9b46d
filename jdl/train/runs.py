"""What one run of a population needs, and what comes of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jdl.core.random import RandomKey
from jdl.train.member import Member, MemberRows
from jdl.train.program import Program
from jdl.train.state import RunState, Status, evaluation_weights


@dataclass(frozen=True)
class RunRequest:
    """What one run of a population needs: how its member is made, and from where its orders are drawn.

    Args:
      make: Draws the member, without orders.
      key: Key of the run.
      rows: Its rows.
      epochs: Epochs to train.
    """

    make: Callable[[], Member]
    key: RandomKey
    rows: MemberRows
    epochs: int


@dataclass(frozen=True)
class RunOutcome:
    """What came of one run, as NumPy arrays.

    Args:
      params: Parameters that predict.
      rest: Other variables of the network that predict.
      stage_states: States of the stages.
      target_scale: Mean and standard deviation that the target was standardised with.
      history: A row per epoch, columns as `history_columns`.
      outputs: Outputs for the test rows, without padding.
      status: How it ended.
      epochs: Epochs done.
      best_epoch: Epoch of the best score; 0 without validation.
      hyper: Dynamic hyperparameters at the end.
      run_seconds: Its share of the time that the program ran, with the host callbacks between its pieces.
      compile_seconds: Its share of the time that compiling took.
    """

    params: Any
    rest: Any
    stage_states: Any
    target_scale: tuple[float, float]
    history: np.ndarray
    outputs: np.ndarray
    status: Status
    epochs: int
    best_epoch: int
    hyper: dict[str, Any]
    run_seconds: float
    compile_seconds: float


def outcome_of(
    program: Program,
    request: RunRequest,
    member: Member,
    run: RunState,
    history: np.ndarray,
    outputs: np.ndarray,
    run_seconds: float,
    compile_seconds: float,
) -> RunOutcome:
    """What came of a run.

    Args:
      program: What is static.
      request: What was asked for.
      member: What is the run's own.
      run: Its end, in NumPy.
      history: A row per epoch.
      outputs: Outputs for the test rows, padding included.
      run_seconds: Its share of the time that the program ran.
      compile_seconds: Its share of the time that compiling took.
    """
    if program.keep_best and int(run.best_epoch) > 0:
        params, rest = run.best
    else:
        params, rest = jax.tree.map(np.asarray, evaluation_weights(program, run.train, run.memories))
    return RunOutcome(
        params=params,
        rest=rest,
        stage_states=member.stage_states,
        target_scale=(float(member.target_scale[0]), float(member.target_scale[1])),
        history=history,
        outputs=outputs[: len(request.rows.test)],
        status=Status(int(run.status)),
        epochs=int(run.epoch),
        best_epoch=int(run.best_epoch),
        hyper=run.train.hyper,
        run_seconds=run_seconds,
        compile_seconds=compile_seconds,
    )
