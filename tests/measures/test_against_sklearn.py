"""Scores are scikit-learn's, with and without weights."""

import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics

from jdl.measures import MEASURES


def bbrier(truth, prob, w):
    return metrics.brier_score_loss(truth, prob[:, 1], sample_weight=w)


def mbrier(truth, prob, w):
    labels = np.arange(prob.shape[1])
    return metrics.brier_score_loss(truth, prob, sample_weight=w, labels=labels, scale_by_half=False)


def logloss(truth, prob, w):
    return metrics.log_loss(truth, prob, sample_weight=w, labels=np.arange(prob.shape[1]))


def of_labels(score, **options):
    return lambda truth, prob, w: score(truth, prob.argmax(axis=1), sample_weight=w, **options)


PEERS = {
    "classif.acc": of_labels(metrics.accuracy_score),
    "classif.ce": of_labels(metrics.zero_one_loss),
    "classif.bacc": of_labels(metrics.balanced_accuracy_score),
    "classif.auc": lambda truth, prob, w: metrics.roc_auc_score(truth, prob[:, 1], sample_weight=w),
    "classif.logloss": logloss,
    "classif.bbrier": bbrier,
    "classif.mbrier": mbrier,
    "classif.mcc": of_labels(metrics.matthews_corrcoef),
    "classif.fbeta": of_labels(metrics.fbeta_score, beta=1.0, zero_division=np.nan),
    "regr.mse": lambda truth, response, w: metrics.mean_squared_error(truth, response, sample_weight=w),
    "regr.rmse": lambda truth, response, w: metrics.root_mean_squared_error(truth, response, sample_weight=w),
    "regr.mae": lambda truth, response, w: metrics.mean_absolute_error(truth, response, sample_weight=w),
    "regr.rsq": lambda truth, response, w: metrics.r2_score(truth, response, sample_weight=w),
}
CLASSIF = [name for name in MEASURES if name.startswith("classif.")]
REGR = [name for name in MEASURES if name.startswith("regr.")]


def test_every_measure_has_a_peer():
    assert set(PEERS) == set(MEASURES)


@st.composite
def classif_data(draw, n_classes):
    n_rows = draw(st.integers(2, 30))
    truth = np.array(draw(st.lists(st.integers(0, n_classes - 1), min_size=n_rows, max_size=n_rows)))
    # Few distinct values, certain ones among them, so that ranks tie and logarithms are clipped.
    parts = st.lists(st.integers(0, 4), min_size=n_classes, max_size=n_classes).filter(any)
    prob = np.array(draw(st.lists(parts, min_size=n_rows, max_size=n_rows)), float)
    weights = draw(st.one_of(st.none(), st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=n_rows, max_size=n_rows)))
    return truth, prob / prob.sum(axis=1, keepdims=True), None if weights is None else np.array(weights)


def assert_equals_peer(name, truth, output, weights):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what scikit-learn has to say of rare cases
        expected = PEERS[name](truth, output, weights)
    score = float(MEASURES.make(name).compute(truth, output, weights))
    np.testing.assert_allclose(score, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", CLASSIF)
@given(data=classif_data(2))
@settings(max_examples=60, deadline=None)
def test_binary_scores(name, data):
    assert_equals_peer(name, *data)


@pytest.mark.parametrize("name", [n for n in CLASSIF if not MEASURES[n].binary_only])
@given(data=classif_data(4))
@settings(max_examples=60, deadline=None)
def test_multiclass_scores(name, data):
    assert_equals_peer(name, *data)


@pytest.mark.parametrize("name", REGR)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_regression_scores(name, data):
    n_rows = data.draw(st.integers(2, 30))
    numbers = st.lists(st.integers(-50, 50).map(lambda i: i / 4), min_size=n_rows, max_size=n_rows).map(np.array)
    truth, response = data.draw(numbers), data.draw(numbers)
    weights = data.draw(st.one_of(st.none(), numbers.map(lambda w: np.abs(w) + 0.1)))
    assume(name != "regr.rsq" or np.ptp(truth) > 0)
    assert_equals_peer(name, truth, response, weights)


@pytest.mark.parametrize("beta", [0.0, 0.5, 2.0])
def test_fbeta_of_other_betas(beta):
    rng = np.random.default_rng(0)
    truth, response, weights = rng.integers(0, 2, 50), rng.integers(0, 2, 50), rng.random(50)
    for positive in (0, 1):
        score = MEASURES.make("classif.fbeta", beta=beta).from_codes(
            truth, response, weights, n_classes=2, positive=positive
        )
        expected = metrics.fbeta_score(truth, response, beta=beta, sample_weight=weights, pos_label=positive)
        assert float(score) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["classif.auc", "classif.bbrier"])
def test_positive_class_may_be_the_first(name):
    rng = np.random.default_rng(0)
    truth, first = rng.integers(0, 2, 60), rng.random(60)
    prob = np.stack([first, 1 - first], axis=1)
    score = MEASURES.make(name).compute(truth, prob, positive=0)
    assert float(score) == pytest.approx(PEERS[name](1 - truth, prob[:, ::-1], None), rel=1e-12)


def test_log_loss_clips_at_the_epsilon_of_the_dtype():
    truth, prob = np.array([0, 0]), np.array([[0.0, 1.0], [0.5, 0.5]])
    for dtype in (np.float32, np.float64):
        score = MEASURES.make("classif.logloss").compute(truth, prob.astype(dtype))
        expected = metrics.log_loss(truth, prob.astype(dtype), labels=[0, 1])
        assert float(score) == pytest.approx(expected, rel=1e-6)
