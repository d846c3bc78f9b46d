"""The contract of a layer: hyperparameters, and a module that is built once the shapes of its inputs are known.

A layer says nothing of the shape that it gives: that is what `jax.eval_shape` finds for the built module.
"""

import inspect
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from flax import nnx

from jdl.core.errors import ConfigTypeError, ShapeError, shown
from jdl.core.fields import Field, check_values, with_defaults
from jdl.core.graph import checked_id
from jdl.io.names import imported, name_of
from jdl.networks.argument import handed_out, kept
from jdl.networks.array_spec import ArraySpec
from jdl.networks.operator import NetworkOperator

Codes = Literal["refuses", "takes", "keeps"]


@dataclass(frozen=True)
class Site:
    """Where a layer is built: what it may need beside its inputs and hyperparameters.

    Args:
      rngs: `nnx.Rngs`, or `HostRngs` to draw on the host.
      id: Its node's id; dynamic hyperparameters are looked up as `<id>.<name>` while the network runs.
      number: Number of the layer in its network: equal layers with other numbers draw other noise.
      n_outputs: Outputs that the task needs; None where there is no task.
    """

    rngs: Any
    id: str = ""
    number: int = 0
    n_outputs: int | None = None

    def hyper(self, name: str) -> str:
        """The name under which the value of a dynamic hyperparameter is looked up."""
        return f"{self.id}.{name}" if self.id else name

    def below(self, id: str, position: int) -> "Site":
        """The site of a node of a graph that is built here."""
        return replace(self, id=self.hyper(id), number=zlib.crc32(f"{self.number}.{position}".encode()))


