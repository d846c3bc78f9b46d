"""Training some weights first and others later."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from jdl.core.errors import ConfigError, ConfigTypeError, JdlWarning, shown
from jdl.core.fields import REQUIRED, Field
from jdl.networks.paths import path_names
from jdl.networks.select import select_none
from jdl.train.accumulate import Accumulated
from jdl.train.callback import Dynamic, Event, InScanCallback
from jdl.train.groups import TRAINED

_UNITS = ("epoch", "batch")


def _as_table(value: Any) -> Any:
    """(unit, selects, times) of the table of what is unfrozen when."""
    if value is None or (isinstance(value, tuple) and len(value) == 3 and value[0] in (*_UNITS, "")):
        return value or ("", (), ())
    if isinstance(value, pd.DataFrame):
        value = value.to_dict("list")
    if not isinstance(value, Mapping):
        raise ConfigTypeError(
            f"callback 'unfreeze': 'unfreeze' must be a table, got {value!r}.\n"
            "Hint: {'epoch': [5], 'weights': [jdl.networks.select_all()]}."
        )
    units = [unit for unit in _UNITS if unit in value]
    if len(units) != 1 or set(value) != {units[0], "weights"}:
        raise ConfigError(
            "callback 'unfreeze': the table must have the column 'weights' and one of 'epoch' and 'batch', got "
            f"{', '.join(map(repr, value))}."
        )
    times, selects = (_column(value[name]) for name in (units[0], "weights"))
    whole = all(isinstance(t, int | np.integer) and not isinstance(t, bool) and t >= 0 for t in times)
    if not whole or len(set(times)) < len(times) or len(times) != len(selects):
        raise ConfigError(
            f"callback 'unfreeze': '{units[0]}' must hold different integers of at least 0, one for each 'weights', "
            f"got {times!r} for {len(selects)} entries."
        )
    _check_selects(selects)
    return units[0], tuple(selects), tuple(int(t) for t in times)


def _column(value: Any) -> list[Any]:
    """The entries of a column; one alone may stand for itself."""
    if isinstance(value, str) or callable(value) or np.ndim(value) == 0:
        return [value]
    return list(value)


def _checked_times(times: Any, n_rows: int) -> tuple[int, ...]:
    """Epochs or batches of a table's rows.

    Raises:
      ConfigError: They are no whole numbers of at least 0, or not one per row.
    """
    try:
        values = np.atleast_1d(np.asarray(times, np.float64))
    except (TypeError, ValueError):
        values = np.asarray([np.nan])
    if values.shape != (n_rows,) or not (np.isfinite(values) & (values >= 0) & (values == np.round(values))).all():
        raise ConfigError(
            f"callback 'unfreeze': 'times' must hold a whole number of at least 0 for each row of the table, which has "
            f"{n_rows}, got {shown(np.asarray(times).tolist())}.\nHint: set 'unfreeze' to a table of other rows."
        )
    return tuple(int(value) for value in values)


def _check_selects(selects: Sequence[Any]) -> None:
    for select in selects:
        if not callable(select):
            raise ConfigTypeError(
                f"callback 'unfreeze': weights are chosen by Select functions, got {select!r}.\n"
                "Hint: jdl.networks.select_grep('head')."
            )


@dataclass(frozen=True)
class Unfreeze(InScanCallback):
    """Trains the starting weights alone at first, and unfreezes others at epochs or batches.

    A frozen weight keeps its value, is not decayed, and its optimizer state begins when it is unfrozen, as in PyTorch;
    batch norm goes on keeping statistics. Nothing is frozen again.

    Args:
      starting_weights: A Select function: what is trained from the start.
      unfreeze: A table (dict or frame) with the columns `weights`, Select functions, and either `epoch`, from 1, or
        `batch`, the number of the step in the run, from 1: from its beginning on the weights are trained. A single
        row needs no lists.
      weight: Before other callbacks, so that frozen gradients are in no norm.

    Raises:
      ConfigError: A table of other columns, times that are no integers, or the same time twice; in a run, if nothing
        would ever be trained.

    >>> from jdl.networks.select import select_all, select_grep
    >>> callback = Unfreeze(select_grep("head"), {"epoch": [3], "weights": [select_all()]})
    >>> callback.dynamic()
    {'cb.unfreeze.times': array([3.], dtype=float32)}
    """

    id: ClassVar[str] = "unfreeze"
    fields: ClassVar[dict[str, Field]] = {
        "starting_weights": Field(doc="Select function of the weights that are trained from the start."),
        "unfreeze": Field(default=None, convert=_as_table, doc="Table: `weights`, and `epoch` or `batch`."),
        "times": Field(default=None, dynamic=True, doc="The epochs or batches of the table; given by it."),
    }

    starting_weights: Any = REQUIRED
    unfreeze: Any = None
    times: Any = None
    weight: float = field(default=-100.0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_selects([self.starting_weights])
        unit, selects, times = _as_table(self.unfreeze)
        if times and self.times is None:
            object.__setattr__(self, "times", times)
        elif self.times is not None and not isinstance(self.times, Dynamic):
            object.__setattr__(self, "times", _checked_times(self.times, len(selects)))
        # The times are dynamic: without them equal tables are equal programs.
        object.__setattr__(self, "unfreeze", (unit, selects, ()))

    def groups(self, params: Any) -> Any:
        """The rows of the table by which each parameter is unfrozen, as a text; "start" if it is trained at once."""
        paths, tree = jax.tree_util.tree_flatten_with_path(params)
        names = [".".join(path_names(path)) for path, _ in paths]
        start = set(self.starting_weights(names))
        rows = [set(select(names)) for select in self.unfreeze[1]]
        labels = [
            "start" if name in start else " ".join(str(i) for i, row in enumerate(rows) if name in row)
            for name in names
        ]
        return jax.tree.unflatten(tree, labels)

    def set(self, **values: Any) -> "Unfreeze":
        """The same callback with other values."""
        return super().set(**({"times": None} if "unfreeze" in values else {}), **values)

    def init(self, state: Any) -> Any:
        """Nothing to remember: what is frozen follows from the epoch or step.

        Raises:
          ConfigError: Neither the starting weights nor a row of the table choose a parameter.
        """
        names = [".".join(path_names(path)) for path, _ in jax.tree_util.tree_flatten_with_path(state.params)[0]]
        if not any(select(names) for select in (self.starting_weights, *self.unfreeze[1])):
            raise ConfigError(
                f"callback 'unfreeze': nothing would be trained, since {self.starting_weights!r} and the table choose "
                f"none of {len(names)} parameters.\nHint: their names are such as {', '.join(map(repr, names[:6]))}."
            )
        for select in (self.starting_weights, *self.unfreeze[1]):
            if select != select_none() and not select(names):
                warnings.warn(
                    f"callback 'unfreeze': {select!r} chooses none of {len(names)} parameters, such as '{names[0]}'.",
                    JdlWarning,
                    stacklevel=2,
                )
        return ()

    def _trained(self, event: Event) -> dict[str, Any]:
        """Whether each group but the starting one is trained in this step."""
        unit = self.unfreeze[0]
        labels = set(jax.tree.leaves(self.groups(event.state.params))) - {"start"}
        if not unit:
            return dict.fromkeys(labels, jnp.asarray(False))
        now = event.epoch if unit == "epoch" else event.state.step + 1
        reached = now >= jnp.asarray(self.value("times", event.state))
        return {label: _any(reached, label) for label in sorted(labels)}

    def on_after_backward(self, memory: Any, event: Event) -> tuple[Any, Event]:
        """Takes frozen gradients out, and keeps what must not change until after the step."""
        del memory
        trained, labels = self._trained(event), self.groups(event.state.params)

        def masked(label: str, grad: Any) -> Any:
            return grad if label == "start" else jnp.where(trained[label], grad, 0)

        state = event.state
        counts = jax.tree.map(lambda leaf: leaf if leaf.ndim == 0 else None, _of_groups(state.opt_state))
        kept = (state.params, counts, trained)
        # For the step that follows, and for it alone: decay would else reach the moments of frozen weights.
        hyper = {**state.hyper, f"opt.{TRAINED}": trained}
        grads = jax.tree.map(masked, labels, event.grads)
        return kept, event.replace(grads=grads, state=replace(state, hyper=hyper))

    def on_batch_end(self, memory: Any, event: Event) -> tuple[Any, Event]:
        """Gives frozen weights, and the step counts of their optimizer, back what they were before the step."""
        params, counts, trained = memory
        state, labels = event.state, self.groups(event.state.params)

        def thawed(label: str, new: Any, old: Any) -> Any:
            return new if label == "start" else jax.tree.map(lambda n, o: jnp.where(trained[label], n, o), new, old)

        # Moments have nothing to be given back: without gradient and decay they are still as they began, and to choose
        # among their entries in every step would cost a sixth of it.
        of_groups = {
            label: jax.tree.map(
                lambda n, o, label=label: n if o is None or label == "start" else jnp.where(trained[label], n, o),
                new,
                counts[label],
                is_leaf=lambda leaf: leaf is None,
            )
            for label, new in _of_groups(state.opt_state).items()
        }
        waits = isinstance(state.opt_state, Accumulated)
        opt_state = replace(state.opt_state, inner=of_groups) if waits else of_groups
        hyper = {name: value for name, value in state.hyper.items() if name != f"opt.{TRAINED}"}
        params = jax.tree.map(thawed, labels, state.params, params)
        return (), event.replace(state=replace(state, params=params, opt_state=opt_state, hyper=hyper))


def _of_groups(opt_state: Any) -> Any:
    """The optimizer's states by group, below those of gradients that wait to be applied."""
    return opt_state.inner if isinstance(opt_state, Accumulated) else opt_state


def _any(reached: Any, label: str) -> Any:
    rows = [int(i) for i in label.split()]
    return jnp.any(reached[jnp.asarray(rows)]) if rows else jnp.asarray(False)
