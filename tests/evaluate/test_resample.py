"""Resampling networks: every splitter, every strategy, and what is fitted where."""

from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest

import jdl
from jdl.learners import population

N = 61
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(RNG.normal(3, 2, size=(N, 3)), columns=["a", "b", "c"]).assign(
    clinic=RNG.integers(0, 12, N), ward=np.where(np.arange(N) % 4 == 0, "east", "west")
)
LABELS = np.where(FRAME["a"] + RNG.normal(size=N) > 3, "yes", "no")
FOLDS = jdl.rsmp("cv", folds=5)


def resample(*args, **options) -> Any:
    return jdl.resample(*args, **options)


def classif(**options) -> Any:
    return jdl.TaskClassif(FRAME[["a", "b", "c"]], LABELS, **options)


def mlp(**values) -> Any:
    quick = {"epochs": 4, "batch_size": 16, "neurons": (8,), "predict_type": "prob"}
    return jdl.po("scale") >> jdl.lrn("classif.mlp", **{**quick, **values})


@pytest.fixture(scope="module")
def by_map() -> Any:
    return resample(classif(), mlp(), FOLDS, strategy="map")


class Recorded(Exception):
    """Raised in place of training."""


@pytest.fixture
def rows_of(monkeypatch) -> Any:
    """A function that gives training, validation and test rows of every run of a resampling, and trains none."""
    seen: list[Any] = []

    def record(program, table, requests, *args, **kwargs):
        seen.extend(request.rows for request in requests)
        raise Recorded

    def rows_of(*args):
        with pytest.raises(Recorded):
            resample(*args)
        return seen

    monkeypatch.setattr(population, "run_population", record)
    return rows_of


# -- strategies


@pytest.mark.parametrize("strategy", ["auto", "vmap", "loop"])
def test_strategies_give_equal_predictions_and_say_what_they_were(by_map, strategy):
    rr = resample(classif(), mlp(), FOLDS, strategy=strategy)
    np.testing.assert_allclose(rr.prediction.prob, by_map.prediction.prob, atol=1e-3)
    np.testing.assert_array_equal(rr.prediction.rows, by_map.prediction.rows)
    histories = [[fitted.history.drop(columns="seconds") for fitted in each.fitted] for each in (rr, by_map)]
    for ours, theirs in zip(*histories, strict=True):
        pd.testing.assert_frame_equal(ours, theirs, atol=1e-3)
    if strategy == "auto":
        n_parameters = sum(leaf.size for leaf in jax.tree.leaves(rr.fitted[0].run.params))
        assert rr.plan.startswith(
            f"5 runs by map on 4 cpu devices ({n_parameters:,} parameters; cores work side by side"
        )
    else:
        assert f"5 runs by {strategy} on" in rr.plan and "asked for" in rr.plan
    assert ("1 cpu device" in rr.plan) == (strategy == "loop")


def test_devices_can_be_chosen(by_map):
    rr = resample(classif(), mlp(), FOLDS, devices=jax.local_devices()[1:3])
    assert "on 2 cpu devices" in rr.plan
    np.testing.assert_allclose(rr.prediction.prob, by_map.prediction.prob, atol=1e-3)


@pytest.mark.parametrize(("strategy", "budget"), [("map", 1), ("map", 80_000), ("vmap", 80_000)])
def test_a_memory_budget_splits_the_runs_into_groups_and_says_so(by_map, strategy, budget):
    devices = jax.local_devices()[:1]
    rr = resample(classif(), mlp(), FOLDS, strategy=strategy, devices=devices, memory_budget=budget)
    assert ("in 5 groups of 1" if budget == 1 else "in 3 groups of 2") in rr.plan
    assert "MiB a run, budget" in rr.plan
    np.testing.assert_allclose(rr.prediction.prob, by_map.prediction.prob, atol=1e-3)
    assert [f.epochs for f in rr.fitted] == [4] * 5


def test_the_same_key_gives_the_same_result(by_map):
    again = resample(classif(), mlp(), FOLDS, strategy="map", key=0)
    np.testing.assert_array_equal(again.prediction.prob, by_map.prediction.prob)
    other = resample(classif(), mlp(), FOLDS, strategy="map", key=1)
    assert (other.prediction.rows != by_map.prediction.rows).any()
    jax_key = resample(classif(), mlp(), FOLDS, strategy="map", key=jax.random.key(0))
    np.testing.assert_array_equal(
        jax_key.prediction.prob,
        resample(classif(), mlp(), FOLDS, strategy="map", key=jax.random.key(0)).prediction.prob,
    )


