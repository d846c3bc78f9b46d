"""The arrays of runs in flight, on their way into a checkpoint and out of it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from jdl.train.state import RunState, Status


def real_runs(runs: RunState, n: int) -> RunState:
    """The first `n` runs, in NumPy; what lies behind them fills devices only."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[:n], runs)


def saved_arrays(runs: RunState, histories: Sequence[np.ndarray]) -> dict[str, Any]:
    """What a checkpoint holds: fetched from the devices by whoever calls this. Shorter histories end in NaN."""
    longest = max(len(history) for history in histories)
    padded = [np.pad(h, ((0, longest - len(h)), (0, 0)), constant_values=np.nan) for h in histories]
    return {"runs": real_runs(runs, len(histories)), "history": np.stack(padded)}


def saved_shapes(blank: RunState, n: int, history: tuple[int, int]) -> dict[str, Any]:
    """Shapes of what a checkpoint of `n` runs holds.

    Args:
      blank: Runs in the shape of those that are trained.
      n: Runs that are no filling.
      history: Epochs and columns.
    """
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((n, *leaf.shape[1:]), leaf.dtype), blank)
    return {"runs": shapes, "history": jax.ShapeDtypeStruct((n, *history), np.dtype(np.float32))}


def refilled(runs: RunState, size: int) -> RunState:
    """The runs, filled up to `size` with copies of the first that train no epoch."""
    missing = size - len(runs.status)
    if not missing:
        return runs
    filled = jax.tree.map(lambda leaf: np.concatenate([leaf, np.repeat(leaf[:1], missing, axis=0)]), runs)
    status = np.concatenate([runs.status, np.full(missing, int(Status.COMPLETE), runs.status.dtype)])
    return replace(filled, status=status)


def continued(runs: RunState, epoch: int, max_epochs: Int[np.ndarray, "run"]) -> RunState:
    """The runs, of which those that ended with all their epochs at `epoch` go on if there are more now.

    Those that had ended before others did stay as they are, as they would have without an interruption.
    """
    if (runs.status == int(Status.RUNNING)).any():
        return runs
    done = np.asarray(runs.epoch)
    more = (runs.status == int(Status.COMPLETE)) & (done == epoch) & (done < max_epochs)
    return replace(runs, status=np.where(more, int(Status.RUNNING), runs.status).astype(np.int32))


def history_rows(
    block: Float[np.ndarray, "run epoch column"],
    columns: tuple[str, ...],
    iterations: tuple[int, ...],
    start: Int[np.ndarray, "run"],
    stop: Int[np.ndarray, "run"],
) -> list[dict[str, Any]]:
    """A dict per run and epoch, of those after `start` up to `stop`.

    Args:
      block: The history; its first epoch is that after `start`.
      columns: Its columns.
      iterations: Position of each run in its population.
      start: Epochs of each run before.
      stop: Epochs of each run now.
    """
    return [
        {"iteration": iteration, "epoch": epoch + 1}
        | dict(zip(columns, block[i, epoch - int(start[i])].tolist(), strict=True))
        for i, iteration in enumerate(iterations)
        for epoch in range(int(start[i]), int(stop[i]))
    ]
