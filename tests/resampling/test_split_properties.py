"""Properties of splits over tasks of any shape."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from jdl.core.errors import JdlWarning
from jdl.resampling import CV, Bootstrap, Holdout, RepeatedCV, Subsampling, partition, split_validation


@dataclass(frozen=True, eq=False)
class Rows:
    n_rows: int
    target_codes: Any = None
    strata_codes: Any = None
    group_codes: Any = None
    task_type: str = "classif"
    class_names: tuple[str, ...] = tuple("abcdefgh")
    id: str = "rows"


def codes(n_rows, n_codes):
    return st.lists(st.integers(0, n_codes - 1), min_size=n_rows, max_size=n_rows).map(np.array)


@st.composite
def tasks(draw, *, groups=False):
    n_rows = draw(st.integers(12, 80))
    target = draw(codes(n_rows, draw(st.integers(1, 6))))
    # Every group occurs, so that there are enough of them.
    group_codes = np.concatenate([np.arange(8), draw(codes(n_rows - 8, 8))]) if groups else None
    return Rows(n_rows, target, group_codes=group_codes)


def split(splitter, task, key=0):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", JdlWarning)  # rare classes
        return splitter.split(task, key=key)


def counts_by_fold(task, splits):
    return np.stack([np.bincount(task.target_codes[test], minlength=8) for test in splits.test_sets])


@given(task=tasks(), folds=st.integers(2, 12), key=st.integers(0, 9))
def test_folds_partition_the_rows_evenly(task, folds, key):
    splits = split(CV(folds=folds), task, key)
    assert sorted(np.concatenate(splits.test_sets)) == list(range(task.n_rows))
    assert np.ptp([len(test) for test in splits.test_sets]) <= 1


@given(task=tasks(), folds=st.integers(2, 12), key=st.integers(0, 9))
def test_classes_are_spread_over_folds_within_one_row(task, folds, key):
    assert np.ptp(counts_by_fold(task, split(CV(folds=folds), task, key)), axis=0).max() <= 1


@given(task=tasks(), folds=st.integers(2, 6))
def test_each_repeat_of_a_cross_validation_is_one(task, folds):
    splits = split(RepeatedCV(folds=folds, repeats=3), task)
    assert len(splits) == 3 * folds
    for repeat in range(3):
        tests = splits.test_sets[repeat * folds : (repeat + 1) * folds]
        assert sorted(np.concatenate(tests)) == list(range(task.n_rows))


@given(task=tasks(groups=True), folds=st.integers(2, 8), key=st.integers(0, 9))
def test_groups_never_straddle_folds_and_no_fold_is_empty(task, folds, key):
    splits = split(CV(folds=folds), task, key)
    assert sorted(np.concatenate(splits.test_sets)) == list(range(task.n_rows))
    fold = np.empty(task.n_rows, int)
    for i, test in enumerate(splits.test_sets):
        assert len(test) > 0
        fold[test] = i
    assert all(len(np.unique(fold[task.group_codes == group])) == 1 for group in range(8))


@given(task=tasks(groups=True), folds=st.integers(2, 8), key=st.integers(0, 9))
def test_folds_of_groups_differ_by_no_more_than_the_largest_group(task, folds, key):
    splits = split(CV(folds=folds, stratify=False), task, key)
    assert np.ptp([len(test) for test in splits.test_sets]) <= np.bincount(task.group_codes).max()


@given(task=tasks(), ratio=st.floats(0.1, 0.9), key=st.integers(0, 9))
def test_holdout_is_of_the_asked_size_and_in_proportion(task, ratio, key):
    ((train, test),) = split(Holdout(ratio=ratio), task, key)
    assert sorted([*train, *test]) == list(range(task.n_rows))
    assert len(train) == round(ratio * task.n_rows)
    share = len(train) / task.n_rows
    for code in np.unique(task.target_codes):
        n_rows = (task.target_codes == code).sum()
        assert abs((task.target_codes[train] == code).sum() - share * n_rows) <= 1 + 1e-9


@given(task=tasks(groups=True), ratio=st.floats(0.1, 0.9), key=st.integers(0, 9))
def test_holdout_of_groups_has_both_sides_and_never_straddles(task, ratio, key):
    ((train, test),) = split(Holdout(ratio=ratio), task, key)
    assert len(train) > 0
    assert len(test) > 0
    assert not set(task.group_codes[train]) & set(task.group_codes[test])


@given(task=tasks(), ratio=st.floats(0.5, 2.0), key=st.integers(0, 9))
def test_bootstrap_tests_exactly_what_it_did_not_draw(task, ratio, key):
    for train, test in split(Bootstrap(ratio=ratio, repeats=3), task, key):
        assert len(train) == round(ratio * task.n_rows)
        assert len(np.unique(test)) == len(test)
        assert set(train.tolist()) | set(test.tolist()) == set(range(task.n_rows))
        assert not set(train.tolist()) & set(test.tolist())


@given(task=tasks(), key=st.integers(0, 9))
def test_stratified_bootstrap_keeps_class_sizes(task, key):
    for train, _ in split(Bootstrap(repeats=3), task, key):
        np.testing.assert_array_equal(
            np.bincount(task.target_codes[train], minlength=8), np.bincount(task.target_codes, minlength=8)
        )


@given(task=tasks(groups=True), key=st.integers(0, 9))
def test_bootstrap_draws_whole_groups(task, key):
    sizes = np.bincount(task.group_codes)
    for train, _ in split(Bootstrap(repeats=3), task, key):
        drawn = np.bincount(task.group_codes[train], minlength=8)
        assert not (drawn % sizes).any()
        assert (drawn // sizes).sum() == 8


@given(task=tasks(), first=st.floats(0.2, 0.5), second=st.floats(0.1, 0.4), key=st.integers(0, 9))
def test_three_parts_partition_the_rows_in_the_order_of_their_shares(task, first, second, key):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", JdlWarning)
        parts = partition(task, ratio=(first, second), key=key)
    assert sorted(np.concatenate(parts)) == list(range(task.n_rows))
    assert all((np.diff(part) > 0).all() for part in parts)
    for part, share in zip(parts, (first, second, 1 - first - second), strict=True):
        assert abs(len(part) - share * task.n_rows) <= 1.5


@given(
    n_rows=st.integers(2, 60),
    ratio=st.floats(0.05, 0.95),
    key=st.integers(0, 9),
    with_copies=st.booleans(),
    with_strata=st.booleans(),
    with_groups=st.booleans(),
)
def test_validation_rows_share_no_row_and_no_group_with_the_others(
    n_rows, ratio, key, with_copies, with_strata, with_groups
):
    rng = np.random.default_rng(key)
    rows = np.sort(rng.integers(0, 100, n_rows)) if with_copies else rng.permutation(100)[:n_rows]
    rows[:2] = [100, 101]
    strata = rng.integers(0, 4, 102) if with_strata else None
    groups = np.append(rng.integers(0, 12, 100), [12, 13])
    fit, valid = split_validation(rows, ratio, key, strata=strata, groups=groups if with_groups else None)
    assert len(fit) > 0
    assert len(valid) > 0
    assert sorted([*fit, *valid]) == sorted(rows)
    assert not set(fit.tolist()) & set(valid.tolist())
    if with_groups:
        assert not set(groups[fit]) & set(groups[valid])
    elif not with_copies:
        assert len(valid) == min(max(round(ratio * n_rows), 1), n_rows - 1)


def test_folds_of_groups_are_as_balanced_as_those_of_sklearn():
    rng = np.random.default_rng(0)
    ours, theirs = [], []
    for seed in range(8):
        groups = rng.integers(0, 40, 400)
        target = (rng.random(400) < 0.2 + 0.4 * (groups % 3 == 0)).astype(int)
        task = Rows(400, target, group_codes=groups)
        peer = StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(target, target, groups)
        for balance, tests in ((ours, split(CV(folds=5), task, seed).test_sets), (theirs, [t for _, t in peer])):
            shares = [target[test].mean() for test in tests]
            balance.append([np.std(shares), np.std([len(test) for test in tests])])
    of_class, of_size = np.mean(ours, axis=0) / np.mean(theirs, axis=0)
    assert of_class < 1.25
    assert of_size < 1.25


def test_class_counts_by_fold_are_those_of_sklearn():
    target = np.random.default_rng(0).choice(3, 101, p=[0.6, 0.3, 0.1])
    task = Rows(101, target)
    ours = counts_by_fold(task, split(CV(folds=5), task))[:, :3]
    peer = StratifiedKFold(5, shuffle=True, random_state=0).split(target, target)
    theirs = np.stack([np.bincount(target[test], minlength=3) for _, test in peer])
    np.testing.assert_array_equal(np.sort(ours, axis=0), np.sort(theirs, axis=0))


def test_every_row_is_equally_likely_to_be_drawn():
    task = Rows(30, np.repeat([0, 1], [20, 10]))
    counts = np.zeros(30)
    for train, _ in split(Subsampling(ratio=0.7, repeats=2000), task):
        counts[train] += 1
    # Three sigma of a binomial share is 0.03.
    np.testing.assert_allclose(counts / 2000, 0.7, atol=0.05)


def test_bootstrap_leaves_out_about_the_known_share():
    task = Rows(1000, np.zeros(1000, int))
    shares = [len(test) / 1000 for test in split(Bootstrap(repeats=50), task).test_sets]
    assert abs(np.mean(shares) - np.exp(-1)) < 0.01
