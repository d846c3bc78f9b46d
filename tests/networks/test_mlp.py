"""The multi-layer perceptron and its activations."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jdl.core.errors import ConfigError, ConfigTypeError, UnknownNameError
from jdl.core.random import RandomKey
from jdl.networks import MLP, BatchNorm, Dropout, HostRngs, MLPSpec
from jdl.networks.activation import ACTIVATIONS, as_activation
from jdl.train.program import numeric_spec, numeric_table


def host_rngs(seed=0):
    return HostRngs(RandomKey((seed,)))


def kernels(model):
    layers = [*[block.linear for block in model.blocks], model.head]
    return [(np.asarray(layer.kernel[...]), np.asarray(layer.bias[...])) for layer in layers]


@pytest.mark.parametrize("neurons", [(), (7,), (5, 1, 3)])
@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
@pytest.mark.parametrize("dropout", [None, 0.5])
def test_shapes(neurons, norm, dropout):
    model = MLP(4, 2, neurons=neurons, norm=norm, dropout=dropout, rngs=host_rngs())
    widths = [4, *neurons, 2]
    shapes = [(kernel.shape, bias.shape) for kernel, bias in kernels(model)]
    assert shapes == [((a, b), (b,)) for a, b in itertools.pairwise(widths)]
    model.eval()
    assert model(jnp.ones((6, 4))).shape == (6, 2)


def test_equal_widths_may_be_given_as_in_the_published_package():
    ours = MLP(d_in=4, d_out=2, n_blocks=3, d_block=5, dropout=0.1, rngs=host_rngs())
    other = MLP(4, 2, neurons=[5, 5, 5], dropout=0.1, rngs=host_rngs())
    jax.tree.map(np.testing.assert_array_equal, nnx.state(ours), nnx.state(other))
    assert [block.linear.out_features for block in MLP(4, 2, n_blocks=1, rngs=host_rngs()).blocks] == [128]
    assert [block.linear.out_features for block in MLP(4, 2, rngs=host_rngs()).blocks] == [128, 128]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"neurons": (0,)}, r"MLP: neurons\[0\] must be an integer from 1 on, got 0"),
        ({"neurons": 8}, "MLP: neurons must be a sequence of integers, got 8"),
        ({"neurons": "ab"}, "MLP: neurons must be a sequence of integers, got 'ab'"),
        ({"neurons": (4,), "d_block": 4}, "MLP: takes 'neurons', or 'n_blocks' and 'd_block'"),
        ({"d_block": 0}, "MLP: d_block must be an integer from 1 on, got 0"),
        ({"n_blocks": 0}, "MLP: n_blocks must be an integer from 1 on, got 0"),
        ({"d_in": 0}, "MLP: d_in must be an integer from 1 on, got 0"),
        ({"d_out": 0}, "MLP: d_out must be an integer from 1 on, got 0"),
        ({"dropout": 1.5}, r"MLP: dropout must lie in \[0, 1\], got 1.5"),
        ({"activation": "rleu"}, "'rleu'.*'relu'"),
    ],
)
def test_bad_sizes_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        MLP(**{"d_in": 4, "d_out": 2, **options}, rngs=host_rngs())


def test_no_hidden_layer_is_a_linear_model():
    model = MLP(3, 2, neurons=(), norm="batch", dropout=0.5, activation="relu", rngs=host_rngs())
    [(kernel, bias)] = kernels(model)
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    np.testing.assert_allclose(model(jnp.asarray(x)), x @ kernel + bias, rtol=1e-5)


def test_is_what_its_layers_say():
    """Linear, norm, activation; and a linear head."""
    model = MLP(3, 2, neurons=(6, 4), norm="layer", activation="tanh", rngs=host_rngs(1))
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    (w1, b1), (w2, b2), (w3, b3) = kernels(model)
    hidden = x
    for w, b in ((w1, b1), (w2, b2)):
        z = hidden @ w + b
        hidden = np.tanh((z - z.mean(1, keepdims=True)) / np.sqrt(z.var(1, keepdims=True) + 1e-5))
    np.testing.assert_allclose(model(jnp.asarray(x)), hidden @ w3 + b3, rtol=1e-4, atol=1e-5)


def test_norm_and_dropout_are_between_the_layers():
    model = MLP(3, 2, neurons=(6, 4), norm="batch", dropout=0.2, rngs=host_rngs())
    assert all(isinstance(block.norm, BatchNorm) and isinstance(block.dropout, Dropout) for block in model.blocks)
    assert [block.dropout.layer for block in model.blocks] == [0, 1]
    plain = MLP(3, 2, neurons=(6, 4), rngs=host_rngs())
    assert all(block.norm is None and block.dropout is None for block in plain.blocks)


def test_runs_with_the_streams_of_flax_too():
    model = MLP(4, 3, neurons=(8,), norm="layer", rngs=nnx.Rngs(0))
    assert model(jnp.ones((2, 4))).shape == (2, 3)
    bound = 1 / np.sqrt(4)
    assert np.abs(kernels(model)[0][0]).max() <= bound


def test_spec_builds_the_network_of_its_columns():
    spec = MLPSpec(neurons=(5,), norm="batch", dropout=True)
    model = spec.build(numeric_spec(3), 2, host_rngs())
    assert [kernel.shape for kernel, _ in kernels(model)] == [(3, 5), (5, 2)]
    model.eval()
    assert spec.forward(model, numeric_table(jnp.ones((4, 3)))).shape == (4, 2)
    assert spec == MLPSpec(neurons=(5,), norm="batch", dropout=True)
    assert hash(spec) == hash(MLPSpec(neurons=(5,), norm="batch", dropout=True))


# -- activations


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_keeps_shape_and_is_finite_with_its_gradient(name):
    x = jnp.array([[-30.0, -3.0, -0.5, 0.25, 3.0, 30.0]])
    function = as_activation(name)
    assert function(x).shape == x.shape
    assert np.isfinite(function(x)).all()
    assert np.isfinite(jax.grad(lambda x: function(x).sum())(x)).all()


@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - {"identity"}))
def test_activation_is_not_linear(name):
    function = as_activation(name)
    low, middle, high = (float(function(jnp.float32(x))) for x in (0.0, 2.0, 7.0))
    bends = abs((middle - low) / 2 - (high - middle) / 5) > 1e-3
    below = abs(float(function(jnp.float32(-2.0))) + middle - 2 * low) > 1e-3
    assert bends or below


def test_activation_takes_arguments():
    args = (("negative_slope", 0.5),)
    model = MLP(1, 1, neurons=(1,), activation="leaky_relu", activation_args=args, rngs=host_rngs())
    (w1, b1), (w2, b2) = kernels(model)
    x = np.linspace(-3, 3, 7, dtype=np.float32)[:, None]
    z = x @ w1 + b1
    np.testing.assert_allclose(model(jnp.asarray(x)), np.where(z > 0, z, 0.5 * z) @ w2 + b2, rtol=1e-5, atol=1e-6)


def test_activations_have_pytorchs_class_names_too():
    assert as_activation("LeakyReLU") is ACTIVATIONS["leaky_relu"] and as_activation("ReLU6") is ACTIVATIONS["relu6"]


def test_gelu_is_exact():
    x = np.linspace(-4, 4, 9, dtype=np.float32)
    expected = [v * 0.5 * (1 + math.erf(v / 2**0.5)) for v in x]
    np.testing.assert_allclose(as_activation("gelu")(jnp.asarray(x)), expected, rtol=1e-5, atol=1e-6)


def test_activation_may_be_a_function():
    assert as_activation(jnp.sin) is jnp.sin
    model = MLP(2, 1, neurons=(3,), activation=jnp.sin, rngs=host_rngs())
    assert model(jnp.ones((4, 2))).shape == (4, 1)


def test_unknown_activation_is_named_with_the_nearest():
    with pytest.raises(UnknownNameError, match=r"'rellu'.*'relu'"):
        as_activation("rellu")
    with pytest.raises(ConfigTypeError, match="name or a function"):
        as_activation(3)  # pyright: ignore[reportArgumentType]
