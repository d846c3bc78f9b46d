import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jdl.core.errors import JdlError, JdlWarning, TaskError
from jdl.data.task_classif import TaskClassif
from jdl.data.task_regr import TaskRegr


def people():
    return pd.DataFrame(
        {
            "age": pd.array([31, None, 40, 55, 23, 61], dtype="Int64"),
            "city": ["Rome", "Oslo", None, "Rome", "Oslo", "Rome"],
            "pay": np.array([1.5, 2.5, np.nan, 4.5, 5.5, 6.5], dtype=np.float32),
            "clinic": ["a", "a", "b", "b", "c", "c"],
            "sick": ["no", "yes", "no", "yes", "no", "no"],
        },
        index=[9, 8, 7, 6, 5, 4],
    )


def classif(**options):
    return TaskClassif(people(), "sick", **options)


@pytest.mark.parametrize(
    ("labels", "class_names", "codes"),
    [
        (["b", "a", "b"], ["a", "b"], [1, 0, 1]),
        (np.array([3, 1, 3], dtype=np.int8), [1, 3], [1, 0, 1]),
        ([True, False, True], [False, True], [1, 0, 1]),
        ([1.0, 0.0, 1.0], [0, 1], [1, 0, 1]),
        (pd.Categorical(["b", "a", "b"], ["z", "b", "a"]), ["a", "b"], [1, 0, 1]),
        (pd.array([10, 9, 10], dtype="Int64"), [9, 10], [1, 0, 1]),
        (pd.Series(["x", "y", "z"], dtype="string"), ["x", "y", "z"], [0, 1, 2]),
    ],
)
def test_labels_become_codes_of_sorted_classes(labels, class_names, codes):
    task = TaskClassif({"f": [1.0, 2.0, 3.0]}, labels)
    assert task.class_names == class_names
    assert [type(c) for c in task.class_names] == [type(c) for c in class_names]
    assert task.target_codes.tolist() == codes and task.target_codes.dtype == np.int32
    assert task.truth().tolist() == [class_names[code] for code in codes]
    assert task.truth([2, 0]).tolist() == [class_names[codes[2]], class_names[codes[0]]]


def test_positive_class():
    assert (classif().positive, classif(positive="no").positive) == ("yes", "no")
    assert TaskClassif({"f": [1, 2, 3]}, ["a", "b", "c"]).positive is None
    assert TaskClassif({"f": [1, 2]}, [0, 1], positive=np.int64(0)).positive == 0
    with pytest.raises(TaskError, match="needs a target with two classes, but 'target' has 3"):
        TaskClassif({"f": [1, 2, 3]}, ["a", "b", "c"], positive="a")
    with pytest.raises(TaskError, match=r"must be a class of 'sick', 'no' or 'yes', got 'yess'. Did you mean 'yes'"):
        classif(positive="yess")


def test_attributes():
    task = classif(group="clinic", strata="city", id="people")
    assert task.feature_names == ["age", "city", "pay"]
    assert task.feature_types == {"age": "int", "city": "category", "pay": "float"}
    assert task.levels() == {"city": ["Oslo", "Rome"]}
    assert (task.n_rows, task.n_features, task.id, task.target) == (6, 3, "people", "sick")
    assert (task.group, task.strata, task.task_type) == ("clinic", ["city"], "classif")
    assert task.missings().to_dict() == {"age": 1, "city": 1, "pay": 1, "sick": 0}
    assert {c.name for c in task.spec.columns if c.missing} == {"age", "city", "pay"}
    assert task.table.numeric.shape == (6, 2) and task.table is task.table


def test_roles_are_numbered():
    task = classif(group="clinic", strata=["city", "sick"])
    assert task.group_codes.tolist() == [0, 0, 1, 1, 2, 2]
    by_hand = people()[["city", "sick"]].astype(object).fillna("?").agg("/".join, axis=1)
    same = by_hand.to_numpy()[:, None] == by_hand.to_numpy()[None, :]
    np.testing.assert_array_equal(task.strata_codes[:, None] == task.strata_codes[None, :], same)
    assert sorted(set(task.strata_codes)) == list(range(len(set(by_hand))))
    assert classif().group_codes is None and classif().strata_codes is None


