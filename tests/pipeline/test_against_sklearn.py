"""Every stage with a counterpart in scikit-learn gives its numbers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, QuantileTransformer, StandardScaler

from jdl.core.errors import ConfigError, JdlWarning
from jdl.core.random import as_key
from jdl.data.table import Column, Table, TableSpec
from jdl.pipeline import (
    Encode,
    ImputeMean,
    ImputeMedian,
    ImputeMode,
    QuantileNormal,
    RemoveConstants,
    Scale,
    ScaleRange,
)

BEYOND = 5.1993376  # the normal distribution's quantile at 1 - 1e-7


def numbers(n: int, seed: int, missing: float = 0.2) -> np.ndarray:
    draw = np.random.default_rng(seed)
    x = np.stack(
        [
            draw.normal(size=n),
            draw.lognormal(sigma=2, size=n),
            draw.integers(0, 4, n),
            np.where(draw.random(n) < 0.6, 0, draw.normal(500, 30, n)),  # many at the lower end
            1e6 + draw.normal(size=n),
        ],
        axis=1,
    ).astype(np.float32)
    x[draw.random(x.shape) < missing] = np.nan
    return x


def transformed(transformer: Any, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """The transformer's numbers in float64, which scikit-learn computes in only if it gets it."""
    return np.asarray(transformer.fit(train.astype(np.float64)).transform(test.astype(np.float64)))


def numeric_spec(x: np.ndarray) -> TableSpec:
    return TableSpec.of([Column(f"x{i}", "float", missing=True) for i in range(x.shape[1])])


def run(stage, train: np.ndarray, test: np.ndarray, key=None) -> np.ndarray:
    spec = numeric_spec(train)
    tables = [Table(x, np.zeros((len(x), 0), np.int32)) for x in (train, test)]
    state = stage.fit(spec, tables[0], np.ones(len(train), np.float32), key)
    return stage.apply(spec, state, tables[1], None, False).numeric


@pytest.mark.parametrize(
    ("stage", "strategy"),
    [(ImputeMean(), "mean"), (ImputeMedian(), "median"), (ImputeMode(), "most_frequent")],
)
@pytest.mark.parametrize("n", [1, 7, 100, 101])
def test_imputers_equal_simple_imputer(stage, strategy, n):
    train, test = numbers(n, 0), numbers(50, 1)
    expected = transformed(SimpleImputer(strategy=strategy, keep_empty_features=True), train, test)
    np.testing.assert_allclose(run(stage, train, test), expected, rtol=1e-6)


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("scale", [True, False])
def test_scale_equals_standard_scaler(center, scale):
    train, test = numbers(80, 0), numbers(50, 1)
    expected = transformed(StandardScaler(with_mean=center, with_std=scale), train, test)
    found = run(Scale(center=center, scale=scale), train, test)
    # The last column's mean, near a million, has a float32 rounding error of 0.03.
    np.testing.assert_allclose(found[:, :4], expected[:, :4], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[:, 4], expected[:, 4], rtol=1e-4, atol=0.07)


def test_scalerange_equals_min_max_scaler():
    train, test = numbers(80, 0), numbers(50, 1)
    expected = transformed(MinMaxScaler((-1, 3)), train, test)
    found = run(ScaleRange(lower=-1, upper=3), train, test)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stage", [Scale(), ScaleRange(), ScaleRange(lower=2, upper=3), RemoveConstants()])
def test_a_constant_column_gives_exactly_zero(stage):
    train = np.full((1001, 1), 0.1, np.float32)
    test = np.array([[0.1], [7.0], [np.nan]], np.float32)
    found = run(stage, train, test)[:, 0]
    np.testing.assert_array_equal(found[:2], 0)
    assert np.isnan(found[2]) or isinstance(stage, RemoveConstants)


def test_removeconstants_zeroes_constant_columns_even_where_missing_and_no_others():
    spec = TableSpec.of(
        [Column("same", "float"), Column("x", "float"), Column("c", "category", ("a", "b")),
         Column("d", "category", ("a", "b"))]
    )  # fmt: skip
    nan = np.nan
    table = Table(np.array([[3, 1], [nan, nan], [3, 2]], np.float32), np.array([[2, 2], [0, 0], [2, 1]], np.int32))
    stage = RemoveConstants()
    out = stage.apply(spec, stage.fit(spec, table, np.ones(3), None), table, None, True)
    np.testing.assert_array_equal(out.numeric, [[0, 1], [0, nan], [0, 2]])
    np.testing.assert_array_equal(out.codes, [[0, 2], [0, 0], [0, 1]])


