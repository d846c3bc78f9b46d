"""Fifty steps of each of the five optimizers against PyTorch's, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from jdl.networks.select import select_grep
from jdl.train.optimizer import OPTIMIZERS

N_STEPS = 50
CASES = [
    ("adam", {}),
    ("adam", {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}),
    ("adam", {"lr": 0.02, "amsgrad": True, "betas": (0.5, 0.6)}),
    ("adamw", {}),
    ("adamw", {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.3}),
    ("adamw", {"lr": 0.02, "amsgrad": True, "betas": (0.5, 0.6)}),
    ("sgd", {"lr": 0.05}),
    ("sgd", {"lr": 0.05, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("sgd", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("rmsprop", {}),
    ("rmsprop", {"lr": 0.02, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1, "momentum": 0.8}),
    ("rmsprop", {"lr": 0.02, "alpha": 0.9, "centered": True, "momentum": 0.5}),
    ("adagrad", {}),
    ("adagrad", {"lr": 0.3, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5, "eps": 1e-3}),
]
THEIRS = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
}
START = {"bias": np.linspace(-1.0, 2.0, 3), "kernel": np.random.default_rng(0).normal(size=(4, 3))}
X = np.random.default_rng(1).normal(size=(N_STEPS, 8, 4))
Y = np.random.default_rng(2).normal(size=(N_STEPS, 8, 3))


def ours(transformation):
    """Parameters after fifty steps on another batch each."""

    def loss(params, x, y):
        return jnp.mean((jnp.tanh(x @ params["kernel"] + params["bias"][None]) - y) ** 2)

    def step(carry, batch):
        params, state = carry
        updates, state = transformation.update(jax.grad(loss)(params, *batch), state, params)
        return (optax.apply_updates(params, updates), state), None

    params = jax.tree.map(jnp.asarray, START)
    return jax.jit(lambda p: jax.lax.scan(step, (p, transformation.init(p)), (X, Y)))(params)[0][0]


def theirs(make):
    params = {name: torch.tensor(value, requires_grad=True) for name, value in START.items()}
    optimizer = make(params)
    for x, y in zip(torch.tensor(X), torch.tensor(Y), strict=True):
        optimizer.zero_grad()
        ((torch.tanh(x @ params["kernel"] + params["bias"]) - y) ** 2).mean().backward()
        optimizer.step()
    return {name: value.detach().numpy() for name, value in params.items()}


def assert_equal(left, right):
    for name, value in right.items():
        assert left[name].dtype == np.float64
        assert np.abs(np.asarray(left[name]) - START[name]).max() > 1e-3
        np.testing.assert_allclose(left[name], value, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("name", "values"), CASES, ids=str)
def test_fifty_steps(name, values):
    with jax.enable_x64(True):
        moved = ours(OPTIMIZERS.make(name, **values).optax())
    assert_equal(moved, theirs(lambda params: THEIRS[name](params.values(), **values)))


@pytest.mark.parametrize("name", list(THEIRS))
def test_groups_are_pytorchs_parameter_groups(name):
    group = {"params": select_grep("bias$"), "lr": 0.003, "weight_decay": 0.2}
    with jax.enable_x64(True):
        moved = ours(OPTIMIZERS.make(name, lr=0.02, groups=[group]).optax())

    def make(params):
        groups = [{"params": [params["kernel"]]}, {**group, "params": [params["bias"]]}]
        return THEIRS[name](groups, lr=0.02)

    assert_equal(moved, theirs(make))


def test_gradients_of_two_halves_are_that_of_their_union():
    """Accumulated batches of unequal size, weighted by their rows, against PyTorch on all rows at once."""
    from jdl.train.accumulate import Accumulated, accumulated

    optimizer = OPTIMIZERS.make("adamw", lr=0.02, accumulate=2)
    with jax.enable_x64(True):
        transformation, hyper = optimizer.optax(), optimizer.dynamic()
        params = jax.tree.map(jnp.asarray, START)
        state = Accumulated.empty(transformation.init(params), params)

        def loss(params, x, y):
            return jnp.mean((jnp.tanh(x @ params["kernel"] + params["bias"][None]) - y) ** 2)

        @jax.jit
        def step(params, state, x, y):
            grads = jax.grad(loss)(params, x, y)
            return accumulated(transformation, state, params, grads, float(len(x)), hyper["accumulate"], False)

        for x, y in zip(X, Y, strict=True):
            for part in (slice(0, 5), slice(5, 8)):
                params, state = step(params, state, x[part], y[part])
    assert_equal(params, theirs(lambda p: torch.optim.AdamW(p.values(), lr=0.02)))
