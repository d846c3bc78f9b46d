"""What imputation says of columns that hold nothing."""

import warnings
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import jdl
from jdl.core.errors import JdlWarning
from jdl.data.table import Column, Table, TableSpec
from jdl.pipeline import ImputeMean, ImputeMedian, ImputeMode

SPEC = TableSpec.of([Column("a", "float"), Column("e", "float", missing=True)])
STAGES = pytest.mark.parametrize("stage", [ImputeMean(), ImputeMedian(), ImputeMode()], ids=lambda s: s.name)


def table(*last: float) -> Table:
    numeric = np.array([[0.0, value] for value in last], np.float32)
    return Table(numeric, np.zeros((len(last), 0), np.int32))


@STAGES
def test_a_column_without_any_observed_value_is_named(stage):
    message = rf"operator '{stage.name}': column 'e' has no observed value [\s\S]*Hint: leave it out"
    with pytest.warns(JdlWarning, match=message) as caught:
        stage.fit(SPEC, table(np.nan, np.nan, 1.0), np.array([1.0, 2.0, 0.0]), None)
    assert len(caught) == 1


@STAGES
def test_a_column_whose_values_are_0_is_not(stage):
    stage.fit(SPEC, table(0.0, np.nan, np.nan), np.ones(3), None)
    stage.fit(SPEC, Table(jnp.asarray(table(np.nan).numeric), jnp.zeros((1, 0), jnp.int32)), jnp.ones(1), None)


@pytest.mark.parametrize("learner", ["classif.mlp", "classif.log_reg"])
def test_a_column_that_is_empty_in_some_folds_is_named_once(learner):
    values = np.full(40, np.nan)
    values[[0, 1]] = 1.0, 2.0
    task = jdl.TaskClassif({"a": np.arange(40.0), "e": values}, ["u", "v"] * 20)
    made: Any = jdl.lrn(learner, epochs=1, neurons=(4,)) if learner == "classif.mlp" else jdl.lrn(learner)
    folds = [range(20, 40), range(10, 30), range(40)]
    splits = jdl.rsmp("custom", train_sets=folds, test_sets=[range(10)] * 3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        jdl.resample(task, jdl.po("imputemedian") >> made, splits)
    assert len([w for w in caught if "column 'e' has no observed value" in str(w.message)]) == 1
