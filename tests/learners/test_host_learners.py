"""Learners that are fitted on the host, against NumPy and scikit-learn used directly."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.cluster import KMeans
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

import jdl
from jdl.core.errors import ConfigError, ConfigTypeError, JdlError, JdlWarning

RNG = np.random.default_rng(1)
FRAME = pd.DataFrame(RNG.normal(size=(50, 3)), columns=["a", "b", "c"])
KIND = np.array(["x", "y", "z"])[RNG.integers(0, 3, 50)]
PRICE = 3 * FRAME["a"].to_numpy() + RNG.normal(size=50)


@pytest.fixture
def task() -> Any:
    return jdl.TaskClassif(FRAME, KIND)


@pytest.fixture
def regr_task() -> Any:
    return jdl.TaskRegr(FRAME, PRICE)


def test_featureless_predicts_frequencies_of_the_training_rows(task):
    rows = np.arange(7, 40)
    prediction: Any = jdl.lrn("classif.featureless", predict_type="prob").train(task, rows=rows).predict(task)
    labels, counts = np.unique(KIND[rows], return_counts=True)
    np.testing.assert_allclose(prediction.prob, np.tile(counts / 33, (50, 1)))
    assert set(prediction.response) == {labels[counts.argmax()]}


def test_featureless_knows_classes_that_its_rows_lack(task):
    prediction: Any = jdl.lrn("classif.featureless", predict_type="prob").train(task, rows=KIND == "y").predict(task)
    np.testing.assert_array_equal(prediction.prob[0], [0, 1, 0])


def test_featureless_predicts_mean_or_median_of_the_training_rows(regr_task):
    rows = np.arange(7, 40)
    for robust, expected in ((False, PRICE[rows].mean()), (True, np.median(PRICE[rows]))):
        fitted = jdl.lrn("regr.featureless", robust=robust).train(regr_task, rows=rows)
        np.testing.assert_allclose(fitted.predict(regr_task).response, np.full(50, expected))


def test_adapters_fit_what_scikit_learn_fits(task, regr_task):
    expected = LogisticRegression(max_iter=1000, C=0.5).fit(FRAME.astype(np.float32), KIND).predict_proba(FRAME)
    prediction: Any = jdl.lrn("classif.log_reg", C=0.5, predict_type="prob").train(task).predict(task)
    np.testing.assert_allclose(prediction.prob, expected, atol=1e-4)
    forest = RandomForestRegressor(n_estimators=5, random_state=3).fit(FRAME.astype(np.float32), PRICE)
    fitted = jdl.lrn("regr.random_forest", n_estimators=5, random_state=3).train(regr_task)
    np.testing.assert_allclose(fitted.predict(regr_task).response, forest.predict(FRAME.astype(np.float32)))


def test_ready_made_learners_have_the_parameters_of_their_estimator():
    params = jdl.lrn("regr.random_forest", max_depth=3).params().set_index("name")
    assert set(params.index) == set(RandomForestRegressor().get_params())
    assert params.loc["max_depth", "value"] == 3 and params.loc["n_estimators", "default"] == 100
    assert jdl.lrn("classif.log_reg").get("max_iter") == 1000


def test_every_random_state_that_is_none_comes_from_the_key(task):
    estimator = make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss"))
    learner = jdl.lrn("classif.sklearn", estimator=estimator, predict_type="prob")
    first, again, other = (learner.train(task, key=key).predict(task).prob for key in (0, 0, 1))  # pyright: ignore
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    fixed = learner.set(estimator=make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss", random_state=1)))
    first, other = (fixed.train(task, key=key).predict(task).prob for key in (0, 1))  # pyright: ignore
    np.testing.assert_array_equal(first, other)


def test_missing_values_outside_of_the_training_rows_choose_no_column():
    """Each job has flags of its own."""
    gaps = FRAME.copy()
    gaps.loc[0, "a"] = np.nan
    gaps.loc[49, "b"] = np.nan
    task = jdl.TaskClassif(gaps, KIND)
    learner = jdl.po("select", selector=jdl.selectors.missing()) >> jdl.lrn("classif.random_forest", n_estimators=2)
    sets = [np.arange(25), np.arange(25, 50)]
    rr = jdl.resample(task, learner, jdl.rsmp("custom", train_sets=sets, test_sets=sets[::-1]))
    assert [fitted.model.feature_names_in_.tolist() for fitted in rr.fitted] == [["a"], ["b"]]  # pyright: ignore
    assert learner.train(task, rows=sets[0]).model.feature_names_in_.tolist() == ["a"]  # pyright: ignore


def test_the_estimator_gets_the_labels_of_the_task():
    """So that what it is told of classes, such as their weights, is of the task's classes."""
    numbers = np.where(KIND == "x", 1, 2)
    for labels, weights in ((KIND, {"x": 50.0}), (numbers, {1: 50.0}), (KIND == "x", {True: 50.0})):
        task = jdl.TaskClassif(FRAME, labels)
        estimator = LogisticRegression(class_weight=weights)
        expected = LogisticRegression(class_weight=weights).fit(FRAME.astype(np.float32), labels)
        assert (expected.predict(FRAME) == labels[KIND == "x"][0]).mean() > 0.8
        for predict_type in ("prob", "response"):
            learner = jdl.lrn("classif.sklearn", estimator=estimator, predict_type=predict_type)
            prediction: Any = learner.train(task).predict(task)
            np.testing.assert_array_equal(prediction.response, expected.predict(FRAME))
            if predict_type == "prob":
                np.testing.assert_allclose(prediction.prob, expected.predict_proba(FRAME), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "estimator", "message"),
    [
        ("classif.sklearn", Ridge(), r"must be a classifier, got the regressor Ridge\(\)[\s\S]*'regr.sklearn'"),
        ("regr.sklearn", LogisticRegression(), r"must be a regressor, got the classifier [\s\S]*'classif.sklearn'"),
        ("regr.sklearn", make_pipeline(StandardScaler(), LinearSVC()), "must be a regressor, got the classifier"),
        ("classif.sklearn", KMeans(), "must be a classifier, got the clusterer"),
    ],
    ids=["regressor", "classifier", "pipeline", "clusterer"],
)
def test_an_estimator_of_another_kind_is_refused_at_once(name, estimator, message):
    with pytest.raises(ConfigError, match=message):
        jdl.lrn(name, estimator=estimator)


