"""A resampling is one program: it compiles once, and its numbers do not depend on how it is run."""

from contextlib import contextmanager

import jax
import numpy as np
import pandas as pd
import pytest

import jdl

pytestmark = pytest.mark.bits

N_ROWS = 61  # folds of unequal size


def frame(n_rows=N_ROWS, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n_rows, 3)).astype(np.float32)
    city = rng.choice(["a", "b", "c"], n_rows)
    y = np.where(x[:, 0] + 0.5 * x[:, 1] + (city == "a") + 0.3 * rng.normal(size=n_rows) > 0.3, "yes", "no")
    return pd.DataFrame({"x0": x[:, 0], "x1": x[:, 1], "x2": x[:, 2], "city": city, "y": y})


def pipeline(**changes):
    given = {"neurons": (8,), "epochs": 4, "batch_size": 16, "predict_type": "prob"} | changes
    return jdl.po("imputemedian") >> jdl.po("encode") >> jdl.po("scale") >> jdl.lrn("classif.mlp", **given)


@pytest.fixture(scope="module")
def task():
    return jdl.TaskClassif(frame(), target="y")


@contextmanager
def compilations():
    """Names of the programs that the backend compiles inside the block."""
    seen = []

    def listen(event, duration, **more):
        if event == "/jax/core/compile/backend_compile_duration":
            seen.append(more.get("fun_name", "?"))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield seen
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def probabilities(result):
    return result.prediction.prob


def test_ten_unequal_folds_compile_once(task):
    with compilations() as seen:
        result = jdl.resample(task, pipeline(neurons=(7,)), jdl.rsmp("cv", folds=10), key=0)
    assert len({len(train) for train, _ in result.splits}) > 1
    assert len(seen) == 1
    assert result.compile_seconds > 0


@pytest.mark.parametrize(
    "change",
    [
        {"opt.lr": 0.02},
        {"opt.weight_decay": 0.2},
        {"dropout": 0.4},
        {"epochs": 9},
        {"patience": 2},
        {"min_delta": 0.1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_dynamic_hyperparameters_compile_nothing(task, change):
    learner = pipeline(dropout=0.1, validate=0.3, patience=5, optimizer=jdl.opt("adamw", lr=0.01))
    first = jdl.resample(task, learner, jdl.rsmp("cv", folds=5), key=0)
    with compilations() as seen:
        second = jdl.resample(task, learner.set(change), jdl.rsmp("cv", folds=5), key=0)
    assert seen == []
    assert second.compile_seconds == 0
    if next(iter(change)) not in ("patience", "min_delta"):
        assert np.abs(probabilities(first) - probabilities(second)).max() > 0


def test_another_key_compiles_nothing_and_gives_other_numbers(task):
    first = jdl.resample(task, pipeline(), jdl.rsmp("cv", folds=5), key=0)
    with compilations() as seen:
        second = jdl.resample(task, pipeline(), jdl.rsmp("cv", folds=5), key=1)
        again = jdl.resample(task, pipeline(), jdl.rsmp("cv", folds=5), key=0)
    assert seen == []
    assert not np.array_equal(first.prediction.rows, second.prediction.rows)
    assert np.array_equal(probabilities(first), probabilities(again))


@pytest.mark.parametrize("devices", [1, 2, 4])
@pytest.mark.parametrize("strategy", ["map", "vmap"])
def test_strategies_and_devices_agree(task, strategy, devices):
    if len(jax.local_devices()) < devices:
        pytest.skip("fewer devices here")
    learner = pipeline(norm="batch", dropout=0.2)
    loop = jdl.resample(task, learner, jdl.rsmp("cv", folds=5), key=0, strategy="loop")
    other = jdl.resample(
        task, learner, jdl.rsmp("cv", folds=5), key=0, strategy=strategy, devices=jax.local_devices()[:devices]
    )
    difference = np.abs(probabilities(loop) - probabilities(other)).max()
    if strategy == "map" and devices == 1:
        assert difference == 0
    assert difference < 1e-3


def test_groups_of_members_change_nothing(task):
    learner = pipeline()
    whole = jdl.resample(task, learner, jdl.rsmp("cv", folds=5), key=0, devices=jax.local_devices()[:1])
    pieces = jdl.resample(
        task, learner, jdl.rsmp("cv", folds=5), key=0, devices=jax.local_devices()[:1], memory_budget=1
    )
    assert "5 groups of 1" in pieces.plan
    assert np.array_equal(probabilities(whole), probabilities(pieces))


@pytest.mark.parametrize("spoiled", [np.nan, 1e30])
def test_held_out_rows_change_no_fitted_number(task, spoiled):
    train_rows = np.arange(40)
    rows = [train_rows], [np.arange(45, 50)]
    clean = jdl.resample(task, pipeline(), jdl.rsmp("custom", train_sets=rows[0], test_sets=rows[1]), key=0)
    data = frame()
    data.loc[50:, ["x0", "x1", "x2"]] = spoiled
    data.loc[50:, "city"] = None if np.isnan(spoiled) else "c"
    dirty_task = jdl.TaskClassif(data, target="y")
    dirty = jdl.resample(dirty_task, pipeline(), jdl.rsmp("custom", train_sets=rows[0], test_sets=rows[1]), key=0)
    for ours, theirs in zip(
        jax.tree.leaves((clean.fitted[0].run.params, clean.fitted[0].run.stage_states)),
        jax.tree.leaves((dirty.fitted[0].run.params, dirty.fitted[0].run.stage_states)),
        strict=True,
    ):
        assert np.array_equal(ours, theirs)
    assert np.array_equal(probabilities(clean), probabilities(dirty))


def test_predictions_of_the_program_are_those_of_the_fitted_learner(task):
    result = jdl.resample(task, pipeline(norm="layer"), jdl.rsmp("cv", folds=3), key=0)
    for fitted, prediction in zip(result.fitted, result.predictions, strict=True):
        again = fitted.predict(task, rows=prediction.rows)
        np.testing.assert_allclose(again.prob, prediction.prob, atol=1e-5)


@pytest.mark.parametrize("vmapped", [False, True])
def test_fit_and_predict_lower_for_every_platform(vmapped):
    from jdl import train

    program = train.program(train.MLPSpec((5,), norm="batch"), n_features=3, loss="mse", optimizer="adamw")
    hyper = {f"opt.{name}": value for name, value in train.adamw().dynamic().items()}
    member = train.draw(program, 0, np.zeros(20, np.float32), epochs=2, hyper=hyper)
    table = train.numeric_table(np.zeros((20, 3), np.float32))

    def fit_and_predict(table, member):
        run, _ = train.fit(program, table, member)
        return train.predict(program, run, table)

    function = fit_and_predict
    if vmapped:
        function = jax.vmap(fit_and_predict, in_axes=(None, 0))
        member = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), member)
    exported = jax.export.export(jax.jit(function), platforms=["cpu", "cuda", "tpu"])(table, member)
    assert exported.platforms == ("cpu", "cuda", "tpu")
