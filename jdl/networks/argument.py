"""Arguments of functions and classes of others as hyperparameters, which programs must be able to compare and hash."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jdl.core.errors import ConfigTypeError, shown

_PLAIN = (bool, int, float, complex, str, bytes, type(None))


@dataclass(frozen=True, repr=False)
class Kept:
    """A list, set or dict that nobody can change, or a number that must not equal one of another type.

    Args:
      kind: "list", "set", "dict", "bool" or "float".
      items: Its items, kept themselves; pairs of key and value of a dict.
    """

    kind: str
    items: tuple[Any, ...]

    def __repr__(self) -> str:
        return repr(handed_out(self))


@dataclass(frozen=True, eq=False, repr=False)
class KeptArray:
    """An array that compares as a whole.

    Args:
      values: Nobody else has it.
    """

    values: np.ndarray

    @cached_property
    def _identity(self) -> tuple[Any, ...]:
        return _array_identity(self.values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeptArray) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    def __repr__(self) -> str:
        return shown(self.values)


@dataclass(frozen=True, eq=False, repr=False)
class KeptModule:
    """A module that compares by its structure and values.

    Args:
      module: Nobody else has it.
    """

    module: nnx.Module

    @cached_property
    def _identity(self) -> tuple[Any, ...]:
        graph, state = nnx.split(self.module)
        return graph, *map(_array_identity, jax.tree.leaves(state))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeptModule) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    def __repr__(self) -> str:
        return f"<{type(self.module).__name__}>"


def _array_identity(values: Any) -> tuple[Any, ...]:
    if jnp.issubdtype(values.dtype, jax.dtypes.prng_key):
        values = jax.random.key_data(values)
    return values.shape, str(values.dtype), np.asarray(values).tobytes()


@dataclass(frozen=True, repr=False)
class Declared:
    """The default of an argument, left to the function or class that declares it.

    Args:
      text: For those who read the list of hyperparameters.
    """

    text: str

    @classmethod
    def of(cls, default: Any) -> "Declared":
        """That of an argument with this default; its text is the same in every process."""
        name = getattr(default, "__name__", None)
        text = name if isinstance(name, str) else shown(default)
        return cls(type(default).__name__ if " at 0x" in text else text)

    def __repr__(self) -> str:
        return f"<{self.text}>"


def kept(value: Any, who: str = "argument") -> Any:
    """A value that compares and hashes, from which `handed_out` makes an equal one of the same type.

    Args:
      value: Lists, sets, dicts, tuples, arrays and modules are copied; what else is hashable is kept as it is.
      who: For the message.

    Raises:
      ConfigTypeError: It cannot be hashed.

    >>> kept([8, 4]) == kept([8, 4]), kept([8, 4]), handed_out(kept({"a": [1]}))
    (True, [8, 4], {'a': [1]})
    """
    if type(value) is bool or (type(value) is float and value.is_integer()):
        return Kept(type(value).__name__, (value,))  # 1, 1.0 and True are equal, but not to every function
    if isinstance(value, nnx.Module):
        return KeptModule(nnx.clone(value))
    if type(value) is tuple:
        return tuple(kept(part, who) for part in value)
    if type(value) is list:
        return Kept("list", tuple(kept(part, who) for part in value))
    if type(value) is set:
        return Kept("set", tuple(sorted(value, key=repr)))
    if isinstance(value, Mapping):
        return Kept("dict", tuple((key, kept(part, who)) for key, part in value.items()))
    if isinstance(value, np.ndarray | jax.Array):
        return KeptArray(np.array(value))
    try:
        hash(value)
    except TypeError as error:
        raise ConfigTypeError(
            f"{who}: expected a number, text, function, list, dict, array, or what else can be hashed, got "
            f"{shown(value)} of the class {type(value).__name__}.\n"
            "Hint: a frozen dataclass; networks whose arguments are equal share a compiled program."
        ) from error
    return value


def kept_default(default: Any, who: str = "argument") -> Any:
    """A default in its kept form: as it is where it is plain data, else `Declared`.

    >>> kept_default(0.5), kept_default([8]), kept_default(len)
    (0.5, [8], <len>)
    """
    return kept(default, who) if _is_data(default) else Declared.of(default)


def handed_out(value: Any) -> Any:
    """What was kept, in its own type; lists, dicts, arrays and modules are new ones."""
    if isinstance(value, KeptArray):
        return value.values.copy()
    if isinstance(value, KeptModule):
        return nnx.clone(value.module)
    if isinstance(value, Kept):
        return _MAKERS[value.kind](value.items)
    return tuple(map(handed_out, value)) if type(value) is tuple else value


_MAKERS: dict[str, Callable[[tuple[Any, ...]], Any]] = {
    "bool": lambda items: items[0],
    "float": lambda items: items[0],
    "list": lambda items: list(map(handed_out, items)),
    "set": set,
    "dict": lambda items: {key: handed_out(part) for key, part in items},
}


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments to call with: kept ones handed out, less those whose default was left to what is called.

    >>> given({"sizes": kept([8]), "init": kept_default(len)})
    {'sizes': [8]}
    """
    return {name: handed_out(value) for name, value in values.items() if not isinstance(value, Declared)}


def _is_data(value: Any) -> bool:
    if type(value) in (list, tuple, set):
        return all(map(_is_data, value))
    if type(value) is dict:
        return all(_is_data(key) and _is_data(part) for key, part in value.items())
    return type(value) in _PLAIN or isinstance(value, np.ndarray | np.generic | jax.Array)
