"""The residual network and the MLP against `rtdl_revisiting_models`: outputs, running statistics, training steps."""

from typing import Any

import numpy as np
import pytest
import torch

from jdl.core.random import as_key
from jdl.networks import MLP, HostRngs, TabResNet

package: Any = pytest.importorskip("rtdl_revisiting_models")

F = 6


def rows(n=48, seed=0):
    return np.random.default_rng(seed).normal(1.0, 2.0, size=(n, F)).astype(np.float32)


def pair(**options):
    torch.manual_seed(0)
    options = {"n_blocks": 2, "d_block": 24, "d_hidden_multiplier": 1.7, "dropout1": 0.0, "dropout2": 0.0} | options
    theirs = package.ResNet(d_in=F, d_out=2, **options)
    ours = TabResNet(F, 2, **options, rngs=HostRngs(as_key(0)))
    ours.load_torch_state(theirs.state_dict())
    return theirs, ours


def batches_of(random, n_batches=10):
    x = rows(200)
    return [
        (x[random.integers(200, size=32)], random.normal(size=(32, 2)).astype(np.float32)) for _ in range(n_batches)
    ]


@pytest.mark.parametrize("options", [{}, {"n_blocks": 1}, {"d_hidden": 9, "d_hidden_multiplier": None}])
def test_resnet_in_training_and_after(options, relative_error, outputs):
    theirs, ours = pair(**options)
    theirs.train()
    ours.train()
    for seed in range(3):
        x = rows(seed=seed)
        assert relative_error(outputs(ours, x), theirs(torch.tensor(x))) < 1e-5
    theirs.eval()
    ours.eval()
    assert relative_error(outputs(ours, rows(seed=9)), theirs(torch.tensor(rows(seed=9)))) < 1e-5


def test_running_statistics_are_loaded(shaken, relative_error, outputs):
    theirs, _ = pair()
    shaken(theirs).train()
    theirs(torch.tensor(rows()))
    theirs.eval()
    ours = TabResNet(F, 2, 2, 24, d_hidden_multiplier=1.7, rngs=HostRngs(as_key(0)))
    ours.load_torch_state(theirs.state_dict())
    ours.eval()
    assert relative_error(outputs(ours, rows(seed=9)), theirs(torch.tensor(rows(seed=9)))) < 1e-5


def test_ten_steps_of_the_resnet(same_steps):
    theirs, ours = pair()
    batches = batches_of(np.random.default_rng(0))
    before_norm = ("input_projection.bias", "linear2.bias")
    same_steps(ours, theirs, batches, lr=3e-4, weight_decay=1e-5, rounding=before_norm)


@pytest.mark.parametrize("n_blocks", [1, 3])
def test_mlp_and_ten_steps(n_blocks, relative_error, outputs, same_steps):
    torch.manual_seed(0)
    theirs = package.MLP(d_in=F, d_out=2, n_blocks=n_blocks, d_block=24, dropout=0.0)
    ours = MLP(F, 2, neurons=(24,) * n_blocks, rngs=HostRngs(as_key(0)))
    ours.load_torch_state(theirs.state_dict())
    assert relative_error(outputs(ours, rows()), theirs(torch.tensor(rows()))) < 1e-5
    same_steps(ours, theirs, batches_of(np.random.default_rng(0)), lr=3e-4, weight_decay=1e-5)
