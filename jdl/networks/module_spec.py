"""Any nnx.Module class, function that makes one, or object as the network of a learner."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flax import nnx
from jaxtyping import Array, Float

from jdl.core.errors import ConfigError, ConfigTypeError, JdlError, ShapeError
from jdl.data.table import Table, TableSpec
from jdl.networks.array_spec import ArraySpec, Unknowns
from jdl.networks.foreign import adopted
from jdl.networks.infer import output_specs
from jdl.networks.own_layer import parameters_of
from jdl.networks.spec import NetworkSpec

# Arguments of a constructor that jdl gives, by the names that are in use for them.
SUPPLIED: dict[str, Callable[[TableSpec, int, Any], Any]] = {
    **dict.fromkeys(
        ("d_in", "in_features", "n_features", "n_num_features", "n_cont_features"), lambda s, n, r: len(s.numeric)
    ),
    **dict.fromkeys(("d_out", "out_features", "n_outputs"), lambda s, n, r: n),
    "cat_cardinalities": lambda s, n, r: tuple(len(c.levels) + 1 for c in s.categorical),
    "spec": lambda s, n, r: s,
    "rngs": lambda s, n, r: r,
}


@dataclass(frozen=True)
class ModuleSpec(NetworkSpec):
    """Builds a network by calling a class or function with what it asks for, or by copying an object.

    Args:
      target: An nnx.Module class, a function that returns an nnx.Module, or an nnx.Module, whose values are then the
        initial values.
      values: Pairs of name and value of its other arguments.
    """

    target: Any
    values: tuple[tuple[str, Any], ...] = ()

    def build(self, spec: TableSpec, n_outputs: int, rngs: Any) -> nnx.Module:
        """The network for rows of these columns.

        Raises:
          ConfigError: The constructor fails.
          ShapeError: The network cannot be applied to the rows, or its output does not suit the task.
        """
        model = self._made(spec, n_outputs, rngs)
        batch = Unknowns().dims(["batch"])[0]
        numeric = ArraySpec((batch, len(spec.numeric)))
        codes = ArraySpec((batch, len(spec.categorical)), "int32")
        inputs = {"numeric": (numeric,), "codes": (codes,), "both": (numeric, codes)}[reads(model)]
        who = f"module {name_of(self.target)}"
        try:
            (out,) = output_specs(model, *inputs)
        except ShapeError as error:
            raise ShapeError(f"{who} {error}.") from error
        if out.ndim != 2 or out.shape[1] != n_outputs:
            raise ShapeError(
                f"{who}: the task needs an output of shape (batch, {n_outputs}), but it gives {out}.\n"
                "Hint: take 'd_out' (or 'n_outputs') as an argument of the constructor, for the last layer's width."
            )
        return model

    def _made(self, spec: TableSpec, n_outputs: int, rngs: Any) -> Any:
        if isinstance(self.target, nnx.Module):
            return adopted(nnx.clone(self.target), f"module {name_of(self.target)}")
        asked = [name for name in parameters_of(self.target) if name in SUPPLIED]
        supplied = {name: SUPPLIED[name](spec, n_outputs, rngs) for name in asked}
        try:
            model = self.target(**{**supplied, **dict(self.values)})
        except JdlError:
            raise
        except Exception as error:
            if isinstance(error, TypeError | AttributeError) and not isinstance(rngs, nnx.Rngs):
                raise  # its initialisers want JAX keys, which come next
            raise ConfigError(f"module {name_of(self.target)} fails: {type(error).__name__}: {error}") from error
        if not isinstance(model, nnx.Module):
            raise ConfigTypeError(f"{name_of(self.target)}: must return an nnx.Module, got {type(model).__name__}.")
        return adopted(model, f"module {name_of(self.target)}")

    def forward(self, model: Any, table: Table) -> Float[Array, "row ..."]:
        """Outputs for numbers, codes, or both, as the module's call has one argument or two."""
        kind = reads(model)
        if kind == "both":
            return model(table.numeric, table.codes)
        return model(table.codes if kind == "codes" else table.numeric)


def reads(model: Any) -> str:
    """What a module's call takes: "numeric", "codes" (one argument whose name begins with x_cat or cat) or "both"."""
    call = model.__call__ if isinstance(model, nnx.Module) else model
    needed = [
        p.name
        for p in inspect.signature(call).parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty and p.name != "self"
    ]
    optional_codes = any(p.startswith(("x_cat", "cat")) for p in inspect.signature(call).parameters)
    if len(needed) >= 2 or (optional_codes and len(needed) <= 1 and not needed[:1] == ["x_cat"]):
        return "both"
    return "codes" if needed and needed[0].startswith(("x_cat", "cat")) else "numeric"


def name_of(target: Any) -> str:
    """A short name for messages."""
    return getattr(target, "__name__", type(target).__name__)
