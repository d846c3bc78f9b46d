"""Objects as specs: round trips, names, trust, and what is refused."""

import functools
import json
import math
import sys
import types
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdl.core.errors import CheckpointError, ConfigError, ConfigTypeError
from jdl.core.fields import Field
from jdl.data.selectors import name as named
from jdl.data.table import Column, TableSpec
from jdl.io.codec import Arrays, Codec
from jdl.io.names import Trust, find_known, name_of
from jdl.train.callbacks.curves import coslog4
from jdl.train.state import Status

HERE = __name__


@dataclass(frozen=True)
class Own:
    """A class that jdl does not know."""

    size: int
    function: Any = None
    made: int = field(default=0, init=False)


def own_function(x):
    return x


def back(value, trust=()):
    spec, arrays = Codec().encode(value)
    return Codec().decode(json.loads(json.dumps(spec, allow_nan=False)), arrays, Trust.of(trust))


@pytest.mark.parametrize(
    "value",
    [
        None,
        [True, 1, -1.5, "ü", 1e-300, 2**70],
        (1, (2, [3, ()])),
        {"a": {"b": (None,)}, "$": 1},
        {1: "a", (2, None): ["b"]},
        {"x", "y"},
        frozenset({1, 2}),
        math.inf,
        -math.inf,
        np.float32(0.1),
        np.int64(3),
        np.bool_(True),
        np.dtype("float32"),
        jnp.bfloat16,
        Status.DIVERGED,
        jax.nn.relu,
        jnp.tanh,
        coslog4,
        TableSpec.of([Column("a", "float"), Column("b", "category", (1, "x", True, 2.5), missing=True)]),
        named("a", "b"),
    ],
)
def test_a_value_comes_back_as_it_was(value):
    again = back(value)
    assert again == value and type(again) is type(value)
    assert repr(again) == repr(value)  # 1, 1.0 and True are equal


def test_nan_and_negative_zero_come_back():
    nan, zero = back([math.nan, -0.0])
    assert math.isnan(nan) and math.copysign(1, zero) == -1


def test_an_object_in_several_places_is_written_once():
    column = Column("a", "category", tuple(map(str, range(100))))
    spec, _ = Codec().encode([column, {"again": (column, Column("b", "int"))}, column])
    assert len(json.dumps(spec)) < 1.3 * len(json.dumps(Codec().encode(column)[0]))
    again = back([column, {"again": (column, Column("b", "int"))}, column])
    assert again[0] is again[2] is again[1]["again"][0] and again[0] == column


def test_arrays_of_texts_come_back():
    for texts in (np.array([["a", "ü"]]), np.array([], str), np.array("a")):
        again = back(texts)
        assert again.shape == texts.shape and again.dtype.kind == "U" and again.tolist() == texts.tolist()


def test_a_numpy_text_becomes_a_plain_one():
    assert type(back(np.str_("a"))) is str


def test_a_partial_function_comes_back():
    again = back(functools.partial(jax.nn.leaky_relu, negative_slope=0.3))
    assert again.func is jax.nn.leaky_relu and again.keywords == {"negative_slope": 0.3}


def test_arrays_stand_apart_under_the_path_of_their_owner():
    spec, arrays = Codec().encode({"a": [np.ones(2), {"b": np.float32(3)}], "c": Arrays((np.zeros(1), None))})
    json.dumps(spec)
    np.testing.assert_array_equal(arrays["a"]["0"], np.ones(2))
    assert arrays["a"]["1"]["b"] == 3 and isinstance(arrays["c"], tuple)
    again = Codec().decode(spec, arrays)
    assert again["a"][1]["b"] == np.float32(3) and isinstance(again["a"][1]["b"], np.float32)


def test_an_own_class_needs_trust_in_its_module_or_the_class_itself():
    value = Own(3, own_function)
    with pytest.raises(CheckpointError, match="Own") as caught:
        back(value)
    assert "trust={" in str(caught.value) and "own_function" in str(caught.value)
    package = HERE.rpartition(".")[0] or HERE
    for trust in (
        {HERE},
        [package],
        HERE,
        {f"{HERE}:Own": Own, f"{HERE}.own_function": own_function},
        (f"{HERE}:Own", f"{HERE}:own_function"),
    ):
        assert back(value, trust) == value
    with pytest.raises(CheckpointError, match="own_function"):
        back(value, {f"{HERE}:Own"})


def test_what_is_handed_in_is_taken_without_an_import():
    spec, arrays = Codec().encode(Own(3))
    spec["$"] = "no_such_package.nets:Own"
    assert Codec().decode(spec, arrays, Trust.of({"no_such_package.nets:Own": Own})) == Own(3)
    with pytest.raises(CheckpointError, match="cannot be imported"):
        Codec().decode(spec, arrays, Trust.of({"no_such_package"}))


