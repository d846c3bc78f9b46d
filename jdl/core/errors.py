"""The error tree. Every error that a caller can cause is a `JdlError` and a fitting builtin too.

A message says who complains, what was expected, what came, and what to do about it.
"""

import difflib
from collections.abc import Iterable
from typing import Any


class JdlError(Exception):
    """Root of all errors that jdl raises on purpose.

    Args:
      result: What was computed before, where there is something; None else.
    """

    result: Any = None


class TaskError(JdlError, ValueError):
    """Data that cannot be used: a missing column, a wrong type, a target with one class."""


class ConfigError(JdlError, ValueError):
    """A hyperparameter or option outside of what its owner takes."""


class ConfigTypeError(ConfigError, TypeError):
    """A hyperparameter or option of the wrong type."""


class UnknownNameError(ConfigError, LookupError):
    """A name that is in no list; the message holds the nearest ones that are."""

    @classmethod
    def of(
        cls, kind: str, name: object, valid: Iterable[str], *, owner: str = "", list_all: bool = False
    ) -> "UnknownNameError":
        """Error for `name`, which is no `kind`, with the nearest valid names, and on request all of them.

        >>> print(UnknownNameError.of("learner", "classif.mpl", ["classif.mlp", "regr.mlp"]))
        Unknown learner 'classif.mpl'. Did you mean 'classif.mlp'?
        """
        of_owner = f" of {owner}" if owner else ""
        names = suggest(name, valid)
        if list_all and not names.startswith("Valid"):
            names += f" Valid: {', '.join(valid)}."
        return cls(f"Unknown {kind} {shown(name)}{of_owner}. {names}")


class ShapeError(JdlError, ValueError):
    """Arrays whose shapes do not fit together."""


class GraphError(JdlError, ValueError):
    """A pipeline whose parts do not fit together."""


class NotFittedError(JdlError, AttributeError):
    """Something that only a fitted learner has was asked of an untrained one."""


class DivergedError(JdlError, FloatingPointError):
    """A training run whose loss became NaN or infinite."""


class CallbackError(JdlError, RuntimeError):
    """A callback raised; its error is chained."""


class CheckpointError(JdlError, ValueError):
    """Files that are no complete, unaltered checkpoint."""


class MissingPackageError(JdlError, ImportError):
    """An optional package that is needed here is not installed."""

    @classmethod
    def of(cls, who: str, package: str, extra: str) -> "MissingPackageError":
        """Error of `who`, which needs `package`, installed by jdl's `extra`."""
        return cls(f"{who} needs the package '{package}'.\nHint: pip install 'jdl[{extra}]'.")


class JdlWarning(UserWarning):
    """Something that the user should know although the result stands."""


def shown(value: Any, most: int = 80) -> str:
    """A value as messages show it: NumPy's numbers as plain ones, and what is long by what it is, or cut.

    >>> import numpy as np
    >>> shown(np.True_), shown("a"), shown(np.zeros((3, 2))), shown(tuple(range(5)), most=9)
    ('True', "'a'", 'ndarray of shape (3, 2)', '(0, 1 ...')
    """
    shape = getattr(value, "shape", None)
    if shape == () and hasattr(value, "item"):
        value = value.item()
    elif isinstance(shape, tuple) and shape:
        text = f"({shape[0]},)" if len(shape) == 1 else str(tuple(shape))
        return f"{type(value).__name__} of shape {text}"
    text = " ".join(repr(value).split())
    return text if len(text) <= most else f"{text[: most - 3].rstrip(' ,')} ..."


def suggest(name: object, valid: Iterable[str]) -> str:
    """One sentence with the valid names nearest to `name`, or all of them where none is near."""
    names = sorted(valid)
    if not names:
        return "It takes none."
    # Whoever leaves out what stands before the last dot knows the name: "acc", "lr".
    near = [n for n in names if n.rpartition(".")[2] == name] or difflib.get_close_matches(str(name), names, 3, 0.55)
    if near:
        return f"Did you mean {' or '.join(repr(n) for n in near)}?"
    return f"Valid: {', '.join(names[:30])}" + (", ..." if len(names) > 30 else ".")
