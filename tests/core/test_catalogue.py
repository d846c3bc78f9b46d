import pytest

from jdl.core.catalogue import Catalogue
from jdl.core.errors import ConfigError, ConfigTypeError, UnknownNameError


def square(side: int, *, color: str = "red"):
    """A square.

    And more about it.
    """
    return (side, color)


def anything(**values):
    return values


def broken(side: int):
    return len(side)  # pyright: ignore[reportArgumentType]


def refusing():
    raise ConfigTypeError("its own words")


SHAPES = Catalogue("shape", {"plane.square": square, "anything": anything, "broken": broken, "refusing": refusing})


def test_is_a_mapping_in_the_given_order():
    assert list(SHAPES) == ["plane.square", "anything", "broken", "refusing"]
    assert len(SHAPES) == 4
    assert SHAPES["plane.square"] is square
    assert "plane.square" in SHAPES and "square" not in SHAPES
    assert dict(SHAPES)["anything"] is anything


def test_makes_new_objects():
    assert SHAPES.make("plane.square", 3, color="blue") == (3, "blue")
    assert SHAPES.make("anything", a=1) == {"a": 1}


@pytest.mark.parametrize("look_up", [SHAPES.__getitem__, SHAPES.make])
def test_an_unknown_name_raises_with_the_nearest_ones(look_up):
    with pytest.raises(UnknownNameError, match=r"Unknown shape 'plane.sqare'. Did you mean 'plane.square'\?"):
        look_up("plane.sqare")
    with pytest.raises(UnknownNameError, match=r"Did you mean 'plane.square'\?"):
        look_up("square")
    with pytest.raises(UnknownNameError, match="Valid: anything, broken"):
        look_up("zzz")
    with pytest.raises(LookupError):
        look_up(3)


def test_arguments_that_do_not_fit_raise_with_the_nearest_ones():
    with pytest.raises(
        UnknownNameError, match=r"Unknown argument 'colour' of shape 'plane.square'. Did you mean 'color'"
    ):
        SHAPES.make("plane.square", 3, colour="blue")
    with pytest.raises(
        ConfigTypeError, match=r"shape 'plane.square': missing .*'side'[\s\S]*its arguments are side: int"
    ):
        SHAPES.make("plane.square")
    with pytest.raises(ConfigTypeError, match="too many positional arguments"):
        SHAPES.make("plane.square", 3, "blue")
    with pytest.raises(ConfigTypeError, match="its arguments are none"):
        SHAPES.make("refusing", 3)


def test_errors_of_the_constructor_itself_pass_through():
    with pytest.raises(TypeError, match="has no len") as caught:
        SHAPES.make("broken", 3)
    assert not isinstance(caught.value, ConfigError)
    with pytest.raises(ConfigTypeError, match="its own words"):
        SHAPES.make("refusing")


def test_names_are_a_list_that_prints_a_line_each():
    names = SHAPES.names()
    assert names == ["plane.square", "anything", "broken", "refusing"]
    lines = repr(names).splitlines()
    assert lines[0] == "4 shapes"
    assert lines[1] == "plane.square  A square."
    assert len(lines) == 5
    assert repr(Catalogue("thing", {}).names()) == "0 things"
