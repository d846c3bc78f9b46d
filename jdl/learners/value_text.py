"""Values as texts that are the same in every process, and different where the values would compute something else."""

import functools
import hashlib
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from jdl.train.run_identity import digest


def text_of(value: Any, seen: frozenset[int] = frozenset()) -> str:
    """A value in words that do not change from process to process.

    Functions are told apart by their names, their code, and the values that they hold.

    >>> text_of((1, "a", None)), text_of(np.arange(3)) == text_of(np.arange(3)), text_of(len)
    ("(1, 'a', None)", True, 'builtins.len')
    >>> text_of(lambda x: 2 * x) == text_of(lambda x: 3 * x)
    False
    """
    if id(value) in seen:
        return "..."
    inner = functools.partial(text_of, seen=seen | {id(value)})
    if isinstance(value, np.ndarray) or hasattr(value, "__jax_array__") or hasattr(value, "addressable_shards"):
        return f"array {digest([np.asarray(value)])}"
    if is_dataclass(value) and not isinstance(value, type):
        inside = ", ".join(f"{f.name}={inner(getattr(value, f.name))}" for f in fields(value))
        return f"{type(value).__name__}({inside})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {inner(v)}" for key, v in value.items()) + "}"
    if isinstance(value, tuple | list):
        return "(" + ", ".join(map(inner, value)) + ")"
    if isinstance(value, functools.partial):
        return f"partial({inner(value.func)}, {inner(value.args)}, {inner(value.keywords)})"
    if isinstance(value, types.FunctionType):
        return _of_function(value, inner)
    if isinstance(value, types.MethodType):
        return f"{inner(value.__self__)}.{inner(value.__func__)}"
    if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        return f"{value.__module__}.{value.__qualname__}"
    if value is None or isinstance(value, str | int | float | bool | np.generic):
        return repr(value.item() if isinstance(value, np.generic) else value)
    text = repr(value)
    return f"{type(value).__module__}.{type(value).__qualname__}" if " at 0x" in text else text


def _of_function(function: types.FunctionType, inner: Any) -> str:
    name = f"{function.__module__}.{function.__qualname__}"
    if function.__module__.partition(".")[0] == "jdl" and "<" not in name:
        return name
    cells = []
    for cell in function.__closure__ or ():
        try:
            cells.append(inner(cell.cell_contents))
        except ValueError:  # an empty cell
            cells.append("empty")
    held = (inner(function.__defaults__), inner(function.__kwdefaults__), *cells)
    code = hashlib.sha256(repr((_of_code(function.__code__), held)).encode()).hexdigest()[:12]
    return f"{name} (code {code})"


def _of_code(code: types.CodeType) -> tuple[Any, ...]:
    constants = tuple(_of_code(c) if isinstance(c, types.CodeType) else repr(c) for c in code.co_consts)
    return code.co_code.hex(), constants, code.co_names, code.co_varnames