def test_id_of_a_file_is_its_name(tmp_path):
    people().to_csv(tmp_path / "people.csv", index=False)
    assert TaskClassif(tmp_path / "people.csv", "sick").id == "people"
    assert TaskClassif(str(tmp_path / "people.csv"), "sick", id="other").id == "other"


def test_to_pandas_gives_the_original_columns():
    expected = people().reset_index(drop=True)
    task = classif(group="clinic")
    pd.testing.assert_frame_equal(task.to_pandas(), expected, check_column_type=False)
    picked = expected.iloc[[4, 1]].reset_index(drop=True)
    pd.testing.assert_frame_equal(task.to_pandas([4, 1]), picked, check_column_type=False)


def test_to_pandas_gives_names_back_that_are_no_texts():
    frame = pd.DataFrame({0: [1.0, 2.0], 1: [3.0, 4.0], "y": ["a", "b"]})
    task = TaskClassif(frame, "y")
    assert task.feature_names == ["0", "1"]
    assert list(task.to_pandas().columns) == [0, 1, "y"]
    assert list(task.select(["1"]).to_pandas([1]).columns) == [1, "y"]
    pd.testing.assert_frame_equal(TaskClassif(task.to_pandas(), "y").to_pandas(), task.to_pandas())
    assert list(TaskClassif({0: [1.0, 2.0], "y": [1, 2]}, "y").filter([0]).to_pandas().columns) == [0, "y"]
    unnamed = TaskClassif(frame[[0, 1]], target=["a", "b"])
    assert list(unnamed.to_pandas().columns) == [0, 1, "target"]


def test_an_array_target_is_a_column_named_target_or_by_its_own_name():
    data = {"f": [1.0, 2.0]}
    assert TaskRegr(data, [1.0, 2.0]).target == "target"
    task = TaskRegr(data, pd.Series([1.0, 2.0], name="price", index=[5, 6]))
    assert task.target == "price" and task.to_pandas().columns.tolist() == ["f", "price"]


@pytest.mark.parametrize(
    ("data", "target", "message"),
    [
        (people(), "sik", "no target column 'sik'. Did you mean 'sick'"),
        (people(), people()["sick"], "array named 'sick', but the data has such a column too"),
        ({"f": [1, 2]}, ["a"], "each of the 2 rows, got 1"),
        ({"f": [1, 2]}, np.zeros((2, 1)), r"one axis, got shape \(2, 1\)"),
        ({"f": [1, 2]}, ["a", "a"], "at least two classes, got only 'a'"),
        ({"f": [1, 2, 3]}, ["a", "b", None], r"no missing values, got 1 in 3 rows[\s\S]*dropna\(subset=\['target'\]\)"),
        ({"f": [1, 2]}, [0.5, 1.5], r"got fractions such as [01]\.5[\s\S]*TaskRegr"),
        ({"f": [1, 2]}, pd.Series([1, "a"], dtype=object), "all texts or all numbers"),
        ({"f": [1, 2]}, pd.to_datetime(["2020-01-01", "2020-01-02"]), "datetime64"),
        ({"y": ["a", "b"]}, "y", "a feature column beside 'y'"),
        ({}, "y", "at least one row and one column"),
        ({"f": [], "y": []}, "y", "at least one row and one column, got 0 rows"),
        ("https://a.org/b.csv", "y", "local files only"),
    ],
)
def test_unusable_classification_data_raise(data, target, message):
    with pytest.raises(TaskError, match=message):
        TaskClassif(data, target)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (["a", "b"], r"must be numeric, got category values such as 'a'[\s\S]*TaskClassif"),
        ([True, False], "must be numeric, got bool"),
        ([1.0, np.inf], "must be finite, got infinite values in 1 of 2 rows"),
        ([1.0, np.nan], "no missing values, got 1 in 2 rows"),
    ],
)
def test_unusable_regression_targets_raise(target, message):
    with pytest.raises(TaskError, match=message):
        TaskRegr({"f": [1, 2]}, target)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group": "clinik"}, "no column 'clinik' for group. Did you mean 'clinic'"),
        ({"strata": ["city", "nope"]}, "no column 'nope' for strata"),
        ({"strata": 5}, "no column '5' for strata"),
        ({"group": ["clinic"]}, r"`group` must be the name of a column, got \['clinic'\]"),
        ({"group": "sick"}, "target 'sick' cannot be the group too"),
        ({"group": "city"}, "group column 'city' must have no missing values, got 1"),
        ({"types": {"sick": "int"}}, "'sick', which is no feature"),
    ],
)
def test_wrong_roles_raise(options, message):
    with pytest.raises(TaskError, match=message):
        classif(**options)


