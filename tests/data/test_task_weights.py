"""The role of weights: what a column must be, and where tasks keep it."""

import numpy as np
import pandas as pd
import pytest

import jdl
from jdl.core.errors import TaskError

N = 12


def frame(**columns):
    x = np.arange(N, dtype=float)
    base = {"x": x, "z": x[::-1], "w": x + 0.5, "g": np.repeat(["a", "b", "c"], 4), "y": np.tile(["n", "p"], N // 2)}
    return pd.DataFrame(base | columns)


def task(**options):
    return jdl.TaskClassif(frame(), "y", **{"weights": "w", **options})


def test_the_column_is_a_role_and_no_feature():
    made = task(group="g")
    assert made.weights == "w" and "w" not in made.feature_names
    np.testing.assert_array_equal(made.row_weights, np.arange(N) + 0.5)
    assert "group g; weights w" in repr(made)
    assert not made.row_weights.flags.writeable
    regr = jdl.TaskRegr(frame().drop(columns=["y", "g"]), "x", weights="w")
    assert regr.weights == "w" and regr.feature_names == ["z"]


def test_without_the_role_there_are_none():
    made = task(weights=None)
    assert made.weights is None and made.row_weights is None and made.weights_of([1, 2]) is None
    assert "w" in made.feature_names


def test_derived_tasks_keep_it():
    made = task()
    np.testing.assert_array_equal(made.filter([3, 1, 1]).row_weights, [3.5, 1.5, 1.5])
    chosen = made.select(["x"])
    np.testing.assert_array_equal(chosen.row_weights, made.row_weights)
    assert list(chosen.to_pandas().columns) == ["x", "w", "y"]
    parted = made.with_validation([0, 5])
    np.testing.assert_array_equal(parted.validation.row_weights, [0.5, 5.5])
    assert parted.n_rows == N - 2 and 0.5 not in parted.row_weights
    other = made.with_validation(jdl.TaskClassif(frame(), "y", weights="w"))
    assert other.validation.weights == "w"
    np.testing.assert_array_equal(made.weights_of([2, 0]), [2.5, 0.5])
    train, test = jdl.partition(made, ratio=0.5, key=0)
    assert len(train) + len(test) == N


def test_a_validation_task_takes_the_role_from_the_task():
    plain = jdl.TaskClassif(frame().drop(columns="g"), "y", types=None, weights="w")
    same_columns = jdl.TaskClassif(frame().drop(columns=["g", "w"]).assign(), "y")
    with pytest.raises(TaskError, match="weights 'w' too"):
        plain.with_validation(same_columns)
    assert same_columns.with_validation(plain).validation.weights is None


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1.0] * (N - 1) + [np.nan], "got nan in row 11"),
        ([1.0] * (N - 1) + [np.inf], "got inf in row 11"),
        ([-1.0] * N, "got -1 in row 0 and others in 12 rows"),
        ([0] * N, "must not all be 0"),
        (["heavy"] * N, "must be numbers"),
        ([None] * N, "must be numbers"),
        (pd.array([1, None] * (N // 2), dtype="Int64"), "got nan in row 1"),
    ],
)
def test_weights_that_are_none_are_refused(values, said):
    with pytest.raises(TaskError, match=said) as caught:
        jdl.TaskClassif(frame(w=values), "y", weights="w")
    assert "'w'" in str(caught.value) and "Hint" in str(caught.value)


@pytest.mark.parametrize("values", [[True, False] * (N // 2), [2] * N, pd.array([1, 2] * (N // 2), dtype="Int64")])
def test_bools_and_integers_are_weights(values):
    made = jdl.TaskClassif(frame(w=values), "y", weights="w")
    np.testing.assert_array_equal(made.row_weights, np.asarray(values, float))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"weights": "v"}, "no column 'v' for weights"),
        ({"weights": "y"}, "target and weights"),
        ({"weights": "g", "group": "g"}, "group and weights"),
        ({"strata": ["y", "w"]}, "strata and weights"),
        ({"weights": np.ones(N)}, "name of a column"),
        ({"types": {"w": "float"}}, "no feature column"),
    ],
)
def test_a_column_has_one_role(options, said):
    with pytest.raises(TaskError, match=said):
        task(**options)
