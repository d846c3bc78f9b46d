"""Select functions: which parameters of a network, by their dotted names.

A Select is called with names such as `blocks.0.linear.kernel` and returns those that it chooses, in their order.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
from flax import nnx

from jdl.core.errors import ConfigError, UnknownNameError
from jdl.networks.paths import path_names

Select = Callable[[Sequence[str]], tuple[str, ...]]


def parameter_names(model: nnx.Module) -> tuple[str, ...]:
    """The dotted name of every parameter of a network.

    >>> parameter_names(nnx.Linear(2, 3, rngs=nnx.Rngs(0)))
    ('bias', 'kernel')
    """
    params = nnx.split(model, nnx.Param, ...)[1]
    return tuple(".".join(path_names(path)) for path, _ in jax.tree_util.tree_flatten_with_path(params)[0])


@dataclass(frozen=True)
class _All:
    def __call__(self, names: Sequence[str]) -> tuple[str, ...]:
        return tuple(names)


@dataclass(frozen=True)
class _Grep:
    pattern: str
    ignore_case: bool
    fixed: bool

    def __call__(self, names: Sequence[str]) -> tuple[str, ...]:
        pattern = re.escape(self.pattern) if self.fixed else self.pattern
        found = re.compile(pattern, re.IGNORECASE if self.ignore_case else 0)
        return tuple(name for name in names if found.search(name))


@dataclass(frozen=True)
class _Name:
    names: tuple[str, ...]
    assert_present: bool

    def __call__(self, names: Sequence[str]) -> tuple[str, ...]:
        absent = next((name for name in self.names if name not in names), None)
        if absent is not None and self.assert_present:
            raise UnknownNameError.of("parameter", absent, names, owner="select_name")
        return tuple(name for name in names if name in self.names)


@dataclass(frozen=True)
class _Invert:
    select: Any

    def __call__(self, names: Sequence[str]) -> tuple[str, ...]:
        chosen = set(self.select(names))
        return tuple(name for name in names if name not in chosen)


def select_all() -> Select:
    """All parameters."""
    return _All()


def select_none() -> Select:
    """No parameter."""
    return _Invert(_All())


def select_grep(pattern: str, *, ignore_case: bool = False, fixed: bool = False) -> Select:
    r"""Parameters in whose name a regular expression (or, if `fixed`, a text) is found.

    >>> select_grep(r"bias$")(["head.kernel", "head.bias"])
    ('head.bias',)

    Raises:
      ConfigError: It is no regular expression.
    """
    try:
        re.compile(pattern)
    except (re.error, TypeError) as error:
        if not fixed or not isinstance(pattern, str):
            raise ConfigError(f"select_grep: expected a regular expression, got {pattern!r}: {error}.") from error
    return _Grep(pattern, ignore_case, fixed)


def select_name(*names: str, assert_present: bool = True) -> Select:
    """Parameters by name; one that is not there is an error when they are chosen, unless told otherwise."""
    return _Name(names, assert_present)


def select_invert(select: Select) -> Select:
    """The parameters that another Select does not choose."""
    return _Invert(select)
