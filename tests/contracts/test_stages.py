"""What holds for every stage of the catalogue. A new stage adds its constructor's arguments to `STAGES_UNDER_TEST`."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jdl.core.fields import Field
from jdl.core.random import as_key
from jdl.data import selectors
from jdl.data.table import Column, Table, TableSpec
from jdl.pipeline import STAGES, Stage

# One of the columns holds nothing, of which imputation warns.
pytestmark = pytest.mark.filterwarnings("ignore:.*has no observed value")

STAGES_UNDER_TEST: dict[str, list[dict]] = {
    "encode": [{}, {"columns": "color"}],
    "imputemean": [{}, {"columns": ["gaps", "count"]}],
    "imputemedian": [{}, {"columns": ["gaps", "count"]}],
    "imputemode": [{}, {"columns": ["gaps", "color"]}, {"columns": selectors.none()}],
    "missind": [{}, {"columns": ["gaps", "plain"]}, {"columns": selectors.none()}],
    "quantilenormal": [{}, {"n_quantiles": 7, "columns": ["gaps", "tied"]}],
    "removeconstants": [{}, {"columns": ["same", "one"]}],
    "scale": [{}, {"center": False}, {"scale": False}, {"columns": ["plain", "tied"]}],
    "scalerange": [{}, {"lower": -2, "upper": 3}, {"columns": "plain"}],
    "select": [{"selector": selectors.type("float")}, {"selector": ["color", "flag"]}],
}
CASES = [(name, options) for name, each in STAGES_UNDER_TEST.items() for options in each]
every_stage = pytest.mark.parametrize("stage", [STAGES.make(n, **o) for n, o in CASES], ids=repr)

SPEC = TableSpec.of(
    [
        Column("plain", "float"),
        Column("gaps", "float", missing=True),
        Column("tied", "float"),
        Column("count", "int", missing=True),
        Column("flag", "bool"),
        Column("same", "float", missing=True),
        Column("empty", "float", missing=True),
        Column("color", "category", ("blue", "green", "red"), missing=True),
        Column("size", "ordered", (1, 2, 3, 4, 5)),
        Column("one", "category", ("only",)),
        Column("unseen", "category", ("a", "b"), missing=True),
    ]
)


def rows(n: int, seed: int = 0) -> Table:
    """Rows of `SPEC`: ties, gaps, a constant column, a column and a level without any value."""
    draw = np.random.default_rng(seed)
    gaps = draw.normal(50, 10, n)
    gaps[draw.random(n) < 0.3] = np.nan
    count = draw.integers(-3, 4, n).astype(float)
    count[draw.random(n) < 0.2] = np.nan
    same = np.full(n, 0.1)
    same[draw.random(n) < 0.2] = np.nan
    numeric = [
        draw.normal(0, 1, n),
        gaps,
        draw.integers(0, 3, n) * 0.7,
        count,
        draw.integers(0, 2, n),
        same,
        np.full(n, np.nan),
    ]
    codes = [draw.integers(0, 4, n), draw.integers(1, 5, n), np.ones(n), np.zeros(n)]
    return Table(np.stack(numeric, 1).astype(np.float32), np.stack(codes, 1).astype(np.int32))


def assert_close(left, right, atol=1e-5):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-5, atol=atol), left, right
    )


def assert_same(left, right):
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(np.asarray(a), np.asarray(b)), left, right)


def on_device(table: Table) -> Table:
    return jax.tree.map(jnp.asarray, table)


def fit(stage: Stage, table: Table, weights=None):
    weights = np.ones(table.n_rows, np.float32) if weights is None else weights
    return stage.fit(SPEC, table, weights, as_key(0))


def test_every_stage_of_the_catalogue_is_tested():
    assert set(STAGES_UNDER_TEST) == set(STAGES)
    assert all(STAGES[name].name == name for name in STAGES)


@every_stage
def test_is_a_hashable_value_that_set_rebuilds(stage):
    again = stage.set(**stage.params())
    assert again == stage
    assert hash(again) == hash(stage)
    assert stage.set() is not stage


@every_stage
def test_field_defaults_are_those_of_the_constructor(stage):
    declared = {f.name: f.default for f in dataclasses.fields(stage) if f.name != "id"}
    assert declared == {name: field.default for name, field in stage.fields.items()}
    assert all(isinstance(field, Field) for field in stage.fields.values())


@every_stage
def test_traced_apply_equals_host_apply(stage):
    state, new = fit(stage, rows(101)), rows(64, seed=2)
    traced = jax.jit(lambda s, t: stage.apply(SPEC, s, t, None, True))(state, on_device(new))
    host = stage.apply(SPEC, state, new, None, True)
    assert isinstance(host.numeric, np.ndarray) and isinstance(host.codes, np.ndarray)
    assert_close(host, traced, atol=2e-5)


@every_stage
def test_vmap_over_states_equals_loop(stage):
    states = [fit(stage, rows(80, seed=s)) for s in range(3)]
    new = rows(33, seed=9)
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *states)
    members = jax.vmap(lambda s, t: stage.apply(SPEC, s, t, None, False), in_axes=(0, None), axis_size=3)
    together = jax.jit(members)(stacked, on_device(new))
    for i, state in enumerate(states):
        one = stage.apply(SPEC, state, new, None, False)
        assert_close(jax.tree.map(lambda leaf, i=i: leaf[i], together), one, atol=2e-5)


@every_stage
def test_traced_fit_vmapped_over_folds_equals_host_fit_of_each(stage):
    table, draw = rows(60), np.random.default_rng(1)
    masks = np.stack([(np.arange(60) % 3 != fold) * draw.integers(1, 4, 60) for fold in range(3)])
    masks = masks.astype(np.float32)
    members = jax.vmap(lambda w, t: stage.fit(SPEC, t, w, as_key(0)), in_axes=(0, None), axis_size=3)
    together = jax.jit(members)(masks, on_device(table))
    for fold, mask in enumerate(masks):
        assert_close(jax.tree.map(lambda leaf, i=fold: leaf[i], together), fit(stage, table, mask))


@every_stage
def test_apply_in_a_scan_over_batches_equals_apply_to_all(stage):
    state, new = fit(stage, rows(80)), rows(40, seed=5)

    @jax.jit
    def in_batches(table):
        def batch(carry, start):
            piece = jax.tree.map(lambda b: jax.lax.dynamic_slice_in_dim(b, start, 8), table)
            return carry, stage.apply(SPEC, state, piece, None, True)

        return jax.lax.scan(batch, 0, jnp.arange(0, 40, 8))[1]

    pieces = jax.tree.map(lambda b: b.reshape(40, *b.shape[2:]), in_batches(on_device(new)))
    assert_close(pieces, stage.apply(SPEC, state, new, None, True), atol=2e-5)


@every_stage
def test_rows_of_weight_zero_are_absent(stage):
    table = rows(90)
    mask = np.random.default_rng(3).random(90) < 0.6
    subset = fit(stage, table.take(mask))
    assert_same(fit(stage, table, mask.astype(np.float32)), subset)


@every_stage
def test_what_rows_of_weight_zero_hold_changes_nothing(stage):
    table, weights = rows(70), np.ones(70, np.float32)
    weights[::3] = 0
    spoilt = jax.tree.map(np.copy, table)
    spoilt.numeric[::9], spoilt.numeric[3::9], spoilt.numeric[6::9] = np.nan, np.inf, -np.inf
    spoilt.codes[::3] = -7
    assert_same(fit(stage, spoilt, weights), fit(stage, table, weights))
    traced = jax.jit(lambda t: stage.fit(SPEC, t, weights, as_key(0)))
    assert_same(traced(on_device(spoilt)), traced(on_device(table)))


@every_stage
@settings(max_examples=10)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 40))
def test_weights_count_rows(stage, seed, n):
    table, weights = rows(n, seed), np.random.default_rng(seed).integers(0, 4, n)
    repeated = table.take(np.repeat(np.arange(n), weights))
    assert_close(fit(stage, table, weights.astype(np.float32)), fit(stage, repeated))


@every_stage
def test_no_row_at_all_gives_a_finite_state(stage):
    table = rows(10)
    for state in (fit(stage, table, np.zeros(10, np.float32)), fit(stage, table.take(slice(0)))):
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))
        assert np.isfinite(stage.apply(SPEC, state, rows(5), None, False).numeric[:, :1]).all()


@every_stage
def test_state_is_float32_on_the_host_with_shapes_from_the_spec(stage):
    small, large = fit(stage, rows(3)), fit(stage, rows(500, seed=4))
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(small))
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(small))
    assert jax.tree.map(np.shape, small) == jax.tree.map(np.shape, large)


@every_stage
def test_out_spec_says_what_apply_returns(stage):
    table = rows(120)
    out = stage.apply(SPEC, fit(stage, table), table, None, True)
    spec = stage.out_spec(SPEC)
    assert out.numeric.shape == (120, len(spec.numeric))
    assert out.codes.shape == (120, len(spec.categorical))
    assert out.numeric.dtype == np.float32
    assert out.codes.dtype == np.int32
    assert all(c.is_numeric for c in spec.numeric) and not any(c.is_numeric for c in spec.categorical)
    complete = [i for i, c in enumerate(spec.numeric) if not c.missing]
    assert not np.isnan(out.numeric[:, complete]).any()
    codes_without = [j for j, c in enumerate(spec.categorical) if not c.missing and c.name != "unseen"]
    assert "removeconstants" == stage.name or (out.codes[:, codes_without] > 0).all()


@every_stage
def test_neither_fit_nor_apply_writes_to_its_rows(stage):
    table = rows(50)
    before = jax.tree.map(np.copy, table)
    stage.apply(SPEC, fit(stage, table), table, None, True)
    assert_same(table, before)


@every_stage
def test_takes_tables_without_columns(stage):
    if stage.name == "select" or stage.params()["columns"] not in (selectors.all(), selectors.none()):
        pytest.skip("names columns")
    table = Table(np.zeros((4, 0), np.float32), np.zeros((4, 0), np.int32))

    def through(table):
        state = stage.fit(TableSpec(), table, jnp.ones(4), as_key(0))
        return stage.apply(TableSpec(), state, table, None, False)

    state = stage.fit(TableSpec(), table, np.ones(4, np.float32), as_key(0))
    for out in (stage.apply(TableSpec(), state, table, None, False), jax.jit(through)(on_device(table))):
        assert out.numeric.shape == out.codes.shape == (4, 0)
