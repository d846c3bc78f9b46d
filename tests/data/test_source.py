import warnings
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from jdl.core.errors import JdlWarning, TaskError
from jdl.data.source import as_frame


def frame_of(data):
    return as_frame(data, who="demo")


def test_all_kinds_of_source_give_equal_frames(tmp_path):
    expected = pd.DataFrame({"x0": [1.5, 2.5], "x1": [3.0, 4.0]})
    expected.to_csv(tmp_path / "a.csv", index=False)
    columns = {"x0": [1.5, 2.5], "x1": np.array([3.0, 4.0])}
    sources = [expected, columns, expected.to_numpy(), jnp.asarray(expected.to_numpy())]
    for source in [*sources, tmp_path / "a.csv", str(tmp_path / "a.csv")]:
        pd.testing.assert_frame_equal(frame_of(source), expected, check_dtype=False, check_column_type=False)


def test_index_is_replaced():
    frame = frame_of(pd.DataFrame({"a": [1, 2]}, index=[5, 3]))
    assert frame.index.tolist() == [0, 1]


def test_series_in_a_dict_go_by_position():
    frame = frame_of({"a": pd.Series([1, 2], index=[1, 0]), "b": [10, 20]})
    assert frame.to_numpy().tolist() == [[1, 10], [2, 20]]


def test_integer_names_become_texts():
    assert frame_of(pd.DataFrame({0: [1], 1: [2]})).columns.tolist() == ["0", "1"]


def test_object_array_gets_column_types():
    frame = frame_of(np.array([[1, "a"], [2, "b"]], dtype=object))
    assert frame.dtypes["x0"] == np.int64


@pytest.mark.parametrize("kind", ["frame", "dict", "array", "series"])
def test_later_changes_of_the_source_do_not_reach_the_frame(kind):
    array = np.array([[1.0, 2.0], [3.0, 4.0]])
    column = array[:, 0].copy()
    sources = {
        "frame": pd.DataFrame(array),
        "dict": {"a": column},
        "array": array,
        "series": {"a": pd.Series(column)},
    }
    source = sources[kind]
    frame = frame_of(source)
    if kind == "frame":
        source.iloc[0, 0] = 99.0
        source.columns = ["p", "q"]
    elif kind == "series":
        source["a"].iloc[0] = 99.0
    array[0, 0] = column[0] = 99.0
    assert frame.iloc[0, 0] == 1.0
    assert frame.columns[0] in ("0", "a", "x0")


def test_the_source_is_not_changed():
    source = pd.DataFrame({0: [1, 2]}, index=[4, 5])
    frame_of(source)
    pd.testing.assert_frame_equal(source, pd.DataFrame({0: [1, 2]}, index=[4, 5]))


@pytest.mark.parametrize("url", ["https://a.org/b.csv", "s3://b/c.csv", "file:///c.csv", Path("http://a.org/b.csv")])
def test_url_raises(url):
    with pytest.raises(TaskError, match=r"local files only.*\n.*download the file first"):
        frame_of(url)


def test_missing_file_and_folder_raise(tmp_path):
    with pytest.raises(TaskError, match="does not exist"):
        frame_of(tmp_path / "none.csv")
    with pytest.raises(TaskError, match="is a folder"):
        frame_of(tmp_path)


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n1,2,3,4\n", b"\xff\xfe\x00\x01\n"])
def test_files_that_are_no_csv_raise(tmp_path, content):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(TaskError, match="cannot be read as a CSV file") as caught:
        frame_of(tmp_path / "a.csv")
    assert caught.value.__cause__ is not None


def test_csv_with_equal_names_raises(tmp_path):
    (tmp_path / "a.csv").write_text("a,b,a\n1,2,3\n")
    with pytest.raises(TaskError, match="holds 'a' more than once"):
        frame_of(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"a": [1, 2], "b": [1]}, "equal lengths, got 'a' 2, 'b' 1"),
        ({"a": 1}, r"column 'a' must have one axis.*\n.*\[value\]"),
        ({"a": "text"}, "must have one axis"),
        ({"a": {1, 2}}, "got set"),
        ({"a": np.zeros((2, 2))}, r"shape \(2, 2\)"),
        ({1: [1], "1": [2]}, "'1' more than once"),
        (np.zeros((2, 2, 2)), r"two axes \(row, feature\), got shape \(2, 2, 2\)"),
        (np.zeros(2), r"reshape\(-1, 1\)"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "'a' more than once"),
        (pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", 1), ("a", 2)])), "2 levels"),
        (None, "must be a pandas DataFrame, .* got NoneType"),
        ([[1, 2]], "got list"),
    ],
)
def test_other_data_raise(data, message):
    with pytest.raises(TaskError, match=message):
        frame_of(data)


@pytest.mark.parametrize(("separator", "shown"), [(";", "';'"), ("\t", r"'\\t'"), ("|", r"'\|'")])
def test_other_separators_are_named(tmp_path, separator, shown):
    path = tmp_path / "a.csv"
    pd.DataFrame({"a": [1.5, 2.5], "b": [1, 2]}).to_csv(path, index=False, sep=separator, decimal=",")
    with pytest.raises(TaskError, match=rf"looks like several[\s\S]*Hint: hand in pandas.read_csv\(.*, sep={shown}\)"):
        frame_of(path)


def test_a_saved_index_brings_a_warning(tmp_path):
    path = tmp_path / "a.csv"
    frame = pd.DataFrame({"a": [1.5, 2.5, 2.0]})
    frame.to_csv(path)
    with pytest.warns(JdlWarning, match=r"'.*a.csv' has no name[\s\S]*'Unnamed: 0'[\s\S]*index_col=0\)"):
        frame_of(path)
    pd.testing.assert_frame_equal(frame_of(pd.read_csv(path, index_col=0)), frame, check_column_type=False)


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        (["?", *range(29)], r"most are numbers, others such as '\?'.\nHint: .*na_values='\?'\)"),
        ([f"2020-01-{i + 1:02}" for i in range(30)], r"dates such as '2020-01-01'.\nHint: pandas.to_datetime"),
        ([f"2020-01-{i + 1:02} 10:00" for i in range(30)], "dates such as"),
        ([f"person {i}" for i in range(30)], r"almost every row has its own, such as 'person 0'.\nHint"),
        (["u", "v", "3"] * 10, None),
        (["u", "v", None] * 10, None),
        ([None] * 30, None),
        ([f"person {i}" for i in range(10)], None),
    ],
    ids=["numbers", "dates", "times", "names", "categories", "missing", "nothing", "few rows"],
)
def test_texts_of_a_file_that_are_hardly_categories_bring_a_warning(tmp_path, values, parts):
    path = tmp_path / "a.csv"
    pd.DataFrame({"a": np.arange(len(values)) / 2, "c": values}).to_csv(path, index=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        frame_of(path)
    assert len(caught) == (parts is not None)
    if parts is not None:
        with pytest.warns(JdlWarning, match=rf"column 'c' of '.*a.csv' [\s\S]*{parts}"):
            frame_of(path)
