import decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jdl.core.errors import JdlWarning, TaskError, UnknownNameError
from jdl.data.schema import Schema, check_finite


def infer(values, given=None, dtype=None):
    frame = pd.DataFrame({"c": pd.Series(values, dtype=dtype)})
    return Schema.infer(frame, types={"c": given} if given else None).columns[0]


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([True, False], None, "bool"),
        ([True, None], "boolean", "bool"),
        ([True, None], object, "bool"),
        ([1, 2], "int8", "int"),
        ([1, None], "Int64", "int"),
        ([1, None], object, "int"),
        ([1.5, None], None, "float"),
        ([1.5, None], "Float32", "float"),
        ([decimal.Decimal("1.5")], object, "float"),
        ([None, None], object, "float"),
        ([None, None], "string", "float"),
        ([], object, "float"),
        (["b", "a"], None, "category"),
        (["b", None], "string", "category"),
        (["b", 1, None], object, "category"),
        (["b", "a"], "category", "category"),
        (["b", "a"], pd.CategoricalDtype(["b", "a"], ordered=True), "ordered"),
    ],
)
def test_types_are_inferred(values, dtype, expected):
    assert infer(values, dtype=dtype).type == expected


@pytest.mark.parametrize(
    ("values", "dtype", "given", "expected"),
    [
        (["b", "a", None, "b"], None, None, ("a", "b")),
        (["b", "a"], pd.CategoricalDtype(["c", "b", "a"]), None, ("a", "b", "c")),
        (["b", "a"], pd.CategoricalDtype(["c", "b", "a"], ordered=True), None, ("c", "b", "a")),
        (["b", "a"], None, "ordered", ("a", "b")),
        (["b", "a"], pd.CategoricalDtype(["b", "a"]), "ordered", ("b", "a")),
        ([10, 9, 10], None, "category", (9, 10)),
        ([2.0, None, 1.0], None, "category", (1, 2)),
        ([True, False], None, "category", (False, True)),
        (["b", 2, "a", 1], object, None, (1, 2, "a", "b")),
    ],
)
def test_levels(values, dtype, given, expected):
    levels = infer(values, given, dtype).levels
    assert levels == expected
    assert [type(v) for v in levels] == [type(v) for v in expected]


@pytest.mark.parametrize(
    ("values", "kind", "hint"),
    [
        (pd.to_datetime(["2020-01-01"]), "datetime64", "dt.year"),
        (pd.to_timedelta([1]), "timedelta64", "total_seconds"),
        ([1 + 2j], "complex", "real and imaginary"),
        (pd.Series([[1], [2]]), "object", "numbers or texts"),
        (pd.Series([[1], 2, "a"]), "object", "numbers or texts"),
        (pd.Series([b"a"]), "bytes", "decode"),
        (pd.Series([pd.Timestamp("2020-01-01").date()], dtype=object), "date", "dt.year"),
    ],
)
def test_unknown_types_raise_with_the_column_and_a_way_out(values, kind, hint):
    with pytest.raises(TaskError, match=rf"column 'c' is of type .*{kind}[\s\S]*Hint: .*{hint}"):
        Schema.infer(pd.DataFrame({"c": values}))


def test_types_that_do_not_fit_raise():
    with pytest.raises(TaskError, match=r"'c' cannot be taken as float: it is category[\s\S]*to_numeric"):
        infer(["a", "b"], "float")
    with pytest.raises(TaskError, match=r"'c' cannot be taken as int: it holds 1\.5"):
        infer([1.5, 2.0], "int")
    with pytest.raises(TaskError, match="'c' cannot be taken as bool: it holds 2"):
        infer([0, 2], "bool")
    assert infer([0.0, 1.0, None], "bool").type == "bool"
    with pytest.raises(UnknownNameError, match=r"'categorical'.*Did you mean 'category'"):
        infer(["a"], "categorical")
    with pytest.raises(TaskError, match=r"'agee', which is no feature column. Did you mean 'age'"):
        Schema.infer(pd.DataFrame({"age": [1]}), types={"agee": "int"})
    with pytest.raises(TaskError, match="must be a dict from column to type"):
        Schema.infer(pd.DataFrame({"age": [1]}), types=["age"])


