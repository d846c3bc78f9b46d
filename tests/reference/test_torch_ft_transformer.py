"""FT-Transformer against `rtdl_revisiting_models`: outputs, parameter groups, training steps."""

from typing import Any

import jax
import numpy as np
import pytest
import torch
from flax import nnx

from jdl.core.random import as_key
from jdl.networks import FTTransformer, HostRngs

package: Any = pytest.importorskip("rtdl_revisiting_models")

SIZES = [3, 7]
F = 4
HEADWISE = {"linformer_kv_compression_ratio": 0.5, "linformer_kv_compression_sharing": "headwise"}
SHARED = {"linformer_kv_compression_ratio": 0.3, "linformer_kv_compression_sharing": "key-value"}
VARIANTS: dict[str, dict[str, Any]] = {
    "one block": {"n_blocks": 1},
    "default": {"n_blocks": 3},
    "four blocks": {"n_blocks": 4, "d_block": 32},
    "one head": {"n_blocks": 2, "attention_n_heads": 1},
    "relu": {"n_blocks": 2, "ffn_activation": "ReLU", "ffn_d_hidden": 17, "ffn_d_hidden_multiplier": None},
    "headwise": {"n_blocks": 2, **HEADWISE},
    "key-value": {"n_blocks": 2, **SHARED},
}


def rows(n=50, seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, F)).astype(np.float32)
    return x, random.integers(0, SIZES, size=(n, 2)).astype(np.int32)


def pair(features="both", **options):
    torch.manual_seed(0)
    n, sizes = (0 if features == "categorical" else F), ([] if features == "numeric" else SIZES)
    shared: Any = {"n_cont_features": n, "cat_cardinalities": sizes, "d_out": 2}
    defaults = package.FTTransformer.get_default_kwargs(options["n_blocks"])
    theirs = package.FTTransformer(**shared, **(defaults | options))
    return theirs, FTTransformer(**shared, **options, rngs=HostRngs(as_key(0)))


@pytest.mark.parametrize(
    ("variant", "features"),
    [
        *((variant, "both") for variant in VARIANTS),
        *((variant, features) for variant in ("one block", "headwise") for features in ("numeric", "categorical")),
    ],
)
def test_outputs(variant, features, shaken, relative_error, tensors, outputs):
    x, codes = rows()
    inputs = (None if features == "categorical" else x), (None if features == "numeric" else codes)
    theirs, ours = pair(features, **VARIANTS[variant])
    shaken(theirs, scale=0.05).eval()
    ours.load_torch_state(theirs.state_dict())
    ours.eval()
    assert relative_error(outputs(ours, *inputs), theirs(*tensors(*inputs))) < 1e-5
    # The form that training with dropout takes.
    if features == "both":
        for block in ours.blocks:
            assert block.attention.dropout is not None
            block.attention.dropout.rate = 0.0
            block.attention.dropout.deterministic = False
        explicit = _in_training(ours, inputs)
        assert relative_error(explicit, theirs(*tensors(*inputs))) < 1e-5


def _in_training(model, inputs):
    from jdl.networks.context import BatchContext, batch_context

    with batch_context(BatchContext(seed=jax.numpy.uint32(1), hyper={"attention_dropout": 0.0})):
        return model(*inputs)  # not compiled as a whole: the context is not part of its inputs


@pytest.mark.parametrize("n_blocks", range(1, 7))
def test_defaults(n_blocks):
    theirs = package.FTTransformer.get_default_kwargs(n_blocks)
    assert theirs.pop("_is_default")
    assert FTTransformer.default_kwargs(n_blocks) == theirs


def without_dropout(**options):
    return {
        "d_block": 16,
        "attention_n_heads": 4,
        "attention_dropout": 0.0,
        "ffn_dropout": 0.0,
        "residual_dropout": 0.0,
        **options,
    }


def test_parameter_groups():
    theirs, ours = pair(n_blocks=3)
    _, kept = theirs.make_parameter_groups()
    flat = jax.tree_util.tree_flatten_with_path(nnx.state(ours, nnx.Param))[0]
    assert sum(v.size for _, v in flat) == sum(p.numel() for p in theirs.parameters())
    n_kept = sum(v.size for path, v in flat if FTTransformer.no_weight_decay(path))
    assert n_kept == sum(p.numel() for p in kept["params"])


@pytest.mark.parametrize("variant", ["one block", "one head", "headwise"])
def test_ten_steps(variant, same_steps):
    theirs, ours = pair(**without_dropout(**VARIANTS[variant]))
    ours.load_torch_state(theirs.state_dict())
    random = np.random.default_rng(0)
    x, codes = rows(200)
    batches = []
    for _ in range(10):
        order = random.integers(200, size=32)
        batches.append((x[order], codes[order], random.normal(size=(32, 2)).astype(np.float32)))
    # Softmax does not see what all keys have in common, so that the gradient of their bias is rounding noise. The
    # decay is far more than the package's: a parameter in the wrong group is seen.
    options = {"groups": theirs.make_parameter_groups(), "no_weight_decay": FTTransformer.no_weight_decay}
    same_steps(ours, theirs, batches, lr=1e-4, weight_decay=10.0, rounding=("W_k.bias",), **options)
