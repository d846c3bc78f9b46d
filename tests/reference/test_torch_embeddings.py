"""Numeric embeddings against `rtdl_num_embeddings`: bins, outputs, training steps."""

from typing import Any

import numpy as np
import pytest
import torch

from jdl.core.random import as_key
from jdl.networks import (
    MLP,
    HostRngs,
    LinearEmbeddings,
    LinearReLUEmbeddings,
    PeriodicEmbeddings,
    PiecewiseLinearEmbeddings,
    PiecewiseLinearEncoding,
    quantile_bins,
    tree_bins,
)

package: Any = pytest.importorskip("rtdl_num_embeddings")
# One bin is worth a warning to the package, and a test to us.
pytestmark = pytest.mark.filterwarnings("ignore:The .*-th feature has just two bin edges")

F = 4


def columns(seed=0, n=200):
    """Continuous, two values (one bin), few values (few bins), skewed."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, F))
    x[:, 1] = x[:, 1] > 0
    x[:, 2] = np.round(x[:, 2])
    x[:, 3] = np.exp(2 * x[:, 3])
    return x.astype(np.float32)


def wide_rows():
    """Rows of training, and rows far out of their range."""
    return np.concatenate([columns()[:40], -4 * columns(1)[:30], 4 * columns(2)[:30]])


def rngs():
    return HostRngs(as_key(0))


BINS = [edges.numpy() for edges in package.compute_bins(torch.tensor(columns()), 10)]
BINS[1] = np.array([0.0, 1.0], np.float32)
KINDS = {
    "linear": (lambda: package.LinearEmbeddings(F, 5), lambda: LinearEmbeddings(F, 5, rngs=rngs())),
    "linear_relu": (lambda: package.LinearReLUEmbeddings(F), lambda: LinearReLUEmbeddings(F, rngs=rngs())),
    "plr": (
        lambda: package.PeriodicEmbeddings(F, lite=False),
        lambda: PeriodicEmbeddings(F, lite=False, rngs=rngs()),
    ),
    "pl": (
        lambda: package.PeriodicEmbeddings(F, 6, n_frequencies=9, activation=False, lite=False),
        lambda: PeriodicEmbeddings(F, 6, n_frequencies=9, activation=False, lite=False, rngs=rngs()),
    ),
    "plr_lite": (
        lambda: package.PeriodicEmbeddings(F, 6, frequency_init_scale=0.3, lite=True),
        lambda: PeriodicEmbeddings(F, 6, frequency_init_scale=0.3, lite=True, rngs=rngs()),
    ),
    **{
        f"ple_{version}_{activation}": (
            lambda version=version, activation=activation: package.PiecewiseLinearEmbeddings(
                [torch.tensor(b) for b in BINS], 8, activation=activation, version=version
            ),
            lambda version=version, activation=activation: PiecewiseLinearEmbeddings(
                BINS, 8, activation=activation, version=version, rngs=rngs()
            ),
        )
        for version in "AB"
        for activation in (False, True)
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_embeddings(kind, shaken, relative_error, outputs):
    theirs, ours = (build() for build in KINDS[kind])
    shaken(theirs)
    ours.load_torch_state(theirs.state_dict())
    x = wide_rows()
    y = theirs(torch.tensor(x))
    assert relative_error(outputs(ours, x), y) < 1e-5
    assert relative_error(ours.embed(np, x), y) < 1e-5  # as it is computed on the host
    assert ours.output_shape == tuple(theirs.get_output_shape())


def test_unequal_bins_of_the_encoding(relative_error, outputs):
    assert sorted({len(b) - 1 for b in BINS})[0] == 1
    theirs = package.PiecewiseLinearEncoding([torch.tensor(b) for b in BINS])
    ours = PiecewiseLinearEncoding(BINS)
    ours.load_torch_state(theirs.state_dict())
    assert ours.output_shape == tuple(theirs.get_output_shape())
    assert relative_error(outputs(ours, wide_rows()), theirs(torch.tensor(wide_rows()))) < 1e-5


@pytest.mark.parametrize("kept", [[1], [1, 1], [0, 3]])
def test_equal_bins_of_the_encoding(kept, relative_error):
    bins = [BINS[i] for i in kept]
    theirs = package.PiecewiseLinearEncoding([torch.tensor(b) for b in bins])
    x = wide_rows()[:, kept]
    assert relative_error(PiecewiseLinearEncoding(bins)(x), theirs(torch.tensor(x))) < 1e-5


@pytest.mark.parametrize("n_bins", [2, 10, 48])
def test_quantile_bins(n_bins):
    theirs = package.compute_bins(torch.tensor(columns()), n_bins)
    for ours, edges in zip(quantile_bins(columns(), n_bins), theirs, strict=True):
        np.testing.assert_allclose(ours, edges.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("regression", [True, False])
def test_tree_bins(regression):
    x = columns()
    y = x[:, 0] * x[:, 1] + x[:, 2] if regression else (x[:, 0] + x[:, 2] > 0).astype(int)
    options = {"min_samples_leaf": 8, "random_state": 0}
    theirs = package.compute_bins(torch.tensor(x), 10, tree_kwargs=options, y=torch.tensor(y), regression=regression)
    for ours, edges in zip(tree_bins(x, y, 10, regression=regression, tree_kwargs=options), theirs, strict=True):
        np.testing.assert_array_equal(ours, edges.numpy())


class WithMLP(torch.nn.Module):
    """Embeddings before a package's MLP, under the names that jdl's MLP takes."""

    def __init__(self, embeddings, mlp):
        super().__init__()
        self.num_embeddings = embeddings
        self.blocks, self.output = mlp.blocks, mlp.output
        self.__dict__["mlp"] = mlp

    def forward(self, x):
        return self.mlp(self.num_embeddings(x).flatten(1))


@pytest.mark.parametrize("kind", ["linear_relu", "plr", "plr_lite", "ple_A_True", "ple_B_False"])
def test_mlp_with_embeddings_and_ten_steps(kind, relative_error, outputs, same_steps):
    models: Any = pytest.importorskip("rtdl_revisiting_models")
    torch.manual_seed(0)
    embeddings, ours_embeddings = (build() for build in KINDS[kind])
    width = int(np.prod(embeddings.get_output_shape()))
    theirs = WithMLP(embeddings, models.MLP(d_in=width, d_out=2, n_blocks=2, d_block=32, dropout=0.0))
    ours = MLP(F, 2, neurons=(32, 32), num_embeddings=ours_embeddings, rngs=rngs())
    ours.load_torch_state(theirs.state_dict())
    x = wide_rows()
    x[:, 3] = np.clip(x[:, 3], -5, 5)
    assert relative_error(outputs(ours, x), theirs(torch.tensor(x))) < 1e-5
    random = np.random.default_rng(0)
    batches = [(x[random.permutation(100)[:32]], random.normal(size=(32, 2)).astype(np.float32)) for _ in range(10)]
    same_steps(ours, theirs, batches, lr=1e-3, weight_decay=1e-2)
