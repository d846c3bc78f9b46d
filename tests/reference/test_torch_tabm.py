"""TabM against `tabm`: outputs and training steps."""

from typing import Any

import numpy as np
import pytest
import torch

from jdl.core.random import as_key
from jdl.networks import HostRngs, LinearReLUEmbeddings, PeriodicEmbeddings, PiecewiseLinearEmbeddings, TabM

package: Any = pytest.importorskip("tabm")
embedding_package: Any = pytest.importorskip("rtdl_num_embeddings")
# The package asks whether members are meant to see rows of their own in evaluation, and thinks little of one bin.
pytestmark = pytest.mark.filterwarnings("ignore:When training=False", "ignore:The .*-th feature has just two bin edges")

ARCH_TYPES = ("tabm", "tabm-mini", "tabm-packed")
SIZES = [3, 2, 7]
F, K = 4, 8


def rngs():
    return HostRngs(as_key(0))


def rows(n=60, seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, F)).astype(np.float32)
    x[:, 1] = np.round(x[:, 1])
    return x, random.integers(0, SIZES, size=(n, 3)).astype(np.int32)


def embeddings(kind):
    if kind == "none":
        return None, None
    if kind == "relu":
        return embedding_package.LinearReLUEmbeddings(F), LinearReLUEmbeddings(F, rngs=rngs())
    if kind == "periodic":
        return embedding_package.PeriodicEmbeddings(F, lite=False), PeriodicEmbeddings(F, lite=False, rngs=rngs())
    bins = embedding_package.compute_bins(torch.tensor(rows(200, 1)[0]), 9)
    theirs = embedding_package.PiecewiseLinearEmbeddings(bins, 6, activation=False, version="B")
    arrays = [b.numpy() for b in bins]
    return theirs, PiecewiseLinearEmbeddings(arrays, 6, activation=False, version="B", rngs=rngs())


def pair(arch_type, kind="none", n_num=F, sizes=SIZES, **options):
    torch.manual_seed(0)
    theirs_embeddings, ours_embeddings = embeddings(kind)
    shared: Any = {"n_num_features": n_num, "cat_cardinalities": list(sizes), "d_out": 2, "arch_type": arch_type}
    shared |= {"k": K, "d_block": 32} | options
    theirs = package.TabM.make(**shared, num_embeddings=theirs_embeddings)
    return theirs, TabM(**shared, num_embeddings=ours_embeddings, rngs=rngs())


@pytest.mark.parametrize("arch_type", ARCH_TYPES)
@pytest.mark.parametrize(
    ("kind", "features"),
    [
        ("none", "both"),
        ("none", "numeric"),
        ("none", "categorical"),
        ("relu", "both"),
        ("periodic", "both"),
        ("ple", "both"),
        ("ple", "numeric"),
    ],
)
def test_outputs(arch_type, kind, features, shaken, relative_error, tensors, outputs):
    if (arch_type, features) == ("tabm-packed", "categorical"):
        pytest.skip("the package multiplies integers by floats there")
    x, codes = rows()
    x, codes = (None if features == "categorical" else x), (None if features == "numeric" else codes)
    theirs, ours = pair(arch_type, kind, 0 if x is None else F, [] if codes is None else SIZES)
    shaken(theirs).eval()
    ours.load_torch_state(theirs.state_dict())
    ours.eval()
    assert len(ours.blocks) == (3 if kind == "none" else 2)
    assert relative_error(outputs(ours, x, codes), theirs(*tensors(x, codes))) < 1e-5
    # Every member with rows of its own.
    random = np.random.default_rng(3)
    order = np.stack([random.permutation(60) for _ in range(K)], axis=1)
    x, codes = (None if block is None else block[order] for block in (x, codes))
    assert relative_error(outputs(ours, x, codes), theirs(*tensors(x, codes))) < 1e-5


@pytest.mark.parametrize("activation", ["ReLU", "SiLU", "GELU", "LeakyReLU"])
def test_activation_by_pytorchs_name(activation, shaken, relative_error, outputs, tensors):
    theirs, ours = pair("tabm-mini", activation=activation)
    shaken(theirs).eval()
    ours.load_torch_state(theirs.state_dict())
    ours.eval()
    assert relative_error(outputs(ours, *rows()), theirs(*tensors(*rows()))) < 1e-5


@pytest.mark.parametrize("arch_type", ARCH_TYPES)
@pytest.mark.parametrize(("kind", "members"), [("none", "shared"), ("ple", "own")])
def test_ten_steps_with_clipping(arch_type, kind, members, same_steps):
    theirs, ours = pair(arch_type, kind, dropout=0.0)
    ours.load_torch_state(theirs.state_dict())
    random = np.random.default_rng(0)
    x, codes = rows(200)
    batches = []
    for _ in range(10):
        order = random.integers(200, size=(32,) if members == "shared" else (32, K))
        batches.append((x[order], codes[order], random.normal(size=(32, K, 2)).astype(np.float32)))
    same_steps(ours, theirs, batches, lr=2e-3, weight_decay=3e-4, clip=0.1)


def groups(model):
    """What the paper's code does not decay."""
    plain = (embedding_package.LinearEmbeddings, embedding_package.LinearReLUEmbeddings, embedding_package._Periodic)
    kept = {
        id(p)
        for module in model.modules()
        for name, p in module.named_parameters(recurse=False)
        if name.endswith("bias") or isinstance(module, plain)
    }
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if id(p) not in kept]},
        {"params": [p for p in parameters if id(p) in kept], "weight_decay": 0.0},
    ]


@pytest.mark.parametrize("kind", ["none", "relu", "periodic", "ple"])
def test_groups_of_weight_decay(kind, same_steps):
    theirs, ours = pair("tabm", kind, dropout=0.0)
    ours.load_torch_state(theirs.state_dict())
    x, codes = rows(32)
    batches = [(x, codes, np.ones((32, K, 2), np.float32))] * 3
    options = {"groups": groups(theirs), "no_weight_decay": TabM.no_weight_decay}
    same_steps(ours, theirs, batches, lr=1e-2, weight_decay=1.0, **options)
