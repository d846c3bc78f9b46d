"""Weights of rows in training, validation, baselines and scores."""

import jax
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error
from sklearn.neighbors import KNeighborsClassifier

import jdl
from jdl.core.errors import ConfigError, ShapeError, TaskError
from jdl.train import MLPSpec, draw, fit, numeric_table, program

N = 48
RNG = np.random.default_rng(3)
X = RNG.normal(size=(N, 2)).astype(np.float32)
COUNTS = RNG.integers(0, 4, N)
FRACTIONS = RNG.uniform(0.1, 3.0, N)
NOISE = RNG.normal(size=N)


def data(weights=None, repeat=None):
    columns = pd.DataFrame(X, columns=["a", "b"])
    columns["y"] = np.where(X[:, 0] + 0.5 * NOISE > 0, "p", "n")
    columns["v"] = 100 + 5 * X[:, 0] + NOISE
    if weights is not None:
        columns["w"] = weights
    return columns if repeat is None else columns.loc[columns.index.repeat(repeat)].reset_index(drop=True)


def classif(weights=None, repeat=None):
    return jdl.TaskClassif(data(weights, repeat).drop(columns="v"), "y", weights=None if weights is None else "w")


def regr(weights=None, repeat=None):
    return jdl.TaskRegr(data(weights, repeat).drop(columns="y"), "v", weights=None if weights is None else "w")


def mlp(kind="classif", **values):
    defaults = {"neurons": (), "epochs": 5, "batch_size": 512, "dropout": 0.0, "shuffle": False}
    if kind == "classif":
        defaults["predict_type"] = "prob"
    return jdl.lrn(f"{kind}.mlp", **{**defaults, **values})


def test_whole_weights_count_as_copies_of_rows():
    weighted = mlp().train(classif(COUNTS)).predict(classif())
    copied = mlp().train(classif(repeat=COUNTS)).predict(classif())
    plain = mlp().train(classif()).predict(classif())
    np.testing.assert_allclose(weighted.prob, copied.prob, rtol=1e-4)
    assert not np.allclose(weighted.prob, plain.prob, rtol=1e-3)


def test_balanced_classes_count_a_row_of_weight_2_twice():
    learner = mlp(loss=jdl.loss("cross_entropy", class_weight="balanced"))
    weights = np.where(X[:, 0] + 0.5 * NOISE > 0, 3, 1) * (COUNTS + 1)
    weighted, copied = learner.train(classif(weights)), learner.train(classif(repeat=weights))
    of_classes = weighted.run.hyper["loss.class_weight"]
    np.testing.assert_allclose(of_classes, copied.run.hyper["loss.class_weight"], rtol=1e-6)
    assert not np.allclose(of_classes, learner.train(classif()).run.hyper["loss.class_weight"], rtol=0.1)
    np.testing.assert_allclose(weighted.predict(classif()).prob, copied.predict(classif()).prob, rtol=1e-4)


def test_whole_weights_count_as_copies_of_rows_where_the_target_is_standardised():
    weighted = mlp("regr").train(regr(COUNTS))
    copied = mlp("regr").train(regr(repeat=COUNTS))
    np.testing.assert_allclose(weighted.run.target_scale, copied.run.target_scale, rtol=1e-12)
    np.testing.assert_allclose(weighted.predict(regr()).response, copied.predict(regr()).response, rtol=1e-5)


def test_only_ratios_of_weights_count():
    one = mlp(batch_size=16).train(classif(FRACTIONS))
    for factor in (1e-6, 1e9):
        other = mlp(batch_size=16).train(classif(FRACTIONS * factor))
        np.testing.assert_allclose(one.predict(classif()).prob, other.predict(classif()).prob, rtol=1e-5)
        np.testing.assert_allclose(one.history["train.loss"], other.history["train.loss"], rtol=1e-5)


def test_equal_weights_are_none():
    one = mlp(batch_size=16, validate=0.25).train(classif())
    other = mlp(batch_size=16, validate=0.25).train(classif(np.full(N, 7.0)))
    np.testing.assert_allclose(one.predict(classif()).prob, other.predict(classif()).prob, rtol=1e-5)
    np.testing.assert_allclose(one.history["valid.loss"], other.history["valid.loss"], rtol=1e-5)


def test_a_task_without_weights_has_a_member_without_them():
    made = program(MLPSpec(neurons=()), n_features=2)
    plain = draw(made, 0, X[:, 0], epochs=2)
    weighted = draw(made, 0, X[:, 0], epochs=2, weights=FRACTIONS)
    assert plain.weights is None
    assert len(jax.tree.leaves(weighted)) == len(jax.tree.leaves(plain)) + 1