def test_regression_target_is_double_precision():
    task = TaskRegr({"f": [1, 2]}, pd.array([2**40 + 1, 5], dtype="Int64"))
    assert task.target_values.tolist() == [2**40 + 1, 5] and task.target_values.dtype == np.float64
    assert task.truth([1]).tolist() == [5.0] and task.task_type == "regr"


def test_filter_keeps_levels_and_classes():
    task = classif(group="clinic", strata="city").filter([4, 0, 0])
    assert task.class_names == ["no", "yes"] and task.levels() == {"city": ["Oslo", "Rome"]}
    assert task.truth().tolist() == ["no"] * 3 and task.group_codes.tolist() == [1, 0, 0]
    np.testing.assert_array_equal(task.table.numeric, [[23, 5.5], [31, 1.5], [31, 1.5]])
    assert not any(c.missing for c in task.spec.columns)
    assert classif().filter((people()["sick"] == "yes").to_numpy()).n_rows == 2
    with pytest.raises(TaskError, match="at least one row"):
        task.filter([])
    with pytest.raises(TaskError, match=r"\[0, 3\)"):
        task.filter([3])


@given(st.data())
def test_filter_equals_the_rows_of_the_whole(data):
    whole = classif()
    _ = data.draw(st.booleans()) and whole.target_codes
    rows = data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=8))
    part = whole.filter(rows)
    np.testing.assert_array_equal(part.target_codes, whole.target_codes[rows])
    np.testing.assert_array_equal(part.table.numeric, whole.table.take(rows).numeric)
    np.testing.assert_array_equal(part.table.codes, whole.table.take(rows).codes)


def test_select_takes_names_or_a_selector_and_keeps_the_order():
    task = classif(group="clinic", strata="city")
    assert task.select(["pay", "age"]).feature_names == ["age", "pay"]
    assert task.select("city").feature_names == ["city"]
    numeric = task.select(lambda spec: [c.name for c in spec.numeric])
    assert numeric.feature_names == ["age", "pay"]
    assert numeric.to_pandas().columns.tolist() == ["age", "city", "pay", "clinic", "sick"]
    assert numeric.strata_codes.tolist() == task.strata_codes.tolist()
    with pytest.raises(TaskError, match=r"'agee' is no feature. Did you mean 'age'"):
        task.select(["agee"])
    with pytest.raises(TaskError, match="'3' is no feature"):
        task.select(3)
    with pytest.raises(TaskError, match="at least one feature"):
        task.select(lambda spec: [])


def test_validation_rows_leave_the_task():
    task = classif()
    split = task.with_validation([1, 4])
    assert split.n_rows == 4 and split.validation.n_rows == 2 and task.validation is None
    pd.testing.assert_frame_equal(split.validation.to_pandas(), task.to_pandas([1, 4]))
    pd.testing.assert_frame_equal(split.to_pandas(), task.to_pandas([0, 2, 3, 5]))
    assert split.target_codes.tolist() == [0, 0, 1, 0]
    assert split.select("age").validation.feature_names == ["age"]
    assert split.filter([0]).validation.n_rows == 2
    for rows in ([], range(6)):
        with pytest.raises(TaskError, match="rows on both sides"):
            task.with_validation(rows)