def mixed_frame():
    return pd.DataFrame(
        {
            "f": [1.5, np.nan, 3.0],
            "c": ["y", "x", None],
            "i": pd.array([1, None, 3], dtype="Int64"),
            "b": [True, False, True],
            "o": pd.Categorical(["hi", "lo", "hi"], ["lo", "hi"], ordered=True),
        }
    )


def test_encode_fills_both_blocks_in_order():
    spec, table = Schema.infer(mixed_frame()).encode(mixed_frame(), who="t")
    assert [c.name for c in spec.numeric] == ["f", "i", "b"]
    assert [c.name for c in spec.categorical] == ["c", "o"]
    np.testing.assert_array_equal(table.numeric, [[1.5, 1, 1], [np.nan, np.nan, 0], [3, 3, 1]])
    np.testing.assert_array_equal(table.codes, [[2, 2], [1, 1], [0, 2]])
    assert table.numeric.dtype == np.float32 and table.numeric.flags.c_contiguous
    assert table.codes.dtype == np.int32 and table.codes.flags.c_contiguous
    assert {c.name for c in spec.columns if c.missing} == {"f", "i", "c"}


def test_missing_flags_speak_of_the_rows_at_hand():
    schema = Schema.infer(mixed_frame())
    spec, _ = schema.encode(mixed_frame().iloc[:1], who="t")
    assert not any(c.missing for c in spec.columns)
    assert schema.spec == spec


def test_numeric_types_stand_for_one_another():
    schema = Schema.infer(pd.DataFrame({"i": [1, 2], "b": [True, False], "f": [0.5, 1.5]}))
    _, table = schema.encode({"i": [True, None], "b": [1.0, 0.0], "f": [3, 4]}, who="t")
    np.testing.assert_array_equal(table.numeric, [[1, 1, 3], [np.nan, 0, 4]])


@pytest.mark.parametrize(
    ("fitted", "later", "expected"),
    [
        (pd.Series([1, 2, 3]), pd.Series([2.0, np.nan, 9.0]), [2, 0, 0]),
        (pd.Series([1.0, 2.0, np.nan]), pd.Series([2, 1]), [2, 1]),
        (pd.Series([True, False]), pd.Series([True, None], dtype=object), [2, 0]),
        (pd.Series([True, False]), pd.Series([1, 0]), [2, 1]),
        (pd.Series(["a", "b"]), pd.Series(["b", "z", None]), [2, 0, 0]),
        (pd.Series(["a", "b"]), pd.Series(["b", "z"], dtype="category"), [2, 0]),
        (pd.Series(["a", "b"]), pd.Series([np.nan, np.nan]), [0, 0]),
        (pd.Series(["a", "b"], dtype="string"), pd.Series(["b"], dtype=object), [2]),
        (pd.Series([1, 2]), pd.Series([2, 1], dtype="category"), [2, 1]),
    ],
)
def test_levels_are_matched_by_value(fitted, later, expected):
    schema = Schema.infer(pd.DataFrame({"c": fitted}), types={"c": "category"})
    _, table = schema.encode(pd.DataFrame({"c": later}), who="t")
    assert table.codes[:, 0].tolist() == expected


def test_intervals_of_pandas_cut_are_levels():
    frame = pd.DataFrame({"c": pd.cut([1.0, 5.0, 9.0], [0, 4, 8, 12])})
    schema = Schema.infer(frame)
    assert schema.columns[0].levels == ("(0, 4]", "(4, 8]", "(8, 12]")
    assert schema.encode(frame, who="t")[1].codes[:, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("fitted", "later", "message"),
    [
        ([1.0, 2.0], ["a", "b"], "'c' must be float, as in the task, got category"),
        (["a", "b"], [1, 2], "'c' must be category with levels such as 'a', as in the task, got int"),
        (["a", "b"], [True, False], "got bool"),
        (["a", "b"], pd.to_datetime(["2020-01-01", "2020-01-02"]), "column 'c' is of type datetime64"),
        ([1.0, 2.0], pd.Categorical([1, 2]), "must be float, .* got category"),
    ],
)
def test_a_changed_type_names_the_column_and_both_types(fitted, later, message):
    schema = Schema.infer(pd.DataFrame({"c": fitted}))
    with pytest.raises(TaskError, match=message):
        schema.encode(pd.DataFrame({"c": later}), who="t")


