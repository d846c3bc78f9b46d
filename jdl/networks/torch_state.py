"""Weights of published PyTorch packages, loaded by name.

A module says in `torch_slots` under which names of a `state_dict` its variables are found. Loading checks all names
and shapes before it sets a value, so that an error leaves the model as it was. Nothing here imports PyTorch.
"""

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from flax import nnx

from jdl.core.errors import ConfigError, ConfigTypeError, ShapeError, UnknownNameError, shown, suggest
from jdl.networks.norm import BatchNorm


@dataclass(frozen=True)
class Slot:
    """Where one array of a PyTorch state belongs.

    Args:
      variable: What is set.
      transpose: Whether the two axes change places, as for the weights of `torch.nn.Linear`.
      rows: First and last (exclusive) row that the array fills; None fills the whole variable.
      shape: Shape in PyTorch, where it has other axes of the same order; None if it has the same.
    """

    variable: Any
    transpose: bool = False
    rows: tuple[int, int] | None = None
    shape: tuple[int, ...] | None = None

    @property
    def torch_shape(self) -> tuple[int, ...]:
        """The shape that the array must have."""
        if self.shape is not None:
            return self.shape
        shape = tuple(self.variable.shape)
        if self.rows is not None:
            shape = (self.rows[1] - self.rows[0], *shape[1:])
        return shape[::-1] if self.transpose else shape


# A name maps to None where PyTorch keeps something that has no counterpart: it may be there, and is skipped.
Slots = dict[str, Slot | None]


class TorchModule(nnx.Module):
    """A module into which the weights of its counterpart in PyTorch can be loaded."""

    @abc.abstractmethod
    def torch_slots(self) -> Slots:
        """Names in the `state_dict` of the counterpart, and what they fill."""

    def load_torch_state(self, state: Mapping[str, Any]) -> None:
        """Sets all weights, in place, from a mapping of PyTorch's names to arrays.

        Weights of linear layers are transposed. Buffers that carry no weights are skipped. After an error nothing
        has changed.

        Args:
          state: Arrays, or tensors on the CPU, by name; what `state_dict()` returns.

        Raises:
          UnknownNameError: A name that the model does not have.
          ConfigError: A name that the model has and `state` has not.
          ShapeError: An array of another shape.
        """
        load_state(type(self).__name__, self.torch_slots(), state)


def load_state(owner: str, slots: Slots, state: Mapping[str, Any]) -> None:
    """Fills `slots` from `state`, or raises and changes nothing."""
    if not isinstance(state, Mapping):
        raise ConfigTypeError(
            f"{owner}: expected names and arrays, as state_dict() returns them, got {type(state).__name__}."
        )
    for name in state:
        if name not in slots:
            raise UnknownNameError.of("name in the PyTorch state", name, slots, owner=owner)
    wanted = {name: slot for name, slot in slots.items() if slot is not None}
    missing = [name for name in wanted if name not in state]
    if missing:
        shown = ", ".join(repr(name) for name in missing[:8]) + (", ..." if len(missing) > 8 else "")
        raise ConfigError(
            f"{owner}: {len(missing)} of {len(wanted)} names are missing in the PyTorch state: {shown}.\n"
            f"Hint: build it with the arguments of the model the state is from.{_nearest(missing[0], state)}"
        )
    arrays = {name: _as_numbers(owner, name, state[name]) for name in wanted}
    for name, slot in wanted.items():
        if arrays[name].shape != slot.torch_shape:
            raise ShapeError(
                f"{owner}: {name!r} in the PyTorch state must have shape {slot.torch_shape}, "
                f"got {arrays[name].shape}.\nHint: build it with the sizes of the model the state is from."
            )
    for name, slot in wanted.items():
        _fill(slot, arrays[name])


def _nearest(name: str, state: Mapping[str, Any]) -> str:
    return f" {suggest(name, state)}" if state else ""


def _as_numbers(owner: str, name: str, values: Any) -> np.ndarray:
    """An array, or a tensor of PyTorch, which may have a gradient, or a type that NumPy has not."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.float() if values.is_floating_point() else values
    array = np.asarray(values)
    if not (np.issubdtype(array.dtype, np.number) or array.dtype.name == "bfloat16"):
        raise ConfigTypeError(f"{owner}: {name!r} in the PyTorch state must hold numbers, got {shown(values)}.")
    return array


def _fill(slot: Slot, values: np.ndarray) -> None:
    old = slot.variable[...]
    values = values.T if slot.transpose else values
    if slot.rows is not None:
        whole = np.array(old)
        whole[slice(*slot.rows)] = values
        slot.variable.set_value(whole)
    else:
        slot.variable.set_value(np.array(values.reshape(old.shape), old.dtype))


def under(prefix: str, module: Any) -> Slots:
    """Slots of a part of a model, with `prefix` and a dot before their names; none for None."""
    if module is None:
        return {}
    return {f"{prefix}.{name}": slot for name, slot in layer_slots(module).items()}


def layer_slots(layer: Any) -> Slots:
    """Names of PyTorch's own layers, and of modules that say theirs."""
    if isinstance(layer, TorchModule):
        return layer.torch_slots()
    if isinstance(layer, nnx.Linear):
        bias: Slots = {} if layer.bias is None else {"bias": Slot(layer.bias)}
        return {"weight": Slot(layer.kernel, transpose=True), **bias}
    if isinstance(layer, nnx.LayerNorm):
        return {"weight": Slot(layer.scale), "bias": Slot(layer.bias)}
    if isinstance(layer, BatchNorm):
        statistics: Slots = {"running_mean": Slot(layer.mean), "running_var": Slot(layer.var)}
        return {"weight": Slot(layer.scale), "bias": Slot(layer.bias), **statistics, "num_batches_tracked": None}
    raise ConfigError(f"{type(layer).__name__}: there is no counterpart in PyTorch whose names it could take.")
