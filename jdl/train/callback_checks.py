"""What an in-scan callback hands back, checked while the program is traced."""

from typing import Any

import jax

from jdl.core.errors import CallbackError, shown
from jdl.networks.paths import path_names

_BEFORE_STEP = frozenset({"on_batch_begin", "on_after_backward"})
_AFTER_STEP = "on_batch_end"


def failed(id: str, stage: str, error: Exception) -> CallbackError:
    """The error that stands for one that a callback raised while it was traced."""
    text = (str(error).splitlines() or [""])[0]
    hint = ""
    if isinstance(error, jax.errors.JAXTypeError | jax.errors.JAXIndexError):
        hint = (
            "\nHint: it is compiled, so that values are not known yet: write it with jax.numpy, and choose between "
            "values with jnp.where."
        )
    return CallbackError(f"{_who(id, stage)} failed: {type(error).__name__}: {text}{hint}")


def keeps_memory(stages: tuple[str, ...], stage: str) -> bool:
    """Whether a callback of these stages must leave its memory's structure as it is at one of them.

    The first stage may still build it. Within a step it may hold more, from before the optimizer's step to after it.
    """
    before = stage in _BEFORE_STEP and _AFTER_STEP in stages
    after = stage == _AFTER_STEP and not _BEFORE_STEP.isdisjoint(stages)
    return stage != "on_begin" and not before and not after


def check_memory(id: str, stage: str, before: Any, after: Any) -> None:
    """Refuses a memory of another structure, or whose arrays have other shapes or types.

    Raises:
      CallbackError: Says what changed.
    """
    hint = "jnp.asarray(value, dtype) in 'init' and in the stages; what it holds must keep its shape and type."
    _check(f"{_who(id, stage)} changed its memory", before, after, hint)


def check_event(id: str, stage: str, before: Any, after: Any) -> None:
    """Refuses an event whose gradients or parameters do not fit those of before.

    Raises:
      CallbackError: Says what changed.
    """
    hint = "event.replace(grads=jax.tree.map(function, event.grads))."
    if before.grads is not None and after.grads is not before.grads:
        # A step takes gradients of any precision.
        _check(f"{_who(id, stage)} changed the gradients", before.grads, after.grads, hint, types=False)
    if after.state is not before.state:
        hint = "dataclasses.replace(event.state, params=jax.tree.map(function, event.state.params))."
        # A state may have been replaced by what is none.
        params, changed = (getattr(event.state, "params", None) for event in (before, after))
        _check(f"{_who(id, stage)} changed the parameters", params, changed, hint)


def _who(id: str, stage: str) -> str:
    return f"callback '{id}', {'stage' if stage.startswith('on_') else 'method'} '{stage}',"


def _check(what: str, before: Any, after: Any, hint: str, types: bool = True) -> None:
    (old, structure), (new, new_structure) = (jax.tree_util.tree_flatten_with_path(t) for t in (before, after))
    if structure != new_structure:
        raise CallbackError(f"{what}: {_difference(old, new, before, after)}.\nHint: {hint}")
    for (path, one), (_, other) in zip(old, new, strict=True):
        was, now = _kind(one), _kind(other)
        if was is None or now is None:
            fits = type(one) is type(other)
            told = (shown(one), shown(other))
        else:
            fits = was.shape == now.shape and (was.dtype == now.dtype or not types)
            told = (was.str_short(), now.str_short())
        if not fits:
            where = f"{_name(path)} was " if path else "it was "
            raise CallbackError(f"{what}: {where}{told[0]}, is {told[1]}.\nHint: {hint}")


def _kind(leaf: Any) -> Any:
    """Shape and type of what can be an array; None for anything else."""
    try:
        return jax.typeof(leaf)
    except TypeError:
        return None


def _difference(old: Any, new: Any, before: Any, after: Any) -> str:
    """In which entries two trees differ."""
    were, are = [_name(path) for path, _ in old], [_name(path) for path, _ in new]
    lost, gained = [name for name in were if name not in are], [name for name in are if name not in were]
    parts = [f"{verb} {', '.join(names[:4])}" for verb, names in (("lost", lost), ("gained", gained)) if names]
    inside = f" ({'; '.join(parts)})" if parts and all(were) and all(are) else ""
    return f"expected the structure of {shown(before)}, got {shown(after)}{inside}"


def _name(path: Any) -> str:
    return ".".join(path_names(path))
