"""In which floating point type a network's parameters are kept, and in which it computes.

bfloat16 has the range of float32, so that no loss scaling is needed; it has 8 bits of precision.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

Precision = Literal["float32", "mixed", "bfloat16"]
PRECISIONS = ("float32", "mixed", "bfloat16")


def kept(precision: str, tree: Any) -> Any:
    """Parameters in the type in which they are trained and stored: bfloat16 under "bfloat16" alone.

    >>> kept("mixed", jnp.ones(2)).dtype, kept("bfloat16", jnp.ones(2)).dtype
    (dtype('float32'), dtype(bfloat16))
    """
    return _cast(tree, jnp.bfloat16) if precision == "bfloat16" else tree


def computed(precision: str, tree: Any) -> Any:
    """Parameters and rows in the type in which layers compute.

    >>> computed("mixed", jnp.ones(2)).dtype, computed("float32", jnp.ones(2)).dtype
    (dtype(bfloat16), dtype('float32'))
    """
    return tree if precision == "float32" else _cast(tree, compute_type(precision))


def compute_type(precision: str) -> Any:
    """The type in which layers compute.

    >>> compute_type("float32") is jnp.float32, compute_type("mixed") is jnp.bfloat16
    (True, True)
    """
    return jnp.float32 if precision == "float32" else jnp.bfloat16


def like(tree: Any, before: Any) -> Any:
    """Arrays in the types that they had before: hyperparameters are float32, and products with them would be too."""
    leaves, structure = jax.tree.flatten(tree)
    pairs = zip(leaves, jax.tree.leaves(before), strict=True)
    return jax.tree.unflatten(structure, [a if a.dtype == b.dtype else a.astype(b.dtype) for a, b in pairs])


def keeping_types(transformation: optax.GradientTransformation) -> optax.GradientTransformation:
    """The same steps, whose state stays in the types in which it began."""

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        updates, after = transformation.update(updates, state, params)
        return updates, like(after, state)

    return optax.GradientTransformation(transformation.init, update)


def _cast(tree: Any, dtype: Any) -> Any:
    def cast(leaf: Any) -> Any:
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(cast, tree)
