"""What every resampling of the catalogue keeps to."""

import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import KFold

from jdl.core.errors import ConfigError, ConfigTypeError, UnknownNameError
from jdl.resampling import RESAMPLINGS
from jdl.resampling.catalogue import as_resampling

N_ROWS = 47
FOLDS = np.arange(N_ROWS) % 4
PARAMETERS = {
    "custom": {"train_sets": [[0, 1, 1], FOLDS == 0], "test_sets": [[2, 46], FOLDS == 1]},
    "custom_cv": {"factor": FOLDS},
    "cv": {"folds": 5},
    "repeated_cv": {"folds": 4, "repeats": 3},
    "bootstrap": {"repeats": 5},
    "subsampling": {"repeats": 5},
}
BY_HAND = ("custom", "custom_cv")
every_splitter = pytest.mark.parametrize("name", list(RESAMPLINGS))
drawn = pytest.mark.parametrize("name", [n for n in RESAMPLINGS if n not in (*BY_HAND, "loo", "insample")])
whole = pytest.mark.parametrize("name", [n for n in RESAMPLINGS if n not in BY_HAND])


@dataclass(frozen=True, eq=False)
class Rows:
    """What of a task splitters see."""

    n_rows: int = N_ROWS
    target_codes: Any = None
    strata_codes: Any = None
    group_codes: Any = None
    task_type: str = "classif"
    class_names: tuple[str, ...] = ("no", "yes")
    id: str = "rows"


def task(**roles):
    rng = np.random.default_rng(0)
    return Rows(target_codes=(rng.random(N_ROWS) < 0.4).astype(int), **roles)


def make(name):
    return RESAMPLINGS.make(name, **PARAMETERS.get(name, {}))


def as_lists(splits):
    return [(train.tolist(), test.tolist()) for train, test in splits]


@every_splitter
def test_sets_are_filled_with_rows_of_the_task(name):
    splits = make(name).split(task())
    assert len(splits) == len(splits.train_sets) == len(splits.test_sets) > 0
    for rows in (*splits.train_sets, *splits.test_sets):
        assert rows.dtype == np.int32
        assert len(rows) > 0
        assert rows.min() >= 0
        assert rows.max() < N_ROWS
        assert not rows.flags.writeable


@every_splitter
def test_equal_keys_give_equal_splits(name):
    assert as_lists(make(name).split(task(), key=3)) == as_lists(make(name).split(task(), key=3))


@drawn
def test_other_keys_give_other_splits(name):
    assert as_lists(make(name).split(task(), key=3)) != as_lists(make(name).split(task(), key=4))


@drawn
def test_iterations_differ(name):
    sets = [tuple(test) for test in make(name).split(task()).test_sets]
    assert len(set(sets)) == len(sets)


@every_splitter
def test_name_and_contents_of_the_task_do_not_matter(name):
    assert as_lists(make(name).split(task(id="other"))) == as_lists(make(name).split(task()))


@whole
def test_training_and_test_rows_are_disjoint_and_complete(name):
    for train, test in make(name).split(task()):
        together = set(train.tolist()) | set(test.tolist())
        assert together == set(range(N_ROWS))
        assert (name == "insample") == bool(set(train.tolist()) & set(test.tolist()))


@whole
@pytest.mark.parametrize("stratified", [False, True])
def test_groups_stay_together(name, stratified):
    groups = np.random.default_rng(1).integers(0, 15, N_ROWS)
    roles = task(group_codes=groups, task_type="classif" if stratified else "regr")
    for train, test in make(name).split(roles):
        assert name == "insample" or not set(groups[train]) & set(groups[test])


@every_splitter
def test_padded_sets_hold_the_sets_and_then_their_first_row(name):
    splits = make(name).split(task())
    padded = splits.padded()
    for dense, counts, sets in (
        (padded.train, padded.n_train, splits.train_sets),
        (padded.test, padded.n_test, splits.test_sets),
    ):
        assert dense.dtype == np.int32
        assert dense.shape == (len(splits), max(map(len, sets)))
        assert counts.tolist() == [len(rows) for rows in sets]
        for row, rows in zip(dense, sets, strict=True):
            np.testing.assert_array_equal(row[: len(rows)], rows)
            assert (row[len(rows) :] == rows[0]).all()


