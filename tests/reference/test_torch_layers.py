"""Layers against PyTorch's: outputs, gradients, running statistics."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from jdl.core.random import RandomKey
from jdl.networks import MLP, BatchNorm, HostRngs
from jdl.networks.activation import ACTIVATIONS, activation_name, as_activation
from jdl.networks.context import BatchContext, batch_context
from jdl.networks.mlp import LayerNorm

WIDTH = 4
TORCH_ACTIVATIONS = {
    "celu": torch.nn.CELU(),
    "elu": torch.nn.ELU(),
    "gelu": torch.nn.GELU(),
    "hardswish": torch.nn.Hardswish(),
    "identity": torch.nn.Identity(),
    "leaky_relu": torch.nn.LeakyReLU(),
    "mish": torch.nn.Mish(),
    "relu": torch.nn.ReLU(),
    "relu6": torch.nn.ReLU6(),
    "selu": torch.nn.SELU(),
    "sigmoid": torch.nn.Sigmoid(),
    "silu": torch.nn.SiLU(),
    "softplus": torch.nn.Softplus(),
    "softsign": torch.nn.Softsign(),
    "tanh": torch.nn.Tanh(),
}


def batch(seed, n=9):
    return np.random.default_rng(seed).normal(1.0, 2.0, (n, WIDTH)).astype(np.float32)


def affine():
    random = np.random.default_rng(9)
    return random.uniform(0.5, 2.0, WIDTH).astype(np.float32), random.normal(size=WIDTH).astype(np.float32)


def assert_close(ours, theirs, atol=1e-5):
    np.testing.assert_allclose(np.asarray(ours), theirs.detach().numpy(), rtol=1e-4, atol=atol)


@pytest.mark.parametrize("momentum", [0.1, 0.6])
def test_batch_norm_in_training_and_after(momentum):
    scale, bias = affine()
    ours: Any = BatchNorm(WIDTH, momentum=momentum)
    ours.scale.set_value(jnp.asarray(scale))
    ours.bias.set_value(jnp.asarray(bias))
    theirs = torch.nn.BatchNorm1d(WIDTH, momentum=momentum)
    theirs.weight.data, theirs.bias.data = torch.tensor(scale), torch.tensor(bias)
    for seed in range(5):
        x = batch(seed, n=9 + seed)
        # PyTorch gets the real rows only.
        padded = np.concatenate([x, np.full((3, WIDTH), np.nan, np.float32)])
        weights = jnp.asarray(np.arange(len(padded)) < len(x), jnp.float32)
        with batch_context(BatchContext(weights=weights)):
            y = ours(jnp.asarray(padded))
        assert_close(y[: len(x)], theirs(torch.tensor(x)))
        assert_close(ours.mean[...], theirs.running_mean)
        assert_close(ours.var[...], theirs.running_var)
    ours.eval()
    theirs.eval()
    assert_close(ours(jnp.asarray(batch(9))), theirs(torch.tensor(batch(9))))


def test_gradients_of_batch_norm():
    scale, bias = affine()
    x, factors = batch(0), batch(1)
    theirs = torch.nn.BatchNorm1d(WIDTH)
    theirs.weight.data, theirs.bias.data = torch.tensor(scale), torch.tensor(bias)
    leaf = torch.tensor(x, requires_grad=True)
    (theirs(leaf) * torch.tensor(factors)).sum().backward()

    def total(scale, bias, x):
        ours = BatchNorm(WIDTH)
        ours.scale.set_value(scale)
        ours.bias.set_value(bias)
        return jnp.sum(ours(x) * factors)

    grads = jax.grad(total, argnums=(0, 1, 2))(jnp.asarray(scale), jnp.asarray(bias), jnp.asarray(x))
    for ours, of_theirs in zip(grads, (theirs.weight.grad, theirs.bias.grad, leaf.grad), strict=True):
        assert_close(ours, of_theirs, atol=1e-4)


def test_layer_norm():
    scale, bias = affine()
    ours: Any = LayerNorm(WIDTH, rngs=nnx.Rngs(0))
    ours.scale.set_value(jnp.asarray(scale))
    ours.bias.set_value(jnp.asarray(bias))
    theirs = torch.nn.LayerNorm(WIDTH)
    theirs.weight.data, theirs.bias.data = torch.tensor(scale), torch.tensor(bias)
    for size in (1.0, 1e-4, 1e3):  # where the variance is as small as what is added to it, and where it is large
        x = batch(0) * np.float32(size)
        assert_close(ours(jnp.asarray(x)), theirs(torch.tensor(x)), atol=1e-4)


def test_every_activation_is_compared():
    assert set(TORCH_ACTIVATIONS) == set(ACTIVATIONS)


@pytest.mark.parametrize("name", TORCH_ACTIVATIONS)
def test_activations(name):
    x = np.linspace(-6.03, 6.07, 50, dtype=np.float32)
    leaf = torch.tensor(x, requires_grad=True)
    theirs = TORCH_ACTIVATIONS[name](leaf)
    theirs.sum().backward()
    assert_close(as_activation(name)(jnp.asarray(x)), theirs)
    assert_close(jax.grad(lambda x: as_activation(name)(x).sum())(jnp.asarray(x)), leaf.grad)


@pytest.mark.parametrize("name", TORCH_ACTIVATIONS)
def test_activations_have_the_names_of_pytorchs_classes_and_slopes_at_their_kinks(name):
    assert activation_name(type(TORCH_ACTIVATIONS[name]).__name__) == name
    kinks = np.float32([-6, -3, -1, 0, 1, 3, 6])
    leaf = torch.tensor(kinks, requires_grad=True)
    TORCH_ACTIVATIONS[name](leaf).sum().backward()
    assert_close(jax.grad(lambda x: as_activation(name)(x).sum())(jnp.asarray(kinks)), leaf.grad)


def test_range_of_initial_values():
    """U(-1/sqrt(d), 1/sqrt(d)) for kernels and biases, as a linear layer of PyTorch has them."""
    ours = MLP(100, 1, neurons=(400,), rngs=HostRngs(RandomKey((0,)))).blocks[0].linear
    theirs = torch.nn.Linear(100, 400)
    for left, right in ((ours.kernel, theirs.weight), (ours.bias, theirs.bias)):
        values, others = np.abs(left[...]), np.abs(right.detach().numpy())
        assert values.max() <= 0.1 and others.max() <= 0.1
        assert abs(values.mean() - others.mean()) < 0.01
