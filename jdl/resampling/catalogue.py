"""Names of resamplings."""

import numbers
from typing import Any

from jdl.core.catalogue import Catalogue
from jdl.core.errors import ConfigTypeError, shown
from jdl.resampling.bootstrap import Bootstrap
from jdl.resampling.custom import Custom, CustomCV
from jdl.resampling.cv import CV, RepeatedCV
from jdl.resampling.holdout import Holdout, Subsampling
from jdl.resampling.splitter import Splitter
from jdl.resampling.whole import Insample, LeaveOneOut

RESAMPLINGS = Catalogue(
    "resampling",
    {
        "holdout": Holdout,
        "cv": CV,
        "repeated_cv": RepeatedCV,
        "bootstrap": Bootstrap,
        "subsampling": Subsampling,
        "loo": LeaveOneOut,
        "insample": Insample,
        "custom": Custom,
        "custom_cv": CustomCV,
    },
)


def as_resampling(resampling: Any) -> Splitter:
    """The splitter itself, or the one of that name.

    Raises:
      UnknownNameError: No resampling has the name.
      ConfigTypeError: Neither a splitter nor a name.

    >>> as_resampling("cv")
    CV(folds=10, stratify=None)
    """
    if isinstance(resampling, Splitter):
        return resampling
    if isinstance(resampling, str):
        return RESAMPLINGS.make(resampling)
    raise ConfigTypeError(f"A resampling or its name is needed, got {shown(resampling)}.\nHint: {_hint(resampling)}.")


def _hint(resampling: Any) -> str:
    """What may have been meant by something that is no resampling."""
    if isinstance(resampling, type):
        return f"pass {resampling.__name__}()"
    if isinstance(resampling, numbers.Integral) and not isinstance(resampling, bool):
        return f"jdl.rsmp('cv', folds={int(resampling)})"
    if hasattr(resampling, "get_n_splits"):
        return "train, test = zip(*splitter.split(frame, labels)); jdl.rsmp('custom', train_sets=train, test_sets=test)"
    return "pass 'cv'"
