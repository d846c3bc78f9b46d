"""Layers from a function or an nnx.Module class of one's own: hyperparameters are taken from the signature."""

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

from flax import nnx

from jdl.core.errors import ConfigError, ConfigTypeError, shown
from jdl.core.fields import REQUIRED, Field, Kind
from jdl.networks.argument import given, kept, kept_default
from jdl.networks.array_spec import ArraySpec
from jdl.networks.foreign import adopted
from jdl.networks.layer import Apply, Layer, LayerKind, Site
from jdl.networks.prepare import prepare_arguments

# Arguments of a module's constructor that jdl gives.
SUPPLIED: dict[str, Callable[[Site, tuple[ArraySpec, ...]], Any]] = {
    **dict.fromkeys(("in_features", "d_in", "n_features"), lambda site, inputs: inputs[0].size(-1)),
    "in_shape": lambda site, inputs: inputs[0].shape,
    "in_specs": lambda site, inputs: inputs,
    "n_outputs": lambda site, inputs: site.n_outputs,
    "rngs": lambda site, inputs: site.rngs,
}
_RESERVED = ("id",)
_KINDS: dict[type, Kind] = {bool: "bool", int: "int", float: "float", str: "str"}


def layer(target: Any = None, *, n_outputs: int = 1) -> Any:
    """Makes a layer of a function or of an nnx.Module class; use it as a decorator or call it.

    Of a function `f(x, limit=2.0)` the arguments without default are inputs, the others are hyperparameters; those
    behind a `*` always are. Of a class, the constructor's arguments are hyperparameters, except those that jdl gives:
    `in_features` or `d_in` (size of the last axis), `in_shape`, `in_specs`, `n_outputs` (of the task), and `rngs`. A
    method `prepare(x_num, x_cat, target, key)` (any of them) gets the training rows; such a layer stands right behind
    its ingress.

    Args:
      target: A function or class.
      n_outputs: How many arrays it gives, in a tuple if there are several: `@jdl.layer(n_outputs=2)`.

    >>> import jax.numpy as jnp
    >>> @layer
    ... def winsorize(x, limit=2.0):
    ...     '''Values beyond a limit become the limit.'''
    ...     return jnp.clip(x, -limit, limit)
    >>> winsorize(limit=3.0)
    <layer 'winsorize'> limit=3.0

    Raises:
      ConfigTypeError: Neither a function nor an nnx.Module class.
      ConfigError: A hyperparameter with a name that is taken.
    """
    if target is None:
        return partial(layer, n_outputs=n_outputs)
    if isinstance(target, type):
        if issubclass(target, nnx.Module):
            return _kind_of_module(target, n_outputs)
    elif callable(target) and not isinstance(target, nnx.Module):
        return _kind_of_function(kept(target, f"layer: the function {shown(target)}"), n_outputs)
    raise ConfigTypeError(
        f"layer: expected a function or an nnx.Module class, got {target!r}.\n"
        "Hint: hand in the class, not an object of it: each run of a population builds its own."
    )


def fn(function: Callable[..., Any], *, id: str | None = None, **hyperparameters: Any) -> Layer:
    """Any function of arrays as a layer; arguments with defaults are hyperparameters."""
    if isinstance(function, type) or not callable(function):
        raise ConfigTypeError(f"layer 'fn': expected a function, got {function!r}.\nHint: jdl.nn('module', Class).")
    return layer(function)(id=id, **hyperparameters)


def module(target: Any, *, id: str | None = None, **hyperparameters: Any) -> Layer:
    """Any nnx.Module class, or function that makes a module, as a layer; what it takes are hyperparameters.

    A function makes modules if it asks for something that jdl gives to constructors, such as `rngs`.
    """
    is_function = callable(target) and not isinstance(target, type | nnx.Module)
    kind = _kind_of_module(target, 1) if is_function and set(parameters_of(target)) & set(SUPPLIED) else layer(target)
    return kind(id=id, **hyperparameters)


