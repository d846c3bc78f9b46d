"""Normalisation, for which padded rows do not exist."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from jdl.networks import BatchNorm
from jdl.networks.context import BatchContext, batch_context
from jdl.networks.mlp import LayerNorm

WIDTH = 3


def rows(n=6, seed=0):
    return np.random.default_rng(seed).normal(2.0, 3.0, (n, WIDTH)).astype(np.float32)


def padded(x, garbage, n=3):
    weights = np.concatenate([np.ones(len(x)), np.zeros(n)]).astype(np.float32)
    return np.concatenate([x, np.full((n, WIDTH), garbage, np.float32)]), weights


def apply(layer, x, weights=None):
    with batch_context(BatchContext(weights=None if weights is None else jnp.asarray(weights))):
        return layer(jnp.asarray(x))


def statistics(layer):
    return np.asarray(layer.mean[...]), np.asarray(layer.var[...])


def test_batch_is_normalised_over_its_rows():
    x = rows(50)
    y = np.asarray(apply(BatchNorm(WIDTH), x))
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(axis=0), 1, atol=1e-4)


def test_running_statistics_move_by_the_momentum():
    layer, x = BatchNorm(WIDTH, momentum=0.3), rows()
    apply(layer, x)
    mean, var = statistics(layer)
    np.testing.assert_allclose(mean, 0.3 * x.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(var, 0.7 + 0.3 * x.var(axis=0, ddof=1), rtol=1e-5)


def test_evaluation_uses_and_keeps_the_running_statistics():
    layer, x = BatchNorm(WIDTH), rows()
    apply(layer, x)
    mean, var = statistics(layer)
    layer.eval()
    y = apply(layer, rows(4, seed=1), np.zeros(4))
    np.testing.assert_allclose(y, (rows(4, seed=1) - mean) / np.sqrt(var + 1e-5), rtol=1e-4)
    jax.tree.map(np.testing.assert_array_equal, statistics(layer), (mean, var))


@pytest.mark.parametrize("garbage", [np.nan, np.inf, -np.inf, 1e30])
def test_padding_reaches_no_output_statistic_or_gradient(garbage):
    x = rows()
    more, weights = padded(x, garbage)

    def run(x, weights):
        layer = BatchNorm(WIDTH)
        graph, params, rest = nnx.split(layer, nnx.Param, ...)
        factors = jnp.asarray(rows(len(weights), seed=2)) * (weights > 0)[:, None]

        def total(params, x):
            model = nnx.merge(graph, params, rest, copy=True)
            y = apply(model, x, weights)
            return jnp.sum(jnp.where(weights[:, None] > 0, y * factors, 0.0)), (y, nnx.split(model, nnx.Param, ...)[2])

        grads, (y, after) = jax.grad(total, argnums=(0, 1), has_aux=True)(params, jnp.asarray(x))
        return grads, y[: len(rows())], after

    clean = run(x, np.ones(len(x), np.float32))
    dirty = run(more, weights)
    np.testing.assert_array_equal(dirty[0][1][len(x) :], 0.0)
    dirty = ((dirty[0][0], dirty[0][1][: len(x)]), *dirty[1:])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-5), clean, dirty)


@given(n_real=st.integers(1, 6), n_padded=st.integers(0, 5))
def test_any_number_of_padded_rows_is_invisible(n_real, n_padded):
    x = rows(n_real)
    clean, dirty = BatchNorm(WIDTH), BatchNorm(WIDTH)
    more, weights = padded(x, np.nan, n_padded)
    np.testing.assert_allclose(apply(clean, x), apply(dirty, more, weights)[:n_real], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(statistics(clean), statistics(dirty), rtol=1e-5)


def test_a_batch_without_a_real_row_leaves_the_statistics():
    layer = BatchNorm(WIDTH)
    apply(layer, rows())
    before = statistics(layer)
    y = apply(layer, np.full((4, WIDTH), np.nan), np.zeros(4))
    jax.tree.map(np.testing.assert_array_equal, statistics(layer), before)
    assert np.isfinite(y).all()


def test_what_was_drawn_on_the_host_is_not_written_into():
    """Many runs begin from the same arrays."""
    layer = BatchNorm(WIDTH)
    initial = layer.mean.get_value(), layer.var.get_value()
    assert all(isinstance(array, np.ndarray) for array in initial)
    apply(layer, rows())
    assert (statistics(layer)[0] != 0).all()
    np.testing.assert_array_equal(initial, [[0] * WIDTH, [1] * WIDTH])


def test_a_single_row_has_no_spread_and_leaves_the_statistics():
    layer = BatchNorm(WIDTH)
    before = statistics(layer)
    np.testing.assert_allclose(apply(layer, rows(1)), 0.0, atol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, statistics(layer), before)


def test_weights_say_only_who_is_there():
    """A row of weight 2 is one row: BatchNorm describes a batch, not a sample."""
    x, weights = rows(), np.array([2, 1, 1, 0.5, 1, 1], np.float32)
    np.testing.assert_allclose(apply(BatchNorm(WIDTH), x, weights), apply(BatchNorm(WIDTH), x), rtol=1e-6)


def test_layer_norm_treats_each_row_by_itself():
    layer = LayerNorm(WIDTH, rngs=nnx.Rngs(0))
    x = rows()
    y = np.asarray(layer(jnp.asarray(x)))
    np.testing.assert_allclose(y, (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5), rtol=1e-3)
    spoiled = x.copy()
    spoiled[2] = np.nan
    others = np.delete(np.asarray(layer(jnp.asarray(spoiled))), 2, axis=0)
    np.testing.assert_array_equal(others, np.delete(y, 2, axis=0))
