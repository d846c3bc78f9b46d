"""What a resampling says: with learners of the host, whose numbers scikit-learn can be asked for."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, roc_auc_score

import jdl
from jdl.core.errors import ConfigError, JdlError

N = 90
X = np.random.default_rng(0).normal(size=(N, 3)).astype(np.float32)
LABELS = np.where(X[:, 0] + np.random.default_rng(1).normal(size=N) > 0.5, "yes", "no")
FOLDS = jdl.rsmp("cv", folds=4)


@pytest.fixture(scope="module")
def task() -> Any:
    return jdl.TaskClassif(pd.DataFrame(X, columns=["a", "b", "c"]), LABELS, id="toy")


@pytest.fixture(scope="module")
def rr(task) -> Any:
    return jdl.resample(task, jdl.lrn("classif.log_reg", predict_type="prob"), FOLDS, key=3)


@pytest.fixture(scope="module")
def by_hand(task):
    """Accuracy and AUC by fold, and all probabilities of the second class, from scikit-learn."""
    acc, auc, joined = [], [], []
    for train, test in FOLDS.split(task, key=3):
        prob = LogisticRegression(max_iter=1000).fit(X[train], LABELS[train]).predict_proba(X[test])
        acc.append(accuracy_score(LABELS[test], np.array(["no", "yes"])[prob.argmax(axis=1)]))
        auc.append(roc_auc_score(LABELS[test] == "yes", prob[:, 1]))
        joined.append((test, prob[:, 1]))
    return np.array(acc), np.array(auc), joined


def test_score_is_a_frame_with_a_row_per_iteration_and_a_column_per_measure(rr, by_hand):
    scores = rr.score(jdl.msrs("classif.acc", "classif.auc"))
    assert list(scores.columns) == ["iteration", "classif.acc", "classif.auc"]
    assert scores["iteration"].tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(scores["classif.acc"], by_hand[0])
    np.testing.assert_allclose(scores["classif.auc"], by_hand[1], atol=1e-6)


@pytest.mark.parametrize("measure", ["classif.acc", jdl.msr("classif.acc")], ids=str)
def test_one_measure_by_name_or_object(rr, measure):
    assert list(rr.score(measure).columns) == ["iteration", "classif.acc"]
    assert isinstance(rr.aggregate(measure), float)
    assert isinstance(rr.aggregate([measure]), dict)
    assert isinstance(rr.aggregate((measure,)), dict)


def test_a_measure_with_an_id_of_its_own_has_a_column_of_its_own(rr):
    measures = [jdl.msr("classif.fbeta"), jdl.msr("classif.fbeta", beta=3, id="f3")]
    assert list(rr.score(measures).columns) == ["iteration", "classif.fbeta", "f3"]
    assert set(rr.aggregate(measures)) == {"classif.fbeta", "f3"}


def test_aggregate_is_the_mean_over_iterations(rr, by_hand):
    assert rr.aggregate("classif.auc") == pytest.approx(by_hand[1].mean(), abs=1e-6)
    means = rr.aggregate(["classif.acc", "classif.auc"])
    assert means == pytest.approx({"classif.acc": by_hand[0].mean(), "classif.auc": by_hand[1].mean()}, abs=1e-6)


def test_the_micro_average_scores_the_joined_predictions(rr, by_hand):
    rows, prob = (np.concatenate(parts) for parts in zip(*by_hand[2], strict=True))
    expected = roc_auc_score(LABELS[rows] == "yes", prob)
    assert rr.aggregate("classif.auc", average="micro") == pytest.approx(expected, abs=1e-6)
    assert rr.aggregate("classif.auc", average="micro") != pytest.approx(rr.aggregate("classif.auc"), abs=1e-6)
    assert rr.prediction.score("classif.auc") == rr.aggregate("classif.auc", average="micro")


def test_predictions_are_those_of_the_test_rows_in_their_order(rr, task):
    assert len(rr.predictions) == len(rr.fitted) == rr.n_iterations == len(rr.splits) == 4
    for prediction, (_, test) in zip(rr.predictions, rr.splits, strict=True):
        np.testing.assert_array_equal(prediction.rows, test)
        np.testing.assert_array_equal(prediction.truth, task.truth(test))
    np.testing.assert_array_equal(rr.prediction.rows, np.concatenate([test for _, test in rr.splits]))
    assert sorted(rr.prediction.rows) == list(range(N))
    assert isinstance(rr.prediction.to_pandas(), pd.DataFrame) and len(rr.prediction.to_pandas()) == N


def test_to_pandas_has_a_row_per_iteration(rr):
    frame = rr.to_pandas()
    assert list(frame.columns) == [
        *("iteration", "status", "message", "n_train", "n_test", "epochs", "compile", "train", "predict")
    ]
    assert frame["status"].tolist() == ["complete"] * 4
    assert (frame["n_train"] + frame["n_test"] == N).all()


def test_timings_of_the_host_compile_nothing(rr):
    assert list(rr.timings.columns) == ["iteration", "compile", "train", "predict"]
    assert (rr.timings[["train", "predict"]] > 0).all().all()
    assert rr.compile_seconds == 0 == rr.timings["compile"].sum()
    assert rr.run_seconds == pytest.approx(rr.timings[["train", "predict"]].sum().sum())
    assert rr.run_seconds <= rr.seconds


def test_repr_says_what_was_done_and_how(rr):
    lines = repr(rr).splitlines()
    assert lines[0] == "<ResampleResult> task 'toy', learner 'classif.log_reg', 4 iterations"
    assert "4 runs on the host" in lines[1] == f"  {rr.plan}"
    assert "compiled in 0.00 s, ran in" in lines[2]
    assert len(lines) == 3


def test_it_knows_what_went_in(rr, task):
    assert rr.task is task and rr.resampling == FOLDS
    assert rr.learner.id == "classif.log_reg"
    assert rr.optimistic is False


def test_an_undefined_score_is_nan_and_named(task):
    """AUC of test rows of one class is undefined; the joined predictions have both."""
    only_no, mixed = np.flatnonzero(LABELS == "no")[:5], np.arange(20, 40)
    splits = jdl.rsmp("custom", train_sets=[range(40, N)] * 3, test_sets=[mixed, only_no, mixed])
    rr = jdl.resample(task, jdl.lrn("classif.log_reg", predict_type="prob"), splits)
    assert np.isnan(rr.score("classif.auc")["classif.auc"]).tolist() == [False, True, False]
    with pytest.warns(jdl.JdlWarning, match=r"'classif.auc' is NaN, because of iteration 1 \(undefined\)"):
        assert np.isnan(rr.aggregate("classif.auc"))
    assert rr.aggregate("classif.acc") > 0.5
    assert np.isfinite(rr.aggregate("classif.auc", average="micro"))


def test_one_iteration_is_enough(task):
    rr = jdl.resample(task, "classif.featureless", "holdout")
    assert rr.n_iterations == 1
    assert rr.aggregate("classif.ce") == rr.predictions[0].score("classif.ce")  # pyright: ignore


def test_no_iteration_at_all_raises(task):
    with pytest.raises(ConfigError, match="has no iteration on task 'toy'"):
        jdl.resample(task, "classif.featureless", jdl.rsmp("custom", train_sets=[], test_sets=[]))


def test_learners_resampled_with_one_key_meet_equal_folds(task, rr):
    other = jdl.resample(task, "classif.featureless", jdl.rsmp("cv", folds=4), key=3)
    for (train, test), (other_train, other_test) in zip(rr.splits, other.splits, strict=True):
        np.testing.assert_array_equal(train, other_train)
        np.testing.assert_array_equal(test, other_test)
    third = jdl.resample(task, "classif.featureless", FOLDS, key=4)
    assert any((a != b).any() for (_, a), (_, b) in zip(rr.splits, third.splits, strict=True) if len(a) == len(b))


def test_an_error_of_jdl_in_one_iteration_stops_at_once(task, monkeypatch):
    learner = jdl.lrn("classif.featureless")

    def fit(*args):
        raise JdlError("as agreed")

    monkeypatch.setattr(type(learner), "fit", fit)
    with pytest.raises(JdlError, match="as agreed"):
        jdl.resample(task, learner, FOLDS)


def test_many_iterations_are_named_shortly(task):
    rr = jdl.resample(task, jdl.lrn("classif.featureless", predict_type="prob"), "loo")
    named = r"iteration 0 \(undefined\), 1 \(undefined\), .* 4 \(undefined\), \.\.\. \(90 in all\) of learner"
    with pytest.warns(jdl.JdlWarning, match=named + r"[\s\S]*Hint: average='micro'") as caught:
        assert np.isnan(rr.aggregate("classif.auc"))
    assert max(len(str(w.message)) for w in caught) < 350
    assert rr.aggregate("classif.auc", average="micro") < 0.5
