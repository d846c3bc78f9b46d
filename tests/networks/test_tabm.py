"""TabM's layers: first scales, shared biases, members."""

from typing import Any

import numpy as np
import pytest
from flax import nnx

from jdl.core.random import as_key
from jdl.networks import HostRngs, LinearReLUEmbeddings, TabM

STREAMS = {"host": lambda seed: HostRngs(as_key(seed)), "flax": nnx.Rngs}
both_streams = pytest.mark.parametrize("rngs", STREAMS.values(), ids=list(STREAMS))


def build(rngs, embedded=False, **options):
    embeddings = LinearReLUEmbeddings(3, 5, rngs=rngs) if embedded else None
    shared: Any = {"n_num_features": 3, "cat_cardinalities": [2, 4], "d_out": 2, "k": 400, "d_block": 16}
    return TabM(**(shared | options), num_embeddings=embeddings, rngs=rngs)


@both_streams
@pytest.mark.parametrize("arch_type", ["tabm", "tabm-mini"])
@pytest.mark.parametrize("embedded", [False, True])
def test_first_scales_are_equal_in_a_chunk_and_differ_between_chunks(rngs, arch_type, embedded):
    model: Any = build(rngs(0), embedded, arch_type=arch_type)
    scales = np.asarray(model.scaling.weight[...] if arch_type == "tabm-mini" else model.blocks[0].layer.r[...])
    sizes = [5 if embedded else 1] * 3 + [2, 4]
    chunks = np.split(scales, np.cumsum(sizes)[:-1], axis=1)
    firsts = np.stack([chunk[:, 0] for chunk in chunks], axis=1)
    for chunk in chunks:
        np.testing.assert_array_equal(chunk, np.broadcast_to(chunk[:, :1], chunk.shape))
    assert abs(firsts.mean()) < 0.1 and abs(firsts.std() - 1) < 0.1
    assert np.abs(np.corrcoef(firsts.T) - np.eye(5)).max() < 0.2
    assert (set(np.unique(firsts)) == {-1, 1}) == (not embedded)


@both_streams
def test_other_scales_are_one_and_biases_are_shared_at_first(rngs):
    model: Any = build(rngs(1))
    for i, block in enumerate(model.blocks):
        bias = np.asarray(block.layer.bias[...])
        np.testing.assert_array_equal(bias, np.broadcast_to(bias[:1], bias.shape))
        assert len(np.unique(bias[0])) == 16 and np.abs(bias).max() <= (9 if i == 0 else 16) ** -0.5
        np.testing.assert_array_equal(block.layer.s[...], 1)
        if i:
            np.testing.assert_array_equal(block.layer.r[...], 1)
    head = np.asarray(model.head.weight[...])
    assert np.abs(head).max() <= 0.25 and len(np.unique(head)) > 0.9 * head.size


def test_defaults():
    model: Any = build(HostRngs(as_key(0)), k=2)
    assert len(model.blocks) == 3 and model.blocks[0].dropout.rate == 0.1
    assert len(build(HostRngs(as_key(0)), embedded=True, k=2).blocks) == 2
    assert build(HostRngs(as_key(0)), k=2, dropout=0.0).blocks[0].dropout is None


def test_shared_rows_are_rows_of_every_member():
    model: Any = build(HostRngs(as_key(0)), k=4)
    model.eval()
    random = np.random.default_rng(0)
    x, codes = random.normal(size=(6, 3)).astype(np.float32), random.integers(0, [2, 4], (6, 2))
    together = model(x, codes)
    apart = model(np.repeat(x[:, None], 4, 1), np.repeat(codes[:, None], 4, 1))
    np.testing.assert_allclose(together, apart, rtol=1e-5, atol=1e-6)
    assert np.asarray(together).std(axis=1).min() > 0  # members differ


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("blocks", 0, "layer", "bias"), True),
        (("blocks", 0, "layer", "kernel"), False),
        (("blocks", 0, "layer", "r"), False),
        (("scaling", "weight"), False),
        (("num_embeddings", "weight"), True),
        (("num_embeddings", "linear0", "weight"), True),
        (("num_embeddings", "periodic", "weight"), True),
        (("num_embeddings", "linear", "weight"), False),
        (("head", "weight"), False),
    ],
)
def test_what_takes_no_weight_decay(path, expected):
    assert TabM.no_weight_decay(path) is expected
