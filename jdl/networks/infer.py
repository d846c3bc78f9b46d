"""Output shapes of built modules, found by tracing them on shapes; sizes may be symbols."""

from typing import Any

import jax
from flax import nnx

from jdl.core.errors import JdlError, ShapeError
from jdl.networks.array_spec import ArraySpec


def output_specs(module: nnx.Module, *inputs: ArraySpec) -> tuple[ArraySpec, ...]:
    """Shapes of what a module gives for inputs of these shapes, in evaluation mode.

    Raises:
      ShapeError: It cannot be applied to them; the message goes on after "node 'linear' ...".

    >>> from jdl.networks.array_spec import Unknowns
    >>> batch = Unknowns().dims(["batch"])[0]
    >>> str(output_specs(nnx.Linear(4, 3, rngs=nnx.Rngs(0)), ArraySpec((batch, 4)))[0])
    '(batch, 3)'
    """
    module.eval()
    graph, state = nnx.split(module)
    module.train()

    def call(state: Any, *arrays: Any) -> Any:
        return nnx.merge(graph, state, copy=True)(*arrays)

    try:
        out = jax.eval_shape(call, state, *(spec.struct for spec in inputs))
    except JdlError:
        raise
    except Exception as error:
        given = ", ".join(map(str, inputs))
        reason = str(error).partition("\n")[0].rstrip(".")
        raise ShapeError(f"cannot be applied to {given}: {reason}{_unknown_batch(reason)}") from error
    outs = out if isinstance(out, tuple | list) else (out,)
    if isinstance(out, tuple | list) and len(outs) == 1:
        raise ShapeError("must give an array, but it gives one inside of a " + type(out).__name__)
    if not all(hasattr(o, "shape") for o in outs):
        raise ShapeError(f"must give arrays, but it gives {type(out).__name__}")
    return tuple(ArraySpec.of(o) for o in outs)


def _unknown_batch(reason: str) -> str:
    """What to do where a function wants to know the number of rows."""
    if "_DimExpr" not in reason and "inconclusive" not in reason.lower():
        return ""
    return (
        " (the number of rows is not known while shapes are found: x.shape[0] may be used as a size, as in "
        "x.reshape(x.shape[0], -1), but not len(x), nor in a comparison)"
    )
