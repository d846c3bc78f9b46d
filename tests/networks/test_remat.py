"""Rematerialisation changes what is kept for the way back, and no number beyond rounding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jdl
from jdl.core.random import as_key
from jdl.train.program import initial_values

MODELS = {
    "mlp": {"neurons": (8,) * 3, "norm": "batch", "dropout": 0.1},
    "tab_resnet": {"n_blocks": 3, "d_block": 8},
    "tabm": {"k": 3, "n_blocks": 3, "d_block": 8},
    "ft_transformer": {"n_blocks": 3, "d_block": 8, "attention_n_heads": 2},
    "realmlp": {"hidden_sizes": (8, 8)},
}


@pytest.mark.parametrize("name", MODELS)
def test_numbers_are_the_same(name):
    sgd = jdl.opt("sgd", lr=0.05)  # Adam would move weights whose gradients are rounding alone
    runs = []
    for remat in (False, True):
        made = jdl.lrn(f"classif.{name}", epochs=2, batch_size=64, remat=remat, optimizer=sgd, **MODELS[name])
        runs.append((jdl.po("scale") >> made).train(jdl.tsk("iris")).run)
    for part in ("params", "rest", "history"):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
            getattr(runs[0], part),
            getattr(runs[1], part),
        )


@pytest.mark.parametrize("n_blocks", [3, 20])  # one after the other, and in a scan
def test_a_graph_of_blocks_keeps_less(n_blocks):
    """What the way back reads from the way there, counted in numbers, is smaller."""
    inner = jdl.nn("linear", out_features=8) >> jdl.nn("relu") >> jdl.nn("linear_2", out_features=3)
    graph = jdl.po("ingress_num") >> jdl.nn("block", inner, n_blocks=n_blocks) >> jdl.nn("head")
    learner = jdl.as_learner(graph >> jdl.po("loss", "cross_entropy") >> jdl.po("model_classif", epochs=1))
    program = learner.train(jdl.tsk("iris"), rows=range(0, 150, 5)).program
    kept = []
    for remat in (False, True):
        program = jdl.train.Program(**{f: getattr(program, f) for f in program.__dataclass_fields__} | {"remat": remat})
        params, rest = initial_values(program).draw(as_key(0))
        table = jdl.train.numeric_table(np.ones((64, 4), np.float32))

        def loss(params, program=program, rest=rest, table=table):
            return program.forward(params, rest, table, train=True, seed=jnp.uint32(0))[0].sum()

        residuals = jax.eval_shape(lambda p: jax.vjp(loss, p)[1], jax.tree.map(jnp.asarray, params))
        kept.append(sum(leaf.size for leaf in jax.tree.leaves(residuals)))
    assert kept[1] < 0.7 * kept[0]
