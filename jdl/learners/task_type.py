"""What learners of a type of task have in common."""

from typing import ClassVar


class ForClassif:
    """Of learners for classification: they predict classes and probabilities."""

    task_type: ClassVar[str] = "classif"
    predict_types: ClassVar[tuple[str, ...]] = ("response", "prob")


class ForRegr:
    """Of learners for regression: they predict numbers."""

    task_type: ClassVar[str] = "regr"
    predict_types: ClassVar[tuple[str, ...]] = ("response",)


class ForRegrByLoss(ForRegr):
    """Of networks for regression: with a loss that fits them, they predict standard errors or quantiles too."""

    predict_types: ClassVar[tuple[str, ...]] = ("response", "se", "quantiles")