def test_an_estimator_that_does_not_say_what_it_is_passes(task):
    class Untagged:
        def get_params(self, deep=True):
            return {}

        def set_params(self, **values):
            return self

        def fit(self, X, y):
            self.classes_ = np.unique(y)
            return self

        def predict(self, X):
            return np.full(len(X), self.classes_[-1])

    prediction = jdl.lrn("classif.sklearn", estimator=Untagged()).train(task).predict(task)
    assert set(prediction.response) == {"z"}


def test_the_estimator_that_was_handed_in_stays_unfitted(task):
    estimator = LogisticRegression()
    fitted: Any = jdl.lrn("classif.sklearn", estimator=estimator).train(task)
    assert not hasattr(estimator, "coef_")
    assert hasattr(fitted.model, "coef_") and fitted.model is not estimator


def test_categories_and_missing_values_reach_the_estimator_as_pandas_has_them():
    seen = []

    class Looks(ClassifierMixin, BaseEstimator):
        def fit(self, X, y):
            seen.append(X)
            self.classes_ = np.unique(y)
            return self

        def predict(self, X):
            seen.append(X)
            return np.full(len(X), self.classes_[0])

    data = pd.DataFrame(
        {"n": [1, None, 3], "c": ["u", None, "v"], "o": pd.Categorical(["s", "l", "s"], ["s", "l"], True)}
    )
    task = jdl.TaskClassif(data, ["x", "y", "x"])
    jdl.lrn("classif.sklearn", estimator=Looks()).train(task).predict(data.assign(c="never seen"))
    fitted_on, predicted = seen
    assert list(fitted_on.columns) == ["n", "c", "o"]
    assert fitted_on["n"].isna().tolist() == fitted_on["c"].isna().tolist() == [False, True, False]
    assert fitted_on["c"].cat.categories.tolist() == ["u", "v"] and not fitted_on["c"].cat.ordered
    assert fitted_on["o"].cat.categories.tolist() == ["s", "l"] and fitted_on["o"].cat.ordered
    assert predicted["c"].isna().all() and predicted["c"].cat.categories.tolist() == ["u", "v"]