def test_a_validation_task_is_coded_as_the_task():
    task = classif(positive="no")
    other = TaskClassif(people().iloc[[1, 0]].replace({"Rome": "Paris"}), "sick")
    validation = task.with_validation(other).validation
    assert validation.levels() == task.levels() and validation.positive == "no"
    assert validation.table.codes.tolist() == [[1, 1], [0, 1]]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (TaskClassif(people(), "clinic"), "with target 'sick', got a TaskClassif with 'clinic'"),
        (TaskRegr(people().drop(columns="sick").assign(sick=1.0), "sick"), "got a TaskRegr"),
        (TaskClassif(people().drop(columns="age"), "sick"), "the same features, but .*'age'"),
        (TaskClassif(people().assign(age="x"), "sick"), "'age' must be int, as in the task, got category"),
        (
            TaskClassif(people().replace({"sick": {"yes": "maybe"}}), "sick"),
            r"classes \['no', 'yes'\], got \['maybe'\]",
        ),
    ],
)
def test_validation_tasks_that_differ_raise(other, message):
    with pytest.raises(TaskError, match=message):
        classif().with_validation(other)


def test_tasks_never_change():
    data = people()
    task = TaskClassif(data, "sick")
    with pytest.raises(JdlError, match="'positive' cannot be set"):
        task.positive = "no"
    data.loc[9, "pay"] = 100.0
    given = task.to_pandas()
    given.loc[0, "pay"] = 200.0
    task.class_names.append("maybe")
    task.feature_names.clear()
    assert task.table.numeric[0, 1] == 1.5 and task.class_names == ["no", "yes"] and task.n_features == 4
    pd.testing.assert_frame_equal(task.to_pandas(), TaskClassif(people(), "sick").to_pandas())


def test_tasks_can_be_pickled():
    task = classif(group="clinic")
    again = pickle.loads(pickle.dumps(task))
    pd.testing.assert_frame_equal(again.to_pandas(), task.to_pandas())
    assert again.schema == task.schema and repr(again) == repr(task)


def test_repr_tells_what_matters():
    text = repr(classif(group="clinic", strata=["sick"], id="people", types={"city": "ordered"}).with_validation([0]))
    for part in ["'people': 5 rows, 3 features", "1 float, 1 int, 1 ordered", "sick: no 3, yes 2 (positive: yes)"]:
        assert part in text
    for part in ["group clinic; strata sick", "age 1, city 1, pay 1", "validation 1 row"]:
        assert part in text
    many = TaskClassif({"f": range(26)}, list("abcdefghijklmnopqrstuvwxyz"))
    assert "h 1, ... (26 classes)" in repr(many) and "i 1" not in repr(many)


def test_encoding_keeps_memory_at_one_copy():
    import tracemalloc

    n, p = 20_000, 50
    task = TaskClassif(np.zeros((n, p), dtype=np.float32), np.arange(n) % 2)
    tracemalloc.start()
    table = task.table
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.1 * table.numeric.nbytes


def test_a_target_whose_index_differs_from_the_frame_s_is_refused():
    frame = people()
    features = frame.drop(columns="sick")
    for target in (frame["sick"].sort_values(), frame["sick"].reset_index(drop=True)):
        with pytest.raises(TaskError, match=r"indexes of data and target differ[\s\S]*to_numpy\(\)[\s\S]*reindex"):
            TaskClassif(features, target)
    task = TaskClassif(features, frame["sick"].sort_values().reindex(frame.index))
    assert task.truth().tolist() == frame["sick"].tolist()
    with pytest.raises(TaskError, match="index of a mask"):
        task.filter(frame["city"].notna())
    with pytest.raises(TaskError, match="index of a mask"):
        task.with_validation(frame["city"].notna())


