"""Names, defaults and fit of measures."""

import jax.numpy as jnp
import numpy as np
import pytest

from jdl.core.errors import ConfigError, ConfigTypeError, UnknownNameError
from jdl.data.prediction import PredictionClassif
from jdl.measures import MEASURES, Accuracy, FBeta, as_measure, as_measures

BINARY = [name for name in MEASURES if MEASURES[name].binary_only]
PROB = [name for name in MEASURES if MEASURES[name].predict_type == "prob"]


def test_binary_and_probability_measures_are_the_known_ones():
    assert BINARY == ["classif.auc", "classif.bbrier", "classif.fbeta"]
    assert PROB == ["classif.auc", "classif.logloss", "classif.bbrier", "classif.mbrier"]


def test_names_and_objects_are_both_taken():
    assert as_measure("classif.acc") == Accuracy() == as_measure(Accuracy())
    assert [m.id for m in as_measures(["classif.acc", FBeta(beta=2.0)])] == ["classif.acc", "classif.fbeta"]
    assert as_measures("regr.mse") == (MEASURES.make("regr.mse"),)


def test_two_measures_of_one_id_are_refused_unless_renamed():
    with pytest.raises(ConfigError, match=r"'classif\.fbeta' more than once"):
        as_measures([FBeta(), FBeta(beta=2.0)])
    assert len(as_measures([FBeta(), FBeta(beta=2.0, id="classif.f2")])) == 2


def test_unknown_name_shows_the_nearest():
    with pytest.raises(UnknownNameError, match=r"'classif\.auc'"):
        as_measure("classif.acu")


def test_class_in_place_of_an_object_is_explained():
    with pytest.raises(ConfigTypeError, match=r"Accuracy\(\)"):
        as_measure(Accuracy)


def test_beta_must_not_be_negative():
    with pytest.raises(ConfigError, match="'beta'"):
        FBeta(beta=-1.0)


@pytest.mark.parametrize("name", BINARY)
def test_binary_measure_refuses_three_classes_with_both_remedies(name):
    measure = MEASURES.make(name)
    with pytest.raises(ConfigError, match="binary task, got one with 3 classes") as info:
        measure.check("classif", 3)
    assert name in str(info.value)
    assert "classif.logloss" in str(info.value)
    assert "two classes" in str(info.value)
    with pytest.raises(ConfigError, match="3 classes"):
        measure.compute(np.array([0, 1]), np.full((2, 3), 1 / 3))


@pytest.mark.parametrize("name", PROB)
def test_probability_measure_refuses_labels_with_both_remedies(name):
    with pytest.raises(ConfigError, match="needs class probabilities") as info:
        MEASURES.make(name).check("classif", 2, "response")
    assert name in str(info.value)
    assert "predict_type='prob'" in str(info.value)
    assert "classif.acc" in str(info.value)
    pred = PredictionClassif([0, 1], ["a", "b"], ["a", "b"], class_names=("a", "b"))
    with pytest.raises(ConfigError, match="needs class probabilities"):
        pred.score(name)


def test_response_of_equal_probabilities_is_the_first_class_everywhere():
    prob = np.full((2, 2), 0.5)
    truth = np.array([0, 1])
    pred = PredictionClassif([0, 1], np.array(["a", "b"]), prob=prob, class_names=("a", "b"))
    assert pred.response.tolist() == ["a", "a"]
    for xp in (np, jnp):
        assert float(Accuracy().compute(xp.asarray(truth), xp.asarray(prob))) == 0.5


def test_positive_class_of_the_prediction_counts():
    prob = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]])
    data = {"rows": [0, 1, 2], "truth": ["a", "a", "b"], "prob": prob, "class_names": ("a", "b")}
    assert PredictionClassif(**data, positive="b").score("classif.fbeta") == pytest.approx(2 / 3)
    assert PredictionClassif(**data, positive="a").score("classif.fbeta") == pytest.approx(2 / 3)
    assert PredictionClassif(**data, positive="b").score(FBeta(beta=0.0)) == pytest.approx(1 / 2)
    assert PredictionClassif(**data, positive="a").score(FBeta(beta=0.0)) == pytest.approx(1.0)


def test_an_unknown_hyperparameter_names_the_measure_as_it_is_typed():
    with pytest.raises(UnknownNameError, match=r"'bta' of measure 'classif.fbeta'. Did you mean 'beta'"):
        FBeta(bta=2)  # pyright: ignore[reportCallIssue]