def test_classes_that_the_training_rows_lack_get_probability_0(task):
    rows = KIND != "y"
    for name in ("classif.log_reg", "classif.random_forest", "classif.hist_gradient_boosting"):
        prediction: Any = jdl.lrn(name, predict_type="prob").train(task, rows=rows).predict(task)
        assert prediction.prob.shape == (50, 3) and (prediction.prob[:, 1] == 0).all()
        np.testing.assert_allclose(prediction.prob.sum(axis=1), 1)
        assert set(prediction.response) <= {"x", "z"}


def test_one_class_in_the_training_rows_is_predicted_always(task):
    for name in ("classif.random_forest", "classif.hist_gradient_boosting"):
        prediction: Any = jdl.lrn(name, predict_type="prob").train(task, rows=KIND == "z").predict(task)
        np.testing.assert_array_equal(prediction.prob, np.tile([0.0, 0.0, 1.0], (50, 1)))


@pytest.mark.parametrize("estimator", [LogisticRegression, 3, None, "LogisticRegression"], ids=str)
def test_what_is_no_estimator_raises(estimator):
    with pytest.raises(ConfigTypeError, match=r"must be a scikit-learn estimator, got [\s\S]*Hint: an object"):
        jdl.lrn("classif.sklearn", estimator=estimator)


def test_an_estimator_without_probabilities_is_refused_for_them():
    with pytest.raises(
        ConfigError, match=r"needs an estimator with predict_proba, got LinearSVC[\s\S]*Hint: Calibrated"
    ):
        jdl.lrn("classif.sklearn", estimator=LinearSVC(), predict_type="prob")
    assert jdl.lrn("classif.sklearn", estimator=LinearSVC()).predict_type == "response"


def test_an_error_of_the_estimator_is_chained_and_names_the_learner(task):
    with pytest.raises(JdlError, match=r"learner 'classif.log_reg' failed: ValueError: .*at least 2 classes") as caught:
        jdl.lrn("classif.log_reg").train(task, rows=KIND == "x")
    assert isinstance(caught.value.__cause__, ValueError)


class FailsToPredict(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        raise RuntimeError("out of order")


def test_an_error_of_the_estimator_at_predict_is_chained(task):
    fitted = jdl.lrn("classif.sklearn", estimator=FailsToPredict()).train(task)
    with pytest.raises(
        JdlError, match=r"learner 'classif\.sklearn' failed to predict: RuntimeError: out of order"
    ) as caught:
        fitted.predict(task)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_an_iteration_that_fails_does_not_take_the_others_with_it(task):
    one_class, rest = np.flatnonzero(KIND == "x"), np.flatnonzero(KIND != "x")
    splits = jdl.rsmp("custom", train_sets=[rest, one_class, rest], test_sets=[one_class, rest, one_class])
    with pytest.warns(JdlWarning, match="learner 'classif.log_reg', iteration 1 failed: ValueError"):
        rr = jdl.resample(task, "classif.log_reg", splits)
    assert [p is None for p in rr.predictions] == [False, True, False]
    assert rr.to_pandas()["status"].tolist() == ["complete", "failed", "complete"]
    assert np.isnan(rr.score("classif.acc")["classif.acc"]).tolist() == [False, True, False]
    with pytest.warns(JdlWarning, match=r"iteration 1 \(failed\) of learner 'classif.log_reg'"):
        assert np.isnan(rr.aggregate("classif.acc"))


def test_when_all_iterations_fail_the_first_error_is_raised(task):
    one_class = np.flatnonzero(KIND == "x")
    splits = jdl.rsmp("custom", train_sets=[one_class] * 2, test_sets=[[0, 1]] * 2)
    with pytest.raises(JdlError, match="iteration 0 failed: ValueError") as caught:
        jdl.resample(task, "classif.log_reg", splits)
    assert isinstance(caught.value.__cause__, ValueError)