def test_iterations_have_keys_of_their_own():
    """Equal rows, yet other initial values and orders."""
    splits = jdl.rsmp("custom", train_sets=[range(40)] * 2, test_sets=[range(40, N)] * 2)
    first, second = resample(classif(), mlp(), splits, strategy="loop").predictions
    assert (first.prob != second.prob).any()


def test_a_second_resample_compiles_nothing_and_its_timings_say_so(compilations):
    learner = mlp(neurons=(7,), optimizer=jdl.opt("adamw"))
    first = resample(classif(), learner, FOLDS)
    assert first.compile_seconds > 0
    assert first.compile_seconds == pytest.approx(first.timings["compile"].sum())
    before = len(compilations)
    changed = learner.set({"opt.lr": 0.05, "opt.weight_decay": 0.2, "dropout": 0.3, "epochs": 6})
    second = resample(classif(), changed, FOLDS, key=9)
    assert len(compilations) == before
    assert second.compile_seconds == 0 and second.run_seconds > 0
    assert (second.timings["train"] > 0).all()
    assert second.run_seconds <= second.seconds


def test_the_fitted_learners_predict_what_the_program_predicted(by_map):
    for fitted, prediction in zip(by_map.fitted, by_map.predictions, strict=True):
        again = fitted.predict(classif(), rows=prediction.rows)
        np.testing.assert_allclose(again.prob, prediction.prob, atol=1e-5)
        assert (fitted.epochs, fitted.status) == (4, "complete")
    assert by_map.to_pandas()["epochs"].tolist() == [4] * 5


# -- what is fitted where


def test_stages_are_fitted_on_the_training_rows_of_each_fold(by_map):
    values = FRAME[["a", "b", "c"]].to_numpy()
    for fitted, (train, _) in zip(by_map.fitted, by_map.splits, strict=True):
        found = jax.tree.leaves(fitted.run.stage_states)
        expected = values[train].mean(axis=0)
        assert any(np.allclose(leaf, expected, rtol=1e-5) for leaf in found if np.shape(leaf) == (3,))


def test_regression_targets_are_standardised_on_the_training_rows_of_each_fold():
    price = 1e4 + 100 * FRAME["a"].to_numpy()
    rr = resample(jdl.TaskRegr(FRAME[["a", "b"]], price), jdl.lrn("regr.mlp", epochs=1, neurons=(4,)), FOLDS)
    for fitted, (train, _) in zip(rr.fitted, rr.splits, strict=True):
        assert fitted.run.target_scale == pytest.approx((price[train].mean(), price[train].std()), rel=1e-5)
    assert rr.aggregate("regr.rmse") < 1000


# -- splitters


@pytest.mark.parametrize(
    ("resampling", "n_iterations"),
    [
        (jdl.rsmp("holdout"), 1),
        (jdl.rsmp("repeated_cv", folds=3, repeats=2), 6),
        (jdl.rsmp("bootstrap", repeats=3), 3),
        (jdl.rsmp("subsampling", repeats=3), 3),
        (jdl.rsmp("insample"), 1),
        (jdl.rsmp("custom", train_sets=[range(30), range(10, 61)], test_sets=[[60], range(10)]), 2),
        (jdl.rsmp("custom_cv", factor=np.arange(N) % 3), 3),
    ],
    ids=lambda value: getattr(value, "id", ""),
)
def test_every_splitter_runs(resampling, n_iterations):
    rr = resample(classif(), mlp(), resampling, key=2, strategy="loop")
    assert rr.n_iterations == n_iterations
    assert rr.to_pandas()["status"].tolist() == ["complete"] * n_iterations
    for prediction, (_, test) in zip(rr.predictions, resampling.split(classif(), key=2), strict=True):
        np.testing.assert_array_equal(prediction.rows, test)
        assert np.isfinite(prediction.prob).all()
    assert 0 <= rr.aggregate("classif.acc") <= 1


def test_leaving_one_out_tests_every_row_once():
    small = classif().filter(range(12))
    rr = resample(small, mlp(epochs=1), "loo", strategy="loop")
    assert rr.n_iterations == 12
    assert rr.prediction.rows.tolist() == list(range(12))
    assert rr.aggregate("classif.acc") == rr.aggregate("classif.acc", average="micro")