@pytest.mark.parametrize("trust", [3, [3], None, [""], {3: 4}])
def test_trust_in_something_else_is_refused(trust):
    with pytest.raises(ConfigTypeError, match="trust"):
        Trust.of(trust)


def local():
    def inside(x):
        return x

    return inside


@pytest.mark.parametrize(
    "value",
    [lambda x: x, local(), object(), types.SimpleNamespace(), sys.stdout, np.array([None]), np.datetime64(1, "D")],
)
def test_what_has_no_importable_name_is_refused_by_the_place_where_it_stands(value):
    with pytest.raises(ConfigTypeError, match=r"'learner\.values\.1'") as caught:
        Codec().encode({"learner": {"values": (1, value)}})
    assert "Hint" in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "builtins:eval",
        "subprocess:Popen",
        "jdl.io.atomic:os.system",
        "jdl.io.atomic:shutil",
        "jdl.io.directory:write_directory",
        "jdl.learners.saving:load",
        "jdl.train.compile:_sharding",
        "jdl.train.population:run_population",
        "jdl:io.atomic.shutil.rmtree",
        "jax.numpy:load",
        "jax.numpy:save",
        "jax:pure_callback",
        "numpy:load",
        "jdl.no_such_module:Thing",
        "not a name",
        "jdl.data.table:",
        ":Column",
    ],
)
def test_nothing_but_values_and_formulas_is_known(name):
    assert find_known(name) is None
    with pytest.raises(CheckpointError):
        Codec().decode({"$": "name", "name": name}, {})
    with pytest.raises(CheckpointError):
        Codec().decode({"$": name, "a": 1}, {})


def test_a_file_that_asks_for_the_unknown_imports_nothing(tmp_path, monkeypatch):
    (tmp_path / "evil_module.py").write_text("raise SystemExit('code was run')")
    monkeypatch.syspath_prepend(tmp_path)
    for spec in (
        {"$": "name", "name": "evil_module:f"},
        {"$": "evil_module:Thing"},
        [{"a": {"$": "evil_module:Thing"}}],
    ):
        with pytest.raises(CheckpointError, match="evil_module"):
            Codec().decode(spec, {})
    assert "evil_module" not in sys.modules


@pytest.mark.parametrize(
    "spec",
    [
        {"$": "unknown"},
        {"$": 3},
        {"$": ["a"], "b": 1},
        {"$": {}},
        {"$": "set"},
        {"$": "set", "items": 3},
        {"$": "same", "number": 0},
        {"$": "float", "value": "x"},
        {"$": "array", "path": ["a", "b"]},
        {"$": "array", "path": 3},
        {"$": "dict", "items": [1]},
        {"$": "dtype", "name": "no_type"},
        {"$": "scalar_type", "name": "x"},
        {"$": "name", "name": 3},
        {"$": "jdl.data.table:Column", "name": "a"},
        {"$": "jdl.data.table:Column", "name": "a", "type": "float", "color": 3},
        {"$": "jdl.train.state:Status", "member": "FLYING"},
        {"$": "jdl.train.optimizer:Optimizer"},
        {"$": "jdl.data.selectors:Matching", "pattern": "("},
        {"$": "jax.nn:relu", "x": 1},
        {"$": "partial", "function": 3, "args": 4, "keywords": None},
    ],
    ids=str,
)
def test_a_spec_that_makes_no_sense_is_an_error_of_the_file(spec):
    with pytest.raises(CheckpointError):
        Codec().decode(spec, {"a": np.ones(1)})


def test_a_spec_that_is_nested_without_end_is_an_error_of_the_file():
    spec: Any = 1
    for _ in range(100_000):
        spec = [spec]
    with pytest.raises(CheckpointError, match="deep"):
        Codec().decode(spec, {})


def test_names_are_public_ones_where_there_are_such():
    assert name_of(jax.nn.gelu) == "jax.nn:gelu"
    assert name_of(jnp.sin) == "jax.numpy:sin"
    assert name_of(own_function) == f"{HERE}:own_function"
    assert name_of(Own.__init__) == f"{HERE}:Own.__init__"
    assert name_of(Field("int", 1)) is None


def test_an_error_of_a_class_of_jdl_is_chained():
    with pytest.raises(CheckpointError) as caught:
        Codec().decode({"$": "jdl.pipeline.quantile_normal:QuantileNormal", "noise": -1.0}, {})
    assert isinstance(caught.value.__cause__, ConfigError) and "noise" in str(caught.value)
