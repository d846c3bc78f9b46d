"""Paths of parameters, as optimizers meet them: tuples of names and numbers, or JAX's key paths."""

from collections.abc import Iterable
from typing import Any


def path_names(path: Iterable[Any]) -> tuple[str, ...]:
    """The parts of a path as text; what wraps a value in a key path is no part of it.

    >>> path_names(("blocks", 0, "kernel"))
    ('blocks', '0', 'kernel')
    >>> import jax
    >>> [(path, _)] = jax.tree_util.tree_flatten_with_path({"head": {"bias": 1.0}})[0]
    >>> path_names(path)
    ('head', 'bias')
    """
    names = []
    for part in path:
        for attribute in ("key", "name", "idx"):
            if hasattr(part, attribute) and not isinstance(part, str | int):
                part = getattr(part, attribute)
                break
        names.append(str(part))
    # A tree of `nnx.State` ends its key paths with the variable's own field.
    return tuple(names[:-1] if names and names[-1] == "value" else names)