@pytest.mark.parametrize("values", [people()["clinic"], people()["clinic"].to_numpy()], ids=["series", "array"])
def test_group_and_strata_are_names_of_columns(values):
    for role in ("group", "strata"):
        with pytest.raises(
            TaskError, match=rf"`{role}` must be the name of a column, got \w+ of shape \(6,\)"
        ) as caught:
            classif(**{role: values})
        assert f"Hint: make it a column of the data, such as frame['{role}'] = values" in str(caught.value)
        assert len(str(caught.value)) < 250
    with pytest.raises(TaskError, match="`strata` must be the name of a column"):
        classif(strata=["city", values])
    numbered = pd.DataFrame({0: [1.0, 2.0], 1: [3, 3], "y": ["a", "b"]})
    assert TaskClassif(numbered, "y", group=1).group == "1"  # pyright: ignore[reportArgumentType]


def test_arrays_that_a_task_hands_out_cannot_be_changed():
    task = classif(group="clinic", strata="city")
    values = TaskRegr(people()[["age", "pay"]].dropna(), "pay")
    for t in (task, task.filter([0, 1, 3]), task.select("age"), task.with_validation([0, 1])):
        for name in ("target_codes", "group_codes", "strata_codes"):
            with pytest.raises(ValueError, match="read-only"):
                getattr(t, name)[:] = 0
        with pytest.raises(ValueError, match="read-only"):
            t.table.numeric[:] = 0
    for t in (values, values.filter([0, 1])):
        with pytest.raises(ValueError, match="read-only"):
            t.target_values[:] = 0


def test_a_list_of_one_name_is_that_name():
    assert TaskClassif(people(), ["sick"]).target == "sick"  # pyright: ignore[reportArgumentType]
    assert TaskClassif({"a": [1.0, 2.0], "b": ["u", "v"]}, ("b",)).target == "b"


def test_the_positive_class_as_text_of_a_number_is_explained():
    with pytest.raises(TaskError, match=r"0 or 1, got '1'. Hint: positive=1\."):
        TaskClassif({"f": [1, 2]}, [0, 1], positive="1")


def test_a_bool_target_of_a_regression_is_shown_plainly():
    with pytest.raises(TaskError, match="got bool values such as True"):
        TaskRegr({"f": [1.0, 2.0]}, [True, False])


def test_a_selector_that_fails_is_named():
    with pytest.raises(
        TaskError, match=r"function given to select raised AttributeError: [\s\S]*Hint: it gets a TableSpec"
    ):
        classif().select(lambda spec: [c.nome for c in spec.columns])
    with pytest.raises(TaskError, match="'nobody' is no feature"):
        classif().select(lambda spec: ["nobody"])


@pytest.mark.parametrize("target", [[1e300, -1e300, 1e300], [1.7e308, 1.7e308, 1.7e308]])
def test_targets_beyond_the_arithmetic_are_refused(target):
    with pytest.raises(
        TaskError, match=r"finite mean and standard deviation in float64, got values up to 1[\s\S]*Hint"
    ):
        TaskRegr({"f": [1.0, 2.0, 3.0]}, target)
    assert TaskRegr({"f": [1.0, 2.0, 3.0]}, [1e100, -1e100, 0.0]).n_rows == 3


def test_targets_whose_differences_are_lost_bring_a_warning():
    with pytest.warns(JdlWarning, match=rf"target 'target' lies between {2**60} and {2**60 + 2};[\s\S]*Hint: subtract"):
        TaskRegr({"f": [1.0, 2.0, 3.0]}, [2**60, 2**60 + 1, 2**60 + 2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kept in ([2**60, 2**61, 2**62], [5.0, 5.0, 5.0], [1.7e9, 1.7e9 + 1, 1.7e9 + 2]):
            TaskRegr({"f": [1.0, 2.0, 3.0]}, kept)