def test_rows_of_weight_0_are_as_if_they_were_not_there():
    kept = np.arange(N) % 3 > 0
    values = data(np.where(kept, 1.0, 0.0))
    spoiled = values.copy()
    spoiled.loc[~kept, "a"] = 1e6
    learner = jdl.po("scale") >> mlp(batch_size=16, shuffle=True)
    there = [jdl.TaskClassif(frame.drop(columns="v"), "y", weights="w") for frame in (values, spoiled)]
    one, other = (learner.train(t).predict(classif()) for t in there)
    away = learner.train(classif(), rows=np.flatnonzero(kept)).predict(classif())
    np.testing.assert_array_equal(one.prob, other.prob)
    np.testing.assert_allclose(one.prob, away.prob, rtol=1e-5)


def test_losses_and_scores_of_the_history_are_weighted():
    task = classif(FRACTIONS).with_validation(np.arange(N - 16, N))
    learner = mlp(validate="predefined", measures_valid="classif.acc", epochs=3, restore_best=False)
    fitted = learner.train(task)
    valid = task.validation
    pred = fitted.predict(valid)
    last = fitted.history.iloc[-1]
    weights = valid.row_weights
    yes = np.asarray(pred.truth) == "p"
    assert last["valid.loss"] == pytest.approx(log_loss(yes, pred.prob[:, 1], sample_weight=weights), rel=1e-5)
    accuracy = accuracy_score(pred.truth, pred.response, sample_weight=weights)
    assert last["valid.classif.acc"] == pytest.approx(accuracy, rel=1e-5)


@pytest.mark.parametrize("batch_size", [512, 16])
def test_the_training_loss_is_the_weighted_mean(batch_size):
    learner = mlp("regr", batch_size=batch_size, epochs=1, optimizer=jdl.opt("sgd", lr=0.0))
    fitted = learner.train(regr(FRACTIONS))
    mean, sd = fitted.run.target_scale
    error = (fitted.predict(regr()).response - regr().truth()) / sd
    assert fitted.history["train.loss"][0] == pytest.approx(np.average(error**2, weights=FRACTIONS), rel=1e-4)
    assert mean == pytest.approx(np.average(regr().truth(), weights=FRACTIONS))


def test_validation_rows_that_all_weigh_0_give_nan_and_stop_nothing():
    weights = np.where(np.arange(N) < 32, 1.0, 0.0)
    task = classif(weights).with_validation(np.arange(32, N))
    fitted = mlp(validate="predefined", measures_valid="classif.acc", patience=2, epochs=4, restore_best=False).train(
        task
    )
    assert fitted.history[["valid.loss", "valid.classif.acc"]].isna().all(axis=None)
    assert np.isfinite(fitted.predict(task).prob).all()


def test_host_callbacks_meet_the_same_weights():
    class PerStep(jdl.HostCallback):
        id = "per_step"

        def on_batch_end(self, ctx):
            pass

    plain = mlp(batch_size=16, shuffle=True, measures_train="classif.acc").train(classif(FRACTIONS))
    stepped = mlp(batch_size=16, shuffle=True, measures_train="classif.acc", callbacks=PerStep()).train(
        classif(FRACTIONS)
    )
    columns = ["train.loss", "train.classif.acc"]
    np.testing.assert_allclose(plain.history[columns], stepped.history[columns], rtol=1e-5)
    np.testing.assert_allclose(plain.predict(classif()).prob, stepped.predict(classif()).prob, rtol=1e-5)


@pytest.mark.parametrize("strategy", ["loop", "map", "vmap"])
def test_resampling_carries_weights_into_folds_and_scores(strategy):
    task = classif(FRACTIONS)
    rr = jdl.resample(task, mlp(), jdl.rsmp("cv", folds=3), key=0, strategy=strategy)
    for prediction in rr.predictions:
        np.testing.assert_array_equal(prediction.weights, FRACTIONS[prediction.rows])
    scores = rr.score("classif.acc")["classif.acc"]
    expected = [accuracy_score(p.truth, p.response, sample_weight=p.weights) for p in rr.predictions]
    np.testing.assert_allclose(scores, expected)


def test_folds_train_with_their_own_weights():
    sets = [np.arange(0, 30), np.arange(18, N)]
    tests = [np.arange(30, N), np.arange(0, 18)]
    copied = [np.repeat(rows, COUNTS[rows]) for rows in sets]
    weighted, repeated = (
        jdl.resample(task, mlp(), jdl.rsmp("custom", train_sets=train, test_sets=tests), key=0)
        for task, train in ((classif(COUNTS), sets), (classif(), copied))
    )
    for one, other in zip(weighted.predictions, repeated.predictions, strict=True):
        np.testing.assert_allclose(one.prob, other.prob, rtol=1e-4)


