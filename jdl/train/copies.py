"""Transformations that look at a parameter as a whole see each copy of a stacked block by itself.

The copies of a `block` lie on the first axis of one array (`jdl.networks.scan`). To what computes element by element
that is all the same; a matrix that muon makes orthogonal, or a norm that lamb takes, is one copy's.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from jdl.networks.scan import STACKED


def by_copy(transformation: optax.GradientTransformation) -> optax.GradientTransformation:
    """The transformation, for which the copies of stacked blocks are parameters apart.

    Its state is of parameters apart. Where nothing is stacked it is the transformation itself.
    """

    def init(params: Any) -> Any:
        return transformation.init(_apart(params))

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        moved, state = transformation.update(_apart(updates), state, None if params is None else _apart(params))
        return _together(moved, updates), state

    return optax.GradientTransformation(init, update)


def _apart(tree: Any) -> Any:
    """The tree, with a list of copies in the place of each stacked parameter."""

    def copies(part: Any) -> Any:
        n_axes = _n_axes(part)
        if not n_axes:
            return part
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[n_axes:]), part)
        (n,) = {leaf.shape[0] for leaf in jax.tree.leaves(flat)}
        return [jax.tree.map(lambda leaf, i=i: leaf[i], flat) for i in range(n)]

    return jax.tree.map(copies, tree, is_leaf=_is_variable)


def _together(tree: Any, like: Any) -> Any:
    """The tree that was taken apart, in the structure of `like`."""

    def stack(part: Any, copies: Any) -> Any:
        if not _n_axes(part):
            return copies
        return jax.tree.map(lambda leaf, *each: jnp.stack(each).reshape(leaf.shape), part, *copies)

    return jax.tree.map(stack, like, tree, is_leaf=_is_variable)


def _is_variable(part: Any) -> bool:
    return isinstance(part, nnx.Variable)


def _n_axes(part: Any) -> int:
    """How many axes of a parameter count copies; 0 too for a place that is masked, which holds no array."""
    return part.get_metadata().get(STACKED, 0) if _is_variable(part) and jax.tree.leaves(part) else 0
