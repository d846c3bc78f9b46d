"""Hyperparameter fields: type, range, default, tags, and whether a change of value recompiles."""

import dataclasses
import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from jdl.core.errors import ConfigError, ConfigTypeError, UnknownNameError, shown

Kind = Literal["int", "float", "bool", "str", "ints", "floats", "any"]
REQUIRED: Any = type("Required", (), {"__repr__": lambda self: "<required>"})()


@dataclass(frozen=True)
class Field:
    """What one hyperparameter may be.

    Args:
      kind: Type of a value; "ints" and "floats" are tuples (a list or one number is taken too).
      default: Value when none is given; `REQUIRED` if one must be.
      low: Least value.
      high: Greatest value.
      open_low: Whether `low` itself is refused.
      choices: All values that a "str" may take; None leaves it open.
      length: Number of values of a tuple; None leaves it open.
      dynamic: An array at run time: changing it never recompiles.
      optional: Whether None is a value.
      tags: When it acts ("train", "predict"), and what kind of thing it is.
      convert: Called last, with the value; returns what is kept, or raises `ConfigError`, which the owner's name
        is put before.
      doc: One line.
    """

    kind: Kind = "any"
    default: Any = REQUIRED
    low: float | None = None
    high: float | None = None
    open_low: bool = False
    choices: tuple[str, ...] | None = None
    length: int | None = None
    dynamic: bool = False
    optional: bool = False
    tags: tuple[str, ...] = ("train",)
    convert: Callable[[Any], Any] | None = None
    doc: str = ""

    def check(self, owner: str, name: str, value: Any) -> Any:
        """The value in its kept form.

        Raises:
          ConfigTypeError: The value is of another type.
          ConfigError: The value is out of range.
        """
        if value is None and self.optional:
            return None
        try:
            value = _CONVERTERS[self.kind](value)
        except (TypeError, ValueError, OverflowError):
            message = f"{owner}: hyperparameter '{name}' must be {self.expected()}, got {shown(value)}."
            raise ConfigTypeError(message) from None
        values = value if self.kind in ("ints", "floats") else (value,)
        if not all(self._in_range(v) for v in values) or self.length not in (None, len(values)):
            raise ConfigError(f"{owner}: hyperparameter '{name}' must be {self.expected()}, got {shown(value)}.")
        return self._converted(owner, value) if self.convert else value

    def _converted(self, owner: str, value: Any) -> Any:
        assert self.convert is not None
        try:
            return self.convert(value)
        except ConfigError as error:
            if owner in str(error):
                raise
            raise type(error)(f"{owner}: {error}") from error

    def _in_range(self, value: Any) -> bool:
        if self.choices is not None:
            return value in self.choices
        if self.low is not None and (value < self.low or (self.open_low and value == self.low)):
            return False
        return self.high is None or value <= self.high

    def expected(self) -> str:
        """The values it takes, in words."""
        if self.choices is not None:
            return "one of " + ", ".join(repr(c) for c in self.choices)
        noun = _NOUNS[self.kind] if self.length is None else f"{self.length} numbers"
        return noun + (f" in {self.range()}" if self.range() else "") + (" or None" if self.optional else "")

    def range(self) -> str:
        """The interval of its values, or an empty text."""
        if self.low is None and self.high is None:
            return ""
        left = "(" if self.open_low or self.low is None else "["
        right = ")" if self.high is None else "]"
        low = -math.inf if self.low is None else self.low
        return f"{left}{low:g}, {math.inf if self.high is None else self.high:g}{right}"


def check_values(owner: str, fields: Mapping[str, Field], given: Mapping[str, Any]) -> dict[str, Any]:
    """The given values, each checked, in the order of the fields.

    Raises:
      UnknownNameError: A name that no field has.
    """
    for name in given:
        if name not in fields:
            raise UnknownNameError.of("hyperparameter", name, fields, owner=owner)
    return {name: f.check(owner, name, given[name]) for name, f in fields.items() if name in given}


def with_defaults(owner: str, fields: Mapping[str, Field], given: Mapping[str, Any]) -> dict[str, Any]:
    """A value for every field: the given one, checked, or its default.

    Raises:
      ConfigError: A required value was not given.
    """
    values = check_values(owner, fields, given)
    for name, field in fields.items():
        if name not in values and field.default is REQUIRED:
            what = field.doc if field.kind == "any" and field.doc else f"Expected: {field.expected()}."
            raise ConfigError(f"{owner}: '{name}' is required, got none. {what}")
    return {name: values.get(name, field.default) for name, field in fields.items()}


def check_compares(part: Any) -> None:
    """Refuses a value that holds more than the fields of its dataclass: it would equal others that mean something else.

    Raises:
      ConfigTypeError: It has attributes that are no fields.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Part:
    ...     size: int = 1
    >>> check_compares(Part())
    """
    names = {f.name for f in dataclasses.fields(part)}
    cls = type(part)
    extra = [
        n
        for n in getattr(part, "__dict__", ())
        if n not in names and not isinstance(getattr(cls, n, None), cached_property)
    ]
    if extra:
        raise ConfigTypeError(
            f"{cls.__name__}: '{extra[0]}' is no field of the class, so that objects in which it differs compare equal "
            f"and would share one compiled program.\nHint: decorate it with @dataclass(frozen=True) and annotate "
            f"'{extra[0]}' in the class, in place of __init__."
        )


def _as_int(value: Any) -> int:
    number = _as_float(value)
    if number != int(number):
        raise TypeError
    return int(value)


def _as_float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or math.isnan(value):
        raise TypeError
    return float(value)


def _as_bool(value: Any) -> bool:
    if not isinstance(value, bool) and type(value).__name__ != "bool":
        raise TypeError
    return bool(value)


def _as_str(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _as_ints(value: Any) -> tuple[int, ...]:
    return tuple(_as_int(v) for v in ([value] if isinstance(value, numbers.Real) else value))


def _as_floats(value: Any) -> tuple[float, ...]:
    return tuple(_as_float(v) for v in ([value] if isinstance(value, numbers.Real) else value))


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "int": _as_int,
    "float": _as_float,
    "bool": _as_bool,
    "str": _as_str,
    "ints": _as_ints,
    "floats": _as_floats,
    "any": lambda value: value,
}
_NOUNS = {
    "int": "an integer",
    "float": "a number",
    "bool": "True or False",
    "str": "a text",
    "ints": "a sequence of integers",
    "floats": "a sequence of numbers",
    "any": "a value",
}
