"""Learners that ignore the features: what every other learner must beat."""

from typing import Any, ClassVar

import numpy as np

from jdl.core.fields import Field
from jdl.core.random import RandomKey
from jdl.data.table import Table, TableSpec
from jdl.learners.host import HostLearner
from jdl.learners.target import Target
from jdl.learners.task_type import ForClassif, ForRegr
from jdl.learners.weights import weighted_median, weighted_moments


class ClassifFeatureless(ForClassif, HostLearner):
    """Predicts the class frequencies of the training rows for every row.

    >>> ClassifFeatureless().predict_types
    ('response', 'prob')
    """

    name: ClassVar[str] = "classif.featureless"
    takes_weights: ClassVar[bool] = True

    def fit(self, spec: TableSpec, table: Table, target: Target, key: RandomKey) -> Any:
        """The class frequencies."""
        del spec, table, key
        counts = np.bincount(target.values, target.weights, minlength=target.n_classes)
        return counts / counts.sum()

    def outputs(self, model: Any, spec: TableSpec, table: Table, class_names: tuple[Any, ...]) -> np.ndarray:
        """The frequencies, once per row."""
        del spec, class_names
        return np.tile(model, (table.n_rows, 1))


class RegrFeatureless(ForRegr, HostLearner):
    """Predicts the mean (or, if `robust`, the median) of the training targets for every row.

    >>> RegrFeatureless(robust=True).get("robust")
    True
    """

    name: ClassVar[str] = "regr.featureless"
    takes_weights: ClassVar[bool] = True
    fields: ClassVar[dict[str, Field]] = {"robust": Field("bool", False, doc="Median instead of mean.")}

    def fit(self, spec: TableSpec, table: Table, target: Target, key: RandomKey) -> Any:
        """The mean or median."""
        del spec, table, key
        if target.weights is not None:
            if self.values["robust"]:
                return weighted_median(target.values, target.weights)
            return weighted_moments(target.values, target.weights)[0]
        return float(np.median(target.values) if self.values["robust"] else np.mean(target.values))

    def outputs(self, model: Any, spec: TableSpec, table: Table, class_names: tuple[Any, ...]) -> np.ndarray:
        """The same number for every row."""
        del spec, class_names
        return np.full(table.n_rows, model)
