"""Functions and classes by the name under which they can be imported, and which of them a file may ask for.

A name is `module:qualname`. jdl's own dataclasses, enums and public functions, and mathematical functions of JAX are
known; whatever else a file names is looked up only where the caller trusts its module, or hands it in.
"""

import dataclasses
import enum
import importlib
import inspect
import re
import types
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from jdl.core.errors import CheckpointError, ConfigTypeError, JdlError, shown

Trusted = Collection[str] | Mapping[str, Any]

_OWN = "jdl"
# Beginnings of modules whose public functions are formulas: none of them touches files.
_FORMULAS = (
    *("jdl.networks.", "jdl.measures.", "jdl.pipeline."),
    *("jdl.train.callbacks.curves", "jdl.train.loss", "jdl.train.optimizer", "jdl.train.group", "jdl.train.sampler"),
)
_NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_ARRAY_FUNCTIONS = (
    *("abs", "absolute", "add", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctanh", "cbrt", "ceil", "clip"),
    *("cos", "cosh", "cumsum", "divide", "exp", "exp2", "expm1", "fabs", "flip", "floor", "hypot", "log", "log10"),
    *("log1p", "log2", "logaddexp", "matmul", "max", "maximum", "mean", "median", "min", "minimum", "multiply"),
    *("negative", "positive", "power", "prod", "reciprocal", "round", "sign", "sin", "sinc", "sinh", "sort", "sqrt"),
    *("square", "std", "subtract", "sum", "tan", "tanh", "transpose", "trunc", "var", "where"),
)


@dataclass(frozen=True)
class Trust:
    """What a caller of `load` trusts beside jdl's own.

    Args:
      modules: Modules, with what is below them, or full names.
      objects: Objects handed in, by their names.
      bases: Classes of jdl below these are known too.
    """

    modules: frozenset[str] = frozenset()
    objects: Mapping[str, Any] = field(default_factory=dict)
    bases: tuple[type, ...] = ()

    @classmethod
    def of(cls, trust: Trusted, *, bases: tuple[type, ...] = (), who: str = "load") -> "Trust":
        """From names, or a dict of names and objects.

        Raises:
          ConfigTypeError: Neither.
        """
        given = (trust,) if isinstance(trust, str) else trust
        if not isinstance(given, Iterable) or not all(isinstance(name, str) and name for name in given):
            raise ConfigTypeError(
                f"{who}: 'trust' must hold names of modules, or be a dict of names and objects, got {shown(trust)}.\n"
                "Hint: trust={'my_package'}, or trust={'my_package.nets:Net': Net}."
            )
        if isinstance(given, Mapping):
            return cls(objects={_dotted(name): part for name, part in given.items()}, bases=bases)
        return cls(modules=frozenset(map(_dotted, given)), bases=bases)

    def knows(self, name: str) -> bool:
        """Whether a name is known, trusted or handed in."""
        return self.covers(name) or find_known(name, self.bases) is not None

    def covers(self, name: str) -> bool:
        """Whether a name, or a module that it lies in, is trusted or handed in."""
        dotted = _dotted(name)
        parts = dotted.split(".")
        return dotted in self.objects or any(".".join(parts[:n]) in self.modules for n in range(1, len(parts) + 1))

    def find(self, name: str) -> Any:
        """The object of that name.

        Raises:
          CheckpointError: It is not trusted, or there is no such object.
        """
        if _dotted(name) in self.objects:
            return self.objects[_dotted(name)]
        known = find_known(name, self.bases)
        if known is not None:
            return known
        if not self.covers(name):
            raise untrusted([name])
        return imported(name)


def untrusted(names: Collection[str]) -> CheckpointError:
    """The error that names what the caller does not trust."""
    modules = sorted({name.partition(":")[0] for name in names})
    return CheckpointError(
        f"it needs {', '.join(sorted(names))}, which jdl does not know, and imports nothing that it is not told to.\n"
        f"Hint: if you trust where it is from: load(path, trust={{{', '.join(map(repr, modules))}}}), or hand the "
        f"objects in: trust={{{sorted(names)[0]!r}: ...}}."
    )


def name_of(part: Any) -> str | None:
    """The name under which a function or class can be imported; None if there is none, as of a lambda.

    >>> import jax
    >>> name_of(jax.nn.relu), name_of(Trust), name_of(lambda x: x)
    ('jax.nn:relu', 'jdl.io.names:Trust', None)
    """
    try:
        listed = _known_by_identity().get(id(part))
    except TypeError:
        listed = None
    if listed is not None:
        return listed
    module, qualname = getattr(part, "__module__", None), getattr(part, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(qualname, str):
        return None
    name = f"{module}:{qualname}"
    if not _NAME.fullmatch(name):
        return None
    try:
        found = imported(name)
    except JdlError:
        return None
    # A decorator may have put what wraps it in its place, which is then what the name stands for.
    return name if found is part or getattr(found, "target", None) is part else None


def find_known(name: str, bases: tuple[type, ...] = ()) -> Any:
    """What jdl knows by that name without being told; None if it knows nothing."""
    listed = _known_functions().get(name)
    if listed is not None:
        return listed
    module, _, qualname = name.partition(":")
    if not (module == _OWN or module.startswith(f"{_OWN}.")) or "." in qualname or not _NAME.fullmatch(name):
        return None
    try:
        part = imported(name)
    except JdlError:
        return None
    known = isinstance(part, type) and issubclass(part, bases)
    return part if known or _is_harmless(part, module, qualname) else None


def _is_harmless(part: Any, module: str, qualname: str) -> bool:
    """Whether it may be called with what stands in a file: values of jdl's own, and formulas."""
    if isinstance(part, type):
        return dataclasses.is_dataclass(part) or issubclass(part, enum.Enum) or _is_module(part)
    formula = module.startswith(_FORMULAS) and not qualname.startswith("_")
    return formula and isinstance(part, types.FunctionType)


def _is_module(part: type) -> bool:
    from flax import nnx

    return issubclass(part, nnx.Module)


def imported(name: str) -> Any:
    """What stands in a module under a name, `module:qualname`. Imports the module: for names of those one trusts.

    Raises:
      CheckpointError: There is no such module, or nothing of that name in it.
    """
    if not _NAME.fullmatch(name):
        raise CheckpointError(f"{shown(name)} is no name of a function or class.")
    module, _, qualname = name.partition(":")
    try:
        part: Any = importlib.import_module(module)
        for attribute in qualname.split("."):
            part = getattr(part, attribute)
            if isinstance(part, types.ModuleType):  # what a module imports is not its own
                raise CheckpointError(f"{name} is no name of a function or class.")
    except CheckpointError:
        raise
    except Exception as error:  # a module may raise anything when it is imported
        raise CheckpointError(f"{name} cannot be imported: {type(error).__name__}: {error}") from error
    return part


@cache
def _known_functions() -> Mapping[str, Callable[..., Any]]:
    """Mathematical functions of JAX, losses of Optax and layers of Flax by name."""
    import jax
    import jax.numpy as jnp
    import optax.losses
    from flax import nnx

    named = {f"jax.nn:{name}": getattr(jax.nn, name) for name in _public(jax.nn)}
    named |= {f"jax.numpy:{name}": getattr(jnp, name) for name in _ARRAY_FUNCTIONS}
    named |= {f"optax.losses:{name}": getattr(optax.losses, name) for name in _public(optax.losses)}
    layers = {f"flax.nnx:{n}": part for n, part in vars(nnx).items() if isinstance(part, type) and _is_module(part)}
    return named | layers


@cache
def _known_by_identity() -> Mapping[int, str]:
    named = _known_functions()
    return {id(part): name for name, part in reversed(list(named.items()))}


def _public(module: Any) -> list[str]:
    parts = vars(module).items()
    return [name for name, part in parts if not name.startswith("_") and callable(part) and not inspect.isclass(part)]


def _dotted(name: str) -> str:
    return name.replace(":", ".")
