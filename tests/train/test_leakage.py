"""What lies in rows outside of a run changes nothing that it has fitted, be it NaN or infinite."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import numpy as np
import pandas as pd
import pytest

import jdl
from jdl.learners import population
from jdl.train.sampler import NO_ROW, Sampler

N_ROWS = 60
TRAIN, TEST, UNUSED = np.arange(0, 36), np.arange(36, 48), np.arange(48, 60)
SPLITS = {"train_sets": [TRAIN, TRAIN[:30]], "test_sets": [TEST, TEST[:7]]}

CHAINS = {
    "scale": ["imputemedian", "scale"],
    "quantilenormal": ["imputemedian", "quantilenormal"],
    "encode": ["imputemode", "encode", "scalerange"],
}


@pytest.fixture(scope="module")
def frame():
    """Missing values and levels occur in the training rows, so that changes elsewhere leave the schema as it is."""
    random = np.random.default_rng(1)
    frame = pd.DataFrame({name: random.normal(size=N_ROWS) for name in ("a", "b", "c")})
    frame["color"] = pd.Categorical(random.choice(["red", "green", "blue"], N_ROWS), ["blue", "green", "red"])
    frame.loc[[3, 8], ["a", "b", "c", "color"]] = np.nan
    frame["y"] = np.where(frame["a"].fillna(0) + random.normal(0, 0.5, N_ROWS) > 0, "yes", "no")
    frame["z"] = frame["b"].fillna(0) * 3 + random.normal(0, 0.5, N_ROWS) + 10
    return frame


def spoiled(frame, kind):
    """Other features and other targets in all rows that are not for training."""
    frame = frame.copy()
    out = np.concatenate([TEST, UNUSED])
    for name in ("a", "b", "c"):
        frame.loc[out, name] = np.nan if kind == "nan" else 1e30
        # Rows that are not even predicted may hold anything.
        frame.loc[UNUSED, name] = np.nan if kind == "nan" else np.inf
    frame.loc[out, "color"] = np.nan if kind == "nan" else "red"
    frame.loc[out, "y"] = "no" if kind == "nan" else "yes"
    frame.loc[out, "z"] = -1e6 if kind == "nan" else 1e6
    return frame


def fit(frame, chain, task_type) -> Any:
    numeric = frame[["a", "b", "c"]] if "encode" not in chain else frame[["a", "b", "c", "color"]]
    target = frame["y" if task_type == "classif" else "z"]
    task = (jdl.TaskClassif if task_type == "classif" else jdl.TaskRegr)(numeric, target=target.to_numpy())
    learner = jdl.lrn(
        f"{task_type}.mlp",
        neurons=(5,),
        norm="batch",
        epochs=3,
        batch_size=8,
        validate=0.25,
        patience=2,
        optimizer=jdl.opt("sgd", lr=0.05),
    )
    for name in reversed(chain):
        learner = jdl.po(name) >> learner
    return jdl.resample(task, learner, jdl.rsmp("custom", **SPLITS), key=0, strategy="map", devices=jax.devices()[:1])


def fitted_numbers(result):
    runs = [fitted.run for fitted in result.fitted]
    return [(r.params, r.rest, r.stage_states, r.target_scale, r.history, r.best_epoch, r.epochs) for r in runs]


def assert_nothing_fitted_differs(left, right):
    jax.tree.map(np.testing.assert_array_equal, fitted_numbers(left), fitted_numbers(right))


@pytest.fixture(params=[True, False], ids=["materialised", "in the step"])
def materialised(request, monkeypatch):
    monkeypatch.setattr(population, "MATERIALISE_BYTES", 2**20 if request.param else 0)
    return request.param


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_classification(frame, chain, materialised):
    before = fit(frame, chain, "classif")
    assert before.fitted[0].program.materialise is materialised
    for kind in ("nan", "huge"):
        assert_nothing_fitted_differs(before, fit(spoiled(frame, kind), chain, "classif"))


def test_regression(frame, materialised):
    before = fit(frame, CHAINS["scale"], "regr")
    for kind in ("nan", "huge"):
        assert_nothing_fitted_differs(before, fit(spoiled(frame, kind), CHAINS["scale"], "regr"))


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_a_training_row_does_change_what_is_fitted(frame, chain):
    """Or the tests above would hold for a learner that fits nothing."""
    changed = frame.copy()
    changed.loc[range(0, 30, 2), ["a", "b", "c"]] += 10.0
    before, after = fit(frame, chain, "classif"), fit(changed, chain, "classif")
    for fold in (0, 1):
        left, right = (fitted_numbers(result)[fold] for result in (before, after))
        assert any(not np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (left[0], right[0])), strict=True))
        assert any(not np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (left[2], right[2])), strict=True))


def test_validation_rows_are_in_no_statistic(frame):
    """A quarter of the training rows validates: changing one of these changes no stage and no scale of the target."""

    def statistics(frame):
        run = fit(frame, CHAINS["scale"], "regr").fitted[0].run
        return run.target_scale, jax.tree.leaves(run.stage_states)

    scale, states = statistics(frame)
    unmoved = []
    for row in TRAIN:
        changed = frame.copy()
        changed.loc[row, ["a", "b", "c", "z"]] = 5.0 + row
        other_scale, other_states = statistics(changed)
        moved = [scale != other_scale, not all(map(np.array_equal, states, other_states))]
        assert moved in ([True, True], [False, False])
        unmoved += [row] if moved == [False, False] else []
    assert len(unmoved) == 9


@dataclass(frozen=True)
class Gaps(Sampler):
    """The rows in order, with a place left empty in the middle of each batch."""

    id: ClassVar[str] = "gaps"
    shuffles: ClassVar[bool] = False

    def order(self, generator, rows):
        full = np.arange(rows.n - rows.n % 7).reshape(-1, 7)
        return np.insert(full, 3, NO_ROW, axis=1).ravel()


def test_places_that_a_sampler_leaves_empty_hold_no_row_of_others(frame):
    """They stand for the run's own first row, not for one counted from the table's end."""
    numeric = frame[["a", "b", "c"]].fillna(0.0)
    spoiled = numeric.copy()
    spoiled.iloc[48:] = np.inf
    learner = jdl.lrn("regr.mlp", neurons=(5,), epochs=2, batch_size=8, sampler=Gaps())
    for epochs in (1, 2):
        made = [
            learner.set(epochs=epochs).train(jdl.TaskRegr(x, frame["z"].to_numpy()), rows=TRAIN + 1, key=0)
            for x in (numeric, spoiled)
        ]
        for one, other in zip(*(fitted.to_numpy().values() for fitted in made), strict=True):
            np.testing.assert_array_equal(one, other)
