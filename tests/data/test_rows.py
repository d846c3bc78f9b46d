import numpy as np
import pandas as pd
import pytest

from jdl.core.errors import ConfigError, TaskError
from jdl.data.rows import as_positions


@pytest.mark.parametrize("rows", [[2, 0, 2], np.array([2, 0, 2], dtype=np.uint8), (2, 0, 2), pd.Series([2, 0, 2])])
def test_positions_keep_order_and_repeats(rows):
    assert as_positions(rows, 3, who="t").tolist() == [2, 0, 2]


def test_empty_list_is_no_row():
    assert as_positions([], 3, who="t").tolist() == []


@pytest.mark.parametrize("rows", [[-1], [3], [0, 7]])
def test_outside_raises(rows):
    with pytest.raises(TaskError, match=r"rows must lie in \[0, 3\)"):
        as_positions(rows, 3, who="t")


def test_short_mask_raises():
    with pytest.raises(TaskError, match="each of the 3 rows, got 2"):
        as_positions([True, False], 3, who="t")


@pytest.mark.parametrize("rows", [[0.0, 1.0], [[0, 1]], ["a"], 1])
def test_other_things_raise(rows):
    with pytest.raises(TaskError, match="integer positions or a boolean mask"):
        as_positions(rows, 3, who="t")


@pytest.mark.parametrize("index", [[2, 0, 1], [5, 6, 7]])
def test_a_mask_with_an_index_of_its_own_raises(index):
    with pytest.raises(TaskError, match=r"index of a mask [\s\S]*differs[\s\S]*to_numpy\(\)[\s\S]*reindex"):
        as_positions(pd.Series([True, False, True], index=index), 3, who="t")
    assert as_positions(pd.Series([True, False, True]), 3, who="t").tolist() == [0, 2]


def test_errors_are_of_the_kind_asked_for():
    for rows in ([0.5], [3], [True]):
        with pytest.raises(ConfigError):
            as_positions(rows, 3, who="t", error=ConfigError)
