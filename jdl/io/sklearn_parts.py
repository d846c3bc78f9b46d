"""Fitted scikit-learn objects as arrays of bytes, by skops: types that are neither known nor trusted are refused."""

import zipfile
from typing import Any

import numpy as np

from jdl.core.errors import CheckpointError, ConfigTypeError, MissingPackageError, shown
from jdl.io.names import Trust, untrusted

# What skops itself does not know, and the ready-made learners are made of.
_KNOWN = ("sklearn.tree._tree.Tree", "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor")


def is_sklearn(part: Any) -> bool:
    """Whether it is an estimator, fitted or not."""
    return hasattr(part, "get_params") and hasattr(part, "fit") and not isinstance(part, type)


def to_bytes(part: Any) -> np.ndarray:
    """An estimator as bytes.

    Raises:
      MissingPackageError: skops is not installed.
      ConfigTypeError: skops cannot save it.
    """
    skops = _skops(f"save: {type(part).__name__}, a scikit-learn estimator,")
    try:
        content = skops.dumps(part, compression=zipfile.ZIP_DEFLATED)
    except Exception as error:
        raise ConfigTypeError(
            f"save: skops cannot save {shown(part)}: {type(error).__name__}: {error}\nHint: lambdas and functions "
            "inside of functions cannot be saved; define them at the top level of a module."
        ) from error
    return np.frombuffer(content, np.uint8)


def from_bytes(content: np.ndarray, trust: Trust) -> Any:
    """The estimator that `to_bytes` took apart.

    Raises:
      MissingPackageError: skops is not installed.
      CheckpointError: It holds types that nobody trusts, or is damaged.
    """
    skops = _skops("load: a scikit-learn estimator")
    data = content.tobytes()
    try:
        types = skops.get_untrusted_types(data=data)
        strange = [name for name in types if name not in _KNOWN and not trust.covers(name)]
        if not strange:
            return skops.loads(data, trusted=types)
    except Exception as error:
        raise CheckpointError(f"skops cannot read an estimator: {type(error).__name__}: {error}") from error
    raise untrusted(strange)


def _skops(who: str) -> Any:
    try:
        import skops.io
    except ImportError as error:
        raise MissingPackageError.of(who, "skops", "sklearn") from error
    return skops.io
