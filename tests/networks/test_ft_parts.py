"""Parts of the FT-Transformer in short numbers."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from jdl.networks.context import BatchContext, batch_context
from jdl.networks.ft_parts import FeatureAttention


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_softmax_of_attention_is_float32(dtype):
    attention = FeatureAttention(8, 2, dropout=0.5, rngs=nnx.Rngs(0))
    graph, state = nnx.split(attention)
    short = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), state)

    def call(state, x):
        with batch_context(BatchContext(seed=jnp.uint32(1))):
            return nnx.merge(graph, state, copy=True)(x, x)  # pyright: ignore[reportCallIssue]

    jaxpr = jax.make_jaxpr(call)(short, jnp.ones((3, 4, 8), dtype))
    types = {str(eqn.invars[0].aval.dtype) for eqn in jaxpr.eqns if eqn.primitive.name == "exp"}
    assert types == {"float32"}
    assert [str(aval.dtype) for aval in jaxpr.out_avals] == [dtype]
