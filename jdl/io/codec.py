"""Objects as JSON and arrays, and back. Only values of known types are made; no code comes from a file.

Numbers, texts, lists and dicts stand for themselves. Everything else is a dict with the key "$", which says what
it is: a list makes it a tuple; else it names a builtin that JSON lacks, a class (`module:Class`) beside the values of
its fields, or a *form*, by which objects that are no dataclasses are taken apart. An object of a class that stands in
several places is written once, and later called by its number among all of them. Arrays stand apart, under the path
of the object.
"""

import dataclasses
import enum
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from jdl.core.errors import CheckpointError, ConfigTypeError, JdlError, MissingPackageError, shown
from jdl.io.arrays import DTYPES, is_key
from jdl.io.names import Trust, name_of, untrusted

_KIND = "$"
_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_SCALARS = (jnp.float32, jnp.float64, jnp.float16, jnp.bfloat16, jnp.int32, jnp.int64, jnp.int8, jnp.uint8, jnp.bool_)
Path = tuple[str, ...]


@dataclass(frozen=True)
class Form:
    """How objects that are no dataclasses, or are not to be saved field by field, are taken apart and made again.

    Args:
      name: In files; without a colon.
      fits: Whether an object is one of them.
      take: Values from which it can be made again, each of which the codec can encode.
      make: The object from the values; the trust of the caller tells what more may be looked up.
    """

    name: str
    fits: Callable[[Any], bool]
    take: Callable[[Any], Mapping[str, Any]]
    make: Callable[[Mapping[str, Any], Trust], Any]


@dataclass(frozen=True)
class Arrays:
    """Marks a pytree of arrays: only its arrays are kept, and come back as nested dicts."""

    tree: Any


@dataclass(frozen=True)
class Named:
    """Marks a function, class or other object that is looked up by its name."""

    part: Any
    name: str | None = None


class Codec:
    """Encodes and decodes; see the module.

    Args:
      forms: Asked in this order, before all else.

    >>> spec, arrays = Codec().encode({"a": (1, math.inf), "b": np.zeros(2)})
    >>> spec["a"], list(arrays)
    ({'$': [1, {'$': 'float', 'value': 'inf'}]}, ['b'])
    >>> Codec().decode(spec, arrays)
    {'a': (1, inf), 'b': array([0., 0.])}
    """

    def __init__(self, forms: Sequence[Form] = ()):
        self._forms = tuple(forms)

    def encode(self, value: Any) -> tuple[Any, dict[str, Any]]:
        """The value as JSON, and its arrays as nested dicts.

        Raises:
          ConfigTypeError: Names where something is that cannot be saved, such as a lambda.
        """
        encoder = _Encoder(self._forms)
        return encoder.encode(value, ()), encoder.arrays

    def can_encode(self, value: Any) -> bool:
        """Whether `encode` takes it."""
        try:
            self.encode(value)
        except ConfigTypeError:
            return False
        return True

    def decode(self, spec: Any, arrays: Any, trust: Trust | None = None) -> Any:
        """The value that was encoded.

        Raises:
          CheckpointError: It needs what is neither known nor trusted, or makes no sense.
        """
        trust = trust or Trust()
        try:
            missing = {name for name in _names_in(spec) if not trust.knows(name)}
            if missing:
                raise untrusted(missing)
            return _Decoder(self._forms, arrays or {}, trust).decode(spec)
        except RecursionError as error:
            raise CheckpointError("its spec is nested too deeply.") from error