def test_predictions_of_tasks_and_frames_carry_them():
    task = classif(FRACTIONS)
    fitted = jdl.lrn("classif.featureless", predict_type="prob").train(task)
    np.testing.assert_array_equal(fitted.predict(task, rows=[4, 2]).weights, FRACTIONS[[4, 2]])
    frame = task.to_pandas()
    np.testing.assert_array_equal(fitted.predict(frame).weights, FRACTIONS)
    assert fitted.predict(frame.drop(columns="w")).weights is None
    assert fitted.predict(frame.drop(columns="y")).weights is None
    with pytest.raises(TaskError, match="weights in 'w'"):
        fitted.predict(frame.assign(w=-1.0))
    pred = mlp("regr").train(regr(FRACTIONS)).predict(regr(FRACTIONS))
    expected = mean_squared_error(pred.truth, pred.response, sample_weight=FRACTIONS)
    assert pred.score("regr.mse") == pytest.approx(expected)


def test_featureless_learners_heed_them():
    prob = jdl.lrn("classif.featureless", predict_type="prob").train(classif(FRACTIONS)).predict(classif()).prob[0]
    yes = classif().truth() == "p"
    np.testing.assert_allclose(prob, [FRACTIONS[~yes].sum() / FRACTIONS.sum(), FRACTIONS[yes].sum() / FRACTIONS.sum()])
    response = jdl.lrn("regr.featureless").train(regr(FRACTIONS)).predict(regr()).response[0]
    assert response == pytest.approx(np.average(regr().truth(), weights=FRACTIONS))
    median = jdl.lrn("regr.featureless", robust=True)
    weighted, copied = median.train(regr(COUNTS)), median.train(regr(repeat=COUNTS))
    assert weighted.predict(regr()).response[0] == pytest.approx(copied.predict(regr()).response[0])


def test_estimators_get_them_as_sample_weight():
    fitted = jdl.lrn("classif.log_reg", predict_type="prob").train(classif(FRACTIONS))
    reference = LogisticRegression(max_iter=1000).fit(X, classif().truth(), sample_weight=FRACTIONS)
    np.testing.assert_allclose(fitted.predict(classif()).prob, reference.predict_proba(X), rtol=1e-4)
    fitted = jdl.lrn("regr.sklearn", estimator=LinearRegression()).train(regr(FRACTIONS))
    reference = LinearRegression().fit(X, regr().truth(), sample_weight=FRACTIONS)
    np.testing.assert_allclose(fitted.predict(regr()).response, reference.predict(X), rtol=1e-5)


def test_an_estimator_that_takes_none_is_refused_by_name():
    learner = jdl.lrn("classif.sklearn", estimator=KNeighborsClassifier())
    learner.train(classif())
    with pytest.raises(ConfigError, match=r"KNeighborsClassifier takes no weights.*\n.*without weights="):
        learner.train(classif(FRACTIONS))


@pytest.mark.parametrize("name", ["classif.mlp", "classif.featureless", "classif.log_reg"])
def test_training_rows_that_all_weigh_0_are_refused(name, nothing_compiles):
    weights = np.where(np.arange(N) < 8, 0.0, 1.0)
    with pytest.raises(TaskError, match="all training rows have weight 0 in column 'w'"):
        jdl.lrn(name).train(classif(weights), rows=np.arange(8))


def test_the_functional_way_takes_weights_too():
    made = program(MLPSpec(neurons=()), n_features=2, batch_size=16)
    table, target = numeric_table(X), X[:, 0]
    runs = [
        fit(made, table, draw(made, 0, target, epochs=3, weights=weights))[0].train.params
        for weights in (None, np.ones(N), np.where(X[:, 0] > 0, 5.0, 1.0))
    ]
    leaves = [np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(run)]) for run in runs]
    np.testing.assert_allclose(leaves[0], leaves[1], rtol=1e-6)
    assert not np.allclose(leaves[0], leaves[2], rtol=1e-3)
    with pytest.raises(ShapeError, match="48 rows"):
        draw(made, 0, target, weights=np.ones(3))
    with pytest.raises(ConfigError, match="at least 0"):
        draw(made, 0, target, weights=np.full(N, -1.0))
    with pytest.raises(ConfigError, match="at least one training row"):
        draw(made, 0, target, weights=np.zeros(N))


def test_ensembles_with_batches_of_their_own_heed_them():
    sizes = {"k": 2, "n_blocks": 1, "d_block": 4, "num_embeddings": None}
    learner = jdl.lrn("classif.tabm", epochs=5, batch_size=16, **sizes, **{"opt.lr": 0.05})
    heavy = np.where(classif().truth() == "p", 50.0, 1.0)
    shares = [(learner.train(classif(w)).predict(classif()).response == "p").mean() for w in (heavy, 1 / heavy)]
    assert shares[0] > shares[1] + 0.3


def test_a_saved_model_keeps_the_name_of_the_column(tmp_path):
    fitted = mlp().train(classif(FRACTIONS))
    fitted.save(tmp_path / "m")
    np.testing.assert_array_equal(jdl.load(tmp_path / "m").predict(data(FRACTIONS)).weights, FRACTIONS)
