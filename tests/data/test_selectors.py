import pytest
from hypothesis import given
from hypothesis import strategies as st

from jdl.core.errors import ConfigError, ConfigTypeError, UnknownNameError
from jdl.data import selectors
from jdl.data.selectors import as_selector
from jdl.data.table import Column, TableSpec

SPEC = TableSpec.of(
    [
        Column("color", "category", ("blue", "red", "white"), missing=True),
        Column("age", "int"),
        Column("size", "ordered", ("s", "l")),
        Column("height", "float", missing=True),
        Column("smokes", "bool"),
    ]
)
LEAVES = st.one_of(
    st.lists(st.sampled_from(SPEC.names), max_size=3).map(lambda names: selectors.name(*names)),
    st.lists(st.sampled_from(["int", "float", "category"]), max_size=2).map(lambda t: selectors.type(*t)),
    st.sampled_from([selectors.all(), selectors.none(), selectors.missing(), selectors.grep("e")]),
)


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        (selectors.type("float", "int"), ("age", "height")),
        (selectors.type("ordered"), ("size",)),
        (selectors.name("size", "age"), ("age", "size")),
        (selectors.grep("^s"), ("smokes", "size")),
        (selectors.all(), ("age", "height", "smokes", "color", "size")),
        (selectors.none(), ()),
        (selectors.missing(), ("height", "color")),
        (selectors.cardinality_greater_than(2), ("color",)),
        (~selectors.missing(), ("age", "smokes", "size")),
        (selectors.type("int") | "color", ("age", "color")),
        (selectors.grep("^s") & selectors.type("bool"), ("smokes",)),
        (selectors.union("age", "size", selectors.type("bool")), ("age", "smokes", "size")),
        (selectors.intersect(selectors.all(), "age"), ("age",)),
        (selectors.invert("age") & selectors.type("int", "bool"), ("smokes",)),
    ],
)
def test_chooses_columns_in_the_order_of_the_spec(selector, expected):
    assert selector(SPEC) == expected


@given(LEAVES, LEAVES)
def test_operators_are_those_of_sets(a, b):
    chosen_a, chosen_b, everything = set(a(SPEC)), set(b(SPEC)), set(SPEC.names)
    assert set((a | b)(SPEC)) == chosen_a | chosen_b
    assert set((a & b)(SPEC)) == chosen_a & chosen_b
    assert set((~a)(SPEC)) == everything - chosen_a
    assert (~(a | b))(SPEC) == (~a & ~b)(SPEC)


@given(LEAVES, LEAVES)
def test_is_a_value_whose_text_makes_it_again(a, b):
    selector = ~a | b
    again = eval(repr(selector), dict(vars(selectors)))
    assert again == selector
    assert hash(again) == hash(selector)


def test_names_and_lists_of_names_stand_for_selectors():
    assert as_selector("age") == selectors.name("age")
    assert as_selector(["age", "size"]) == selectors.name("age", "size")
    assert as_selector(selectors.none()) == selectors.none()


def test_unknown_column_is_an_error_with_the_nearest_name():
    with pytest.raises(UnknownNameError, match=r"'hight'.*Did you mean 'height'"):
        selectors.name("hight")(SPEC)


def test_unknown_type_is_an_error():
    with pytest.raises(UnknownNameError, match="Did you mean 'float'"):
        selectors.type("flaot")


def test_bad_pattern_is_an_error():
    with pytest.raises(ConfigError, match=r"regular expression, got '\('"):
        selectors.grep("(")


@pytest.mark.parametrize("value", [3, None, [1, 2]])
def test_anything_else_is_no_selector(value):
    with pytest.raises(ConfigTypeError, match="selector"):
        as_selector(value)


def test_an_unknown_type_comes_with_all_types_and_the_name_that_was_typed():
    with pytest.raises(
        UnknownNameError, match=r"'foo' of selectors.type\(\).*Valid: bool, int, float, category, ordered"
    ):
        selectors.type("foo")
