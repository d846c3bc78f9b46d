import numpy as np
import pytest
from sklearn import datasets

from jdl.data.datasets import bundled


@pytest.mark.parametrize("name", ["breast_cancer", "iris", "wine", "digits"])
def test_classification_data_equal_scikit_learns(name):
    task, bunch = getattr(bundled, name)(), getattr(datasets, f"load_{name}")()
    np.testing.assert_array_equal(task.table.numeric, bunch.data.astype(np.float32))
    np.testing.assert_array_equal(task.truth(), bunch.target_names[bunch.target])
    assert task.class_names == sorted(np.asarray(bunch.target_names).tolist())
    assert task.id == name and not any(" " in feature for feature in task.feature_names)


def test_diabetes_is_in_its_own_units():
    task, bunch = bundled.diabetes(), datasets.load_diabetes(scaled=False)
    np.testing.assert_array_equal(task.table.numeric, bunch.data.astype(np.float32))
    np.testing.assert_array_equal(task.target_values, bunch.target)


def test_readable_names():
    assert bundled.breast_cancer().positive == "malignant"
    assert bundled.breast_cancer().feature_names[:2] == ["mean_radius", "mean_texture"]
    assert bundled.iris().feature_names == ["sepal_length", "sepal_width", "petal_length", "petal_width"]
