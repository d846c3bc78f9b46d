"""Rematerialisation: what a block computes is computed again on the way back, instead of being kept.

References: Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016.
"""

from typing import Any

import jax
from flax import nnx
from jax.core import Tracer

from jdl.networks.context import current_batch


def apply_block(module: nnx.Module, x: Any) -> Any:
    """What a block gives; where the training step asks for it, of its inner values only the input is kept."""
    if not current_batch().remat or not isinstance(x, Tracer):
        return module(x)  # pyright: ignore[reportCallIssue]
    graph, params, rest = nnx.split(module, nnx.Param, ...)

    def call(params: Any, rest: Any, x: Any) -> Any:
        own: Any = nnx.merge(graph, params, rest, copy=True)
        y = own(x)
        return y, nnx.split(own, nnx.Param, ...)[2]

    y, rest = jax.checkpoint(call)(params, rest, x)  # pyright: ignore[reportPrivateImportUsage]
    nnx.update(module, rest)
    return y
