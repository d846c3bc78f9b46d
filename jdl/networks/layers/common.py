"""What several layers need: fields, numbers per axis, rates of dropout, checks of inputs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from jdl.core.errors import ConfigError, ShapeError
from jdl.core.fields import Field
from jdl.networks.array_spec import ArraySpec, UnknownSizeError
from jdl.networks.dropout import Dropout
from jdl.networks.initial import INITIALIZERS
from jdl.networks.layer import Site


def rate(default: float, doc: str) -> Field:
    """A probability that may change without another compilation; 0 builds no noise."""
    return Field("float", default, low=0, high=1, dynamic=True, doc=doc)


def init_field(default: str = "default", doc: str = "How the weights start; 'default' is PyTorch's way.") -> Field:
    """The name of an initialiser of weights."""
    return Field("str", default, choices=INITIALIZERS, doc=doc)


def bias_field(doc: str = "Whether to add a learned constant.") -> Field:
    """Whether there is a bias."""
    return Field("bool", True, doc=doc)


@dataclass(frozen=True)
class PerAxis:
    """Takes one number for all of `n` axes, or one for each; `name` is the hyperparameter's."""

    name: str
    n: int

    def __call__(self, values: tuple[int, ...]) -> tuple[int, ...]:
        """A number for each axis.

        Raises:
          ConfigError: Another number of numbers.
        """
        if len(values) not in (1, self.n):
            few = "1 number" if self.n == 1 else f"1 or {self.n} numbers"
            raise ConfigError(
                f"hyperparameter '{self.name}' must be {few}, one for each axis of space, got {values!r}."
            )
        return values * self.n if len(values) == 1 else values


def per_axis(name: str, n: int, doc: str, default: Any = ..., *, low: int = 1, optional: bool = False) -> Field:
    """A number per spatial axis; one number stands for all."""
    more: Any = {} if default is ... else {"default": None if default is None else (default,) * n}
    return Field("ints", low=low, optional=optional, convert=PerAxis(name, n), doc=doc, **more)


def stream(site: Site, i: int) -> int:
    """The number of the i-th source of noise of a layer."""
    return site.number + (i << 20)


def noise(site: Site, p: float, name: str, i: int = 0, shared: tuple[int, ...] = ()) -> Dropout | None:
    """Dropout whose rate is the dynamic hyperparameter `name` of the layer; None where the rate is 0."""
    return Dropout(p, hyper=site.hyper(name), layer=stream(site, i), shared=shared) if p else None


def inner_axis(x: ArraySpec, axis: int, verb: str) -> int:
    """The position of an axis that must not be the batch, over which rows would mix.

    Raises:
      ShapeError: There is no such axis, or it is the batch.
    """
    position = x.axis(axis)
    if position == 0:
        raise ShapeError(f"cannot {verb} axis {axis} of its input {x}: axis 0 is the batch")
    return position


def need_codes(x: ArraySpec) -> None:
    """Refuses numbers that are no integers.

    Raises:
      ShapeError: Says so.
    """
    if not x.is_codes:
        raise ShapeError(f"needs codes (integers), but its input {x} holds {jnp.dtype(x.dtype).name}")


def need_equal(shapes: Sequence[ArraySpec], axes: Sequence[int], what: str, same: Callable[[Any, Any], bool]) -> None:
    """Refuses inputs whose sizes differ on some axes.

    Raises:
      ShapeError: They differ for certain.
      UnknownSizeError: They may differ: a size is unknown.
    """
    for axis in axes:
        sizes = [x.shape[axis] for x in shapes]
        known = [size for size in sizes if isinstance(size, int)]
        if any(not same(a, b) for a in known for b in known):
            raise ShapeError(f"{what}, but its inputs {listed(shapes)} differ on axis {axis}")
        for x, size in zip(shapes, sizes, strict=True):
            if any(not same(size, other) for other in sizes):
                unknown = next(s for s in (size, *sizes) if not isinstance(s, int))
                raise UnknownSizeError(f"needs the size of axis {axis} of its input {x}, which is unknown", unknown)


def need_same_ndim(inputs: Sequence[ArraySpec]) -> None:
    """Refuses no input at all, and inputs with different numbers of axes.

    Raises:
      ShapeError: Says which.
    """
    if not inputs:
        raise ShapeError("needs at least one input")
    if len({x.ndim for x in inputs}) > 1:
        raise ShapeError(f"needs inputs with equally many axes, but its inputs are {listed(inputs)}")


def listed(inputs: Sequence[ArraySpec]) -> str:
    """Shapes in words."""
    shown = [str(x) for x in inputs]
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else shown[0]