def codes(n: int, seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return np.stack([draw.integers(0, 4, n), draw.integers(1, 6, n)], 1).astype(np.int32)


CODED = TableSpec.of(
    [
        Column("x", "float"),
        Column("a", "category", ("p", "q", "r"), missing=True),
        Column("b", "ordered", tuple(range(5)), missing=True),
    ]
)


def coded_table(block: np.ndarray) -> Table:
    return Table(np.arange(len(block), dtype=np.float32)[:, None], block)


def test_encode_equals_one_hot_encoder_and_zeroes_what_training_did_not_see():
    train, test = codes(60, 0), codes(40, 1)
    train[train[:, 1] == 3, 1] = 1  # level 2 of b, code 3, is in no training row
    stage = Encode()
    state = stage.fit(CODED, coded_table(train), np.ones(60), None)
    out = stage.apply(CODED, state, coded_table(test), None, False)
    # scikit-learn would take missing, code 0, as a level: it is told of the levels that occur and ignores the rest.
    levels: Any = [[1, 2, 3], [1, 2, 4, 5]]
    expected = OneHotEncoder(categories=levels, handle_unknown="ignore", sparse_output=False)
    expected = np.insert(transformed(expected, train[(train > 0).all(axis=1)], test), 5, 0, axis=1)
    names = ("x", "a.p", "a.q", "a.r", "b.0", "b.1", "b.2", "b.3", "b.4")
    assert stage.out_spec(CODED).names == names
    np.testing.assert_array_equal(out.numeric[:, 0], np.arange(40))
    np.testing.assert_array_equal(out.numeric[:, 1:], expected)
    assert out.codes.shape == (40, 0)


def test_encode_leaves_columns_that_are_not_chosen():
    stage = Encode(columns="a")
    table = coded_table(codes(30, 0))
    out = stage.apply(CODED, stage.fit(CODED, table, np.ones(30), None), table, None, True)
    assert stage.out_spec(CODED).names == ("x", "a.p", "a.q", "a.r", "b")
    np.testing.assert_array_equal(out.codes, table.codes[:, 1:])


def test_imputemode_takes_the_most_frequent_level_the_first_of_equals():
    block = np.array([[0, 4], [2, 4], [2, 2], [1, 2], [1, 0]], np.int32)
    stage = ImputeMode()
    out = stage.apply(CODED, stage.fit(CODED, coded_table(block), np.ones(5), None), coded_table(block), None, True)
    np.testing.assert_array_equal(out.codes[:, 0], [1, 2, 2, 1, 1])
    np.testing.assert_array_equal(out.codes[:, 1], [4, 4, 2, 2, 2])


def test_imputemode_replaces_levels_that_the_training_rows_do_not_hold():
    """They are for a fold what an unseen level is at deployment."""
    train = np.array([[2, 0], [2, 0], [3, 0]], np.int32)
    test = np.array([[1, 1], [2, 0], [3, 4], [0, 2]], np.int32)
    state = ImputeMode().fit(CODED, coded_table(train), np.ones(3), None)
    out = ImputeMode().apply(CODED, state, coded_table(test), None, False)
    np.testing.assert_array_equal(out.codes, [[2, 0], [2, 0], [3, 0], [2, 0]])


def test_an_all_missing_column_is_imputed_by_zero():
    train = np.full((5, 1), np.nan, np.float32)
    for stage in (ImputeMean(), ImputeMedian(), ImputeMode()):
        with pytest.warns(JdlWarning, match="no observed value"):
            found = run(stage, train, np.array([[np.nan], [2]], np.float32))
        np.testing.assert_array_equal(found, [[0], [2]])


@pytest.mark.parametrize(("n", "n_quantiles"), [(6, 100), (200, 10), (1000, 1000), (700, 33), (1, 1)])
def test_quantilenormal_equals_quantile_transformer(n, n_quantiles):
    train = numbers(n, 0) if n > 1 else numbers(n, 0, missing=0)
    test = np.concatenate([train, numbers(300, 1)])
    options: dict[str, Any] = {"output_distribution": "normal", "subsample": None}
    expected = transformed(QuantileTransformer(n_quantiles=min(n_quantiles, n), **options), train, test)
    found = run(QuantileNormal(n_quantiles=n_quantiles), train, test)
    np.testing.assert_allclose(found[:, :4], expected[:, :4], rtol=1e-5, atol=1e-4)
    # Near a million float32 holds sixteenths, and quantiles are rounded to them.
    np.testing.assert_allclose(found[:, 4], expected[:, 4], atol=0.6)


def test_quantilenormal_takes_a_quantile_per_thirty_rows():
    for n, expected in ((5, 5), (100, 10), (900, 30), (40_000, 1000)):
        x = np.random.default_rng(0).normal(size=(n, 1)).astype(np.float32)
        spec = numeric_spec(x)
        state = QuantileNormal().fit(spec, Table(x, np.zeros((n, 0), np.int32)), np.ones(n, np.float32), None)
        assert state["number"] == expected


def test_quantilenormal_ends_middle_and_gaps():
    train = np.array([[0], [0], [0], [1], [2]], np.float32)
    test = np.array([[-1], [0], [2], [9], [np.nan]], np.float32)
    found = run(QuantileNormal(), train, test)[:, 0]
    np.testing.assert_allclose(found[:4], [-BEYOND, -BEYOND, BEYOND, BEYOND], rtol=1e-6)
    assert np.isnan(found[4])
    unobserved = run(QuantileNormal(), np.full((5, 1), np.nan, np.float32), test)[:, 0]
    np.testing.assert_array_equal(unobserved, [0, 0, 0, 0, np.nan])


def test_quantilenormal_in_float32_keeps_both_tails():
    x = np.sort(np.random.default_rng(0).normal(size=(100_000, 1)).astype(np.float32), axis=0)
    spec, stage = numeric_spec(x), QuantileNormal()
    state = stage.fit(spec, Table(x, np.zeros((len(x), 0), np.int32)), np.ones(len(x)), None)
    low = float(state["quantiles"][0, 1] - state["quantiles"][0, 0])
    high = float(state["quantiles"][0, -1] - state["quantiles"][0, -2])
    ends = np.concatenate([x[0] + low * 10.0 ** np.arange(-5, 0), x[-1] - high * 10.0 ** np.arange(-5, 0)])
    table = Table(ends[:, None].astype(np.float32), np.zeros((10, 0), np.int32))
    host = stage.apply(spec, state, table, None, False).numeric
    traced = jax.jit(lambda t: stage.apply(spec, state, t, None, False))(jax.tree.map(jnp.asarray, table))
    np.testing.assert_allclose(traced.numeric, host, rtol=1e-5)


class TestNoise:
    x = np.repeat(np.arange(3, dtype=np.float32), 100)[:, None]
    table = Table(x, np.zeros((300, 0), np.int32))
    spec = numeric_spec(x)
    stage = QuantileNormal(n_quantiles=300, noise=1e-3)

    def fit(self, key, weights=None):
        return self.stage.fit(self.spec, self.table, np.ones(300) if weights is None else weights, key)

    def test_splits_ties_and_is_drawn_from_the_key(self):
        first = self.fit(as_key(0))["quantiles"]
        assert len(np.unique(first)) > 290  # of 300: float32 rounds some together
        np.testing.assert_allclose(first[0], self.x[:, 0], atol=5e-3)
        np.testing.assert_array_equal(first, self.fit(as_key(0))["quantiles"])
        assert (first != self.fit(as_key(1))["quantiles"]).any()

    def test_is_the_same_inside_a_program(self):
        traced = jax.jit(lambda t: self.stage.fit(self.spec, t, jnp.ones(300), as_key(0)))
        found = traced(jax.tree.map(jnp.asarray, self.table))["quantiles"]
        np.testing.assert_allclose(found, self.fit(as_key(0))["quantiles"], atol=1e-6)

    def test_can_be_drawn_from_a_traced_key(self):
        traced = jax.jit(lambda t, key: self.stage.fit(self.spec, t, jnp.ones(300), key)["quantiles"])
        table = jax.tree.map(jnp.asarray, self.table)
        first, second = (traced(table, jax.random.key(seed)) for seed in (0, 1))
        assert len(np.unique(first)) > 250
        assert (first != second).any()

    def test_of_present_rows_does_not_depend_on_absent_ones(self):
        mask = np.arange(300) % 4 > 0
        subset = self.stage.fit(self.spec, self.table.take(mask), np.ones(mask.sum()), as_key(0))
        np.testing.assert_array_equal(self.fit(as_key(0), mask * 1.0)["quantiles"], subset["quantiles"])

    def test_without_a_key_is_an_error(self):
        with pytest.raises(ConfigError, match="needs a key"):
            self.fit(None)
