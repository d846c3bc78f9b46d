"""Warnings that the runs of one call share: what many of them have to say is said once."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from jdl.core.errors import JdlWarning

_SAID: ContextVar[set[str] | None] = ContextVar("said", default=None)


@contextmanager
def each_warning_once() -> Iterator[None]:
    """Inside of it `warn_once` says each message once.

    Python's own filters would not do: they start anew whenever some library changes them for a while.

    >>> with warnings.catch_warnings(record=True) as caught, each_warning_once():
    ...     warnings.simplefilter("always")
    ...     for fold in range(3):
    ...         warn_once("the same in every fold")
    >>> len(caught)
    1
    """
    token = _SAID.set(set())
    try:
        yield
    finally:
        _SAID.reset(token)


def warn_once(message: str) -> None:
    """A `JdlWarning`, unless the call that goes on has said the same before."""
    said = _SAID.get()
    if said is not None:
        if message in said:
            return
        said.add(message)
    warnings.warn(message, JdlWarning, stacklevel=2)
