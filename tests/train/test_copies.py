"""Optimizers move the copies of a stacked block as if each were a parameter of its own."""

import jax
import numpy as np
import optax
import pytest

import jdl
from jdl import train
from jdl.networks.graph_spec import GraphSpec
from jdl.networks.scan import SCANNED
from jdl.train.factors import parameter_names
from jdl.train.optimizer import as_optimizer

OPTIMIZERS = {
    "muon": jdl.opt("muon", lr=0.05, weight_decay=0.1),
    "lamb": jdl.opt("lamb", lr=0.05),
    "adafactor": jdl.opt("adafactor", lr=0.05),
    "own": optax.chain(optax.adaptive_grad_clip(0.01), optax.sgd(0.1)),
    "groups": jdl.opt("muon", lr=0.05, groups=[{"params": jdl.networks.select_grep("bias$"), "lr": 0.2}]),
    "adam": jdl.opt("adam", lr=0.01),
}


def network(depth, trafo):
    inner = jdl.nn("linear", out_features=8) >> jdl.nn("tanh")
    for _ in range(depth):
        inner = jdl.nn("block", inner, n_blocks=SCANNED, trafo=trafo) >> jdl.nn("identity")
    return GraphSpec(jdl.po("ingress_num") >> jdl.nn("linear", out_features=8) >> inner >> jdl.nn("head"))


def trained(spec, optimizer):
    """Parameters by name after a few steps."""
    program = train.program(spec, n_features=4, loss="mse", optimizer=optimizer, batch_size=32)
    random = np.random.default_rng(0)
    table = train.numeric_table(random.normal(size=(32, 4)).astype(np.float32))
    hyper = {f"opt.{name}": value for name, value in as_optimizer(optimizer, "test").dynamic().items()}
    member = train.draw(program, 0, random.normal(size=32).astype(np.float32), epochs=5, hyper=hyper)
    run, _ = jax.jit(lambda member: train.fit(program, table, member))(member)
    params = run.train.params
    return dict(zip(parameter_names(params), map(np.asarray, jax.tree.leaves(params)), strict=True))


def copies(name, array):
    """A stacked parameter as those that a series of blocks has, by their names."""
    if ".inner." not in name:
        return {name: array}
    parts = [copies(name.replace(".inner.", f".modules_.{i}.", 1), copy) for i, copy in enumerate(array)]
    return {name: copy for part in parts for name, copy in part.items()}


@pytest.mark.parametrize(("name", "depth"), [*((name, 1) for name in OPTIMIZERS), ("own", 2)])
def test_stacked_copies_are_moved_as_those_of_a_series(name, depth):
    stacked = trained(network(depth, None), OPTIMIZERS[name])
    series = trained(network(depth, lambda i, values: {}), OPTIMIZERS[name])
    assert any("inner" in name for name in stacked) and not any("inner" in name for name in series)
    apart = {name: copy for key, array in stacked.items() for name, copy in copies(key, array).items()}
    assert set(apart) == set(series)
    for key, copy in apart.items():
        np.testing.assert_allclose(copy, series[key], rtol=1e-4, atol=2e-5, err_msg=key)
