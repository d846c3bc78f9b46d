import inspect

import numpy as np
import pandas as pd
import pytest

from jdl.core import errors
from jdl.core.errors import JdlError, MissingPackageError, UnknownNameError, shown, suggest

BUILTIN = {
    "TaskError": ValueError,
    "ConfigError": ValueError,
    "ConfigTypeError": TypeError,
    "UnknownNameError": LookupError,
    "ShapeError": ValueError,
    "GraphError": ValueError,
    "NotFittedError": AttributeError,
    "DivergedError": FloatingPointError,
    "CallbackError": RuntimeError,
    "CheckpointError": ValueError,
    "MissingPackageError": ImportError,
}
DEFINED = {
    n: c for n, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, JdlError) and c is not JdlError
}


def test_every_error_is_listed_here():
    assert set(DEFINED) == set(BUILTIN)


@pytest.mark.parametrize("name", BUILTIN)
def test_every_error_is_a_jdl_error_and_the_fitting_builtin(name):
    with pytest.raises(JdlError):
        raise DEFINED[name]("x")
    with pytest.raises(BUILTIN[name]):
        raise DEFINED[name]("x")


def test_a_warning_is_no_error():
    assert issubclass(errors.JdlWarning, UserWarning)
    assert not issubclass(errors.JdlWarning, JdlError)


@pytest.mark.parametrize(
    ("name", "valid", "sentence"),
    [
        ("epoch", ["epochs", "batch_size"], "Did you mean 'epochs'?"),
        ("dropot", ["dropout", "drop_last"], "Did you mean 'dropout' or 'drop_last'?"),
        ("zzz", ["b", "a"], "Valid: a, b."),
        ("a", [], "It takes none."),
        ("lr", ["epochs", "opt.lr"], "Did you mean 'opt.lr'?"),
        ("mlp", ["classif.mlp", "regr.mlp", "classif.lda"], "Did you mean 'classif.mlp' or 'regr.mlp'?"),
        (3, ["x", "y"], "Valid: x, y."),
    ],
)
def test_suggestions(name, valid, sentence):
    assert suggest(name, valid) == sentence


def test_long_lists_are_cut():
    sentence = suggest("zzz", [f"name_{i:03}" for i in range(100)])
    assert sentence.endswith("name_029, ...")


def test_messages_of_the_constructors():
    assert (
        str(UnknownNameError.of("column", "b", ["a"], owner="task 't'")) == "Unknown column 'b' of task 't'. Valid: a."
    )
    error = MissingPackageError.of("plots", "matplotlib", "plot")
    assert str(error) == "plots needs the package 'matplotlib'.\nHint: pip install 'jdl[plot]'."


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.True_, "True"),
        (np.int64(3), "3"),
        (np.float32(0.5), "0.5"),
        ("a", "'a'"),
        (np.zeros((30, 2)), "ndarray of shape (30, 2)"),
        (pd.Series(range(30)), "Series of shape (30,)"),
        ("a" * 1000, f"'{'a' * 76} ..."),
    ],
)
def test_values_in_messages_are_plain_and_short(value, text):
    assert shown(value) == text


def test_all_names_are_listed_on_request():
    error = UnknownNameError.of("column type", "boole", ["bool", "int"], list_all=True)
    assert str(error) == "Unknown column type 'boole'. Did you mean 'bool'? Valid: bool, int."
