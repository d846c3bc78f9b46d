"""Selectors: values that choose columns by type, name, or what is known of them.

A selector is called with a `TableSpec` and returns column names. `~`, `|` and `&` combine selectors.
`type`, `all` and the like are meant to be used behind the module's name: `selectors.type("float")`.
"""

import abc
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jdl.core.errors import ConfigError, ConfigTypeError, UnknownNameError
from jdl.data.table import NUMERIC_TYPES, TableSpec

_TYPES = (*NUMERIC_TYPES, "category", "ordered")


@dataclass(frozen=True, repr=False)
class Selector(abc.ABC):
    """Chooses columns: `selector(spec)` gives their names, in the order of the spec."""

    @abc.abstractmethod
    def __call__(self, spec: TableSpec) -> tuple[str, ...]:
        """Names of the chosen columns, in the order of the spec."""

    def __invert__(self) -> "Selector":
        return Inverted(self)

    def __or__(self, other: "Columns") -> "Selector":
        return Union((self, as_selector(other)))

    def __and__(self, other: "Columns") -> "Selector":
        return Intersection((self, as_selector(other)))


# What stands for a selector wherever one is taken: a column's name, or several.
Columns = Selector | str | Sequence[str]


@dataclass(frozen=True, repr=False)
class Everything(Selector):
    """All columns."""

    def __call__(self, spec: TableSpec) -> tuple[str, ...]:
        """See `Selector`."""
        return spec.names

    def __repr__(self) -> str:
        return "all()"


@dataclass(frozen=True, repr=False)
class Nothing(Selector):
    """No column."""

    def __call__(self, spec: TableSpec) -> tuple[str, ...]:
        """See `Selector`."""
        del spec
        return ()

    def __repr__(self) -> str:
        return "none()"


@dataclass(frozen=True, repr=False)
class OfType(Selector):
    """Columns of some types."""

    types: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in self.types:
            if name not in _TYPES:
                raise UnknownNameError.of("column type", name, _TYPES, owner="selectors.type()", list_all=True)

    def __call__(self, spec: TableSpec) -> tuple[str, ...]:
        """See `Selector`."""
        return tuple(c.name for c in spec.columns if c.type in self.types)

    def __repr__(self) -> str:
        return f"type({', '.join(map(repr, self.types))})"


@dataclass(frozen=True, repr=False)
class Named(Selector):
    """Columns by their names, all of which must be there."""

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in self.names:
            if not isinstance(name, str):
                raise ConfigTypeError(f"selectors.name(): expected names of columns, got {name!r}.")

    def __call__(self, spec: TableSpec) -> tuple[str, ...]:
        """See `Selector`.

        Raises:
          UnknownNameError: There is no such column.
        """
        for name in self.names:
            if name not in spec.names:
                raise UnknownNameError.of("column", name, spec.names, owner=f"selector {self!r}")
        return tuple(name for name in spec.names if name in self.names)

    def __repr__(self) -> str:
        return f"name({', '.join(map(repr, self.names))})"


@dataclass(frozen=True, repr=False)
class Matching(Selector):
    """Columns in whose name a regular expression is found."""

    pattern: str

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except (re.error, TypeError) as err:
            message = f"selectors.grep(): expected a regular expression, got {self.pattern!r}: {err}."
            raise ConfigError(f"{message}\nHint: re.escape(text) matches a text as it is.") from err

    def __call__(self, spec: TableSpec) -> tuple[str, ...]:
        """See `Selector`."""
        return tuple(name for name in spec.names if re.search(self.pattern, name))

    def __repr__(self) -> str:
        return f"grep({self.pattern!r})"


@dataclass(frozen=True, repr=False)
class WithMissing(Selector):
    """Columns that may hold missing values."""

    def __call__(self, spec: TableSpec) -> tuple[str, ...]:
        """See `Selector`."""
        return tuple(c.name for c in spec.columns if c.missing)

    def __repr__(self) -> str:
        return "missing()"


