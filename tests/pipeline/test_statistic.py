import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jdl.pipeline.statistic import median, mode, moments, over_columns, quantiles, sorted_values, span

WEIGHTED = st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 4)), min_size=1, max_size=30).filter(
    lambda rows: sum(w for _, w in rows) > 0
)


def split(rows):
    values, weights = np.array(rows, np.float64).T
    return np.where(weights > 0, values * 0.3, 0), weights, np.repeat(values * 0.3, weights.astype(int))


@given(WEIGHTED)
def test_weighted_statistics_are_those_of_repeated_rows(rows):
    values, weights, repeated = split(rows)
    mean, sd = moments(values, weights)
    np.testing.assert_allclose([mean, sd], [repeated.mean(), repeated.std()], atol=1e-12)
    assert span(values, weights) == (repeated.min(), repeated.max())
    np.testing.assert_allclose(median(values, weights)[0], np.median(repeated), atol=1e-12)
    found, counts = np.unique(repeated, return_counts=True)
    assert mode(values, weights)[0] == found[counts.argmax()]
    np.testing.assert_array_equal(sorted_values(values, weights, np.arange(len(repeated)), 0.0), np.sort(repeated))


@given(WEIGHTED, st.integers(1, 12))
def test_weighted_quantiles_are_those_of_repeated_rows(rows, used):
    values, weights, repeated = split(rows)
    (found,) = quantiles(values, weights, np.int64(used), 15)
    expected = np.quantile(repeated, np.linspace(0, 1, used))
    np.testing.assert_allclose(found[:used], expected, atol=1e-12)
    assert (found[used:] == found[used - 1]).all()


def test_equal_values_have_no_spread_at_all():
    for xp in (np, jnp):
        mean, sd = moments(xp.full(1000, 0.1), xp.ones(1000))
        assert mean == xp.full(1, 0.1)[0]
        assert sd == 0


def test_float32_moments_hold_for_large_offsets_and_extreme_sizes():
    unit = np.random.default_rng(0).normal(size=500)
    for shift, size in ((1e6, 10.0), (0.0, 1e-30), (0.0, 1e37)):
        x = (shift + size * unit).astype(np.float32)
        mean, sd = moments(jnp.asarray(x), jnp.ones(500))
        np.testing.assert_allclose(sd, x.astype(np.float64).std(), rtol=1e-5)
        np.testing.assert_allclose(mean, x.astype(np.float64).mean(), rtol=1e-5, atol=1e-5 * size)


@pytest.mark.parametrize("xp", [np, jnp])
def test_quantiles_of_many_rows_take_the_right_rows(xp):
    n = 200_000
    x = xp.asarray(np.random.default_rng(0).permutation(n).astype(np.float32))
    (found,) = quantiles(x, xp.ones(n), xp.asarray(1000), 1000)
    np.testing.assert_allclose(found, np.linspace(0, n - 1, 1000), rtol=1e-6, atol=1e-2)


def test_results_of_chosen_columns_come_in_their_order():
    x = np.array([[1, 2, 3], [3, 4, np.nan]], np.float32)
    mean, _ = over_columns(moments, x, np.ones(2), np.array([2, 0]))
    np.testing.assert_array_equal(mean, [3, 2])
