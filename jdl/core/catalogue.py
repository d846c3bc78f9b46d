"""Catalogues: the mapping from names such as "classif.mlp" to plain constructors."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jdl.core.errors import ConfigTypeError, JdlError, UnknownNameError


class Names(list[str]):
    """A list of names that prints as a table with a line of description each."""

    def __init__(self, kind: str, entries: Mapping[str, str]):
        super().__init__(entries)
        self._kind = kind
        self._entries = dict(entries)

    def __repr__(self) -> str:
        width = max(map(len, self._entries), default=0)
        lines = [f"{name:<{width}}  {doc}" for name, doc in self._entries.items()]
        plural = self._kind + ("es" if self._kind.endswith("s") else "s")
        return "\n".join([f"{len(lines)} {plural}", *lines])


class Catalogue(Mapping[str, Callable[..., Any]]):
    """The named constructors of one kind of object.

    >>> shapes = Catalogue("shape", {"list": list, "dict": dict})
    >>> shapes.make("dict", a=1)
    {'a': 1}
    >>> shapes.make("dcit")
    Traceback (most recent call last):
    ...
    jdl.core.errors.UnknownNameError: Unknown shape 'dcit'. Did you mean 'dict'?
    """

    def __init__(self, kind: str, entries: Mapping[str, Callable[..., Any]]):
        self.kind = kind
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> Callable[..., Any]:
        if not isinstance(name, str) or name not in self._entries:
            raise UnknownNameError.of(self.kind, name, self._entries)
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def make(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """A new object of that name.

        Raises:
          UnknownNameError: No entry has the name, or the entry no argument of a name.
          ConfigTypeError: Arguments are missing, or too many.
        """
        constructor = self[name]
        try:
            return constructor(*args, **kwargs)
        except JdlError:
            raise
        except TypeError as error:
            self._refuse_arguments(name, inspect.signature(constructor), args, kwargs, error)
            raise

    def _refuse_arguments(
        self, name: str, signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any], error: TypeError
    ) -> None:
        """Says what Python says of arguments that do not fit, with the nearest valid names."""
        taken = signature.parameters
        if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in taken.values()):
            for argument in kwargs:
                if argument not in taken:
                    raise UnknownNameError.of("argument", argument, taken, owner=f"{self.kind} '{name}'") from error
        try:
            signature.bind(*args, **kwargs)
        except TypeError as mismatch:
            shown = ", ".join(map(str, taken.values())) or "none"
            raise ConfigTypeError(f"{self.kind} '{name}': {mismatch}.\nHint: its arguments are {shown}.") from error

    def names(self) -> Names:
        """All names, in the catalogue's order."""
        return Names(self.kind, {name: _first_line(entry) for name, entry in self._entries.items()})


def _first_line(entry: Callable[..., Any]) -> str:
    return (inspect.getdoc(entry) or "").partition("\n")[0]
