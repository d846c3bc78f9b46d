"""Shapes of what flows along the edges of a network; sizes may be unknown until data comes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax.export import SymbolicScope, symbolic_shape

from jdl.core.errors import ShapeError


@dataclass(frozen=True)
class ArraySpec:
    """Shape and type of an array. A size is an integer or, where it is unknown, a symbolic dimension.

    Args:
      shape: The first axis is the batch.
      dtype: Type of the elements.
      cardinalities: Of category codes: how many codes each column has, code 0 (missing or unseen) included.
    """

    shape: tuple[Any, ...]
    dtype: Any = jnp.float32
    cardinalities: tuple[int, ...] | None = None

    @classmethod
    def of(cls, struct: Any) -> "ArraySpec":
        """The spec of an array or of a `jax.ShapeDtypeStruct`."""
        return cls(tuple(struct.shape), struct.dtype)

    @property
    def struct(self) -> jax.ShapeDtypeStruct:
        """What `jax.eval_shape` takes."""
        return jax.ShapeDtypeStruct(self.shape, self.dtype)

    @property
    def is_codes(self) -> bool:
        """Whether it holds integers, which stand for categories."""
        return bool(jnp.issubdtype(self.dtype, jnp.integer))

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def axis(self, axis: int) -> int:
        """The position of an axis, counted from 0; negative ones count from the end.

        Raises:
          ShapeError: There is no such axis.
        """
        if not -self.ndim <= axis < self.ndim:
            raise ShapeError(f"has no axis {axis}: its input {self} has {self.ndim}")
        return axis % self.ndim

    def size(self, axis: int) -> int:
        """The size of an axis that must be known.

        Raises:
          ShapeError: There is no such axis, or its size is unknown.
        """
        size = self.shape[self.axis(axis)]
        if isinstance(size, int):
            return size
        raise UnknownSizeError(f"needs the size of axis {self.axis(axis)} of its input {self}, which is unknown", size)

    def need_ndim(self, low: int, high: float | None = None, *, what: str = "") -> None:
        """Refuses an array with fewer axes than `low`, or more than `high` (by default another number than `low`).

        `math.inf` sets no upper limit.

        Raises:
          ShapeError: Says what is needed.
        """
        high = low if high is None else high
        if low <= self.ndim <= high:
            return
        wanted = f"{low}" if low == high else f"at least {low}" if high == math.inf else f"{low} to {high}"
        raise ShapeError(f"needs an input with {wanted} axes{f' {what}' if what else ''}, but its input is {self}")

    def __str__(self) -> str:
        inside = ", ".join(str(size) for size in self.shape)
        return f"({inside}{',' if self.ndim == 1 else ''})"


class UnknownSizeError(ShapeError):
    """A size that is not known; `size` is the symbolic dimension."""

    def __init__(self, message: str, size: Any = None):
        super().__init__(message)
        self.size = size


def check_real(who: str, spec: ArraySpec) -> None:
    """Refuses an output from which no loss can be computed.

    Raises:
      ShapeError: It holds something else than floating-point numbers.
    """
    if not jnp.issubdtype(spec.dtype, jnp.floating):
        raise ShapeError(
            f"{who}: a loss needs floating-point numbers, but the output {spec} holds {jnp.dtype(spec.dtype).name}."
        )


@dataclass(frozen=True)
class Unknowns:
    """Hands out symbolic dimensions that may be used together."""

    scope: SymbolicScope = field(default_factory=SymbolicScope)

    def dims(self, names: Sequence[str]) -> tuple[Any, ...]:
        """A dimension for each name (an identifier); equal names give equal dimensions."""
        return tuple(symbolic_shape(", ".join(names), scope=self.scope)) if names else ()

    def shape(self, name: str, shape: Sequence[int | None]) -> tuple[Any, ...]:
        """A shape whose unknown sizes (None) are symbols: `batch`, and `<name>_<axis>`."""
        names = {i: "batch" if i == 0 else f"{_stem(name)}_{i}" for i, size in enumerate(shape) if size is None}
        symbols = dict(zip(names, self.dims(list(names.values())), strict=True))
        return tuple(symbols.get(i, size) for i, size in enumerate(shape))


def _stem(name: str) -> str:
    """A name as the beginning of a symbol."""
    stem = "".join(c if c.isalnum() and c.isascii() else "_" for c in name)
    return stem if stem[:1].isalpha() else f"n{stem}"


def is_symbol_of(name: str, symbol: str) -> bool:
    """Whether `Unknowns.shape` gives such a symbol to what is called `name`.

    >>> is_symbol_of("num", "num_1"), is_symbol_of("num", "anum_1")
    (True, False)
    """
    stem, _, axis = symbol.rpartition("_")
    return stem == _stem(name) and axis.isdecimal()
