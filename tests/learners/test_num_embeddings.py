"""Every kind of numeric embedding in every network for tables: built, prepared and applied, without training."""

import itertools
from typing import Any

import numpy as np
import pytest

import jdl
from jdl.core.random import RandomKey
from jdl.data.table import Table
from jdl.networks import HostRngs

MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"neurons": (8,)},
    "tab_resnet": {"n_blocks": 1, "d_block": 8},
    "ft_transformer": {"n_blocks": 1, "d_block": 8, "attention_n_heads": 2},
    "tabm": {"k": 2, "d_block": 8, "n_blocks": 1},
    "realmlp": {"hidden_sizes": (8,)},
}
WAVES = {"n_frequencies": 4}
KINDS: list[dict[str, Any]] = [
    {"num_embeddings": "linear"},
    {"num_embeddings": "linear_relu"},
    {"num_embeddings": "periodic"} | WAVES,
    {"num_embeddings": "periodic", "lite": True} | WAVES,
    {"num_embeddings": "pbld"} | WAVES,
    *(
        {"num_embeddings": "piecewise_linear", "n_bins": 4, "ple_version": version, "binning": binning}
        for version, binning in itertools.product("AB", ("quantile", "tree"))
    ),
]
N = 40
X = np.random.default_rng(0).normal(size=(N, 3)).astype(np.float32)
TASK = jdl.TaskClassif({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "y": np.where(X[:, 0] > 0.5, "p", "q")}, target="y")


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: "-".join(map(str, k.values())))
@pytest.mark.parametrize("name", MODELS)
def test_every_network_takes_every_embedding(name, kind):
    width = {} if name == "ft_transformer" else {"d_embedding": 4}
    options = {"preprocess": False} | width | MODELS[name] | kind
    learner: Any = jdl.lrn(f"classif.{name}", **options)
    network = learner.network()
    model: Any = network.build(TASK.spec, 1, HostRngs(RandomKey((0,))))
    table, target = Table(X, np.zeros((N, 0), np.int32)), (X[:, 0] > 0.5).astype(np.int32)
    embedding = network.embeddings_of(model)
    if network.prepares:
        network.prepare(model, table, target, RandomKey((1,)))
    if kind["num_embeddings"] == "piecewise_linear":
        slots = np.asarray(embedding.impl.weight[...])
        # A single split tells the classes apart, so that the tree of the first column has two bins.
        assert (slots[0] > 0).sum() == (2 if kind["binning"] == "tree" else 4)
        assert (embedding.linear0 is None) == (kind["ple_version"] == "A")
    model.eval()
    y = np.asarray(network.forward(model, table))
    assert y.shape == ((N, 2, 1) if name == "tabm" else (N, 1))
    assert np.isfinite(y).all() and y.std() > 0
