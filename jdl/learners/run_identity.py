"""Which runs a learner's runs on a task are: what a checkpoint must agree in to be gone on from."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jdl.core.errors import ConfigError, ConfigTypeError, shown
from jdl.data.task import Task
from jdl.learners.learner import Job
from jdl.learners.value_text import text_of
from jdl.train.callback import HostCallback
from jdl.train.callbacks.checkpoint import Checkpoint
from jdl.train.checkpoint_folder import CheckpointFolder
from jdl.train.member import MemberRows
from jdl.train.plan import Plan
from jdl.train.resume import Resumption
from jdl.train.run_identity import RunIdentity, digest

if TYPE_CHECKING:
    from jdl.learners.neural import NeuralLearner
    from jdl.learners.population import Data

# More epochs may be asked for, and these change no number.
FREE = ("epochs", "resume", "device", "batch_size_predict", "callbacks")


def run_identity(
    learner: "NeuralLearner", task: Task, data: "Data", jobs: Sequence[Job], rows: Sequence[MemberRows], plan: Plan
) -> RunIdentity:
    """The identity of a population of runs."""
    every = [(r.train, r.valid, r.test) for r in rows]
    parts = {
        "task": task.id,
        "data": digest([*_leaves(data.table), np.asarray(data.target.values), data.target.weights, task.group_codes]),
        "rows (folds, validation)": digest([part for three in every for part in three]),
        "key": digest([np.asarray(job.key.words, np.uint64) for job in jobs]),
    }
    kind = plan.devices[0].device_kind
    layout = f"by {plan.strategy} on {len(plan.devices)} x {kind}"
    values = learner.params().set_index("name")["value"]
    described = {str(name): text_of(value) for name, value in values.items() if not _is_free(str(name))}
    described |= {"network": text_of(learner.network()), "loss": text_of(learner.loss)}
    described |= {f"callback '{c.id}'": text_of(c) for c in learner.in_scan_callbacks()}
    return RunIdentity(parts, layout, {"name": learner.id, **described}, spec=repr(learner))


def _is_free(name: str) -> bool:
    """Whether a hyperparameter may differ: one of the learner, or of the model node of a graph."""
    node, _, last = name.rpartition(".")
    return last in FREE and "." not in node


def _leaves(table: Any) -> list[np.ndarray]:
    return [np.asarray(table.numeric), np.asarray(table.codes)]


def checked_resume(who: str, resume: Any, callbacks: Sequence[Any]) -> Any:
    """The hyperparameter `resume`: None, True, or a path.

    Raises:
      ConfigTypeError: It is something else.
      ConfigError: True without a callback that says where the checkpoints are.
    """
    if resume is None or resume is False:
        return None
    if resume is True:
        if not any(isinstance(callback, Checkpoint) for callback in callbacks):
            raise ConfigError(
                f"{who}: resume=True goes on from the folder of the callback 'checkpoint', and there is none.\n"
                "Hint: callbacks=[jdl.cb('checkpoint', path)], or resume=path."
            )
        return True
    if isinstance(resume, str | Path) and str(resume):
        return Path(resume)
    raise ConfigTypeError(f"{who}: 'resume' must be True, a path or None, got {shown(resume)}.")


def resumption(
    resume: Any, callbacks: Sequence[HostCallback], identity: RunIdentity | None, groups: Sequence[tuple[int, int]]
) -> Resumption | None:
    """From where the runs go on.

    Args:
      resume: As `checked_resume` left it.
      callbacks: Host callbacks; one may write checkpoints.
      identity: Of the runs.
      groups: First and last run of those that are in flight together.

    Raises:
      CheckpointError: The folder does not exist, or holds something else.
    """
    if resume is None or identity is None:
        return None
    own = next((c for c in callbacks if isinstance(c, Checkpoint)), None)
    if resume is True:
        assert own is not None
        return Resumption.of(own.folder(anew=True).path, identity, groups, own=True)
    same = own is not None and own.folder(anew=True).path == CheckpointFolder(resume).path
    return Resumption.of(resume, identity, groups, own=same)