def test_absent_columns_are_listed_and_extra_ones_ignored():
    schema = Schema.infer(mixed_frame())
    with pytest.raises(TaskError, match=r"t: .* all 5 feature columns, but 2 are absent: 'c', 'i'\."):
        schema.encode(mixed_frame().drop(columns=["c", "i"]), who="t")
    whole = schema.encode(mixed_frame(), who="t")[1]
    shuffled = schema.encode(mixed_frame()[["o", "i", "c", "b", "f"]].assign(z=1), who="t")[1]
    np.testing.assert_array_equal(whole.numeric, shuffled.numeric)
    np.testing.assert_array_equal(whole.codes, shuffled.codes)


def test_all_missing_columns_are_no_change_of_type():
    schema = Schema.infer(mixed_frame())
    nothing = pd.DataFrame({name: pd.Series([None, None], dtype=object) for name in schema.names})
    spec, table = schema.encode(nothing, who="t")
    assert np.isnan(table.numeric).all() and not table.codes.any()
    assert all(c.missing for c in spec.columns)


def test_no_rows_are_encoded_as_none():
    spec, table = Schema.infer(mixed_frame()).encode(mixed_frame().iloc[:0], who="t")
    assert table.numeric.shape == (0, 3) and table.codes.shape == (0, 2)
    assert not any(c.missing for c in spec.columns)


def test_schemas_are_values():
    one, other = Schema.infer(mixed_frame()), Schema.infer(mixed_frame().iloc[::-1])
    assert one == other and hash(one) == hash(other)
    assert one.select(["o", "f"]).names == ("f", "o")


def test_infinities_are_found_only_in_the_given_rows():
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [1.0, -np.inf, np.nan], "h": [1e300, 1.0, 1.0]})
    spec, table = Schema.infer(frame).encode(frame, who="t")
    check_finite(spec, table, rows=[2], who="t")
    check_finite(spec, table, rows=[False, False, True], who="t")
    with pytest.raises(TaskError, match=r"t: column 'b' holds infinite values \(1 row\)"):
        check_finite(spec, table, rows=[1, 2], who="t")
    with pytest.raises(TaskError, match="columns 'b', 'h' hold infinite values"):
        check_finite(spec, table, who="t")


def test_infinities_are_found_in_every_chunk_of_rows():
    values = np.zeros(40_000)
    values[39_999] = np.inf
    spec, table = Schema.infer(pd.DataFrame({"a": values})).encode({"a": values}, who="t")
    with pytest.raises(TaskError, match="column 'a'"):
        check_finite(spec, table, who="t")
    with pytest.raises(TaskError, match="column 'a'"):
        check_finite(spec, table, rows=np.arange(39_999, -1, -1), who="t")


@given(st.lists(st.one_of(st.none(), st.text(max_size=3)), min_size=1, max_size=20))
def test_codes_lead_back_to_the_values(values):
    frame = pd.DataFrame({"c": pd.Series(values, dtype=object)})
    schema = Schema.infer(frame, types={"c": "category"})
    _, table = schema.encode(frame, who="t")
    levels = (None, *schema.columns[0].levels)
    assert [levels[code] for code in table.codes[:, 0]] == values


def test_an_unknown_type_comes_with_all_types():
    with pytest.raises(
        UnknownNameError, match=r"'foo' of demo, types\['a'\].*Valid: bool, int, float, category, ordered"
    ):
        Schema.infer(pd.DataFrame({"a": [1.0]}), types={"a": "foo"}, who="demo")


def test_the_warning_of_lost_digits_shows_what_differs():
    values = 1e9 + np.linspace(0, 1, 30)
    with pytest.warns(JdlWarning, match=r"between 1000000000 and 1000000001;.*\n.*frame\['c'\] - 1000000000\."):
        Schema.infer(pd.DataFrame({"c": values})).encode({"c": values}, who="demo")


def test_bools_as_texts_come_with_the_comparison_that_makes_bools_of_them():
    schema = Schema.infer(pd.DataFrame({"c": [True, False]}))
    with pytest.raises(TaskError, match=r"must be bool[\s\S]*got category[\s\S]*frame\['c'\] == 'True'"):
        schema.encode({"c": ["True", "False"]}, who="demo")