@lru_cache(maxsize=256)
def _kind_of_function(function: Callable[..., Any], n_outputs: int) -> LayerKind:
    parameters = parameters_of(function)
    inputs, fields = _split(parameters, function)

    def build(site: Site, *inputs: ArraySpec, **values: Any) -> nnx.Module:
        del site, inputs
        return Apply(function, kwargs=given(values))

    name = getattr(function, "__name__", "fn")
    name = name if name.isidentifier() else "fn"
    doc = inspect.getdoc(function) or ""
    return LayerKind(name, build, fields, inputs, n_outputs, doc, target=function, codes="takes")


@lru_cache(maxsize=256)
def _kind_of_module(target: Any, n_outputs: int) -> LayerKind:
    taken = parameters_of(target)
    own = {name: p for name, p in taken.items() if name not in SUPPLIED}
    name = getattr(target, "__name__", "module")
    name = name if name.isidentifier() else "module"
    fields = {n: field_of(f"layer '{name}'", n, p) for n, p in own.items()}
    supplied = [name for name in taken if name in SUPPLIED]
    # What a function makes is not known yet.
    call = dict(list(parameters_of(target.__call__).items())[1:]) if isinstance(target, type) else {}
    inputs = _split(call, target)[0] if call else 1
    prepares = _always if prepare_arguments(target) is not None else None

    def build(site: Site, *inputs: ArraySpec, **values: Any) -> nnx.Module:
        module = target(**given(values), **{name: SUPPLIED[name](site, inputs) for name in supplied})
        return adopted(_checked_module(module, name), f"layer '{name}'")

    doc = inspect.getdoc(target) or ""
    return LayerKind(name, build, fields, inputs, n_outputs, doc, prepares, target=target, codes="takes")


def _checked_module(module: Any, name: str) -> nnx.Module:
    if not isinstance(module, nnx.Module):
        raise ConfigTypeError(f"layer '{name}': must make an nnx.Module, but it gives {type(module).__name__}.")
    return module


def _always(values: Mapping[str, Any]) -> bool:
    del values
    return True


def parameters_of(target: Any) -> dict[str, inspect.Parameter]:
    """The arguments that a function, or a class's constructor, takes.

    Raises:
      ConfigTypeError: They cannot be found out.
    """
    try:
        if isinstance(target, type):  # the class itself shows those of its metaclass
            return dict(list(inspect.signature(target.__init__).parameters.items())[1:])
        if isinstance(target, partial):
            open_ones = list(parameters_of(target.func).items())[len(target.args) :]
            return {name: p for name, p in open_ones if name not in target.keywords}
        return dict(inspect.signature(target).parameters)
    except (TypeError, ValueError) as error:
        raise ConfigTypeError(
            f"layer: the signature of {target!r} cannot be read.\nHint: wrap it in a function with named arguments."
        ) from error


def _split(parameters: Mapping[str, inspect.Parameter], owner: Any) -> tuple[int | None, dict[str, Field]]:
    """How many inputs there are (None: any number), and a field for each other argument."""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    inputs = [n for n, p in parameters.items() if p.kind in positional and p.default is inspect.Parameter.empty]
    anything = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters.values())
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    others = {n: p for n, p in parameters.items() if n not in inputs and p.kind not in variable}
    name = getattr(owner, "__name__", "fn")
    if not inputs and not anything:
        raise ConfigError(f"layer '{name}': needs at least one argument without default, which is its input.")
    return None if anything else len(inputs), {n: field_of(f"layer '{name}'", n, p) for n, p in others.items()}


def field_of(owner: str, name: str, parameter: inspect.Parameter) -> Field:
    """The hyperparameter that an argument of a function or constructor stands for."""
    if name in _RESERVED:
        raise ConfigError(f"{owner}: an argument called '{name}' is taken.\nHint: give it another name.")
    default = REQUIRED if parameter.default is inspect.Parameter.empty else parameter.default
    kind = _KINDS.get(parameter.annotation)
    if kind is None and default is not REQUIRED:
        kind = _KINDS.get(type(default))
    if kind is not None and (default is REQUIRED or type(default) in _KINDS):
        return Field(kind, default)
    who = f"hyperparameter '{name}'"
    return Field("any", REQUIRED if default is REQUIRED else kept_default(default, who), convert=partial(kept, who=who))
