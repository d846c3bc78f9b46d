"""Choosing parameters by name, and another last layer."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jdl.core.errors import ConfigError, UnknownNameError
from jdl.networks import (
    MLP,
    TabM,
    parameter_names,
    replace_head,
    select_all,
    select_grep,
    select_invert,
    select_name,
    select_none,
)

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


def test_the_last_layer_of_nested_modules_is_the_head():
    inner = nnx.Sequential(nnx.Linear(3, 4, rngs=nnx.Rngs(0)), nnx.relu)
    outer = nnx.Sequential(inner, nnx.Linear(4, 2, use_bias=False, rngs=nnx.Rngs(0)))
    replace_head(outer, 6, rngs=nnx.Rngs(1))
    assert outer(jnp.ones((1, 3))).shape == (1, 6) and outer.layers[1].bias is None


def test_a_network_without_linear_layer_has_no_head():
    with pytest.raises(ConfigError, match="no linear layer to replace"):
        replace_head(nnx.LayerNorm(3, rngs=nnx.Rngs(0)), 2, rngs=nnx.Rngs(0))
    with pytest.raises(ConfigError, match="'d_out' must be 1 or more"):
        replace_head(mlp(), 0, rngs=nnx.Rngs(0))
