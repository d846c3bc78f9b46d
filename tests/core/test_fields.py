import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jdl.core.errors import ConfigError, ConfigTypeError, UnknownNameError
from jdl.core.fields import REQUIRED, Field, check_values, with_defaults


def check(field, value):
    return field.check("owner", "name", value)


@pytest.mark.parametrize(
    ("kind", "given", "kept"),
    [
        ("int", 3, 3),
        ("int", 3.0, 3),
        ("int", np.int64(3), 3),
        ("float", 3, 3.0),
        ("float", np.float32(0.5), 0.5),
        ("bool", True, True),
        ("bool", np.bool_(False), False),
        ("str", "a", "a"),
        ("ints", [1, 2.0], (1, 2)),
        ("ints", 5, (5,)),
        ("ints", (), ()),
        ("ints", np.array([4, 5]), (4, 5)),
        ("floats", 0.5, (0.5,)),
        ("floats", [1, 2], (1.0, 2.0)),
    ],
)
def test_values_are_kept_in_one_form(kind, given, kept):
    value = check(Field(kind), given)
    assert value == kept
    assert type(value) is type(kept)
    if isinstance(kept, tuple):
        assert [type(v) for v in value] == [type(v) for v in kept]


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("int", 1.5, "an integer"),
        ("int", True, "an integer"),
        ("int", "1", "an integer"),
        ("int", None, "an integer"),
        ("int", math.inf, "an integer"),
        ("float", math.nan, "a number"),
        ("float", False, "a number"),
        ("float", "0.1", "a number"),
        ("float", 1j, "a number"),
        ("bool", 1, "True or False"),
        ("str", 1, "a text"),
        ("ints", "12", "a sequence of integers"),
        ("ints", [1.5], "a sequence of integers"),
        ("floats", ["a"], "a sequence of numbers"),
        ("floats", None, "a sequence of numbers"),
    ],
)
def test_values_of_another_type_raise(kind, given, expected):
    with pytest.raises(ConfigTypeError) as caught:
        check(Field(kind), given)
    assert str(caught.value) == f"owner: hyperparameter 'name' must be {expected}, got {given!r}."


@pytest.mark.parametrize(
    ("field", "good", "bad", "expected"),
    [
        (Field("float", low=0.0), [0, 1e9], [-1e-9], "a number in [0, inf)"),
        (Field("float", low=0.0, open_low=True, high=1.0), [1e-9, 1], [0, 1.1], "a number in (0, 1]"),
        (Field("int", high=3), [-5, 3], [4], "an integer in (-inf, 3]"),
        (Field("ints", low=1), [(), (1, 2)], [(1, 0)], "a sequence of integers in [1, inf)"),
        (Field("floats", low=0.0, high=1.0, length=2), [(0.9, 1)], [(0.9,), (0.9, 2)], "2 numbers in [0, 1]"),
        (Field("str", choices=("a", "b")), ["a"], ["c"], "one of 'a', 'b'"),
    ],
)
def test_values_out_of_range_raise(field, good, bad, expected):
    for value in good:
        check(field, value)
    for value in bad:
        with pytest.raises(ConfigError, match="hyperparameter 'name' must be") as caught:
            check(field, value)
        assert f"must be {expected}, got" in str(caught.value)
        assert not isinstance(caught.value, TypeError)


def test_none_is_a_value_where_it_is_optional_only():
    assert check(Field("int", optional=True), None) is None
    assert Field("int", low=0, optional=True).expected() == "an integer in [0, inf) or None"


def test_convert_has_the_last_word():
    assert check(Field("int", low=0, convert=lambda v: v * 2), 3) == 6
    with pytest.raises(ConfigError):
        check(Field("int", low=0, convert=lambda v: v * 2), -3)


@given(st.floats(allow_nan=False), st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_a_closed_range_takes_exactly_what_lies_in_it(low, high, value):
    field = Field("float", low=low, high=high)
    if low <= value <= high:
        assert check(field, value) == value
    else:
        with pytest.raises(ConfigError):
            check(field, value)


FIELDS = {"lr": Field("float", 0.1, low=0.0), "epochs": Field("int", REQUIRED, low=1), "names": Field("any", ())}


def test_defaults_fill_what_is_not_given_in_the_order_of_the_fields():
    values = with_defaults("owner", FIELDS, {"epochs": 3.0})
    assert list(values.items()) == [("lr", 0.1), ("epochs", 3), ("names", ())]
    assert check_values("owner", FIELDS, {"epochs": 5, "lr": 1}) == {"lr": 1.0, "epochs": 5}


def test_a_required_value_that_is_not_given_raises():
    with pytest.raises(ConfigError, match=r"owner: 'epochs' is required, got none. Expected: an integer in \[1, inf\)"):
        with_defaults("owner", FIELDS, {})
    fields = {"estimator": Field("any", REQUIRED, doc="An estimator.")}
    with pytest.raises(ConfigError, match=r"'estimator' is required, got none\. An estimator"):
        with_defaults("owner", fields, {})


def test_an_unknown_name_raises_with_the_nearest_one():
    with pytest.raises(UnknownNameError, match=r"hyperparameter 'epoch' of owner\. Did you mean 'epochs'"):
        check_values("owner", FIELDS, {"epoch": 3})


def test_numbers_of_numpy_are_shown_as_plain_ones():
    with pytest.raises(ConfigTypeError, match="must be an integer, got True"):
        check(Field("int"), np.True_)
    with pytest.raises(ConfigTypeError, match=r"must be an integer, got ndarray of shape \(50,\)"):
        check(Field("int"), np.zeros(50))
