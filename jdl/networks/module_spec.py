"""Any nnx.Module class, function that makes one, or object as the network of a learner."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from jdl.core.errors import ConfigError, ConfigTypeError, JdlError, ShapeError
from jdl.data.table import Table, TableSpec
from jdl.networks.argument import KeptModule, given, handed_out
from jdl.networks.array_spec import ArraySpec, Unknowns, check_real
from jdl.networks.foreign import adopted
from jdl.networks.infer import output_specs
from jdl.networks.own_layer import parameters_of
from jdl.networks.prepare import prepare, prepare_arguments
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
# Names by which the call of a module asks for category codes.
CODES = ("x_cat", "x_categ", "codes")
_EITHER = inspect.Parameter.POSITIONAL_OR_KEYWORD


@dataclass(frozen=True)
class ModuleSpec(NetworkSpec):
    """Builds a network by calling a class or function with what it asks for, or by copying an object.

    Args:
      target: An nnx.Module class, a function that returns an nnx.Module, or a kept nnx.Module, whose values are then
        the initial values.
      values: Pairs of name and value, in its kept form, of its other arguments.
    """

    target: Any
    values: tuple[tuple[str, Any], ...] = ()

    def build(self, spec: TableSpec, n_outputs: int, rngs: Any) -> nnx.Module:
        """The network for rows of these columns.

        Raises:
          ConfigError: The constructor fails.
          ShapeError: The network cannot be applied to the rows, or its output does not suit the task: (row, output), or
            (row, k, output) of an ensemble of `model.k` members.
        """
        model = self._made(spec, n_outputs, rngs)
        batch = Unknowns().dims(["batch"])[0]
        numeric = ArraySpec((batch, len(spec.numeric)))
        codes = ArraySpec((batch, len(spec.categorical)), "int32")
        who = f"module {name_of(self.target)}"
        blocks = reads(model, who)
        _check_all_read(who, blocks, spec)
        inputs = tuple({"numeric": numeric, "codes": codes}[block] for block in blocks)
        try:
            outputs = output_specs(model, *inputs)
        except ShapeError as error:
            raise ShapeError(f"{who} {error}.") from error
        _check_output(who, outputs, n_outputs, getattr(model, "k", None), batch)
        return model

    @property
    def prepares(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether the module takes something from its training rows, by a `prepare`; what a function makes may.

        An object is taken as it is.
        """
        if isinstance(self.target, KeptModule):
            return False
        return not isinstance(self.target, type) or prepare_arguments(self.target) is not None

    def prepare(self, model: Any, table: Table, target: Any, key: Any) -> None:
        """Hands the training rows to the module, as its `prepare` asks for them."""
        x_num, x_cat = (np.asarray(block) if block.shape[1] else None for block in (table.numeric, table.codes))
        prepare(model, x_num, x_cat, target, key)

    def _made(self, spec: TableSpec, n_outputs: int, rngs: Any) -> Any:
        if isinstance(self.target, KeptModule):
            return adopted(handed_out(self.target), f"module {name_of(self.target)}", built=False)
        asked = [name for name in parameters_of(self.target) if name in SUPPLIED]
        supplied = {name: SUPPLIED[name](spec, n_outputs, rngs) for name in asked}
        try:
            model = self.target(**{**supplied, **given(dict(self.values))})
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
        """Outputs for numbers, codes, or both, as the module's call asks for them."""
        return model(*(getattr(table, block) for block in reads(model)))


def _check_output(who: str, outputs: tuple[ArraySpec, ...], n_outputs: int, k: int | None, batch: Any) -> None:
    """Refuses outputs of another number, shape or type than the task needs.

    Raises:
      ShapeError: Says what is needed.
    """
    shapes = [(batch, n_outputs), (batch, k, n_outputs)]
    if len(outputs) != 1 or outputs[0].shape not in shapes:
        raise ShapeError(
            f"{who}: the task needs an output of shape (batch, {n_outputs}), but it gives "
            f"{' and '.join(map(str, outputs))}.\n"
            "Hint: take 'd_out' (or 'n_outputs') as an argument of the constructor, for the last layer's width."
        )
    check_real(who, outputs[0])


def _check_all_read(who: str, blocks: tuple[str, ...], spec: TableSpec) -> None:
    """Refuses columns that the module would never see.

    Raises:
      ShapeError: Names them.
    """
    for block, columns, hint in (
        ("codes", spec.categorical, "def __call__(self, x_num, x_cat): ..., or jdl.po('encode') before the learner."),
        ("numeric", spec.numeric, "def __call__(self, x_num, x_cat): ..."),
    ):
        if columns and block not in blocks:
            names = ", ".join(f"'{c.name}'" for c in columns[:5])
            what = "category codes" if block == "codes" else "numeric columns"
            raise ShapeError(f"{who} takes no {what}, but there are columns {names}.\nHint: {hint}")


def reads(call: Any, owner: str = "module") -> tuple[str, ...]:
    """Which blocks of a table a call takes, in the order of its arguments: "numeric", "codes".

    An argument called as one of `CODES` gets the category codes; another one the numeric columns. Arguments with
    defaults are left alone, unless they are called so.

    Raises:
      ConfigError: Arguments of which it cannot be said what they are to get.

    >>> reads(lambda x_num, x_cat=None: x_num)
    ('numeric', 'codes')
    >>> reads(lambda x, scale=2.0: x)
    ('numeric',)
    """
    given = inspect.signature(call.__call__ if isinstance(call, nnx.Module) else call).parameters
    empty, positional = inspect.Parameter.empty, (inspect.Parameter.POSITIONAL_ONLY, _EITHER)
    taken = [p for name, p in given.items() if name != "self" and p.kind in positional]
    needed = [p.name for p in taken if p.default is empty or p.name in (*CODES, "x_num")]
    if not needed and taken:
        needed = [taken[0].name]
    named_only = [n for n, p in given.items() if p.kind is inspect.Parameter.KEYWORD_ONLY and p.default is empty]
    if not needed and any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in given.values()):
        return ("numeric",)
    blocks = tuple("codes" if name in CODES else "numeric" for name in needed)
    if named_only or not blocks or len(set(blocks)) < len(blocks) or [p.name for p in taken[: len(needed)]] != needed:
        shown = ", ".join(f"'{name}'" for name in (*needed, *named_only)) or "none"
        raise ConfigError(
            f"{owner}: its call must take the numeric columns, the category codes as an argument called "
            f"{' or '.join(map(repr, CODES))}, or both, and nothing else without default; it takes {shown}.\n"
            "Hint: def __call__(self, x_num, x_cat): ..."
        )
    return blocks


def name_of(target: Any) -> str:
    """A short name for messages."""
    target = target.module if isinstance(target, KeptModule) else target
    return getattr(target, "__name__", type(target).__name__)
