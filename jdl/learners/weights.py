"""Weights of rows in jobs: a training row of weight 0 is absent."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from jdl.core.errors import TaskError
from jdl.data.task import Task
from jdl.learners.learner import Job


def with_weight(task: Task, jobs: Sequence[Job], who: str) -> Sequence[Job]:
    """The jobs less their training rows of weight 0.

    Raises:
      TaskError: A job has no other training rows.
    """
    weights = task.row_weights
    if weights is None or (weights > 0).all():
        return jobs
    kept = [replace(job, rows=job.rows[weights[job.rows] > 0]) for job in jobs]
    for job in kept:
        if not len(job.rows):
            where = "" if job.iteration is None else f", iteration {job.iteration}"
            raise TaskError(
                f"{who}{where}: all training rows have weight 0 in column '{task.weights}'.\n"
                "Hint: a row of weight 0 counts as absent; give some of them a weight, or train on other rows."
            )
    return kept


def weighted_moments(values: np.ndarray, weights: np.ndarray | None) -> tuple[float, float]:
    """Weighted mean and standard deviation.

    >>> weighted_moments(np.array([1.0, 3.0]), np.array([1.0, 1.0]))
    (2.0, 1.0)
    """
    mean = np.average(values, weights=weights)
    return float(mean), float(np.sqrt(np.average((values - mean) ** 2, weights=weights)))


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """The value with half of the weight on either side; the middle of two where there are two.

    >>> weighted_median(np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 5.0]))
    2.0
    """
    order = np.argsort(values)
    below = np.cumsum(weights[order])
    low = np.searchsorted(below, below[-1] / 2, side="left")
    high = np.searchsorted(below, below[-1] / 2, side="right")
    return float((values[order][low] + values[order][high]) / 2)