@dataclass(frozen=True, eq=False, repr=False)
class LayerKind:
    """All layers of one name; calling it with hyperparameters makes one.

    Args:
      name: In the catalogue, and the default id.
      build: `build(site, *inputs, **values) -> nnx.Module`; raises `ShapeError` where the inputs do not suit it, with
        a message that goes on after "node 'linear' ...".
      fields: Hyperparameters.
      n_inputs: Number of inputs, None for any; or a function of the hyperparameters.
      n_outputs: Number of outputs, likewise.
      doc: What it computes, first line alone.
      prepares: Whether, with these values of the hyperparameters, the module takes something from the training rows.
      target: The function or class of which it was made, by whose name it is found again.
      codes: What it does with category codes: "refuses" them, since their order means nothing; "takes" them; or "keeps"
        them as they are, so that a later layer may take them.
    """

    name: str
    build: Callable[..., nnx.Module]
    fields: Mapping[str, Field] = field(default_factory=dict)
    n_inputs: Any = 1
    n_outputs: Any = 1
    doc: str = ""
    prepares: Callable[[Mapping[str, Any]], bool] | None = None
    target: Any = None
    codes: Codes = "refuses"

    def __call__(self, *unnamed: Any, id: str | None = None, **hyperparameters: Any) -> "Layer":
        """A layer of this kind; hyperparameters are given by name.

        Raises:
          ConfigTypeError: A value without a name.
          UnknownNameError: A hyperparameter that it does not have.
          ConfigError: A value out of range.
        """
        owner = f"layer '{self.name}'"
        if unnamed:
            example = next(iter(self.fields), None)
            hint = f"\nHint: {self.name}({example}={shown(unnamed[0])})." if example else " It takes none."
            raise ConfigTypeError(f"{owner}: hyperparameters are given by name, got {shown(unnamed[0])}.{hint}")
        values = with_defaults(owner, self.fields, hyperparameters)
        return Layer(self, tuple(values.items()), None if id is None else checked_id(owner, id))

    @property
    def __doc__(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.doc

    def __reduce__(self) -> Any:
        """Pickled by name: what it builds with may be a function inside of another one."""
        from jdl.networks.layers.named import name_of_kind

        name = name_of_kind(self) or name_of(self.target)
        return (kind_named, (name,)) if name is not None else super().__reduce__()

    def __copy__(self) -> "LayerKind":
        return self

    def __deepcopy__(self, memo: Any) -> "LayerKind":
        return self

    def __repr__(self) -> str:
        return f"<layer kind '{self.name}'>"


def kind_named(name: str) -> LayerKind:
    """The kind of layers of a name in the catalogue, or of an importable name (`module:function`)."""
    from jdl.networks.layers.named import kind_of

    return kind_of(imported(name) if ":" in name else name)


def layer_kind(
    *,
    n_inputs: Any = 1,
    n_outputs: Any = 1,
    name: str | None = None,
    prepares: Any = None,
    codes: Codes = "refuses",
    **fields: Field,
) -> Callable[[Callable[..., nnx.Module]], LayerKind]:
    """Makes a `LayerKind` of a function that builds the module; its name and docstring are the layer's.

    >>> import jax.numpy as jnp
    >>> @layer_kind(factor=Field("float", 2.0, doc="What to multiply with."))
    ... def times(site, x, factor):
    ...     '''Multiplies.'''
    ...     return Apply(jnp.multiply, (factor,))
    >>> times(factor=3.0)
    <layer 'times'> factor=3.0
    """

    def make(build: Callable[..., nnx.Module]) -> LayerKind:
        own_name = name or build.__name__.rstrip("_")
        doc = inspect.getdoc(build) or ""
        return LayerKind(own_name, build, fields, n_inputs, n_outputs, doc, prepares, target=build, codes=codes)

    return make


@dataclass(frozen=True, repr=False)
class Layer(NetworkOperator):
    """A layer with a value for each hyperparameter: a node of a network.

    Args:
      kind: What it computes.
      values: Pairs of name and value.
      id: As given; None takes the kind's name.
    """

    kind: LayerKind
    values: tuple[tuple[str, Any], ...]
    id: str | None = None

    @property
    def default_id(self) -> str:
        """Its kind's name."""
        return self.kind.name

    @property
    def n_inputs(self) -> int | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Number of inputs; None takes any."""
        return _number(self.kind.n_inputs, self.params())

    @property
    def n_outputs(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Number of outputs."""
        return _number(self.kind.n_outputs, self.params())

    @property
    def fields(self) -> Mapping[str, Field]:
        """Its hyperparameters."""
        return self.kind.fields

    def params(self) -> dict[str, Any]:
        """The value of each hyperparameter."""
        return {name: handed_out(value) for name, value in self.values}

    def set(self, **values: Any) -> "Layer":
        """The same layer with other hyperparameters.

        Raises:
          UnknownNameError: A hyperparameter that it does not have.
          ConfigError: A value out of range.
        """
        checked = check_values(f"layer '{self.node_id}'", self.kind.fields, values)
        return replace(self, values=tuple({**dict(self.values), **checked}.items()))

    def static(self) -> "Layer":
        """The layer less the values of dynamic hyperparameters: only whether they are 0, which changes the program."""
        values = tuple((n, _presence(v) if self.kind.fields[n].dynamic else v) for n, v in self.values)
        return replace(self, values=values)

    def dynamic(self) -> dict[str, Any]:
        """Values of the dynamic hyperparameters, where they are not 0."""
        return {n: v for n, v in self.values if self.kind.fields[n].dynamic and v}

    @property
    def prepares(self) -> bool:
        """Whether its module takes something from the training rows, by `prepare`."""
        return self.kind.prepares(self.params()) if self.kind.prepares is not None else False

    @property
    def keeps_codes(self) -> bool:
        """Whether category codes pass through as they are."""
        return self.kind.codes == "keeps"

    def build(self, site: Site, *inputs: ArraySpec) -> nnx.Module:
        """The module for inputs of these shapes.

        Raises:
          ShapeError: The inputs do not suit it.
        """
        if self.kind.codes == "refuses" or (len({x.is_codes for x in inputs}) > 1 and self.kind.codes == "keeps"):
            _refuse_codes(inputs)
        return self.kind.build(site, *inputs, **self.params())

    def __repr__(self) -> str:
        shown = [f"{n}={v!r}" for n, v in self.values if v != self.kind.fields[n].default]
        return f"<layer '{self.node_id}'>" + (" " + ", ".join(shown) if shown else "")


def _refuse_codes(inputs: tuple[ArraySpec, ...]) -> None:
    codes = next((x for x in inputs if x.is_codes), None)
    if codes is not None:
        raise ShapeError(
            f"takes numbers, but its input {codes} holds category codes (integers), whose order means nothing: codes "
            "need an embedding before it, such as jdl.nn('embed_categ', d_embedding=8) or jdl.nn('onehot')"
        )


def _number(given: Any, values: Mapping[str, Any]) -> Any:
    return given(values) if callable(given) else given


def _presence(value: Any) -> Any:
    return 0.5 if value else 0.0


class Apply(nnx.Module):
    """A function as a module without parameters; `args` and `kwargs` follow the inputs.

    >>> import jax.numpy as jnp
    >>> Apply(jnp.maximum, (0.0,))(jnp.float32(-1)).item()
    0.0
    """

    def __init__(
        self, function: Callable[..., Any], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ):
        self.function = function
        self.args = args
        self.kwargs = tuple((name, kept(value)) for name, value in sorted((kwargs or {}).items()))

    def __call__(self, *inputs: Any) -> Any:
        """The function's result."""
        kwargs = {name: handed_out(value) for name, value in self.kwargs}
        return self.function(*inputs, *self.args, **kwargs)


def split_name(name: str, known: Mapping[str, Any]) -> tuple[str, str | None]:
    """The catalogue's name and the id of a name with a number: `linear_1` is a `linear` called `linear_1`.

    >>> split_name("linear_1", {"linear": None})
    ('linear', 'linear_1')
    >>> split_name("conv2d", {"conv2d": None})
    ('conv2d', None)
    """
    if not isinstance(name, str) or name in known:
        return name, None
    stem = re.sub(r"_\d+$", "", name)
    return (stem, name) if stem != name and stem in known else (name, None)