def test_insample_tests_the_training_rows():
    rr = resample(classif(), mlp(), "insample")
    assert rr.prediction.rows.tolist() == list(range(N))


def test_groups_and_strata_hold_in_folds_and_in_validation(rows_of):
    frame = FRAME[["a", "b", "c", "clinic"]]
    task = jdl.TaskClassif(frame, LABELS, group="clinic")
    requests = rows_of(task, mlp(validate=0.25), jdl.rsmp("cv", folds=3, stratify=False))
    assert len(requests) == 3
    for rows in requests:
        groups = [set(FRAME["clinic"].iloc[part]) for part in (rows.train, rows.valid, rows.test)]
        assert all(groups) and not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])


def test_explicit_strata_are_in_proportion(rows_of):
    task = jdl.TaskClassif(FRAME[["a", "b", "c", "ward"]], LABELS, strata="ward")
    share = (FRAME["ward"] == "east").mean()
    for rows in rows_of(task, jdl.po("encode") >> mlp(validate=0.25), jdl.rsmp("cv", folds=3)):
        for part in (rows.train, rows.valid, rows.test):
            east = (FRAME["ward"].iloc[part] == "east").sum()
            assert abs(east - share * len(part)) <= 1.5


def test_groups_and_strata_together_run():
    frame = FRAME[["a", "b", "c", "clinic", "ward"]]
    task = jdl.TaskClassif(frame, LABELS, group="clinic", strata="ward")
    rr = resample(task, jdl.po("encode") >> mlp(), jdl.rsmp("cv", folds=3))
    for train, test in rr.splits:
        assert not set(FRAME["clinic"].iloc[train]) & set(FRAME["clinic"].iloc[test])
    assert np.isfinite(rr.aggregate("classif.logloss"))


def test_copies_of_a_row_validate_or_train_but_not_both(rows_of):
    requests = rows_of(classif(), mlp(validate=0.3), jdl.rsmp("bootstrap", repeats=3))
    assert len(requests) == 3
    for rows in requests:
        assert not set(rows.train) & set(rows.valid) and not set(rows.valid) & set(rows.test)
        assert len(rows.train) + len(rows.valid) == N
        assert len(set(rows.train)) < len(rows.train)


def test_a_fold_without_a_class_has_all_probabilities():
    kind = np.array(["x", "y", "z"])[np.arange(N) % 3]
    task = jdl.TaskClassif(FRAME[["a", "b"]], kind)
    rest = np.flatnonzero(kind != "y")
    splits = jdl.rsmp("custom", train_sets=[rest, range(40)], test_sets=[np.flatnonzero(kind == "y"), range(40, N)])
    rr = resample(task, mlp(), splits, strategy="loop")
    assert [p.prob.shape[1] for p in rr.predictions] == [3, 3]
    assert rr.prediction.class_names == ("x", "y", "z")
    assert np.isfinite(rr.aggregate("classif.mbrier"))


# -- validation


def test_validation_on_the_test_rows_records_only(recwarn):
    rr = resample(classif(), mlp(validate="test", measures_valid="classif.acc"), FOLDS)
    assert not [w for w in recwarn if issubclass(w.category, jdl.JdlWarning)]
    assert rr.optimistic is False
    for fitted, score in zip(rr.fitted, rr.score("classif.acc")["classif.acc"], strict=True):
        assert fitted.history["valid.classif.acc"].iloc[-1] == pytest.approx(score, abs=1e-6)
        assert fitted.optimistic is False


@pytest.mark.parametrize("values", [{"patience": 1}, {"restore_best": True}], ids=str)
def test_stopping_or_choosing_by_the_test_rows_warns_and_marks_the_result(values):
    with pytest.warns(jdl.JdlWarning, match=r"'scale.classif.mlp': the test rows decide [\s\S]*optimistic.\nHint: val"):
        rr = resample(classif(), mlp(validate="test", **values), FOLDS)
    assert rr.optimistic and all(fitted.optimistic for fitted in rr.fitted)
    assert "optimistic" in repr(rr)


def test_predefined_validation_serves_all_folds(rows_of):
    task = classif().with_validation(range(50, N))
    for rows in rows_of(task, mlp(validate="predefined"), jdl.rsmp("cv", folds=3)):
        assert sorted(rows.valid) == list(range(50, N))
        assert sorted([*rows.train, *rows.test]) == list(range(50))
