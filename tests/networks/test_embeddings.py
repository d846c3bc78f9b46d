"""Embeddings: bins, encodings, first values, categories."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jdl.core.errors import ConfigError, ShapeError, TaskError, UnknownNameError
from jdl.core.random import as_key
from jdl.networks import (
    CategoricalEmbeddings,
    Fitted,
    HostRngs,
    LinearEmbeddings,
    OneHotEncoding,
    PBLDEmbeddings,
    PeriodicEmbeddings,
    PiecewiseLinearEmbeddings,
    PiecewiseLinearEncoding,
    quantile_bins,
    tree_bins,
)

STREAMS = {"host": lambda: HostRngs(as_key(0)), "flax": lambda: nnx.Rngs(0)}
both_streams = pytest.mark.parametrize("rngs", STREAMS.values(), ids=list(STREAMS))


def array(variable: Any) -> np.ndarray:
    return np.asarray(variable[...], np.float64)


def is_uniform(values, bound):
    return np.abs(values).max() <= bound and abs(values.std() - bound / 3**0.5) < 0.02 * bound


def ple(**options):
    defaults: Any = {"activation": False, "version": "B", "rngs": HostRngs(as_key(0))}
    return PiecewiseLinearEmbeddings(options.pop("bins", None), options.pop("d", 4), **(defaults | options))


# -- initial values


@both_streams
def test_linear_values_fill_their_range(rngs):
    layer = LinearEmbeddings(4000, 16, rngs=rngs())
    assert is_uniform(array(layer.weight), 0.25) and is_uniform(array(layer.bias), 0.25)
    assert not np.array_equal(layer.weight[...], layer.bias[...])


@both_streams
def test_frequencies_are_normal_within_three_scales(rngs):
    layer: Any = PeriodicEmbeddings(500, 4, n_frequencies=200, frequency_init_scale=0.2, lite=False, rngs=rngs())
    w = array(layer.periodic.weight)
    assert np.abs(w).max() <= 0.6
    assert abs(w.mean()) < 0.005
    assert abs(w.std() / 0.2 - 0.9866) < 0.01  # of a normal cut at three
    assert is_uniform(array(layer.linear.weight), 400**-0.5)


@both_streams
def test_pbld_values(rngs):
    layer: Any = PBLDEmbeddings(3000, rngs=rngs())
    w = array(layer.weight_1)
    assert abs(w.std() - 0.1) < 0.002 and np.abs(w).max() > 0.35  # not cut
    assert is_uniform(array(layer.bias_1), np.pi)
    assert is_uniform(array(layer.weight_2), 0.25) and is_uniform(array(layer.bias_2), 0.25)


@both_streams
def test_version_b_begins_as_linear_embedding(rngs):
    layer: Any = PiecewiseLinearEmbeddings([[0.0, 1.0, 2.0]] * 3, 4, activation=False, version="B", rngs=rngs())
    x = jnp.linspace(-3, 3, 12).reshape(4, 3)
    np.testing.assert_array_equal(layer(x), layer.linear0(x))
    version_a: Any = PiecewiseLinearEmbeddings([[0.0, 1.0, 2.0]] * 999, 9, activation=True, version="A", rngs=rngs())
    assert is_uniform(array(version_a.linear.weight), 2**-0.5)


@both_streams
def test_tables_and_biases_of_categories(rngs):
    layer = CategoricalEmbeddings([900, 800], 16, rngs=rngs())
    assert is_uniform(array(layer.table), 0.25)
    assert layer.bias is not None and np.abs(array(layer.bias)).max() <= 0.25
    assert CategoricalEmbeddings([2], 3, bias=False, rngs=rngs()).bias is None


# -- piecewise-linear encoding


def reference_encoding(x, edges):
    """Component by component, from the definition."""
    out = []
    n_bins = len(edges) - 1
    for t in range(n_bins):
        z = (x - edges[t]) / (edges[t + 1] - edges[t])
        z = z if t == 0 else np.maximum(z, 0)
        out.append(z if t == n_bins - 1 else np.minimum(z, 1))
    return np.stack(out, axis=-1)


def test_encoding_is_its_definition_for_unequal_bins():
    bins = [[0.0, 1.0], [-1.0, 0.0, 0.5, 4.0], [2.0, 3.0, 7.0]]
    x = np.random.default_rng(0).normal(1.0, 4.0, size=(50, 3)).astype(np.float32)
    expected = np.concatenate([reference_encoding(x[:, f], e) for f, e in enumerate(bins)], axis=1)
    np.testing.assert_allclose(PiecewiseLinearEncoding(bins)(jnp.asarray(x)), expected, rtol=1e-5, atol=1e-5)


def test_slots_that_no_bin_uses_stay_zero():
    encoding = PiecewiseLinearEncoding([[0.0, 1.0], [0.0, 1.0, 2.0]], max_bins=4)
    y = np.asarray(encoding(jnp.array([[5.0, 5.0], [-5.0, -5.0]]))).reshape(2, 2, 4)
    np.testing.assert_array_equal(y[:, 0, :3], 0)
    np.testing.assert_array_equal(y[:, 1, 1:3], 0)
    np.testing.assert_array_equal(y[:, 0, 3], [5, -5])
    np.testing.assert_array_equal(y[:, 1, [0, 3]], [[1, 4], [-5, 0]])


def test_prepare_takes_quantiles_and_leaves_columns_without_range_at_zero():
    random = np.random.default_rng(0)
    x = random.normal(size=(100, 5)).astype(np.float32)
    x[:, 1] = 2.0
    x[:, 2] = 1e6 + 1e-2 * (np.arange(100) % 2)  # rounding noise
    x[:, 3] = np.arange(100) % 2
    x[::2, 4] = np.nan
    layer = ple(n_features=5, max_bins=8)
    layer.prepare(x)
    known = ple(bins=[*quantile_bins(x[:, :1], 8)], max_bins=8)
    np.testing.assert_allclose(layer.impl.weight[0], known.impl.weight[0], rtol=1e-6)
    encoded = np.asarray(layer.impl.embed(jnp, jnp.asarray(np.nan_to_num(x) * 9)))
    assert np.isfinite(encoded).all() and np.abs(encoded).max() < 1e4
    np.testing.assert_array_equal(encoded[:, 1:3], 0)
    assert layer.impl.weight[4].any()


def test_small_columns_have_bins_as_large_ones_have():
    x = np.random.default_rng(0).uniform(size=(100, 1)).astype(np.float32)
    encoded = []
    for scale in (1.0, 2.0**-21, 2.0**-60, 2.0**60):
        layer = ple(n_features=1, max_bins=8)
        layer.prepare(x * np.float32(scale))
        encoded.append(layer.impl.embed(np, x * np.float32(scale)))
    assert encoded[0].any()
    for other in encoded[1:]:
        np.testing.assert_array_equal(encoded[0], other)


def test_bins_of_subnormal_width_are_left_out():
    x = np.float32([[0.0, 0.0], [1e-40, 1e-40], [2e-40, 1.0]])
    layer = ple(n_features=2, max_bins=2)
    layer.prepare(x)
    assert np.isfinite(layer.impl.weight[...]).all()
    expected = [[[0, 0], [0, 0]], [[0, 0], [0, 0]], [[0, 0], [0, 1]]]
    np.testing.assert_allclose(layer.impl.embed(np, x), expected, atol=1e-30)


def test_trees_split_where_the_target_changes():
    x = np.arange(16, dtype=np.float32)[:, None]
    layer = ple(n_features=1, max_bins=4, binning="tree", version="A")
    with pytest.raises(ConfigError, match=r"binning='tree' needs the target of the rows.*\n.*prepare\(x, target\)"):
        layer.prepare(x)
    layer.prepare(x, (x[:, 0] > 4).astype(np.int32))
    edges = ple(bins=[[0.0, 4.5, 15.0]], max_bins=4, version="A")
    np.testing.assert_allclose(layer.impl.weight[...], edges.impl.weight[...], rtol=1e-6)
    layer.prepare(np.where(x == 9, np.nan, x), np.where(x[:, 0] > 9, 2.5, -1.0))
    np.testing.assert_allclose(layer.impl.weight[0, 0], 1 / 9, rtol=1e-6)
    with pytest.raises(UnknownNameError, match="'tree'"):
        ple(n_features=1, max_bins=4, binning="trees")


def test_preparing_on_few_rows_never_fails():
    for n in range(4):
        layer = ple(n_features=2, max_bins=8)
        rows = np.arange(2.0 * n).reshape(n, 2).astype(np.float32)
        layer.prepare(rows)
        assert np.isfinite(layer(jnp.ones((3, 2)))).all()
        layer = ple(n_features=2, max_bins=8, binning="tree")
        layer.prepare(rows, np.arange(n, dtype=np.float32))
        assert np.isfinite(layer(jnp.ones((3, 2)))).all()


def test_bins_are_fitted_variables_of_equal_shape_in_all_folds():
    layers = [ple(n_features=2, max_bins=6) for _ in range(2)]
    x = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    layers[1].prepare(np.round(x))
    assert nnx.graphdef(layers[0]) == nnx.graphdef(layers[1])
    shapes = [[leaf.shape for leaf in (layer.impl.weight, layer.impl.bias, layer.impl.single)] for layer in layers]
    assert shapes[0] == shapes[1]
    assert isinstance(layers[0].impl.weight, Fitted) and not isinstance(layers[0].impl.weight, nnx.Param)


@pytest.mark.parametrize(
    ("bins", "message"),
    [
        ([], "at least one feature"),
        ([[0.0]], "two or more numbers"),
        ([[0.0, 1.0], [1.0, 1.0]], "feature 1 must be finite and rise"),
        ([[0.0, np.inf]], "finite"),
        (None, "n_features and max_bins"),
    ],
)
def test_bad_edges_are_refused(bins, message):
    with pytest.raises(ConfigError, match=message):
        PiecewiseLinearEncoding(bins)


def test_more_bins_than_slots_are_refused_and_nothing_changes():
    layer = ple(bins=[[0.0, 1.0, 2.0]])
    before = np.array(layer.impl.weight[...])
    with pytest.raises(ConfigError, match=r"feature 0 has 3 bins, but there are slots for 2.*\n.*max_bins=3"):
        layer.set_bins([[0.0, 1.0, 2.0, 3.0]])
    with pytest.raises(ConfigError, match="expected bins of 1 features, got 2"):
        layer.set_bins([[0.0, 1.0], [0.0, 1.0]])
    np.testing.assert_array_equal(layer.impl.weight[...], before)
    with pytest.raises(ConfigError, match="version must be 'A' or 'B'"):
        ple(bins=[[0.0, 1.0]], version="C")


# -- bins


def test_quantile_bins_are_quantiles():
    x = np.random.default_rng(0).normal(size=(101, 2))
    for edges, column in zip(quantile_bins(x, 4), x.T, strict=True):
        np.testing.assert_allclose(edges, np.quantile(column, [0, 0.25, 0.5, 0.75, 1]), rtol=1e-6)
        assert edges.dtype == np.float32


def test_tree_bins_find_the_jumps_of_the_target():
    x = np.random.default_rng(0).uniform(size=(500, 2))
    y = (x[:, 0] > 0.3).astype(float) + 2 * (x[:, 0] > 0.6)
    first, _ = tree_bins(x, y, 3, regression=True)
    np.testing.assert_allclose(first[1:-1], [0.3, 0.6], atol=0.02)
    assert len(tree_bins(x, y > 1, 3, regression=False)) == 2


@pytest.mark.parametrize("function", [quantile_bins, lambda x, n=48: tree_bins(x, x[:, 0], n, regression=True)])
def test_bad_columns_and_numbers_of_bins(function):
    x = np.random.default_rng(0).normal(size=(60, 2))
    for n in (1, 60):
        with pytest.raises(ConfigError, match=f"less than the 60 rows, got {n}"):
            function(x, n)
    with pytest.raises(TaskError, match=r"columns \[1\] hold a single value"):
        function(np.stack([x[:, 0], np.ones(60)], axis=1))
    with pytest.raises(TaskError, match="impute"):
        function(np.where(x > 1, np.nan, x))
    with pytest.raises(ShapeError, match=r"\(row, feature\)"):
        quantile_bins(x[:, 0], 4)
    with pytest.raises(ShapeError, match="a value per row"):
        tree_bins(x, np.ones(3), 4, regression=True)
    with pytest.raises(ConfigError, match="max_leaf_nodes"):
        tree_bins(x, x[:, 0], 4, regression=True, tree_kwargs={"max_leaf_nodes": 3})


# -- shapes and calls


@pytest.mark.parametrize("lead", [(), (5,), (2, 5)])
def test_any_leading_axes(lead):
    x = np.random.default_rng(0).normal(size=(*lead, 3)).astype(np.float32)
    rngs: Any = HostRngs(as_key(0))
    edges = [[-1.0, 0.0, 1.0]] * 3
    kinds = [
        LinearEmbeddings(3, 4, rngs=rngs),
        PeriodicEmbeddings(3, 4, lite=False, rngs=rngs),
        PeriodicEmbeddings(3, 4, lite=True, rngs=rngs),
        PBLDEmbeddings(3, 4, rngs=rngs),
        PiecewiseLinearEmbeddings(edges, 4, activation=True, version="A", rngs=rngs),
        PiecewiseLinearEmbeddings(edges, 4, activation=False, version="B", rngs=rngs),
    ]
    for layer in kinds:
        assert layer.output_shape == (3, 4)
        y = layer(x)
        assert y.shape == (*lead, 3, 4)
        assert layer.flat(x).shape == (*lead, 12)
        on_host = layer.embed(np, x)
        assert isinstance(on_host, np.ndarray)
        np.testing.assert_allclose(on_host, y, rtol=1e-4, atol=1e-5)
        with pytest.raises(ShapeError, match=f"{type(layer).__name__}: x must have"):
            layer(x[..., :2])


def test_pbld_puts_the_features_last_in_its_flat_form():
    layer: Any = PBLDEmbeddings(3, 4, rngs=HostRngs(as_key(0)))
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    y = np.asarray(layer(x))
    np.testing.assert_array_equal(layer.flat(x), np.concatenate([y[..., :3].reshape(5, 9), x], axis=1))
    angle = 2 * np.pi * array(layer.weight_1) * x[..., None] + array(layer.bias_1)
    by_hand = np.einsum("nfk,fkd->nfd", np.cos(angle), array(layer.weight_2)) + array(layer.bias_2)
    np.testing.assert_allclose(y[..., :3], by_hand, rtol=1e-4, atol=1e-5)


def test_codes_out_of_range_give_zeros():
    codes = np.array([[0, 0], [1, 2], [-1, 3], [2, 99]], np.int32)
    one_hot = np.asarray(OneHotEncoding([2, 3])(jnp.asarray(codes)))
    np.testing.assert_array_equal(one_hot[:2], [[1, 0, 1, 0, 0], [0, 1, 0, 0, 1]])
    np.testing.assert_array_equal(one_hot[2:], 0)
    layer: Any = CategoricalEmbeddings([2, 3], 4, rngs=HostRngs(as_key(0)))
    y = np.asarray(layer(codes))
    np.testing.assert_allclose(y[1], np.stack([layer.table[1], layer.table[4]]) + layer.bias[...], rtol=1e-6)
    np.testing.assert_array_equal(y[2:], np.broadcast_to(np.asarray(layer.bias[...]), (2, 2, 4)))


@pytest.mark.parametrize("layer", [OneHotEncoding([2, 3]), CategoricalEmbeddings([2, 3], 4, rngs=HostRngs(as_key(0)))])
def test_codes_are_integers(layer):
    with pytest.raises(ConfigError, match=f"{type(layer).__name__}: x must hold category codes.* got float32"):
        layer(np.zeros((4, 2), np.float32))
    assert layer([[0, 1], [1, 2]]).shape[0] == 2


def test_bad_sizes_are_refused():
    rngs: Any = HostRngs(as_key(0))
    with pytest.raises(ConfigError, match="n_features must be"):
        LinearEmbeddings(0, 4, rngs=rngs)
    with pytest.raises(ConfigError, match="d_embedding must be"):
        LinearEmbeddings(3, 0, rngs=rngs)
    with pytest.raises(ConfigError, match="lite=True needs activation=True"):
        PeriodicEmbeddings(3, activation=False, lite=True, rngs=rngs)
    with pytest.raises(ConfigError, match="frequency_init_scale must be positive"):
        PeriodicEmbeddings(3, frequency_init_scale=0.0, lite=True, rngs=rngs)
    with pytest.raises(ConfigError, match="at least 2"):
        PBLDEmbeddings(3, 1, rngs=rngs)
    with pytest.raises(ConfigError, match="at least one number"):
        OneHotEncoding([])
    with pytest.raises(ConfigError, match=r"\[1\] must be"):
        CategoricalEmbeddings([3, 0], 4, rngs=rngs)