@every_splitter
def test_equal_splitters_hash_alike_and_survive_pickling(name):
    assert make(name) == make(name)
    assert hash(make(name)) == hash(make(name))
    assert pickle.loads(pickle.dumps(make(name))) == make(name)


@every_splitter
def test_unknown_parameter_is_named(name):
    with pytest.raises(UnknownNameError, match=f"'fold_s' of resampling '{name}'"):
        RESAMPLINGS.make(name, fold_s=3)
    with pytest.raises(ConfigTypeError, match="by name"):
        RESAMPLINGS.make(name, 3)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("cv", {"folds": 1}),
        ("cv", {"folds": 2.5}),
        ("repeated_cv", {"repeats": 0}),
        ("holdout", {"ratio": 0.0}),
        ("holdout", {"ratio": 1.1}),
        ("subsampling", {"ratio": "a third"}),
        ("bootstrap", {"ratio": -1.0}),
        ("bootstrap", {"repeats": 0}),
        ("holdout", {"stratify": "class"}),
        ("custom", {}),
        ("custom", {"train_sets": [[0]]}),
        ("custom", {"train_sets": [0, 1], "test_sets": 3}),
        ("custom_cv", {"factor": "column"}),
    ],
)
def test_value_out_of_range_is_refused_at_construction(name, wrong):
    with pytest.raises(ConfigError, match=f"Resampling '{name}'"):
        RESAMPLINGS.make(name, **wrong)


@pytest.mark.parametrize(
    ("name", "defaults"),
    [
        ("holdout", {"ratio": 2 / 3}),
        ("cv", {"folds": 10}),
        ("repeated_cv", {"folds": 10, "repeats": 10}),
        ("bootstrap", {"ratio": 1.0, "repeats": 30}),
        ("subsampling", {"ratio": 2 / 3, "repeats": 30}),
    ],
)
def test_defaults_are_those_of_mlr3(name, defaults):
    splitter = RESAMPLINGS.make(name)
    assert {parameter: getattr(splitter, parameter) for parameter in defaults} == defaults


@every_splitter
def test_what_is_no_task_is_refused(name):
    with pytest.raises(ConfigTypeError, match=r"expected a task, got ndarray[\s\S]*Hint: jdl.TaskClassif"):
        make(name).split(np.zeros((9, 2)))


@every_splitter
def test_iterations_are_numbered_from_0(name):
    splits = make(name).split(task())
    train, test = splits[0]
    assert train is splits.train_sets[0] and test is splits.test_sets[0]
    assert as_lists(splits[-1:]) == as_lists(splits)[-1:]


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        (5, r"got 5\.\nHint: jdl.rsmp\('cv', folds=5\)"),
        (KFold(5), r"got KFold[\s\S]*Hint: [\s\S]*splitter.split[\s\S]*jdl.rsmp\('custom', train_sets=train"),
        (np.zeros(500), r"got ndarray of shape \(500,\).\nHint: pass 'cv'"),
    ],
    ids=["a number", "of scikit-learn", "an array"],
)
def test_what_is_no_resampling_comes_with_what_may_be_meant(given, parts):
    with pytest.raises(ConfigTypeError, match=f"A resampling or its name is needed, {parts}"):
        as_resampling(given)


def test_arrays_are_not_written_out_in_messages():
    for wrong in ({"factor": np.zeros((30, 2))}, {"column": "a", "factor": np.arange(N_ROWS)}):
        with pytest.raises(ConfigError, match=r"got (ndarray of shape \(30, 2\)|both)") as caught:
            RESAMPLINGS.make("custom_cv", **wrong).split(task())
        assert len(str(caught.value)) < 200
