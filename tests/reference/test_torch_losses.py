"""Losses and their gradients against PyTorch, both in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.nn import functional

from jdl.train.loss import (
    CrossEntropy,
    Focal,
    GaussianNLL,
    Hinge,
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanSquaredError,
    MultiLabel,
    Poisson,
    Quantile,
    mean_loss,
)

N_ROWS = 20
SIZES = (0.1, 3.0, 50.0)  # of the outputs: near a tie, as usual, and where a plain exponential overflows
every_size = pytest.mark.parametrize("size", SIZES)


def outputs(n_outputs, size):
    return np.random.default_rng(n_outputs).normal(0, size, (N_ROWS, n_outputs))


def codes(n_classes):
    return np.random.default_rng(1).integers(0, n_classes, N_ROWS)


def values(size=1.0):
    return np.random.default_rng(1).normal(0, size, N_ROWS)


def check(loss, theirs, output, target):
    """The mean over rows, `theirs`, and its gradient."""
    leaf = torch.tensor(output, requires_grad=True)
    mean = theirs(leaf, torch.tensor(target))
    mean.backward()
    with jax.enable_x64(True):
        weights = jnp.ones(N_ROWS)
        ours, slope = jax.value_and_grad(lambda o: mean_loss(loss, o, jnp.asarray(target), weights))(
            jnp.asarray(output)
        )
    assert leaf.grad is not None
    assert slope.dtype == np.float64
    np.testing.assert_allclose(ours, mean.item(), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(slope, leaf.grad, rtol=1e-6, atol=1e-9)


@every_size
@pytest.mark.parametrize("n_classes", [2, 3, 7])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy(n_classes, size, smoothing):
    theirs = torch.nn.CrossEntropyLoss(label_smoothing=smoothing)
    check(CrossEntropy(label_smoothing=smoothing), theirs, outputs(n_classes, size), codes(n_classes))


@every_size
def test_cross_entropy_with_class_weights_and_rows_to_ignore(size):
    weights, target = (0.5, 2.0, 1.0), np.where(np.arange(N_ROWS) % 4, codes(3), 7)
    theirs = torch.nn.CrossEntropyLoss(weight=torch.tensor(weights, dtype=torch.float64), ignore_index=7)
    check(CrossEntropy(class_weight=weights, ignore_index=7), theirs, outputs(3, size), target)


@every_size
def test_cross_entropy_of_one_logit(size):
    def theirs(output, target):
        return functional.binary_cross_entropy_with_logits(output[:, 0], target.double())

    check(CrossEntropy(), theirs, outputs(1, size), codes(2))


@every_size
def test_one_logit_with_class_weights_is_two_logits(size):
    def theirs(output, target):
        two = torch.cat([torch.zeros_like(output), output], dim=1)
        return functional.cross_entropy(two, target, weight=torch.tensor([0.5, 3.0], dtype=torch.float64))

    check(CrossEntropy(class_weight=(0.5, 3.0)), theirs, outputs(1, size), codes(2))


@every_size
@pytest.mark.parametrize(
    ("loss", "theirs"),
    [
        (MeanSquaredError(), functional.mse_loss),
        (MeanAbsoluteError(), functional.l1_loss),
        (Huber(delta=0.7), lambda o, y: functional.huber_loss(o, y, delta=0.7)),
        (LogCosh(), lambda o, y: torch.logaddexp(o - y, y - o).mean() - np.log(2.0)),
    ],
    ids=["mse", "l1", "huber", "log_cosh"],
)
def test_losses_of_one_value(loss, theirs, size):
    check(loss, lambda output, target: theirs(output[:, 0], target), outputs(1, size), values())


@pytest.mark.parametrize("size", [0.1, 3.0])
def test_poisson(size):
    target = np.random.default_rng(1).poisson(2.0, N_ROWS).astype(float)
    check(Poisson(), lambda o, y: functional.poisson_nll_loss(o[:, 0], y, log_input=True), outputs(1, size), target)


@every_size
def test_gaussian_nll(size):
    def theirs(output, target):
        return functional.gaussian_nll_loss(output[:, 0], target, functional.softplus(output[:, 1]) + 1e-3, eps=0.0)

    check(GaussianNLL(eps=1e-3), theirs, outputs(2, size), values())


@every_size
@pytest.mark.parametrize("n_outputs", [1, 4])
def test_focal(n_outputs, size):
    def theirs(output, target):
        if n_outputs == 1:
            output = torch.cat([torch.zeros_like(output), output], dim=1)
        log_p = functional.log_softmax(output, dim=1).gather(1, target[:, None])[:, 0]
        # 1 - p as the sum of the others: near p = 1 the difference has no digits left.
        others = functional.one_hot(target, output.shape[1]) == 0
        rest = functional.softmax(output, dim=1)[others].reshape(N_ROWS, -1).sum(dim=1)
        return (-(rest**1.5) * log_p).mean()

    check(Focal(gamma=1.5), theirs, outputs(n_outputs, size), codes(max(n_outputs, 2)))


@every_size
def test_hinge_of_two_classes(size):
    def theirs(output, target):
        # PyTorch has no plain hinge of one output: `hinge_embedding_loss` is of distances.
        return torch.clamp(1.0 - output[:, 0] * (2 * target - 1), min=0).mean()

    check(Hinge(), theirs, outputs(1, size), codes(2))


@every_size
def test_hinge_of_many_classes(size):
    def theirs(output, target):
        true = output.gather(1, target[:, None])[:, 0]
        others = output.masked_fill(functional.one_hot(target, output.shape[1]) == 1, -torch.inf)
        return torch.clamp(1.0 - true + others.max(dim=1).values, min=0).mean()

    check(Hinge(), theirs, outputs(4, size), codes(4))


@every_size
def test_quantile(size):
    levels = torch.tensor([0.1, 0.3, 0.5, 0.9], dtype=torch.float64)

    def theirs(output, target):
        steps = functional.softplus(output)
        middle = output[:, 2]
        predicted = [middle - steps[:, 0] - steps[:, 1], middle - steps[:, 1], middle, middle + steps[:, 3]]
        error = target[:, None] - torch.stack(predicted, dim=1)
        return torch.maximum(levels * error, (levels - 1) * error).mean()

    check(Quantile(quantiles=(0.1, 0.3, 0.5, 0.9)), theirs, outputs(4, size), values(size))


@every_size
def test_multilabel(size):
    target = np.random.default_rng(1).integers(0, 2, (N_ROWS, 3)).astype(float)
    check(MultiLabel(n_labels=3), functional.binary_cross_entropy_with_logits, outputs(3, size), target)
