"""Learners of networks for tables: rough data, per-fold bins, ensembles, recipes, platforms."""

from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest

import jdl
from jdl import train
from jdl.core.errors import ConfigError, TaskError
from jdl.core.random import as_key
from jdl.networks import HostRngs
from jdl.train.program import initial_values

QUICK: dict[str, Any] = {"epochs": 3, "batch_size": 16}
SIZES: dict[str, dict[str, Any]] = {
    "tab_resnet": {"n_blocks": 1, "d_block": 8},
    "ft_transformer": {
        "n_blocks": 1, "d_block": 8, "attention_n_heads": 2, "attention_dropout": 0.1, "ffn_dropout": 0.1,
    },
    "tabm": {"k": 3, "d_block": 8, "n_blocks": 1},
    "realmlp": {"hidden_sizes": (8,)},
}  # fmt: skip
SMALL = SIZES | {"tabm": SIZES["tabm"] | {"d_embedding": 4, "n_bins": 5}}
MODELS = list(SMALL)
every_model = pytest.mark.parametrize("name", MODELS)
N = 90


def small(name, task_type="classif", **more):
    return jdl.lrn(f"{task_type}.{name}", **QUICK | SMALL[name] | more)


def rough_frame(seed=0):
    """Numbers with gaps, a constant, an empty column, many levels, a flag, an int: and two targets."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=N),
            "gaps": np.where(rng.random(N) < 0.3, np.nan, rng.normal(size=N) * 1e3),
            "same": 7.0,
            "empty": np.nan,
            "count": rng.integers(0, 4, N),
            "flag": rng.random(N) < 0.2,
            "many": [f"level {i}" for i in rng.integers(0, 40, N)],
            "few": rng.choice(["u", "v", None], N),
        }
    )
    signal = frame["x"] + frame["flag"]
    return frame.assign(y=np.where(signal > 0, "yes", "no"), z=100 + 5 * signal)


def rough(task_type, seed=0):
    frame = rough_frame(seed)
    if task_type == "classif":
        return jdl.TaskClassif(frame.drop(columns="z"), target="y")
    return jdl.TaskRegr(frame.drop(columns="y"), target="z")


@pytest.mark.filterwarnings("ignore::jdl.core.errors.JdlWarning")
@pytest.mark.parametrize("task_type", ["classif", pytest.param("regr", marks=pytest.mark.slow)])
@every_model
def test_rough_tables_are_taken_as_they_are(name, task_type):
    task = rough(task_type)
    learner = small(name, task_type)
    rr = jdl.resample(task, learner, jdl.rsmp("cv", folds=2))
    assert (rr.to_pandas()["status"] == "complete").all()
    fitted = learner.train(task, rows=range(60))
    new = rough_frame(1).drop(columns=["y", "z"])
    new.loc[0, ["x", "count"]] = np.nan
    new.loc[1, "many"] = "never seen"
    new.loc[2, "same"] = 9.0
    prediction = fitted.predict(new)
    assert len(prediction) == N and pd.notna(prediction.response).all()
    if task_type == "regr":
        assert np.abs(prediction.response - 100).max() < 100, "in units of the target"


@every_model
def test_without_preprocessing_only_what_the_network_takes(name):
    task = rough("classif")
    with pytest.raises(TaskError, match=r"takes (no missing values|bool, int, float columns)"):
        small(name, preprocess=False).train(task)
    assert small(name, preprocess=False).train(jdl.tsk("iris")).epochs == 3


KINDS = [None, "linear", "linear_relu", "periodic", "pbld", "piecewise_linear"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [pytest.param(n, k, marks=[pytest.mark.slow] * (n != MODELS[i % 4])) for n in MODELS for i, k in enumerate(KINDS)],
)
def test_numeric_embeddings_are_an_argument_of_every_model(name, kind):
    options: dict[str, Any] = {"n_frequencies": 3} if kind in ("periodic", "pbld") else {}
    options |= {"n_bins": 4} if kind == "piecewise_linear" else {}
    learner = jdl.lrn(f"classif.{name}", **QUICK | SIZES[name], num_embeddings=kind, **options)
    assert learner.train(jdl.tsk("iris")).epochs == 3


@pytest.mark.parametrize("name", ["mlp", *MODELS])
@pytest.mark.parametrize(("kind", "n", "scale"), [("periodic", 48, 0.01), ("pbld", 16, 0.1)])
def test_frequencies_follow_the_kind_in_every_learner(name, kind, n, scale):
    learner: Any = jdl.lrn(f"classif.{name}", num_embeddings=kind)
    assert learner.get("n_frequencies") is None and learner.get("frequency_init_scale") is None
    embedding: Any = learner.network().embedding.build(200, HostRngs(as_key(0)))
    frequencies = embedding.periodic.weight if kind == "periodic" else embedding.weight_1
    assert frequencies.shape == (200, n)
    assert abs(np.std(frequencies[...]) / scale - 1) < 0.05
    given: Any = (
        learner.set(n_frequencies=3, frequency_init_scale=2.0).network().embedding.build(200, HostRngs(as_key(0)))
    )
    frequencies = given.periodic.weight if kind == "periodic" else given.weight_1
    assert frequencies.shape == (200, 3) and np.std(frequencies[...]) > 1


def test_embeddings_are_checked_when_the_learner_is_made():
    with pytest.raises(ConfigError, match="num_embeddings"):
        small("tabm", num_embeddings="fourier")
    with pytest.raises(ConfigError, match=r"'classif.tab_resnet': num_embeddings 'periodic': lite=True needs the act"):
        small("tab_resnet", num_embeddings="periodic", lite=True, embedding_activation=False)
    message = r"'regr.mlp': num_embeddings 'pbld': d_embedding must be at least 2.*got 1\.\nHint: d_embedding=4"
    with pytest.raises(ConfigError, match=message):
        jdl.lrn("regr.mlp", num_embeddings="pbld", d_embedding=1)


@pytest.mark.parametrize("binning", ["quantile", "tree"])
def test_bins_are_found_in_the_rows_of_each_fold(binning):
    frame = pd.DataFrame({"a": np.arange(80.0), "b": np.arange(80) % 7.0, "y": ["no", "yes"] * 40})
    task = jdl.TaskClassif(frame, target="y")
    learner = small("tabm", binning=binning, preprocess=False)
    halves = jdl.rsmp("custom", train_sets=[range(40), range(40, 80)], test_sets=[range(40, 80), range(40)])
    edges = [f.network.num_embeddings.impl.weight[...] for f in jdl.resample(task, learner, halves).fitted]
    assert not np.allclose(edges[0], edges[1])
    alone = learner.train(task, rows=range(40), key=as_key(0).fold("iteration", 0)).network
    np.testing.assert_array_equal(alone.num_embeddings.impl.weight[...], edges[0])
    spoiled = jdl.TaskClassif(frame.assign(a=np.where(np.arange(80) < 40, frame["a"], 1e6)), target="y")
    again = jdl.resample(spoiled, learner, halves).fitted[0].network
    np.testing.assert_array_equal(again.num_embeddings.impl.weight[...], edges[0])


@pytest.mark.parametrize("strategy", ["map", pytest.param("vmap", marks=pytest.mark.slow)])
@every_model
def test_strategies_agree(name, strategy):
    task = jdl.tsk("mixed")
    learner = small(name, predict_type="prob", optimizer=jdl.opt("sgd", lr=0.01))
    folds = jdl.rsmp("cv", folds=3)
    rr = jdl.resample(task, learner, folds, strategy=strategy)
    rows, held_out = rr.splits[0]
    alone = learner.train(task, rows=rows, key=as_key(0).fold("iteration", 0)).predict(task, rows=held_out)
    np.testing.assert_allclose(rr.predictions[0].prob, alone.prob, atol=1e-4)


@every_model
def test_dropout_and_learning_rate_compile_nothing(name, compilations):
    task, folds = jdl.tsk("iris"), jdl.rsmp("cv", folds=3)
    rates = {"tab_resnet": "dropout1", "ft_transformer": "ffn_dropout"}
    learner = small(name)
    jdl.resample(task, learner, folds)
    before = len(compilations)
    jdl.resample(task, learner.set({rates.get(name, "dropout"): 0.37, "opt.lr": 2e-3, "epochs": 2}), folds)
    assert len(compilations) == before


# -- TabM


def test_members_see_batches_of_their_own_unless_shared():
    assert small("tabm").copies == 3 and small("tabm", share_batches=True).copies == 1
    assert small("tabm", share_batches=True).train(jdl.tsk("iris")).epochs == 3


def test_orders_of_members_are_permutations_of_their_own():
    program = train.program(train.MLPSpec(), n_features=2, batch_size=8, copies=4)
    orders = train.draw(program, 0, np.zeros(6, np.float32), epochs=2).orders
    assert orders.shape == (2, 24)
    for epoch in orders:
        columns = epoch.reshape(6, 4).T
        assert (np.sort(columns) == np.arange(6)).all()
        assert len({tuple(column) for column in columns}) == 4


def test_each_member_is_trained_for_itself_and_the_mean_predicts():
    fitted = small("tabm", predict_type="prob").train(jdl.tsk("iris"))
    x = fitted.program.transform(fitted.run.stage_states, jdl.tsk("iris").table, train=False)
    outputs = np.asarray(fitted.network(np.asarray(x.numeric)))
    assert outputs.shape == (150, 3, 3)
    prob = np.asarray(jax.nn.softmax(outputs)).mean(axis=1)
    np.testing.assert_allclose(fitted.predict(jdl.tsk("iris")).prob, prob, atol=1e-5)


def test_the_members_outputs_for_raw_rows():
    task, rows = jdl.tsk("mixed"), [5, 3, 60]
    fitted: Any = small("tabm", predict_type="prob").train(task, rows=range(80))
    outputs = fitted.member_outputs(task, rows=rows)
    assert outputs.shape == (3, 3, 1) and outputs.std(axis=1).min() > 0
    prob = np.asarray(jax.nn.sigmoid(outputs)).mean(axis=(1, 2))
    np.testing.assert_allclose(fitted.predict(task, rows=rows).prob[:, 1], prob, atol=1e-5)
    frame = task.to_pandas().iloc[rows]
    np.testing.assert_allclose(fitted.member_outputs(frame), outputs, rtol=1e-4, atol=1e-5)
    assert fitted.member_outputs(frame[:0]).shape == (0, 3, 1)


def test_the_members_values_in_units_of_the_target():
    task = jdl.tsk("friedman1", n=60)
    fitted: Any = small("tabm", "regr").train(task)
    mean, sd = fitted.run.target_scale
    values = fitted.member_outputs(task).mean(axis=(1, 2)) * sd + mean
    np.testing.assert_allclose(fitted.predict(task).response, values, rtol=1e-4)


def test_a_network_without_members_has_no_outputs_of_theirs():
    fitted: Any = small("realmlp").train(jdl.tsk("iris"))
    with pytest.raises(ConfigError, match=r"'classif.realmlp': member_outputs needs an ensemble.*\nHint: .*tabm"):
        fitted.member_outputs(jdl.tsk("iris"))


def test_the_width_follows_the_number_of_rows():
    assert jdl.lrn("regr.tabm").for_rows(12_502).get("d_block") == 768
    assert jdl.lrn("regr.tabm").for_rows(12_500).get("d_block") == 512
    assert jdl.lrn("regr.tabm", epochs=5).for_rows(10_001).get("d_block") == 768
    assert jdl.lrn("regr.tabm", epochs=5, validate="predefined").for_rows(10_001).get("d_block") == 768
    assert jdl.lrn("regr.tabm", epochs=5, validate=0.5).for_rows(10_001).get("d_block") == 512
    assert jdl.lrn("regr.tabm", d_block=9).for_rows(12_502).get("d_block") == 9


@pytest.mark.parametrize("name", ["mlp", "tab_resnet", "tabm"])
def test_the_batch_size_follows_the_rows_that_train(name):
    def size(n_rows, **values):
        return jdl.lrn(f"classif.{name}", **values).schedule(n_rows).batch_size

    assert [size(n) for n in (2800, 3498, 3500, 4500, 5623, 5625)] == [32, 32, 64, 64, 64, 128]
    assert size(2800, epochs=5) == size(2800, epochs=5, validate="test") == 64
    assert size(5602, epochs=5, validate=0.5) == 64 and size(5597, epochs=5, validate=0.5) == 32
    assert size(3000, batch_size=7) == 7


# -- which epoch is the best


@pytest.mark.parametrize(("task_type", "column"), [("classif", "valid.classif.ce"), ("regr", "valid.regr.rmse")])
@every_model
@pytest.mark.filterwarnings("ignore::jdl.core.errors.JdlWarning")
def test_the_best_epoch_has_the_least_error(name, task_type, column):
    fitted = small(name, task_type, epochs=8, validate=0.3).train(rough(task_type))
    scores = fitted.history[column].to_numpy()
    assert scores[fitted.best_epoch - 1] == scores.min()


@pytest.mark.parametrize(("task_type", "loss"), [("classif", "focal"), ("regr", "huber")])
@pytest.mark.parametrize("name", [*MODELS, "mlp"])
@pytest.mark.filterwarnings("ignore::jdl.core.errors.JdlWarning")
def test_a_loss_that_is_given_decides(name, task_type, loss):
    plain = {"loss": loss, "validate": 0.3, "epochs": 8}
    learner = (
        jdl.lrn(f"{task_type}.mlp", preprocess=True, **plain) if name == "mlp" else small(name, task_type, **plain)
    )
    fitted = learner.train(rough(task_type))
    assert fitted.history["valid.loss"][fitted.best_epoch - 1] == fitted.history["valid.loss"].min()
    assert not [column for column in fitted.history if column.startswith("valid.") and column != "valid.loss"]
    of_measure = learner.set(measures_valid=f"{task_type}.{'acc' if task_type == 'classif' else 'mae'}")
    assert len([column for column in of_measure.train(rough(task_type)).history if column.startswith("valid.")]) == 2


# -- RealMLP


def test_the_recipe_follows_measure_task_and_variant():
    assert jdl.lrn("classif.realmlp").loss.label_smoothing == 0.1
    assert jdl.lrn("classif.realmlp", measures_valid="classif.logloss").loss.label_smoothing == 0
    assert jdl.lrn("classif.realmlp").set(measures_valid="classif.auc").loss.label_smoothing == 0
    assert jdl.lrn("regr.realmlp").get("opt.lr") == 0.2
    assert jdl.lrn("regr.realmlp", variant="td-s").get("opt.lr") == 0.07
    assert jdl.lrn("classif.realmlp", **{"opt.lr": 0.5}).get("opt.betas") == (0.9, 0.95)


@pytest.mark.parametrize("more", [{}, {"opt.lr": 0.1}])
def test_an_unknown_variant_is_named(more):
    message = "'classif.realmlp': hyperparameter 'variant' must be one of 'td', 'td-s', got 'tds'"
    with pytest.raises(ConfigError, match=message):
        jdl.lrn("classif.realmlp", variant="tds", **more)
    with pytest.raises(ConfigError, match=message):
        jdl.lrn("classif.realmlp").set(more, variant="tds")


def test_the_learning_rate_runs_along_its_curve():
    fitted = small("realmlp", epochs=20, predict_type="prob").train(jdl.tsk("iris"))
    lr = fitted.history["lr"].to_numpy()
    assert lr.max() > 0.03 and lr.min() < 0.01 and (np.diff(np.sign(np.diff(lr))) != 0).sum() >= 3


def test_no_argument_means_256_epochs_and_the_best_of_them():
    schedule = jdl.lrn("classif.realmlp").schedule(1000)
    assert (schedule.epochs, schedule.batch_size, schedule.patience, schedule.restore_best) == (256, 256, 0, True)
    assert jdl.lrn("classif.tabm").schedule(300).validate == 0.2


def test_a_table_below_the_batch_size_leaves_a_step():
    fitted = jdl.lrn("classif.realmlp", epochs=2, hidden_sizes=(4,)).train(jdl.tsk("iris"), rows=range(0, 150, 3))
    assert np.isfinite(fitted.history["train.loss"]).all()


def test_predictions_stay_in_the_range_of_the_training_targets():
    task = jdl.tsk("friedman1", n=60)
    fitted = small("realmlp", "regr", epochs=10).train(task, rows=range(40))
    response = fitted.predict(task).response
    low, high = task.truth()[:40].min(), task.truth()[:40].max()
    assert response.min() >= low - 1e-3 and response.max() <= high + 1e-3


# -- the others


def test_sizes_exclude_each_other_by_name():
    with pytest.raises(ConfigError, match="'d_hidden' and 'd_hidden_multiplier' exclude each other"):
        jdl.lrn("classif.tab_resnet", d_hidden=3, d_hidden_multiplier=2.0)
    with pytest.raises(ConfigError, match="'d_block' must be a multiple of 'attention_n_heads', got 30 and 8"):
        jdl.lrn("classif.ft_transformer", d_block=30)


def test_the_width_of_a_token_has_two_names():
    assert jdl.lrn("classif.ft_transformer", d_token=40).get("d_block") == 40
    assert jdl.lrn("classif.ft_transformer", d_block=16).set(d_token=40).get("d_block") == 40
    with pytest.raises(ConfigError, match=r"'d_token' is another name of 'd_block', got 40 and 48\.\nHint"):
        jdl.lrn("classif.ft_transformer", d_token=40, d_block=48)
    with pytest.raises(ConfigError, match="'d_block' must be a multiple of 'attention_n_heads', got 30 and 8"):
        jdl.lrn("classif.ft_transformer", d_token=30)


@pytest.mark.parametrize("n_rows", [100, 5000, 50_000, 500_000])
def test_the_batch_of_an_ft_transformer_is_256_as_in_the_recipe(n_rows):
    assert jdl.lrn("classif.ft_transformer").schedule(n_rows).batch_size == 256
    assert jdl.lrn("regr.ft_transformer", batch_size=32).schedule(n_rows).batch_size == 32


def test_what_takes_no_decay_is_not_decayed():
    learner = small("ft_transformer", epochs=1, optimizer=jdl.opt("adamw", lr=0.0))
    fitted = learner.set({"opt.lr": 1e-9, "opt.weight_decay": 1e8}).train(jdl.tsk("iris"))
    initial = initial_values(fitted.program).draw(as_key(0).fold("initial"))[0]
    before, after = initial["cls_embedding"], fitted.run.params["cls_embedding"]
    np.testing.assert_allclose(np.asarray(after), np.asarray(before), rtol=1e-3)
    assert np.abs(np.asarray(fitted.run.params["head"]["kernel"])).max() < np.abs(initial["head"]["kernel"]).max() * 0.9


@pytest.mark.filterwarnings("ignore::jdl.core.errors.JdlWarning")
def test_mlp_stays_plain_unless_asked():
    with pytest.raises(TaskError):
        jdl.lrn("classif.mlp", epochs=1).train(rough("classif"))
    learner = jdl.lrn("classif.mlp", epochs=2, neurons=(8,), preprocess=True, num_embeddings="periodic")
    assert learner.train(rough("classif")).network.num_embeddings.n_features >= 4