@dataclass
class _Encoder:
    forms: tuple[Form, ...]
    arrays: dict[str, Any] = field(default_factory=dict)
    written: dict[int, tuple[int, Any]] = field(default_factory=dict)  # with the object, lest its id is given anew

    def encode(self, value: Any, path: Path) -> Any:
        for form in self.forms:
            if form.fits(value):
                return {_KIND: form.name, **self._fields(form.take(value), path)}
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {_KIND: "float", "value": repr(value)}
        if isinstance(value, list | tuple | set | frozenset | dict) and type(value).__module__ == "builtins":
            return self._container(value, path)
        if isinstance(value, np.ndarray) and value.dtype.kind == "U":
            return {_KIND: "texts", "shape": list(value.shape), "items": value.ravel().tolist()}
        if isinstance(value, np.ndarray | jax.Array):
            if value.dtype.name not in DTYPES and not is_key(value.dtype):
                raise _refused(path, value, "arrays of this type cannot be saved")
            return self._array(value, path)
        if isinstance(value, Arrays):
            return {**self._array(value.tree, path), _KIND: "arrays"}
        if isinstance(value, np.generic):
            return self._scalar(value, path)
        if isinstance(value, np.dtype):
            return {_KIND: "dtype", "name": value.name}
        return self._object(value, path)

    def _container(self, value: Any, path: Path) -> Any:
        if isinstance(value, dict):
            if all(type(key) is str for key in value) and _KIND not in value:
                return self._fields(value, path)
            items = [[self.encode(k, path), self.encode(v, (*path, str(k)))] for k, v in value.items()]
            return {_KIND: "dict", "items": items}
        parts = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
        items = [self.encode(part, (*path, str(i))) for i, part in enumerate(parts)]
        if isinstance(value, list | tuple):
            return items if isinstance(value, list) else {_KIND: items}
        return {_KIND: type(value).__name__, "items": items}

    def _object(self, value: Any, path: Path) -> Any:
        scalar = next((scalar for scalar in _SCALARS if value is scalar), None)
        if scalar is not None:
            return {_KIND: "scalar_type", "name": np.dtype(scalar).name}
        if isinstance(value, functools.partial):
            parts = {"function": value.func, "args": value.args, "keywords": value.keywords}
            return {_KIND: "partial", **self._fields(parts, path)}
        if isinstance(value, Named):
            return {_KIND: "name", "name": value.name or self._name(value.part, path)}
        kind = type(value)
        if isinstance(value, enum.Enum):
            return {_KIND: self._name(kind, path), "member": value.name}
        if dataclasses.is_dataclass(kind):
            if id(value) in self.written:
                return {_KIND: "same", "number": self.written[id(value)][0]}
            values = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
            spec = {_KIND: self._name(kind, path), **self._fields(values, path)}
            self.written[id(value)] = (len(self.written), value)
            return spec
        return {_KIND: "name", "name": self._name(value, path)}

    def _fields(self, values: Mapping[str, Any], path: Path) -> dict[str, Any]:
        return {name: self.encode(value, (*path, name)) for name, value in values.items()}

    def _array(self, value: Any, path: Path) -> dict[str, Any]:
        path = path or ("array",)
        node = self.arrays
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node[path[-1]] = value
        return {_KIND: "array", "path": list(path)}

    def _scalar(self, value: np.generic, path: Path) -> Any:
        if isinstance(value, np.str_):
            return str(value)
        if value.dtype.kind not in "biufc" and value.dtype != ml_dtypes.bfloat16:
            raise _refused(path, value, "a value of this type cannot be saved")
        return {_KIND: "scalar", **self._array(np.asarray(value), path)} | {_KIND: "scalar"}

    def _name(self, part: Any, path: Path) -> str:
        name = name_of(part)
        if name is None:
            kind = "lambdas, functions and classes inside of functions, and objects" if callable(part) else "objects"
            raise _refused(path, part, f"{kind} without an importable name cannot be saved")
        return name


def _refused(path: Path, value: Any, why: str) -> ConfigTypeError:
    return ConfigTypeError(
        f"save: '{'.'.join(path)}' is {shown(value)}: {why}, for a model is loaded without running code from it.\n"
        "Hint: define it at the top level of a module that can be imported, and train with that."
    )


