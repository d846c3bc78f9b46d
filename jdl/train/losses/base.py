"""The contract of a loss."""

import abc
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from jdl.core.errors import ConfigError, UnknownNameError
from jdl.core.fields import Field, check_values

PREFIX = "loss."


@dataclass(frozen=True)
class Loss(abc.ABC):
    """What training minimises: the weighted mean of `per_row` over a batch.

    A subclass is a frozen dataclass whose attributes `fields` describes. Where a program is made, dynamic ones are
    replaced by marks (`structure`); their values travel as "loss.<name>" and are put back by `at`.
    """

    id: ClassVar[str]
    task_types: ClassVar[tuple[str, ...]]
    fields: ClassVar[dict[str, Field]] = {}
    # Of regression: what it predicts beside the response, "se" or "quantiles".
    predict_type: ClassVar[str] = "response"
    # Whether the outputs of the network are values of the (scaled) target.
    direct: ClassVar[bool] = True
    # Dynamic values whose 0 or None leaves a term out of the program.
    optional: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in self.fields}
        for name, value in check_values(f"loss '{self.id}'", self.fields, given).items():
            object.__setattr__(self, name, value)

    # -- the loss

    @abc.abstractmethod
    def per_row(self, output: Float[Array, "row output"], target: Shaped[Array, "row"]) -> Float[Array, "row"]:
        """Loss of each row."""

    def row_factors(self, target: Shaped[Array, "row"]) -> Float[Array, "row"] | None:
        """What the weight of each row is multiplied with, as by class weights; None for 1."""
        del target
        return None

    def n_outputs(self, n_classes: int) -> int:
        """How many outputs the network needs; `n_classes` is 0 in regression."""
        del n_classes
        return 1

    @property
    def evaluation(self) -> "Loss":
        """The loss of validation rows: without what only regularises training."""
        return self

    # -- values at run time

    @property
    def structure(self) -> Self:
        """The same loss with marks for dynamic values: equal ones share a program."""
        marks = {}
        for name, field in self.fields.items():
            if field.dynamic and self._is_on(name):
                marks[name] = self.mark(name)
        return self._replaced(marks)

    def mark(self, name: str) -> Any:
        """What stands for a dynamic value in a program."""
        value = getattr(self, name)
        return tuple((i + 1) / (len(value) + 1) for i in range(len(value))) if isinstance(value, tuple) else 0.5

    def _is_on(self, name: str) -> bool:
        return name not in self.optional or bool(getattr(self, name))

    def dynamic(self) -> dict[str, np.ndarray]:
        """Its dynamic values by name, without those that leave a term out."""
        values = {n: getattr(self, n) for n, f in self.fields.items() if f.dynamic and self._is_on(n)}
        return {n: np.asarray(v, np.float32) for n, v in values.items() if not isinstance(v, str)}

    def at(self, hyper: Mapping[str, Any]) -> Self:
        """The loss with the values of the dynamic hyperparameters "loss.<name>", which may be traced."""
        given = {n: hyper[PREFIX + n] for n in self.fields if PREFIX + n in hyper and self._is_on(n)}
        return self._replaced(given) if given else self

    def set(self, **values: Any) -> Self:
        """The same loss with other values.

        Raises:
          UnknownNameError: A value that it does not have.
          ConfigError: A value out of range.
        """
        for name in values:
            if name not in self.fields:
                raise UnknownNameError.of("hyperparameter", name, self.fields, owner=f"loss '{self.id}'")
        new = self._replaced(values)
        new.__post_init__()
        return new

    def _replaced(self, values: Mapping[str, Any]) -> Self:
        """A copy with some attributes replaced, unchecked: they may be traced."""
        new = object.__new__(type(self))
        for field in fields(self):
            object.__setattr__(new, field.name, values.get(field.name, getattr(self, field.name)))
        return new

    # -- what depends on data

    def for_classes(self, class_names: tuple[Any, ...]) -> Self:
        """The loss for a task of these classes."""
        del class_names
        return self

    def from_rows(
        self, target: Shaped[np.ndarray, "row"], n_outputs: int, weights: Float[np.ndarray, "row"] | None = None
    ) -> dict[str, np.ndarray]:
        """Dynamic values that follow from the training rows, which may have weights, in NumPy."""
        del target, n_outputs, weights
        return {}

    def check_target(self, target: Shaped[np.ndarray, "row"], owner: str) -> None:  # noqa: B027 - most take any
        """Refuses targets that the loss cannot take.

        Raises:
          ConfigError: Says which.
        """

    def check(self, n_outputs: int) -> None:  # noqa: B027 - only a loss of the user's own may not fit
        """Refuses a loss that does not give a number per row.

        Raises:
          ConfigError: It fails.
          ShapeError: It gives something else.
        """

    # -- regression: from outputs to units of the target

    def scale_of(
        self, target: Float[np.ndarray, "row"], weights: Float[np.ndarray, "row"] | None = None
    ) -> tuple[float, float]:
        """What is subtracted from targets before training, and what they are divided by then."""
        mean = float(np.average(target, weights=weights))
        sd = float(np.sqrt(np.average((target - mean) ** 2, weights=weights)))
        return mean, sd if sd > 0 else 1.0

    def response(self, output: Any) -> Any:
        """The predicted value of each row, in NumPy or JAX, in scaled units."""
        return output[:, 0]

    def extras(self, output: Float[np.ndarray, "row output"], mean: float, sd: float) -> dict[str, Any]:
        """What it predicts beside the response, in units of the target."""
        del output, mean, sd
        return {}

    def combined(self, output: Float[Array, "row member output"]) -> Float[Array, "row output"]:
        """One output per row for those of the members of an ensemble."""
        return output.mean(axis=1)


def class_factors(
    weights: Any, target: Int[Array, "row"], ignore_index: int | None, who: str
) -> Float[Array, "row"] | None:
    """Factors of rows by the weights of their classes; 0 for rows to be ignored."""
    if weights is None and ignore_index is None:
        return None
    factors = jnp.ones(target.shape, jnp.float32)
    if weights is not None:
        if isinstance(weights, str | dict):
            raise ConfigError(
                f"loss '{who}': class_weight={weights!r} becomes numbers when a run is drawn.\n"
                "Hint: loss.at({'loss.class_weight': numbers})."
            )
        weights = jnp.asarray(weights)
        factors = weights[jnp.clip(target, 0, weights.shape[0] - 1)]
    return factors if ignore_index is None else jnp.where(target == ignore_index, 0.0, factors)


def softplus_inverse(value: Any) -> Any:
    """The number whose softplus is `value`."""
    return value + jnp.log(-jnp.expm1(-value))


def softplus(xp: Any, value: Any) -> Any:
    """log(1 + exp(value)) in NumPy or JAX."""
    return jax.nn.softplus(value) if xp is jnp else np.logaddexp(value, 0.0)
