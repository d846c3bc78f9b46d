"""Precision: which numbers are short, and that nothing else depends on it."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jdl
from jdl.core.random import as_key
from jdl.data.table import Column, Table, TableSpec
from jdl.networks import PiecewiseLinearEncoding
from jdl.networks.graph_spec import GraphSpec
from jdl.train.program import initial_values


def learner(name: str = "classif.mlp", **values):
    small = {"neurons": (16,)} if name == "classif.mlp" else {"n_blocks": 2, "d_block": 8}
    return jdl.po("scale") >> jdl.lrn(name, **({"epochs": 8, **small} | values))


def products(program) -> set[str]:
    """Types of the operands of all matrix products of a forward pass."""
    params, rest = initial_values(program).draw(as_key(0))
    member = jax.tree.map(jnp.asarray, (params, rest))
    spec = program.spec
    x = Table(np.zeros((4, len(spec.numeric)), np.float32), np.zeros((4, len(spec.categorical)), np.int32))
    rates = {f"{part}dropout": jnp.float32(0.1) for part in ("", "attention_", "ffn_", "residual_")}
    rates |= {f"dropout{i}": jnp.float32(0.1) for i in (1, 2)}

    def forward(params, rest):
        return program.forward(params, rest, x, train=True, seed=jnp.uint32(1), hyper=rates)[0]

    return set(operands(jax.make_jaxpr(forward)(*member).jaxpr))


def operands(jaxpr) -> Iterator[str]:
    """Those of the matrix products of a program and of the functions that it calls."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            yield from (str(v.aval.dtype) for v in eqn.invars)
        for inner in jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda part: hasattr(part, "eqns")):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from operands(inner)


MIXED = TableSpec(
    (Column("a", "float"), Column("b", "float")),
    (Column("c", "category", ("x", "y")), Column("d", "category", tuple(map(str, range(12))))),
)
ONE_HOT = jdl.po("ingress_categ") >> jdl.nn("onehot") >> jdl.nn("linear", out_features=4)
BINS = (
    jdl.po("ingress_num")
    >> jdl.nn("embed_piecewise_linear", n_bins=3, d_embedding=2)
    >> jdl.nn("flatten")
    >> jdl.nn("linear", out_features=4)
)
NETWORKS = {
    "tab_resnet": lambda: jdl.lrn("classif.tab_resnet", d_block=8, num_embeddings="piecewise_linear").network(),
    "ft_transformer": lambda: jdl.lrn("classif.ft_transformer", n_blocks=1).network(),
    "tabm": lambda: jdl.lrn("classif.tabm", k=2, d_block=8).network(),
    "tabm of numbers": lambda: jdl.lrn("classif.tabm", k=2, d_block=8, num_embeddings=None).network(),
    "realmlp": lambda: jdl.lrn("classif.realmlp", hidden_sizes=(8,)).network(),
    "realmlp td-s": lambda: jdl.lrn("classif.realmlp", hidden_sizes=(8,), variant="td-s").network(),
    "graph": lambda: GraphSpec([ONE_HOT, BINS] >> jdl.nn("merge_sum") >> jdl.nn("head")),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("precision, short", [("float32", "float32"), ("mixed", "bfloat16")])
def test_networks_for_tables_multiply_in_the_type_that_was_asked_for(name, precision, short):
    program = jdl.train.program(NETWORKS[name](), spec=MIXED, n_outputs=3, loss="cross_entropy", precision=precision)
    assert products(program) == {short}


def test_bins_and_scales_are_float32():
    """Numbers that bfloat16 tells apart fall into bins that it would not tell apart."""
    x = jnp.linspace(256, 258, 2, dtype=jnp.bfloat16)[:, None]
    encoding = PiecewiseLinearEncoding([[256.0, 257.0, 258.0]])
    assert encoding(x).dtype == jnp.bfloat16 and encoding(x).tolist() == [[0, 0], [1, 1]]
    assert encoding(jnp.float32([[257.5]])).tolist() == [[1, 0.5]]


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