@dataclass
class _Decoder:
    forms: tuple[Form, ...]
    arrays: Any
    trust: Trust
    made: list[Any] = field(default_factory=list)

    def decode(self, spec: Any) -> Any:
        if isinstance(spec, list):
            return [self.decode(part) for part in spec]
        if not isinstance(spec, dict):
            return spec
        if _KIND not in spec:
            return {name: self.decode(part) for name, part in spec.items()}
        kind = spec[_KIND]
        if isinstance(kind, list) and len(spec) == 1:
            return tuple(self.decode(part) for part in kind)
        try:
            return self._made(kind, {name: part for name, part in spec.items() if name != _KIND})
        except (CheckpointError, MissingPackageError):
            raise
        except (JdlError, LookupError, TypeError, ValueError, AttributeError, AssertionError) as error:
            raise CheckpointError(f"its spec describes no valid {kind}: {type(error).__name__}: {error}") from error

    def _made(self, kind: Any, values: dict[str, Any]) -> Any:
        form = next((form for form in self.forms if form.name == kind), None)
        if form is not None:
            return form.make({name: self.decode(part) for name, part in values.items()}, self.trust)
        if isinstance(kind, str) and ":" in kind:
            return self._object(kind, {name: self.decode(part) for name, part in values.items()})
        return getattr(self, f"_{kind}")(**values) if kind in _BUILTINS else self._unknown(kind)

    def _object(self, name: str, values: dict[str, Any]) -> Any:
        kind = self.trust.find(name)
        if isinstance(kind, type) and issubclass(kind, enum.Enum):
            return kind[values["member"]]
        if not dataclasses.is_dataclass(kind) or not isinstance(kind, type):
            raise CheckpointError(f"{name} is no class of values.")
        taken = {f.name for f in dataclasses.fields(kind) if f.init}
        strange = sorted(set(values) - taken)
        if strange:
            raise CheckpointError(f"{name} has no field '{strange[0]}' in this version of jdl.")
        self.made.append(kind(**values))
        return self.made[-1]

    def _same(self, number: int) -> Any:
        return self.made[number]

    def _unknown(self, kind: Any) -> Any:
        raise CheckpointError(f"its spec holds {shown(kind)}, of which this version of jdl knows nothing.")

    def _array(self, path: list[str]) -> Any:
        node = self.arrays
        for part in path:
            if not isinstance(node, dict) or part not in node:
                raise CheckpointError(f"array '{'/'.join(map(str, path))}' is missing.")
            node = node[part]
        return node

    def _arrays(self, path: list[str]) -> Any:
        return self._array(path)

    def _scalar(self, path: list[str]) -> Any:
        return self._array(path)[()]

    def _float(self, value: str) -> float:
        return _FLOATS[value]

    def _set(self, items: list[Any]) -> set[Any]:
        return set(self.decode(items))

    def _frozenset(self, items: list[Any]) -> frozenset[Any]:
        return frozenset(self.decode(items))

    def _dict(self, items: list[Any]) -> dict[Any, Any]:
        return {self.decode(key): self.decode(part) for key, part in items}

    def _dtype(self, name: str) -> np.dtype:
        return np.dtype(name)

    def _scalar_type(self, name: str) -> Any:
        return {np.dtype(scalar).name: scalar for scalar in _SCALARS}[name]

    def _texts(self, shape: list[int], items: list[str]) -> np.ndarray:
        return np.array(items, np.str_).reshape(shape)

    def _partial(self, function: Any, args: Any, keywords: Any) -> Any:
        return functools.partial(self.decode(function), *self.decode(args), **self.decode(keywords))

    def _name(self, name: str) -> Any:
        return self.trust.find(name)


_BUILTINS = (
    *("array", "arrays", "scalar", "float", "same", "set", "frozenset", "dict", "dtype", "scalar_type", "partial"),
    *("texts", "name"),
)


def _names_in(spec: Any) -> set[str]:
    """All importable names in a spec."""
    if isinstance(spec, list):
        return set().union(*map(_names_in, spec))
    if not isinstance(spec, dict):
        return set()
    kind = spec.get(_KIND)
    own = {kind} if isinstance(kind, str) and ":" in kind else set()
    if kind == "name" and isinstance(spec.get("name"), str):
        own = {spec["name"]}
    return own.union(*map(_names_in, spec.values()))
