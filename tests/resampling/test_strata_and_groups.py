"""When strata and groups apply, and what is said when they cannot."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from jdl.core.errors import ConfigError, JdlWarning, UnknownNameError
from jdl.data.task_classif import TaskClassif
from jdl.data.task_regr import TaskRegr
from jdl.resampling import (
    CV,
    Bootstrap,
    Custom,
    CustomCV,
    Holdout,
    LeaveOneOut,
    RepeatedCV,
    Subsampling,
    partition,
    split_validation,
)


@dataclass(frozen=True, eq=False)
class Rows:
    n_rows: int
    target_codes: Any = None
    strata_codes: Any = None
    group_codes: Any = None
    task_type: str = "classif"
    class_names: tuple[str, ...] = ("common", "rare")
    id: str = "rows"


def rows(n_common, n_rare, **roles):
    return Rows(n_common + n_rare, np.repeat([0, 1], [n_common, n_rare]), **roles)


def shares(task, splits, codes):
    return {round(float(codes[test].mean()), 3) for test in splits.test_sets}


def test_classification_is_stratified_unless_told_otherwise():
    task = rows(80, 20)
    assert shares(task, CV(folds=5).split(task), task.target_codes) == {0.2}
    assert len(shares(task, CV(folds=5, stratify=False).split(task), task.target_codes)) > 1


def test_regression_is_not_stratified():
    task = Rows(10, task_type="regr")
    assert len(CV(folds=5).split(task)) == 5
    with pytest.raises(ConfigError, match="stratify=True needs classes or strata"):
        CV(folds=5, stratify=True).split(task)


def test_strata_of_the_task_take_the_place_of_its_classes():
    strata = np.arange(100) % 2
    task = rows(80, 20, strata_codes=strata)
    assert shares(task, CV(folds=5).split(task), strata) == {0.5}
    regression = Rows(100, task_type="regr", strata_codes=strata)
    assert shares(regression, CV(folds=5).split(regression), strata) == {0.5}
    assert len(shares(task, CV(folds=5, stratify=False).split(task), strata)) > 1


@pytest.mark.parametrize("splitter", [CV(folds=5), RepeatedCV(folds=5, repeats=2)])
def test_class_rarer_than_the_folds_warns_once_with_its_count(splitter):
    with pytest.warns(JdlWarning, match=r"5 folds can hold class 'rare' \(3 rows\)") as record:
        splitter.split(rows(80, 3))
    assert len(record) == 1


@pytest.mark.parametrize("splitter", [Holdout(), Subsampling(repeats=2), Bootstrap(repeats=2)])
def test_class_of_one_row_warns(splitter):
    with pytest.warns(JdlWarning, match=r"class 'rare' \(1 row\)"):
        splitter.split(rows(80, 1))


@pytest.mark.parametrize("splitter", [Holdout(ratio=0.9), Holdout(ratio=0.1)])
def test_class_of_two_rows_is_on_both_sides(splitter):
    task = rows(80, 2)
    for rows_ in next(iter(splitter.split(task))):
        assert (task.target_codes[rows_] == 1).sum() == 1


@pytest.mark.parametrize("splitter", [CV(folds=5), RepeatedCV(folds=5)])
def test_stratum_rarer_than_the_folds_is_refused(splitter):
    strata = np.repeat([0, 7], [97, 3])
    with pytest.raises(ConfigError, match=r"5 folds can hold stratum 7 \(3 rows\)"):
        splitter.split(rows(80, 20, strata_codes=strata))


@pytest.mark.parametrize("splitter", [Holdout(), Subsampling(), Bootstrap()])
def test_stratum_of_one_row_is_refused(splitter):
    strata = np.repeat([0, 1], [99, 1])
    with pytest.raises(ConfigError, match=r"stratum 1 \(1 row\)"):
        splitter.split(rows(80, 20, strata_codes=strata))


def test_more_folds_than_rows_or_groups_names_both_numbers():
    with pytest.raises(ConfigError, match="folds=9 needs at least 9 rows, got 8"):
        CV(folds=9).split(rows(4, 4))
    with pytest.raises(ConfigError, match="folds=5 needs at least 5 groups, got 4"):
        CV(folds=5).split(rows(80, 20, group_codes=np.arange(100) % 4))


def test_strata_and_groups_together():
    groups = np.arange(120) // 4
    task = Rows(120, (groups % 3 == 0).astype(int), group_codes=groups)
    splits = CV(folds=5).split(task)
    assert {len(test) for test in splits.test_sets} == {24}
    assert shares(task, splits, task.target_codes) == {round(1 / 3, 3)}


def test_rare_class_in_too_few_groups_warns_with_both_counts():
    groups = np.arange(100) // 4
    task = Rows(100, (groups < 2).astype(int), group_codes=groups)
    with pytest.warns(JdlWarning, match=r"class 'rare' \(8 rows in 2 groups\)"):
        CV(folds=5).split(task)
    with pytest.raises(ConfigError, match=r"stratum 1 \(8 rows in 2 groups\)"):
        CV(folds=5).split(Rows(100, groups * 0, (groups < 2).astype(int), groups))


@pytest.mark.parametrize("splitter", [CV(folds=3), Holdout()])
def test_splits_of_groups_depend_on_the_key_although_their_sizes_differ(splitter):
    task = Rows(120, task_type="regr", group_codes=np.repeat(np.arange(15), np.arange(1, 16)))
    seen = {tuple(splitter.split(task, key=key).test_sets[0]) for key in range(5)}
    assert len(seen) > 2


def test_leave_one_out_leaves_out_groups_where_there_are_some():
    groups = np.array([5, 2, 5, 9])
    splits = LeaveOneOut().split(Rows(4, np.array([0, 1, 0, 1]), group_codes=groups))
    assert [test.tolist() for test in splits.test_sets] == [[1], [0, 2], [3]]


@pytest.mark.parametrize(
    ("ratio", "side"), [(0.01, "training"), (0.99, "test"), (1.0, "test")], ids=["small", "large", "one"]
)
def test_ratio_that_empties_a_set_is_refused(ratio, side):
    with pytest.raises(ConfigError, match=f"{side} set empty"):
        Holdout(ratio=ratio).split(rows(8, 8))


@pytest.mark.parametrize("splitter", [Holdout(), Bootstrap(), LeaveOneOut()])
def test_one_group_cannot_be_split(splitter):
    with pytest.raises(ConfigError, match="at least 2 groups, got 1"):
        splitter.split(rows(8, 8, group_codes=np.zeros(16, int)))


def test_tiny_bootstraps_are_drawn_until_a_row_is_left():
    for key in range(20):
        ((train, test),) = Bootstrap(repeats=1, stratify=False).split(rows(1, 1), key=key)
        assert len(test) == 1
        assert len(train) == 2
    with pytest.raises(ConfigError, match="ratio=50"):
        Bootstrap(ratio=50).split(Rows(3, task_type="regr"))


@pytest.mark.parametrize(
    ("train_sets", "test_sets", "match"),
    [
        ([[0, 10]], [[1]], r"train_sets\[0\]: rows must lie in \[0, 10\), got 10"),
        ([[0], [1]], [[1], [-1]], r"test_sets\[1\]: rows must lie in"),
        ([[0]], [[]], r"test_sets\[0\]: needs at least one row"),
        ([[False] * 10], [[1]], r"train_sets\[0\]: needs at least one row"),
        ([[True] * 9], [[1]], r"train_sets\[0\]: a mask of rows"),
        ([[0.5]], [[1]], r"train_sets\[0\]: rows must be integer"),
        ([[0], [1]], [[1]], "got 2 and 1"),
    ],
)
def test_custom_sets_that_cannot_be_are_refused(train_sets, test_sets, match):
    with pytest.raises(ValueError, match=match):
        Custom(train_sets=train_sets, test_sets=test_sets).split(rows(5, 5))


def test_custom_sets_are_kept_as_they_are():
    splits = Custom(train_sets=[[3, 1, 1]], test_sets=[np.arange(10) > 7]).split(rows(5, 5))
    assert splits.train_sets[0].tolist() == [3, 1, 1]
    assert splits.test_sets[0].tolist() == [8, 9]


def test_folds_by_a_column_of_the_task():
    data = {"x": [1.0, 2.0, 3.0, 4.0], "y": [1.0, 2.0, 3.0, 4.0], "site": ["b", "a", "b", "c"]}
    task = TaskRegr(data, target="y")
    splits = CustomCV(column="site").split(task)
    assert [test.tolist() for test in splits.test_sets] == [[1], [0, 2], [3]]
    assert [train.tolist() for train in splits.train_sets] == [[0, 2, 3], [1, 3], [0, 1, 2]]
    with pytest.raises(UnknownNameError, match="'site'"):
        CustomCV(column="sites").split(task)


@pytest.mark.parametrize(
    ("factor", "match"),
    [([1, 2, 3], "each of the 4 rows"), ([1, 1, 1, 1], "two different"), ([1, 2, None, 2], "1 values are missing")],
)
def test_factors_that_cannot_be_folds_are_refused(factor, match):
    with pytest.raises(ConfigError, match=match):
        CustomCV(factor=factor).split(rows(2, 2))


def test_custom_cv_takes_either_a_column_or_a_factor():
    for given in ({}, {"column": "a", "factor": [0, 1, 0, 1]}):
        with pytest.raises(ConfigError, match="either 'column' or 'factor'"):
            CustomCV(**given).split(rows(2, 2))


def test_a_real_task_is_split_by_its_strata_and_groups():
    data = {
        "x": np.arange(60.0),
        "y": ["no", "yes"] * 30,
        "patient": np.repeat(np.arange(20), 3),
        "sex": np.tile(["f", "f", "f", "m", "m", "m"], 10),
    }
    task = TaskClassif(data, target="y", group="patient", strata="sex")
    for train, test in CV(folds=5).split(task):
        assert not set(data["patient"][train]) & set(data["patient"][test])
        assert (data["sex"][test] == "f").mean() == 0.5


def test_partition_of_a_real_task_depends_on_the_key_only():
    task = TaskClassif({"x": np.arange(30.0), "y": ["a", "b", "c"] * 10}, target="y")
    train, test = partition(task, ratio=0.7, key=1)
    assert (len(train), len(test)) == (21, 9)
    assert np.bincount(task.target_codes[test]).tolist() == [3, 3, 3]
    np.testing.assert_array_equal(train, partition(task, ratio=0.7, key=1)[0])
    assert train.tolist() != partition(task, ratio=0.7, key=2)[0].tolist()


@pytest.mark.parametrize("ratio", [(0.6, 0.4), (0.2, 0.2, 0.2), 1.5, "half", ()])
def test_shares_that_leave_nothing_are_refused(ratio):
    with pytest.raises(ConfigError, match="partition"):
        partition(rows(8, 8), ratio=ratio)


def test_validation_rows_of_one_row_or_group_are_refused():
    with pytest.raises(ConfigError, match=r"2 different rows are needed.*got 1"):
        split_validation(np.array([4, 4, 4]), 0.2, 0)
    with pytest.raises(ConfigError, match=r"2 different groups are needed.*got 1"):
        split_validation(np.arange(9), 0.2, 0, groups=np.zeros(9, int))


def test_validation_rows_are_in_proportion():
    strata = np.repeat([0, 1], [150, 50])
    fit, valid = split_validation(np.arange(200)[::-1], 0.2, 0, strata=strata)
    assert np.bincount(strata[valid]).tolist() == [30, 10]
    assert (np.diff(fit) < 0).all()
