"""Tasks from the data that come with scikit-learn; nothing is downloaded."""

from typing import Any

import numpy as np
import pandas as pd

from jdl.data.task_classif import TaskClassif
from jdl.data.task_regr import TaskRegr


def breast_cancer() -> TaskClassif:
    """Is a breast tumor malignant? 569 rows, 30 numeric features from images of cell nuclei."""
    return _classif("breast_cancer", "diagnosis", positive="malignant")


def iris() -> TaskClassif:
    """Which of three species is an iris? 150 rows, four measures of its flower."""
    return _classif("iris", "species")


def wine() -> TaskClassif:
    """From which of three growers is a wine? 178 rows, 13 chemical features."""
    return _classif("wine", "grower")


def digits() -> TaskClassif:
    """Which digit was written? 1797 images of 8 x 8 pixels, each a column with a gray level from 0 to 16."""
    return _classif("digits", "digit")


def diabetes() -> TaskRegr:
    """How far has diabetes progressed after a year? 442 rows, ten features, in their own units."""
    from sklearn.datasets import load_diabetes

    frame, target = _frame_of(load_diabetes(scaled=False))
    return TaskRegr(frame.assign(progression=target), target="progression", id="diabetes")


def _classif(name: str, target: str, *, positive: str | None = None) -> TaskClassif:
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    frame, codes = _frame_of(bunch)
    frame[target] = np.asarray(bunch.target_names)[codes]
    return TaskClassif(frame, target=target, id=name, positive=positive)


def _frame_of(bunch: Any) -> tuple[pd.DataFrame, np.ndarray]:
    names = [_readable(name) for name in bunch.feature_names]
    return pd.DataFrame(bunch.data, columns=pd.Index(names, dtype=object)), bunch.target


def _readable(name: str) -> str:
    """The name without its unit and blanks.

    >>> _readable("sepal length (cm)")
    'sepal_length'
    """
    return name.partition(" (")[0].replace(" ", "_").replace("/", "_")
