"""A trained network with all that is needed to predict from raw columns."""

import warnings
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import pandas as pd
from flax import nnx

from jdl.core.errors import ConfigError, JdlWarning
from jdl.data.prediction import Prediction, PredictionClassif, PredictionRegr
from jdl.data.table import Table, TableSpec
from jdl.data.task import Task
from jdl.learners.learner import FittedLearner
from jdl.learners.new_rows import Known, NewRows
from jdl.networks.paths import path_names
from jdl.train.loop import history_columns
from jdl.train.loss import probabilities
from jdl.train.program import Program, initial_values
from jdl.train.rows import position_weights
from jdl.train.runs import RunOutcome

if TYPE_CHECKING:
    from jdl.learners.neural import NeuralLearner, Schedule


@dataclass(frozen=True, repr=False, eq=False)
class FittedNeural(FittedLearner):
    """What a neural learner has learned.

    Args:
      learner: The learner that was trained.
      program: Its program on the training task.
      run: Parameters, stage states, history and status.
      spec: Feature columns, flagged as in the rows that all runs trained on.
      known: Features, target and classes of the training task.
      optimistic: Whether test rows decided about stopping or the weights.
    """

    learner: "NeuralLearner"
    program: Program
    run: RunOutcome
    spec: TableSpec
    known: Known
    optimistic: bool

    @classmethod
    def of(
        cls,
        learner: "NeuralLearner",
        task: Task,
        program: Program,
        schedule: "Schedule",
        run: RunOutcome,
        spec: TableSpec,
    ) -> "FittedNeural":
        """The fitted learner of one run on a task."""
        return cls(
            learner=learner,
            program=program,
            run=run,
            spec=spec,
            known=Known.of(task),
            optimistic=schedule.validate == "test" and bool(schedule.patience or schedule.restore_best),
        )

    @property
    def history(self) -> pd.DataFrame:
        """One row per epoch: losses, scores, learning rate, seconds. A copy: changes of it stay outside."""
        return self._history.copy()

    @cached_property
    def _history(self) -> pd.DataFrame:
        frame = pd.DataFrame(self.run.history.astype(np.float64), columns=pd.Index(history_columns(self.program)))
        frame.insert(0, "epoch", np.arange(1, len(frame) + 1))
        frame["seconds"] = self.run.run_seconds / max(self.run.epochs, 1)
        return frame

    @property
    def epochs(self) -> int:
        """Epochs trained."""
        return self.run.epochs

    @property
    def best_epoch(self) -> int | None:
        """Epoch with the best validation score, whose weights are used if they are kept; None without validation."""
        return self.run.best_epoch or None

    @property
    def status(self) -> str:
        """How training ended: complete, stopped_early or diverged."""
        return self.run.status.name.lower()

    @property
    def timings(self) -> dict[str, float]:
        """Seconds of compiling and of running."""
        return {"compile": self.run.compile_seconds, "run": self.run.run_seconds}

    @property
    def network(self) -> nnx.Module:
        """The trained network, in evaluation mode. It sees rows as the stages leave them. A copy, as the history is."""
        graph = initial_values(self.program).graph_eval
        return nnx.merge(graph, self.run.params, self.run.rest, copy=True)

    def to_numpy(self) -> dict[str, np.ndarray]:
        """Parameters and other variables of the trained network by path, such as "layers.0.kernel".

        >>> from jdl.sugar import lrn, tsk
        >>> fitted = lrn("classif.mlp", neurons=(8,), epochs=1).train(tsk("iris"))
        >>> {path: array.shape for path, array in fitted.to_numpy().items() if path.startswith("blocks")}
        {'blocks.0.linear.bias': (8,), 'blocks.0.linear.kernel': (4, 8)}
        """
        leaves = jax.tree_util.tree_leaves_with_path((self.run.params, self.run.rest))
        return {".".join(path_names(path[1:])): np.array(leaf) for path, leaf in leaves}

    def predict(self, data: Any, *, rows: Any = None) -> Prediction:
        """Predictions for a task, a data frame or a dict of arrays.

        Args:
          data: Has the feature columns of the training task; other columns are ignored.
          rows: Positions to predict; all by default.

        Raises:
          ConfigError: A task of another type.
          TaskError: A column is absent, of another type, or holds what the learner does not take.
        """
        new = NewRows.of(self.learner, self.known, self.spec, data, rows)
        return self._prediction(self.outputs(new.table), new.positions, new.truth, new.weights)

    def member_outputs(self, data: Any, *, rows: Any = None) -> np.ndarray:
        """What each member of an ensemble such as TabM gives: (row, member, output).

        These are the network's outputs for rows that went through the stages: logits of the classes (one for two
        classes); in regression values in units of the standardised target, `value * sd + mean` in those of the target
        with `mean, sd = fitted.run.target_scale`. `predict` takes the mean of the members' probabilities or values.

        Args:
          data: As for `predict`.
          rows: Positions to predict; all by default.

        Raises:
          ConfigError: The network has no members, or `data` is a task of another type.
          TaskError: A column is absent, of another type, or holds what the learner does not take.

        >>> from jdl.sugar import lrn, tsk
        >>> fitted = lrn("classif.tabm", k=4, d_block=8, epochs=1).train(tsk("iris"))
        >>> fitted.member_outputs(tsk("iris"), rows=[0, 50]).shape
        (2, 4, 3)
        """
        new = NewRows.of(self.learner, self.known, self.spec, data, rows)
        outputs = self.outputs(new.table, combine=False)
        if outputs.ndim != 3:
            raise ConfigError(
                f"learner '{self.learner.id}': member_outputs needs an ensemble, but the network has no members.\n"
                "Hint: jdl.lrn('classif.tabm') or jdl.lrn('regr.tabm') is one."
            )
        return outputs

    def outputs(self, table: Table, *, combine: bool = True) -> np.ndarray:
        """Outputs of the network for raw rows; those of an ensemble's members are combined, or stay apart."""
        size = self.program.batch_size_predict
        function = _predict_function(self.program, combine)
        weights = (self.run.params, self.run.rest)
        pieces = []
        for start in range(0, max(table.n_rows, 1), size):  # once for no rows, whose outputs have a shape too
            piece = jax.tree.map(lambda block, start=start: block[start : start + size], table)
            n_rows = piece.n_rows
            outputs = function(weights, self.run.stage_states, _padded(piece, size), n_rows, self.run.hyper)
            pieces.append(np.asarray(outputs)[:n_rows])
        return np.concatenate(pieces)

    def prediction_of(self, outputs: np.ndarray, rows: np.ndarray, task: Task) -> Prediction:
        """The prediction that outputs for rows of a task stand for."""
        return self._prediction(outputs, rows, task.truth(rows), task.weights_of(rows))

    def _prediction(
        self, outputs: np.ndarray, rows: np.ndarray, truth: np.ndarray | None, weights: np.ndarray | None
    ) -> Prediction:
        broken = rows[~np.isfinite(outputs).all(axis=1)]
        if len(broken):
            warnings.warn(
                f"learner '{self.learner.id}': the outputs of {len(broken)} of {len(rows)} rows are NaN or infinite, "
                f"the first of row {broken[0]}.\nHint: look for missing values that no stage fills, and for numbers "
                "far outside of the range of the training rows.",
                JdlWarning,
                stacklevel=3,
            )
        class_names = self.known.class_names
        if class_names is None:
            mean, sd = self.run.target_scale
            outputs, loss = outputs.astype(np.float64), self.program.loss.at(self.run.hyper)
            extras = {}
            if self.learner.predict_type != "response":
                extras = loss.extras(outputs, mean, sd)
            response = loss.response(outputs) * sd + mean
            return PredictionRegr(rows=rows, truth=truth, response=response, weights=weights, **extras)
        prob = probabilities(outputs)
        labels = np.asarray(class_names)
        return PredictionClassif(
            rows=rows,
            truth=truth,
            response=labels[prob.argmax(axis=1)],
            prob=prob if self.learner.predict_type == "prob" else None,
            class_names=class_names,
            positive=self.known.positive,
            weights=weights,
        )

    def __repr__(self) -> str:
        return f"fitted {self.learner!r}, {self.status} after {self.epochs} epochs"


@lru_cache(maxsize=64)
def _predict_function(program: Program, combine: bool = True) -> Any:
    def predict(weights: Any, states: Any, table: Table, n_rows: Any, hyper: Any) -> Any:
        x = program.transform(states, table, train=False)
        params, rest = weights
        real = position_weights(0, table.n_rows, n_rows)
        return program.forward(params, rest, x, train=False, weights=real, hyper=hyper, combine=combine)[0]

    return jax.jit(predict)


def _padded(table: Table, size: int) -> Table:
    """The rows, filled up to a power of two, so that few shapes are ever compiled."""
    target = min(size, 1 << max(table.n_rows - 1, 15).bit_length())
    filling = target - table.n_rows
    return jax.tree.map(lambda block: np.pad(block, ((0, filling), (0, 0))), table)
