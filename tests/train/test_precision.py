"""Precision: which numbers are short, and that nothing else depends on it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jdl
from jdl.core.random import as_key
from jdl.train.program import initial_values


def learner(name: str = "classif.mlp", **values):
    small = {"neurons": (16,)} if name == "classif.mlp" else {"n_blocks": 2, "d_block": 8}
    return jdl.po("scale") >> jdl.lrn(name, **({"epochs": 8, **small} | values))


def products(program) -> set[str]:
    """Types of the operands of all matrix products of a forward pass."""
    params, rest = initial_values(program).draw(as_key(0))
    member = jax.tree.map(jnp.asarray, (params, rest))
    x = jdl.train.numeric_table(np.zeros((4, 3), np.float32))
    jaxpr = jax.make_jaxpr(
        lambda p, r: program.forward(p, r, x, train=True, seed=jnp.uint32(1), hyper={"dropout": jnp.float32(0.1)})[0]
    )(*member)
    return {str(v.aval.dtype) for eqn in jaxpr.eqns if eqn.primitive.name == "dot_general" for v in eqn.invars}


@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
def test_mixed_multiplies_in_bfloat16_and_keeps_float32(norm):
    network = jdl.train.MLPSpec(neurons=(8, 8), norm=norm, dropout=True)
    plain = jdl.train.program(network, n_features=3)
    assert products(plain) == {"float32"}
    mixed = jdl.train.program(network, n_features=3, precision="mixed")
    assert products(mixed) == {"bfloat16"}


@pytest.mark.parametrize("precision, kept", [("float32", "float32"), ("mixed", "float32"), ("bfloat16", "bfloat16")])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_parameters_and_optimizer_keep_their_types(precision, kept, optimizer):
    fitted = learner(precision=precision, optimizer=jdl.opt(optimizer, lr=0.01)).train(jdl.tsk("iris"))
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(fitted.run.params)} == {kept}
    assert np.isfinite(fitted.history["train.loss"]).all()


@pytest.mark.parametrize("precision", ["mixed", "bfloat16"])
def test_scores_are_close_to_those_of_float32(precision):
    losses = [
        learner(precision=p, epochs=20, **{"opt.lr": 0.01}).train(jdl.tsk("iris")).history["train.loss"].iloc[-1]
        for p in ("float32", precision)
    ]
    assert losses[0] < 0.5
    assert losses[1] == pytest.approx(losses[0], rel=0.1)
    assert losses[1] != losses[0]


def test_folds_train_together_in_bfloat16():
    rr = jdl.resample(jdl.tsk("iris"), learner("classif.tab_resnet", precision="bfloat16"), jdl.rsmp("cv", folds=2))
    assert rr.plan and all(outcome.ok for outcome in rr.outcomes)


def test_other_precisions_are_refused():
    with pytest.raises(jdl.ConfigError, match="'float32', 'mixed', 'bfloat16'"):
        learner(precision="float16")
