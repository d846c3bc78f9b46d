"""Losses from functions."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from jdl.core.errors import ConfigError, ConfigTypeError, ShapeError, shown
from jdl.train.losses.base import Loss


@dataclass(frozen=True)
class FunctionLoss(Loss):
    """A function `(output, target) -> loss of each row` as a loss.

    Equal functions share a program: define it once, at the top of a module, not anew in every call.

    Args:
      function: Takes outputs (row, output) and targets (row), class codes or standardised values; gives (row).
      outputs: Outputs of the network; None: 1, or one per class if there are more than two.
      task_type: "classif", "regr"; None takes that of the learner.

    Raises:
      ConfigTypeError: No function of two arguments.

    >>> def asymmetric(output, target):
    ...     error = target - output[:, 0]
    ...     return jnp.where(error > 0, 2.0, 1.0) * error**2
    >>> FunctionLoss(asymmetric).per_row(jnp.zeros((2, 1)), jnp.array([1.0, -1.0])).tolist()
    [2.0, 1.0]
    """

    function: Callable[[Any, Any], Any]
    outputs: int | None = None
    task_type: str | None = None

    def __post_init__(self) -> None:
        if not callable(self.function) or inspect.isclass(self.function):
            raise ConfigTypeError(
                f"loss: expected a function (output, target) -> loss of each row, got {shown(self.function)}."
            )
        try:
            hash(self.function)
            inspect.signature(self.function).bind(0, 0)
        except (TypeError, ValueError) as error:
            raise ConfigTypeError(
                f"loss: {shown(self.function)} must be hashable and take (output, target): {error}."
            ) from error

    @property
    def id(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The function's name."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    @property
    def task_types(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The one it is used for."""
        return ("classif", "regr") if self.task_type is None else (self.task_type,)

    def for_task_type(self, task_type: str) -> "FunctionLoss":
        """The loss for tasks of one type."""
        return replace(self, task_type=self.task_type or task_type)

    def per_row(self, output: Float[Array, "row output"], target: Shaped[Array, "row"]) -> Float[Array, "row"]:
        """What the function gives."""
        return self.function(output, target)

    def n_outputs(self, n_classes: int) -> int:
        """As asked for; 1, or one per class if there are more than two."""
        return self.outputs or (n_classes if n_classes > 2 else 1)

    def check(self, n_outputs: int) -> None:
        """Refuses a function that does not give a number per row.

        Raises:
          ConfigError: It fails.
          ShapeError: It gives something else.
        """
        codes = "regr" not in self.task_types
        n_rows = 5 if n_outputs != 5 else 7  # a mean over rows would pass for a number per row
        target = jax.ShapeDtypeStruct((n_rows,), jnp.int32 if codes else jnp.float32)
        output = jax.ShapeDtypeStruct((n_rows, n_outputs), jnp.float32)
        try:
            given = jax.eval_shape(self.function, output, target)
        except Exception as error:
            raise ConfigError(
                f"loss '{self.id}' fails on outputs of shape {output.shape} and targets of shape {target.shape}: "
                f"{type(error).__name__}: {error}"
            ) from error
        if getattr(given, "shape", None) != target.shape:
            raise ShapeError(
                f"loss '{self.id}' must give a number per row, shape {target.shape} for outputs of shape "
                f"{output.shape}, got {shown(given)}.\nHint: leave the mean over rows to jdl."
            )
