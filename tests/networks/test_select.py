"""Choosing parameters by name, and another last layer."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jdl.core.errors import ConfigError, UnknownNameError
from jdl.networks import (
    MLP,
    FTTransformer,
    RealMLP,
    TabM,
    TabResNet,
    parameter_names,
    replace_head,
    select_all,
    select_grep,
    select_invert,
    select_name,
    select_none,
)
from jdl.networks.ntk import NTKLinear

NAMES = ("blocks.0.linear.bias", "blocks.0.linear.kernel", "head.bias", "head.kernel")


def mlp():
    return MLP(3, 2, neurons=(4,), rngs=nnx.Rngs(0))


def test_names_are_those_of_the_model():
    assert parameter_names(mlp()) == NAMES
    embedded = parameter_names(TabM(n_num_features=2, d_out=1, k=2, d_block=4, rngs=nnx.Rngs(0)))
    assert len(set(embedded)) == len(embedded) and "head.weight" in " ".join(embedded)


@pytest.mark.parametrize(
    ("select", "chosen"),
    [
        (select_all(), NAMES),
        (select_none(), ()),
        (select_grep("bias$"), NAMES[0::2]),
        (select_grep("HEAD", ignore_case=True), NAMES[2:]),
        (select_grep(".0.", fixed=True), NAMES[:2]),
        (select_name("head.bias"), ("head.bias",)),
        (select_name("tail.bias", assert_present=False), ()),
        (select_invert(select_grep("head")), NAMES[:2]),
    ],
)
def test_select_functions_keep_the_order_of_names(select, chosen):
    assert select(NAMES) == chosen


def test_what_cannot_be_chosen_is_refused():
    with pytest.raises(UnknownNameError, match=r"'head.bia'.*Did you mean 'head.bias'"):
        select_name("head.bia")(NAMES)
    with pytest.raises(ConfigError, match="expected a regular expression"):
        select_grep("(")
    assert select_grep("(", fixed=True)(NAMES) == ()


def test_equal_selects_are_equal():
    assert select_grep("a") == select_grep("a") and hash(select_invert(select_all())) == hash(select_none())


def test_a_new_head_keeps_all_else():
    model = mlp()
    before = np.asarray(model.blocks[0].linear.kernel[...])
    assert replace_head(model, 7, rngs=nnx.Rngs(3)) is model
    assert model(jnp.ones((2, 3))).shape == (2, 7)
    np.testing.assert_array_equal(model.blocks[0].linear.kernel[...], before)


@pytest.mark.parametrize("arch_type", ["tabm", "tabm-mini", "tabm-packed"])
def test_an_ensemble_gets_a_head_per_member(arch_type):
    model: Any = TabM(n_num_features=3, d_out=1, k=4, d_block=8, arch_type=arch_type, rngs=nnx.Rngs(0))
    assert replace_head(model, 5, rngs=nnx.Rngs(1)) is model
    model.eval()
    y = np.asarray(model(jnp.ones((2, 3))))
    assert y.shape == (2, 4, 5)
    assert len({head.tobytes() for head in np.asarray(model.head.weight[...])}) == 4, "no two members begin alike"


@pytest.mark.parametrize("simple", [False, True])
def test_realmlp_keeps_its_kind_of_layer(simple):
    make: Any = RealMLP.simple if simple else RealMLP
    model = make(n_num_features=3, d_out=1, hidden_sizes=(8,), clamp_output=True, rngs=nnx.Rngs(0))
    x, target = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32), np.zeros((20, 4), np.float32)
    model.prepare(x, key=0, target=target[:, 0])
    replace_head(model, 4, rngs=nnx.Rngs(1))
    assert isinstance(model.head, NTKLinear) and bool(np.asarray(model.head.kernel[...]).any()) != simple
    model.eval()
    assert model(x).shape == (20, 4) and bool(np.asarray(model(x)).any()) != simple, "the old clamp is gone"
    model.prepare(x, key=0, target=target)
    np.testing.assert_array_equal(model(x), target)


def test_other_models_keep_theirs():
    for model in (
        TabResNet(3, 1, n_blocks=1, d_block=8, rngs=nnx.Rngs(0)),
        FTTransformer(n_cont_features=3, d_out=1, n_blocks=1, rngs=nnx.Rngs(0)),
    ):
        replace_head(model, 4, rngs=nnx.Rngs(1))
        model.eval()
        assert model(jnp.ones((2, 3))).shape == (2, 4)


def test_the_last_layer_of_nested_modules_is_the_head():
    inner = nnx.Sequential(nnx.Linear(3, 4, rngs=nnx.Rngs(0)), nnx.relu)
    outer = nnx.Sequential(inner, nnx.Linear(4, 2, use_bias=False, rngs=nnx.Rngs(0)))
    replace_head(outer, 6, rngs=nnx.Rngs(1))
    assert outer(jnp.ones((1, 3))).shape == (1, 6) and outer.layers[1].bias is None


def test_a_network_without_linear_layer_has_no_head():
    with pytest.raises(ConfigError, match="no linear layer to replace"):
        replace_head(nnx.LayerNorm(3, rngs=nnx.Rngs(0)), 2, rngs=nnx.Rngs(0))
    with pytest.raises(ConfigError, match="d_out must be an integer from 1 on"):
        replace_head(mlp(), 0, rngs=nnx.Rngs(0))
