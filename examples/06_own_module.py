"""A layer and a network of one's own: a function in a graph, and any nnx.Module as a learner.

Run: python examples/06_own_module.py
"""

import jax.numpy as jnp
from flax import nnx

import jdl


@jdl.layer
def winsorize(x, limit=2.0):
    """Values beyond a limit become the limit."""
    return jnp.clip(x, -limit, limit)


class Gated(nnx.Module):
    """One hidden layer, of which a second one says how much passes."""

    def __init__(self, d_in, d_out, width=32, *, rngs):
        self.value = nnx.Linear(d_in, width, rngs=rngs)
        self.gate = nnx.Linear(d_in, width, rngs=rngs)
        self.last = nnx.Linear(width, d_out, rngs=rngs)

    def __call__(self, x):
        """Outputs for a batch of rows."""
        return self.last(self.value(x) * nnx.sigmoid(self.gate(x)))


task = jdl.tsk("diabetes")
graph = (
    jdl.po("scale")
    >> jdl.po("ingress_num")
    >> winsorize(limit=1.5)
    >> jdl.nn("head")
    >> jdl.po("loss", "mse")
    >> jdl.po("optimizer", "adam", lr=1e-2)
    >> jdl.po("model_regr", epochs=60)
)
learners = {
    "winsorized linear": jdl.as_learner(graph),
    "gated": jdl.po("scale") >> jdl.lrn("regr.module", module=Gated, width=16, epochs=60),
    "featureless": jdl.lrn("regr.featureless"),
}
for name, learner in learners.items():
    rr = jdl.resample(task, learner, jdl.rsmp("cv", folds=5), key=0)
    print(f"{name}: RMSE {rr.aggregate('regr.rmse'):.1f}")
