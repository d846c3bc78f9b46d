"""Losses and their gradients against PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jdl.train.loss import CrossEntropy, MeanSquaredError, mean_loss

N_ROWS = 20
SIZES = (0.1, 3.0, 50.0)  # of the outputs: near a tie, as usual, and where a plain exponential overflows


def outputs(n_outputs, size):
    return np.random.default_rng(n_outputs).normal(0, size, (N_ROWS, n_outputs)).astype(np.float32)


def check(loss, theirs, output, target):
    leaf = torch.tensor(output, dtype=torch.float64, requires_grad=True)
    per_row = theirs(leaf, torch.tensor(target))
    per_row.mean().backward()
    assert leaf.grad is not None
    np.testing.assert_allclose(
        loss.per_row(jnp.asarray(output), jnp.asarray(target)), per_row.detach(), rtol=1e-5, atol=1e-6
    )
    ours = jax.grad(lambda o: mean_loss(loss, o, jnp.asarray(target), jnp.ones(N_ROWS)))(jnp.asarray(output))
    np.testing.assert_allclose(ours, leaf.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_cross_entropy(n_classes, size):
    target = np.random.default_rng(1).integers(0, n_classes, N_ROWS)
    check(CrossEntropy(), torch.nn.CrossEntropyLoss(reduction="none"), outputs(n_classes, size), target)


@pytest.mark.parametrize("size", SIZES)
def test_cross_entropy_of_one_logit(size):
    def theirs(output, target):
        return torch.nn.functional.binary_cross_entropy_with_logits(output[:, 0], target.double(), reduction="none")

    check(CrossEntropy(), theirs, outputs(1, size), np.random.default_rng(1).integers(0, 2, N_ROWS))


@pytest.mark.parametrize("size", SIZES)
def test_mean_squared_error(size):
    def theirs(output, target):
        return torch.nn.functional.mse_loss(output[:, 0], target.double(), reduction="none")

    check(MeanSquaredError(), theirs, outputs(1, size), np.random.default_rng(1).normal(size=N_ROWS).astype(np.float32))