@dataclass(frozen=True, repr=False)
class ManyLevels(Selector):
    """Coded columns with more than `n` levels."""

    n: int

    def __post_init__(self) -> None:
        if not isinstance(self.n, int):
            raise ConfigTypeError(f"selectors.cardinality_greater_than(): expected an integer, got {self.n!r}.")

    def __call__(self, spec: TableSpec) -> tuple[str, ...]:
        """See `Selector`."""
        return tuple(c.name for c in spec.categorical if len(c.levels) > self.n)

    def __repr__(self) -> str:
        return f"cardinality_greater_than({self.n})"


@dataclass(frozen=True, repr=False)
class Inverted(Selector):
    """Columns that another selector does not choose."""

    selector: Selector

    def __call__(self, spec: TableSpec) -> tuple[str, ...]:
        """See `Selector`."""
        chosen = set(self.selector(spec))
        return tuple(name for name in spec.names if name not in chosen)

    def __repr__(self) -> str:
        return f"~{self.selector!r}"


@dataclass(frozen=True, repr=False)
class Union(Selector):
    """Columns that any of some selectors chooses."""

    selectors: tuple[Selector, ...]

    def __call__(self, spec: TableSpec) -> tuple[str, ...]:
        """See `Selector`."""
        chosen = {name for selector in self.selectors for name in selector(spec)}
        return tuple(name for name in spec.names if name in chosen)

    def __repr__(self) -> str:
        return f"({' | '.join(map(repr, self.selectors))})"


@dataclass(frozen=True, repr=False)
class Intersection(Selector):
    """Columns that each of some selectors chooses."""

    selectors: tuple[Selector, ...]

    def __call__(self, spec: TableSpec) -> tuple[str, ...]:
        """See `Selector`."""
        each = [set(selector(spec)) for selector in self.selectors]
        return tuple(name for name in spec.names if sum(name in chosen for chosen in each) == len(each))

    def __repr__(self) -> str:
        return f"({' & '.join(map(repr, self.selectors))})"


def as_selector(value: Any) -> Selector:
    """A selector as it is; a column's name, or several, as the selector of these.

    Raises:
      ConfigTypeError: Something else.
    """
    if isinstance(value, Selector):
        return value
    if isinstance(value, str):
        return Named((value,))
    if isinstance(value, list | tuple):
        return Named(tuple(value))
    raise ConfigTypeError(
        f"selector: expected a selector or names of columns, got {value!r}.\n"
        "Hint: jdl.selectors.type('float'), jdl.selectors.name('age')."
    )


def type(*types: str) -> Selector:
    """Columns of these types: "bool", "int", "float", "category", "ordered".

    >>> from jdl.data.table import Column
    >>> spec = TableSpec.of([Column("age", "int"), Column("sex", "category", ("f", "m"))])
    >>> type("int", "float")(spec)
    ('age',)
    >>> (~type("int"))(spec)
    ('sex',)

    Raises:
      UnknownNameError: There is no such type.
    """
    return OfType(types)


def name(*names: str) -> Selector:
    """Columns by name; one that is not there is an error when the selector is used."""
    return Named(names)


def grep(pattern: str) -> Selector:
    r"""Columns in whose name the regular expression is found.

    >>> from jdl.data.table import Column
    >>> grep(r"\d$")(TableSpec.of([Column("x1", "float"), Column("y", "float")]))
    ('x1',)

    Raises:
      ConfigError: It is no regular expression.
    """
    return Matching(pattern)


def all() -> Selector:
    """All columns."""
    return Everything()


def none() -> Selector:
    """No column."""
    return Nothing()


def missing() -> Selector:
    """Columns that hold missing values in the rows that train, those of all iterations of a resampling together."""
    return WithMissing()


def cardinality_greater_than(n: int) -> Selector:
    """Coded columns with more than `n` levels."""
    return ManyLevels(n)


def invert(selector: Columns) -> Selector:
    """Columns that the selector does not choose; `~selector`."""
    return Inverted(as_selector(selector))


def union(*selectors: Columns) -> Selector:
    """Columns that any of the selectors chooses; `a | b`."""
    return Union(tuple(map(as_selector, selectors)))


def intersect(*selectors: Columns) -> Selector:
    """Columns that each of the selectors chooses; `a & b`."""
    return Intersection(tuple(map(as_selector, selectors)))
