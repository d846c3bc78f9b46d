"""Predictions: shapes, scores, tables, joining."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss

from jdl.core.errors import ConfigError, ConfigTypeError, ShapeError, TaskError, UnknownNameError
from jdl.data.prediction import PredictionClassif, PredictionRegr, join_predictions
from jdl.measures import Accuracy, FBeta, LogLoss

NAMES = ("cat", "cow", "dog")


def classif(n_rows=20, seed=0, **changes):
    rng = np.random.default_rng(seed)
    given = {
        "rows": rng.permutation(n_rows),
        "truth": rng.choice(NAMES, n_rows),
        "prob": rng.dirichlet(np.ones(3), n_rows),
        "class_names": NAMES,
    }
    return PredictionClassif(**(given | changes))


def test_response_is_the_most_probable_class_in_the_labels_dtype():
    pred = classif()
    assert pred.response.tolist() == [NAMES[i] for i in pred.prob.argmax(axis=1)]
    assert pred.response.dtype == pred.truth.dtype
    assert pred.predict_types == ("response", "prob")


@pytest.mark.parametrize("names", [(0, 1), (False, True), ("a", "b"), (10, 20)])
def test_labels_of_any_type(names):
    truth = np.array([names[1], names[0], names[1]])
    pred = PredictionClassif([0, 1, 2], truth, prob=[[0.1, 0.9], [0.2, 0.8], [0.3, 0.7]], class_names=names)
    assert pred.truth_codes.tolist() == [1, 0, 1]
    assert pred.response.dtype == truth.dtype
    assert pred.score("classif.acc") == pytest.approx(2 / 3)


def test_labels_from_pandas_agree_with_labels_from_numpy():
    pred = PredictionClassif(
        [0, 1], pd.Series(["dog", "cat"]), pd.Series(["dog", "cow"], dtype="category"), class_names=NAMES
    )
    assert pred.truth_codes.tolist() == [2, 0]
    assert pred.response_codes.tolist() == [2, 1]


def test_confusion_has_responses_down_and_truths_across():
    pred = classif()
    expected = confusion_matrix(pred.truth, pred.response, labels=NAMES).T
    assert pred.confusion.to_numpy().tolist() == expected.tolist()
    assert (pred.confusion.index.name, pred.confusion.columns.name) == ("response", "truth")
    assert tuple(pred.confusion.columns) == NAMES


def test_score_of_one_measure_is_a_float_and_of_a_list_a_dict():
    pred = classif()
    accuracy = accuracy_score(pred.truth, pred.response)
    assert pred.score(Accuracy()) == pred.score("classif.acc") == pytest.approx(accuracy)
    scores = pred.score(["classif.acc", LogLoss()])
    assert scores == {
        "classif.acc": pytest.approx(accuracy),
        "classif.logloss": pytest.approx(log_loss(pred.truth, pred.prob, labels=NAMES)),
    }


def test_weights_count_in_scores():
    pred = classif()
    weights = np.linspace(0, 1, len(pred))
    weighted = classif(weights=weights)
    expected = accuracy_score(pred.truth, pred.response, sample_weight=weights)
    assert weighted.score("classif.acc") == pytest.approx(expected)


def test_two_measures_of_one_id_are_refused():
    with pytest.raises(ConfigError, match="an id each"):
        classif().score([Accuracy(), Accuracy()])


def test_any_object_with_id_and_score_is_no_measure_by_mistake():
    with pytest.raises(ConfigTypeError, match="measure"):
        classif().score(3.0)
    with pytest.raises(UnknownNameError, match=r"classif\.acc"):
        classif().score("classif.ac")


def test_unknown_truth_is_named():
    pred = classif(truth=None)
    assert pred.truth is None
    with pytest.raises(TaskError, match="without a target"):
        pred.score("classif.acc")
    with pytest.raises(TaskError, match="without a target"):
        _ = pred.confusion
    assert pred.to_pandas()["truth"].isna().all()


def test_table_of_a_classification():
    frame = classif().to_pandas()
    assert list(frame.columns) == ["rows", "truth", "response", "prob.cat", "prob.cow", "prob.dog"]
    np.testing.assert_array_equal(frame["prob.cow"], classif().prob[:, 1])
    assert "weights" in classif(weights=np.ones(20)).to_pandas()


def test_table_of_a_regression():
    frame = PredictionRegr([3, 1], [1, 2], [1.5, 2.5]).to_pandas()
    assert frame.to_dict("list") == {"rows": [3, 1], "truth": [1.0, 2.0], "response": [1.5, 2.5]}


def test_filter_keeps_the_predictions_of_task_rows():
    pred = PredictionRegr([7, 3, 7, 5], [1, 2, 3, 4], [1, 2, 3, 4])
    kept = pred.filter([5, 7, 1000])
    assert kept.rows.tolist() == [7, 7, 5]
    assert kept.truth.tolist() == [1, 3, 4]
    assert pred.filter(np.array([False, True, False, False])).rows.tolist() == [3]
    with pytest.raises(ShapeError, match="mask"):
        pred.filter([True, False])


def test_join_of_parts_is_the_whole():
    pred = classif(weights=np.linspace(0, 1, 20))
    parts = [pred.filter(pred.rows[start : start + 7]) for start in (0, 7, 14)]
    joined = join_predictions(parts)
    assert len(joined) == len(pred)
    pd.testing.assert_frame_equal(joined.to_pandas(), pred.to_pandas())
    assert joined.score("classif.logloss") == pytest.approx(pred.score("classif.logloss"))


@pytest.mark.parametrize(
    "other",
    [classif(truth=None), classif(prob=None, response=["cat"] * 20), classif(weights=np.ones(20))],
    ids=["truth", "prob", "weights"],
)
def test_join_refuses_predictions_that_hold_other_things(other):
    with pytest.raises(ConfigError, match="hold the same things"):
        join_predictions([classif(), other])


def test_join_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="at least one"):
        join_predictions([])


def test_arrays_cannot_be_written_and_the_callers_stay_writable():
    truth = np.array([1.0, 2.0])
    pred = PredictionRegr([0, 1], truth, [1.0, 2.0])
    with pytest.raises(ValueError, match="read-only"):
        pred.truth[0] = 3.0
    truth[0] = 5.0


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"truth": ["cat"]}, r"'truth' must have shape \(20,\), got \(1,\)"),
        ({"prob": np.ones((20, 2))}, r"'prob' must have shape \(20, 3\)"),
        ({"weights": np.ones(3)}, "'weights' must have shape"),
        ({"response": ["cat"] * 19}, "'response' must have shape"),
    ],
)
def test_arrays_of_another_size_are_refused(changes, match):
    with pytest.raises(ShapeError, match=match):
        classif(**changes)


def test_labels_that_are_no_class_are_refused():
    with pytest.raises(UnknownNameError, match="'horse'"):
        classif(response=["horse"] * 20)
    with pytest.raises(UnknownNameError, match="'horse'"):
        classif(positive="horse")


@pytest.mark.parametrize("weight", [-1.0, np.nan])
def test_weights_below_zero_or_missing_are_refused(weight):
    with pytest.raises(TaskError, match="weights"):
        classif(weights=np.full(20, weight))


def test_neither_response_nor_prob_is_refused():
    with pytest.raises(ConfigError, match="neither"):
        PredictionClassif([0], ["cat"], class_names=NAMES)


def test_repr_shows_the_head_and_the_number_of_rows():
    text = repr(classif())
    assert text.startswith("PredictionClassif of 20 rows (response, prob)")
    assert len(text.splitlines()) == 9
    assert text.endswith("...")
    assert not repr(PredictionRegr([0], [1.0], [2.0])).endswith("...")


def test_positive_defaults_to_the_last_class():
    pred = PredictionClassif([0, 1], ["a", "b"], ["a", "b"], class_names=("a", "b"))
    assert pred.positive_code == 1
    assert pred.score(FBeta()) == 1.0
