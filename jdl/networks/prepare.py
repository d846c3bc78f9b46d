"""What a module takes from the training rows, by a method `prepare` whose arguments have known names."""

import inspect
from typing import Any

import numpy as np

_NAMES = {"x", "x_num", "x_cat", "key", "target"}


def prepare_arguments(module: Any) -> tuple[str, ...] | None:
    """What the `prepare` of a module, or of its class, takes; None where there is none, or one that asks for more.

    >>> class Scaled:
    ...     def prepare(self, x_num, target=None): ...
    >>> prepare_arguments(Scaled), prepare_arguments(object)
    (('x_num', 'target'), None)
    """
    method = getattr(module, "prepare", None)
    if not callable(method):
        return None
    names = tuple(name for name in inspect.signature(method).parameters if name != "self")
    return names if names and {*names} <= _NAMES else None


def prepare(module: Any, x_num: np.ndarray | None, x_cat: np.ndarray | None, target: Any, key: Any) -> None:
    """Hands the training rows to a module as its `prepare` asks for them; nothing where it has none.

    Args:
      module: Is changed in place.
      x_num: Numbers, also for an argument called x; None if there are no such columns.
      x_cat: Codes of categories; None if there are no such columns.
      target: Of each row.
      key: For what it draws.
    """
    given = {"x": x_num, "x_num": x_num, "x_cat": x_cat, "key": key, "target": target}
    names = prepare_arguments(module)
    if names is not None:
        module.prepare(**{name: given[name] for name in names})
