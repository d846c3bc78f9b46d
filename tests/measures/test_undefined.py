"""Scores that do not exist are NaN, without a warning (the test run turns warnings into errors)."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from jdl.data.prediction import PredictionClassif
from jdl.measures import MEASURES

both = pytest.mark.parametrize("xp", [np, jnp])


@both
@pytest.mark.parametrize("n_rows", [6, 600])
def test_auc_of_one_class_is_nan(xp, n_rows):
    prob = np.linspace(0, 1, n_rows)
    prob = xp.asarray(np.stack([1 - prob, prob], axis=1))
    for code in (0, 1):
        assert math.isnan(MEASURES.make("classif.auc").compute(xp.full(n_rows, code), prob))


@both
def test_auc_is_nan_when_the_other_class_is_padding(xp):
    prob = xp.asarray([[0.2, 0.8], [0.6, 0.4]])
    assert math.isnan(MEASURES.make("classif.auc").compute(xp.asarray([0, 1]), prob, xp.asarray([1.0, 0.0])))


@both
@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
def test_rsq_of_a_constant_truth_is_nan(xp, value):
    measure = MEASURES.make("regr.rsq")
    truth, weights = xp.full(7, value), xp.linspace(0.1, 0.7, 7)
    assert math.isnan(measure.compute(truth, truth, weights))
    assert math.isnan(measure.compute(truth, truth + 1, weights))
    assert math.isnan(measure.compute(truth[:1], truth[:1]))


@both
def test_rsq_ignores_the_truth_of_padding_in_that(xp):
    truth, weights = xp.asarray([2.0, 2.0, 5.0]), xp.asarray([1.0, 1.0, 0.0])
    assert math.isnan(MEASURES.make("regr.rsq").compute(truth, truth, weights))


@both
def test_fbeta_without_any_positive_is_nan(xp):
    zeros = xp.zeros(4, int)
    measure = MEASURES.make("classif.fbeta")
    assert math.isnan(measure.from_codes(zeros, zeros, n_classes=2))
    assert measure.from_codes(zeros, zeros + 1, n_classes=2) == 0


@both
def test_mcc_of_one_predicted_class_is_zero(xp):
    truth = xp.asarray([0, 1, 1, 0, 1])
    weights = xp.asarray([0.1, 0.2, 0.3, 0.7, 0.1])
    measure = MEASURES.make("classif.mcc")
    assert measure.from_codes(truth, 0 * truth, weights, n_classes=2) == 0
    assert measure.from_codes(0 * truth, truth, weights, n_classes=2) == 0


@both
def test_balanced_accuracy_leaves_absent_classes_out(xp):
    measure = MEASURES.make("classif.bacc")
    score = measure.from_codes(xp.asarray([0, 0, 1]), xp.asarray([0, 2, 1]), n_classes=3)
    assert float(score) == pytest.approx(0.75)


@pytest.mark.parametrize("name", [name for name in MEASURES if name.startswith("classif.")])
def test_a_prediction_with_a_probability_that_is_nan_has_no_score(name):
    prob = np.array([[0.9, 0.1], [np.nan, np.nan], [0.2, 0.8]])
    labels = {"rows": [0, 1, 2], "truth": ["a", "a", "b"], "response": ["a", "a", "b"], "class_names": ("a", "b")}
    measure = MEASURES.make(name)
    assert math.isnan(measure.score(PredictionClassif(**labels, prob=prob)))
    assert not math.isnan(measure.score(PredictionClassif(**labels, prob=prob, weights=[1.0, 0.0, 1.0])))


@pytest.mark.parametrize("name", ["regr.mse", "regr.rmse", "regr.mae"])
def test_infinite_response_is_an_infinite_error(name):
    assert MEASURES.make(name).compute(np.array([1.0, 2.0]), np.array([np.inf, 2.0])) == math.inf
