"""Linear layers over more than one leading axis."""

from collections.abc import Callable

from jaxtyping import Array, Float


def on_rows(
    function: Callable[[Float[Array, "row feature"]], Float[Array, "row output"]], x: Float[Array, "*batch feature"]
) -> Float[Array, "*batch output"]:
    """`function` of all leading axes taken as one.

    XLA's gradients of a product with one leading axis are a fifth faster on CPU than with two.

    >>> import jax.numpy as jnp
    >>> on_rows(lambda rows: rows[:, :1], jnp.zeros((2, 3, 4))).shape
    (2, 3, 1)
    """
    y = function(x.reshape(-1, x.shape[-1]))
    return y.reshape(*x.shape[:-1], y.shape[-1])
