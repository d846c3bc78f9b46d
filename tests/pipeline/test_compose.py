import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdl.core.errors import GraphError
from jdl.core.random import as_key
from jdl.data import selectors
from jdl.data.table import Column, Table, TableSpec
from jdl.pipeline import (
    Encode,
    ImputeMean,
    ImputeMedian,
    QuantileNormal,
    RemoveConstants,
    Scale,
    Select,
    apply_chain,
    fit_chain,
    out_specs,
)

SPEC = TableSpec.of(
    [
        Column("x", "float", missing=True),
        Column("n", "int"),
        Column("c", "category", ("a", "b", "d"), missing=True),
    ]
)
CHAIN = (ImputeMedian(), Encode(), RemoveConstants(), Scale(), Select(~selectors.name("n")))


def rows(n: int, seed: int = 0) -> Table:
    draw = np.random.default_rng(seed)
    x = draw.exponential(size=n)
    x[draw.random(n) < 0.2] = np.nan
    numeric = np.stack([x, draw.integers(0, 9, n)], 1).astype(np.float32)
    return Table(numeric, draw.integers(0, 3, (n, 1)).astype(np.int32))


def by_hand(stages, spec, table, weights, key):
    states = []
    for stage in stages:
        states.append(stage.fit(spec, table, weights, key.fold(stage.stage_id)))
        table = stage.apply(spec, states[-1], table, None, True)
        spec = stage.out_spec(spec)
    return tuple(states), table


def assert_close(left, right):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), left, right)


@pytest.mark.parametrize("n", [100, 4096, 10_001])  # the last one goes through in pieces
def test_a_chain_is_its_stages_one_after_another(n):
    table, weights = rows(n), np.random.default_rng(1).integers(0, 3, n).astype(np.float32)
    before = jax.tree.map(np.copy, table)
    states, expected = by_hand(CHAIN, SPEC, table, weights, as_key(3))
    jax.tree.map(np.testing.assert_array_equal, fit_chain(CHAIN, SPEC, table, weights, as_key(3)), states)
    jax.tree.map(np.testing.assert_array_equal, apply_chain(CHAIN, SPEC, states, table, None, False), expected)
    jax.tree.map(np.testing.assert_array_equal, table, before)


def test_traced_chain_equals_host_chain():
    table, weights = rows(200), np.ones(200, np.float32)

    @jax.jit
    def traced(table, weights):
        states = fit_chain(CHAIN, SPEC, table, weights, as_key(0))
        return states, apply_chain(CHAIN, SPEC, states, table, None, True)

    states = fit_chain(CHAIN, SPEC, table, weights, as_key(0))
    expected = states, apply_chain(CHAIN, SPEC, states, table, None, True)
    assert_close(traced(jax.tree.map(jnp.asarray, table), weights), expected)


def test_out_specs_are_those_before_each_stage_and_after_the_last():
    specs = out_specs(CHAIN, SPEC)
    assert len(specs) == len(CHAIN) + 1
    assert specs[0] == SPEC
    assert specs[2].names == ("x", "n", "c.a", "c.b", "c.d")
    assert specs[-1].names == ("x", "c.a", "c.b", "c.d")
    assert not any(c.missing for c in specs[-1].columns)


def test_without_stages_nothing_happens():
    table = rows(5000)
    assert fit_chain((), SPEC, table, np.ones(5000), None) == ()
    assert apply_chain((), SPEC, (), table, None, False) is table


def test_the_last_stage_is_fitted_but_not_applied():
    class Unapplied(Scale):
        def apply(self, spec, state, table, key, train):
            raise AssertionError("nobody needs these rows")

    states = fit_chain((ImputeMean(), Unapplied()), SPEC, rows(20), np.ones(20), None)
    assert len(states) == 2


def test_each_stage_draws_from_a_stream_named_by_its_id():
    table, weights, key = rows(100), np.ones(100, np.float32), as_key(0)
    stage = QuantileNormal(noise=0.5, id="a")
    alone = fit_chain((stage,), SPEC, table, weights, key)[0]["quantiles"]
    behind = fit_chain((Encode(), stage), SPEC, table, weights, key)[1]["quantiles"]
    other = fit_chain((QuantileNormal(noise=0.5, id="b"),), SPEC, table, weights, key)[0]["quantiles"]
    np.testing.assert_array_equal(alone, behind[:2])
    assert (alone != other).any()


def test_infinities_in_absent_rows_raise_no_warning():
    table, weights = rows(6000), np.ones(6000, np.float32)
    table.numeric[:50] = np.inf
    weights[:50] = 0
    chain = (ImputeMean(), Scale(), QuantileNormal())
    states = fit_chain(chain, SPEC, table, weights, None)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(states))


def test_columns_that_a_stage_cannot_take_are_an_error():
    spec = TableSpec.of([Column("c.a", "float"), Column("c", "category", ("a",))])
    with pytest.raises(GraphError, match=r"'encode'.*'c\.a' would be there twice"):
        out_specs((Encode(),), spec)


@pytest.mark.parametrize(
    ("chain", "copies"),
    [((Scale(),), 0), ((ImputeMedian(), Scale()), 1), ((ImputeMedian(), RemoveConstants(), Scale()), 1)],
)
def test_fitting_takes_one_transformed_copy_and_small_temporaries(chain, copies):
    n, p = 60_000, 60
    spec = TableSpec.of([Column(f"x{i}", "float") for i in range(p)])
    numeric = np.random.default_rng(0).normal(size=(n, p)).astype(np.float32)
    table, weights = Table(numeric, np.zeros((n, 0), np.int32)), np.ones(n, np.float32)
    tracemalloc.start()
    try:
        fit_chain(chain, spec, table, weights, None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < (copies + 0.5) * numeric.nbytes
