"""RealMLP: categories, scales, initial values from training rows, factors."""

from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

from jdl.core.errors import ConfigError
from jdl.core.random import as_key
from jdl.networks import Fitted, HostRngs, PiecewiseLinearEmbeddings, RealMLP
from jdl.networks.activation import as_activation
from jdl.networks.ntk import host_activation
from jdl.networks.robust_scale import RobustScale, SignedOneHot

SIZES = [3, 5, 20]


def rows(n=300, seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(2.0, 3.0, size=(n, 4)).astype(np.float32)
    x[:, 3] = 7.0
    return x, random.integers(0, SIZES, (n, 3)).astype(np.int32)


def build(**options):
    shared: Any = {"n_num_features": 4, "cat_cardinalities": SIZES, "d_out": 2, "hidden_sizes": (32, 16)}
    return RealMLP(**(shared | options), rngs=HostRngs(as_key(0)))


def prepared(key=1, **options):
    model: Any = build(**options)
    model.prepare(*rows(), key=key)
    model.eval()
    return model


# -- categories and scales


def test_categories_become_signs_and_columns():
    encoding = SignedOneHot([1, 2, 3, 4])
    codes = np.array([[0, 0, 0, 0], [0, 1, 1, 1], [0, 1, 2, 3], [5, -1, 3, 4]])
    expected = [[-1, 0, 0, 0, 0], [1, 1, 1, 0, 0], [1, -1, 0, 0, 1], [-1, 0, 0, 0, 0]]
    np.testing.assert_array_equal(encoding.embed(np, codes), expected)
    np.testing.assert_array_equal(encoding.embed(jax.numpy, jax.numpy.asarray(codes)), expected)
    assert encoding.d_out == 5


def test_columns_are_scaled_by_quartiles():
    random = np.random.default_rng(0)
    x = np.stack([random.normal(3, 2, 401), np.full(401, 5.0), np.arange(401) == 0], axis=1).astype(np.float32)
    scale = RobustScale(3)
    scale.prepare(x)
    y = scale.embed(np, x)
    z = (x[:, 0] - np.median(x[:, 0])) / (np.quantile(x[:, 0], 0.75) - np.quantile(x[:, 0], 0.25))
    np.testing.assert_allclose(y[:, 0], z / np.sqrt(1 + (z / 3) ** 2), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(y[:, 1], 0)
    assert y[0, 2] == pytest.approx(2 / np.sqrt(1 + 4 / 9))
    assert (y[1:, 2] == 0).all()


@pytest.mark.parametrize("xp", [np, jax.numpy])
def test_far_values_are_clipped_and_subnormal_columns_are_constant(xp):
    x = np.stack([np.arange(5), 1e-40 * np.arange(5), 3e-40 * (np.arange(5) == 0)], axis=1).astype(np.float32)
    scale = RobustScale(3)
    scale.prepare(x)
    y = scale.embed(xp, xp.asarray(np.float32([[1e20, 1e-40, 0], [-1e38, 0, 3e-40], [np.nan, 1, 1]])))
    np.testing.assert_array_equal(y, np.float32([[3, 0, 0], [-3, 0, 0], [np.nan, 0, 0]]))


# -- initial values from the training rows


def pre_activations(model, x):
    """What each linear layer gives before its bias, computed anew in float64."""
    x = np.asarray(model._net_input(np, *x), np.float64)
    for layer in [*model.blocks, model.head]:
        linear = layer if layer is model.head else layer.linear
        kernel, bias = np.asarray(linear.kernel[...], np.float64), np.asarray(linear.bias[...], np.float64)
        z = x @ kernel / np.sqrt(len(kernel))
        yield z, bias
        x = np.asarray(as_activation(layer.activation)(z + bias), np.float64) if layer is not model.head else x


def test_pre_activations_vary_by_one_and_biases_lie_among_them():
    model = prepared()
    for z, bias in pre_activations(model, rows()):
        np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-3)
        assert (-z.max(axis=0) <= bias + 1e-4).all() and (bias - 1e-4 <= -z.min(axis=0)).all()
        assert len(np.unique(bias)) == len(bias)


def test_preparing_follows_its_key_and_rows():
    first, again, other = prepared(1), prepared(1), prepared(2)
    biases = [np.asarray(model.blocks[0].linear.bias[...]) for model in (first, again, other)]
    np.testing.assert_array_equal(biases[0], biases[1])
    assert not np.array_equal(biases[0], biases[2])


def test_units_without_variance_are_left_alone():
    model: Any = build()
    x, codes = rows()
    model.prepare(np.ones_like(x), np.zeros_like(codes), key=0)
    model.eval()
    assert np.isfinite(model(x, codes)).all()


def test_many_rows_are_sampled():
    model: Any = RealMLP(n_num_features=2, d_out=1, hidden_sizes=(4,), rngs=HostRngs(as_key(0)))
    x = np.random.default_rng(0).normal(size=(40_000, 2)).astype(np.float32)
    model.prepare(x, None, key=0)
    z, _ = next(pre_activations(model, (x, None)))
    np.testing.assert_allclose(z.std(axis=0), 1, rtol=0.02)


def test_simple_variant():
    model: Any = RealMLP.simple(n_num_features=4, cat_cardinalities=SIZES, d_out=2, rngs=HostRngs(as_key(0)))
    kernels = [np.array(block.linear.kernel[...]) for block in model.blocks]
    model.prepare(*rows(), key=0)
    for kernel, block in zip(kernels, model.blocks, strict=True):
        np.testing.assert_array_equal(kernel, block.linear.kernel[...])
        assert abs(kernel.std() - 1) < 0.05 and abs(np.asarray(block.linear.bias[...]).std() - 1) < 0.2
        assert block.act is None and block.dropout is None
    assert not np.asarray(model.head.kernel[...]).any() and model.cat_embeddings is None
    assert model.front_scale.shape == (4 + 1 + 4 + 19,)


def test_other_embeddings_are_fitted_to_scaled_columns():
    options: Any = {"activation": False, "version": "B", "n_features": 4, "max_bins": 6}
    embeddings = PiecewiseLinearEmbeddings(None, 3, rngs=HostRngs(as_key(5)), **options)
    model = prepared(num_embeddings=embeddings)
    np.testing.assert_array_equal(embeddings.impl.weight[3], 0)  # a constant column
    assert embeddings.impl.weight[0].all()
    assert np.isfinite(model(*rows())).all()


def test_outputs_stay_in_the_range_of_the_targets_when_evaluating():
    model: Any = build(clamp_output=True)
    with pytest.raises(ConfigError, match="needs target="):
        model.prepare(*rows(), key=0)
    model.prepare(*rows(), key=0, target=np.linspace(-0.1, 0.2, 300))
    model.eval()
    y = np.asarray(model(*rows()))
    assert y.min() == np.float32(-0.1) and y.max() == np.float32(0.2)
    assert isinstance(model.clamp.low, Fitted)


def test_unseen_codes_are_as_missing():
    model = prepared()
    x, codes = rows()
    unseen, missing = codes.copy(), codes.copy()
    unseen[:, 2], missing[:, 2] = 99, 0
    unseen[::2, 0], missing[::2, 0] = -5, 0
    np.testing.assert_array_equal(model(x, unseen), model(x, missing))


@pytest.mark.parametrize("name", ["selu", "mish", "silu", "relu", "tanh", "identity", "gelu"])
def test_activations_on_the_host(name):
    x = np.linspace(-40, 40, 401, dtype=np.float32)
    np.testing.assert_allclose(host_activation(name)(x), as_activation(name)(x), rtol=1e-5, atol=1e-6)


# -- factors


def test_factors_of_every_parameter():
    factors: dict[str, tuple[float, float]] = {}
    for path, _ in nnx.to_flat_state(nnx.state(build(), nnx.Param)):
        kind = ".".join(str(part) for part in path if not isinstance(part, int))
        factors[kind] = (RealMLP.lr_factor(path), RealMLP.wd_factor(path))
    assert factors == {
        "front_scale": (6.0, 1.0),
        "num_embeddings.weight_1": (0.1, 1.0),
        "num_embeddings.bias_1": (0.1, 1.0),
        "num_embeddings.weight_2": (0.1, 1.0),
        "num_embeddings.bias_2": (0.1, 1.0),
        "cat_embeddings.table": (1.0, 1.0),
        "blocks.linear.kernel": (1.0, 1.0),
        "blocks.linear.bias": (0.1, 0.0),
        "blocks.act": (0.1, 1.0),
        "head.kernel": (1.0, 1.0),
        "head.bias": (0.1, 0.0),
    }
    assert RealMLP.no_weight_decay(("head", "bias"))
