"""What a layer says of inputs and values that do not suit it; the graph puts the node's name before it."""

import jax.numpy as jnp
import pytest

from jdl.core.errors import ConfigError, ShapeError, UnknownNameError
from jdl.core.random import RandomKey
from jdl.networks import HostRngs
from jdl.networks.array_spec import ArraySpec, Unknowns, UnknownSizeError
from jdl.networks.layer import Site
from jdl.networks.layers import LAYERS


def build(layer, *inputs, n_outputs=None, **values):
    site = Site(HostRngs(RandomKey((0,))), id="node", n_outputs=n_outputs)
    specs = [x if isinstance(x, ArraySpec) else ArraySpec(x) for x in inputs]
    return LAYERS.make(layer, **values).build(site, *specs)


def unknown(*shape):
    """A shape whose sizes None are unknown, as a node `x` gives it."""
    return unknowns(shape)[0]


def unknowns(*shapes):
    scope = Unknowns()
    return [scope.shape(name, shape) for name, shape in zip("xyz", shapes, strict=False)]


def codes(*shape, cardinalities=None):
    return ArraySpec(shape, jnp.int32, cardinalities)


CONV = {"out_channels": 4, "kernel_size": 3}
HEADS = {"attention_n_heads": 2}
MISTAKES = [
    # numbers of axes
    ("linear", [(8,)], {"out_features": 2}, r"needs an input with at least 2 axes \(batch, ..., feature\), but its"),
    ("head", [(8, 2, 3)], {}, r"needs an input with 2 axes \(batch, feature\); a flatten .* is \(8, 2, 3\)"),
    ("conv2d", [(8, 5, 3)], CONV, r"needs an input with 4 axes \(batch, height, width, channel\), but its input"),
    ("batch_norm2d", [(8, 5, 3)], {}, r"needs an input with 4 axes \(batch, 2 of space, channel\)"),
    ("batch_norm1d", [(8, 5, 3, 2)], {}, r"needs an input with 2 to 3 axes .* but its input is \(8, 5, 3, 2\)"),
    ("max_pool1d", [(8, 5)], {"kernel_size": 2}, r"needs an input with 3 axes \(batch, position, channel\)"),
    ("tokenizer_num", [(8, 5, 3)], {"d_token": 2}, r"needs an input with 2 axes"),
    ("ft_cls", [(8, 5)], {}, r"needs an input with 3 axes \(batch, n, token\)"),
    ("multihead_attention", [(8, 5)], {"num_heads": 1}, r"needs an input with 3 axes \(batch, position, feature\)"),
    ("lstm", [(8, 5)], {"hidden_size": 1}, r"needs an input with 3 axes \(batch, step, feature\)"),
    ("pad", [(8, 5)], {"padding": 1}, r"needs an input with at least 3 axes .*'axes' names others"),
    ("dropout2d", [(8, 5)], {}, r"needs an input with 4 axes"),
    # axes that there are not, or that are the batch
    ("softmax", [(8, 3)], {"axis": 2}, r"has no axis 2: its input \(8, 3\) has 2"),
    ("softmax", [(8, 3)], {"axis": 0}, r"cannot normalise along axis 0 of its input \(8, 3\): axis 0 is the batch"),
    ("glu", [(8, 4)], {"axis": -2}, r"cannot halve axis -2 of its input \(8, 4\): axis 0 is the batch"),
    ("squeeze", [(1, 4)], {"axes": 0}, r"cannot take away axis 0 of its input \(1, 4\): axis 0 is the batch"),
    ("squeeze", [(8, 1)], {"axes": 3}, r"has no axis 3: its input \(8, 1\) has 2"),
    ("unsqueeze", [(8, 4)], {"axis": 3}, r"cannot insert axis 3: its output has 3 axes, its input is \(8, 4\)"),
    ("unsqueeze", [(8, 4)], {"axis": 0}, r"cannot insert axis 0 before the batch"),
    ("unsqueeze", [(8, 4)], {"axis": -3}, r"cannot insert axis -3 before the batch"),
    ("flatten", [(8, 4)], {"start_axis": 0}, r"cannot flatten axis 0 of its input \(8, 4\): axis 0 is the batch"),
    ("flatten", [(8, 4)], {"start_axis": 2}, r"has no axis 2"),
    ("flatten", [(8, 4, 3)], {"start_axis": 2, "end_axis": 1}, r"must end where it starts or later.* axes 2 to 1"),
    ("layer_norm", [(8, 4)], {"n_axes": 2}, r"normalises over 2 axes \(n_axes\), but its input \(8, 4\) has 1 beside"),
    ("merge_cat", [(8, 4), (8, 4)], {"axis": 0}, r"cannot concatenate \(8, 4\) and \(8, 4\) on axis 0: .* the batch"),
    ("pad", [(8, 4)], {"padding": 1, "axes": 0}, r"cannot pad axis 0"),
    # sizes that do not divide
    ("glu", [(8, 5)], {}, r"halves axis 1, whose size must be even, but its input is \(8, 5\)"),
    ("reglu", [(8, 5)], {}, r"must be even"),
    ("conv2d", [(8, 5, 5, 3)], CONV | {"groups": 2}, r"cannot split the 3 channels of its input .* into 2 groups"),
    ("conv2d", [(8, 5, 5, 3)], CONV | {"groups": 3}, r"cannot split its 4 output channels into 3 groups"),
    ("group_norm", [(8, 5)], {"num_groups": 2}, r"cannot split the 5 channels of its input \(8, 5\) into 2 groups"),
    ("multihead_attention", [(8, 5, 6)], {"num_heads": 4}, r"multiple of its heads, but size 6, num_heads 4"),
    ("transformer_encoder_layer", [(8, 5, 6)], {"nhead": 4}, r"multiple of its heads, but size 6, nhead 4"),
    ("ft_transformer_block", [(8, 5, 6)], {}, r"multiple of its heads, but size 6, attention_n_heads 8"),
    ("pixel_shuffle", [(8, 5, 5, 6)], {"upscale_factor": 2}, r"needs a multiple of 4 channels .* \(8, 5, 5, 6\)"),
    ("position_rotary", [(8, 5, 3)], {}, r"rotates pairs of features, but its input \(8, 5, 3\) has an odd number"),
    ("multihead_attention", [(8, 5, 6)], {"num_heads": 2, "rotary": True}, r"heads have an odd number of them, 3"),
    ("prelu", [(8, 5)], {"num_parameters": 3}, r"has 3 slopes \(num_parameters\), but the last axis .* is 5"),
    # nothing left
    ("conv2d", [(8, 5, 2, 3)], CONV, r"has windows of 3 on axis 2, but its input \(8, 5, 2, 3\) has size 2 there"),
    ("conv1d", [(8, 5, 3)], CONV | {"dilation": 4, "padding": 1}, r"has windows of 9 on axis 1.* 7 with padding"),
    ("avg_pool2d", [(8, 5, 2, 3)], {"kernel_size": (2, 3)}, r"has windows of 3 on axis 2"),
    ("max_pool1d", [(8, 2, 3)], {"kernel_size": 2, "dilation": 2}, r"has windows of 3 on axis 1"),
    ("conv_transpose1d", [(8, 1, 3)], CONV | {"padding": 2}, r"cuts off all of axis 1 .* by padding 2"),
    ("upsample", [(8, 2, 3)], {"scale_factor": 0.3}, r"scales axis 1 of its input \(8, 2, 3\) by 0.3: nothing would"),
    ("ft_transformer_block", [(8, 5, 2)], HEADS | {"ffn_d_hidden_multiplier": 0.1}, r"feed-forward network of width 0"),
    # padding and windows
    ("max_pool1d", [(8, 9, 3)], {"kernel_size": 3, "padding": 2}, r"at most half its windows, but padding \(2,\)"),
    ("conv1d", [(8, 3, 3)], CONV | {"padding": 3, "padding_mode": "reflect"}, r"pads axis 1 by 3 \(reflect\), at"),
    ("pad", [(8, 3, 3)], {"padding": 4, "mode": "circular"}, r"pads axis 1 by 4 \(circular\), at most 3"),
    ("pad", [(8, 3, 3)], {"padding": (1, 2, 3)}, r"has 3 numbers \(padding\), but pads 1 axes: give 1, 2"),
    ("conv1d", [(8, 9, 3)], CONV | {"padding": "same", "stride": 2}, r"padding 'same'\) with stride 1 only"),
    ("conv_transpose1d", [(8, 9, 3)], CONV | {"output_padding": 1}, r"needs output_padding \(1,\) below stride \(1,\)"),
    ("upsample", [(8, 3, 3)], {"size": (2, 2)}, r"has 2 sizes or factors, but its input .* has 1 axes of space"),
    # several inputs
    ("merge_sum", [], {}, r"needs at least one input"),
    ("merge_sum", [(8, 4), (8, 4, 1)], {}, r"equally many axes, but its inputs are \(8, 4\) and \(8, 4, 1\)"),
    ("merge_sum", [(8, 4), (8, 3)], {}, r"sizes are equal or 1, but its inputs \(8, 4\) and \(8, 3\) differ on axis 1"),
    ("merge_prod", [(8, 4), (8, 1), (8, 3)], {}, r"its inputs \(8, 4\), \(8, 1\) and \(8, 3\) differ on axis 1"),
    ("merge_sum", [(8, 4), (7, 4)], {}, r"equally many rows, but its inputs \(8, 4\) and \(7, 4\) differ on axis 0"),
    ("merge_cat", [(8, 4, 2), (8, 3, 2)], {}, r"needs inputs of equal sizes but on axis 2, .* differ on axis 1"),
    ("merge_cat", [(8, 4), (8,)], {}, r"equally many axes"),
    ("multihead_attention", [(8, 4, 2), (8, 3, 2), (8, 4, 2)], {"num_heads": 1, "mode": "general"},
     r"needs as many values as keys, but its inputs \(8, 3, 2\) and \(8, 4, 2\) differ on axis 1"),
    ("multihead_attention", [(8, 4, 2), (7, 4, 2)], {"num_heads": 1, "mode": "cross"}, r"equally many rows"),
    ("multihead_attention", [(8, 4, 2), (8, 3, 4)], {"num_heads": 1, "attn_mask": True},
     r"needs 4 as the size of axis 1 of its mask, but the mask is \(8, 3, 4\)"),
    ("multihead_attention", [(8, 4, 2), (8, 3)], {"num_heads": 1, "key_padding_mask": True},
     r"needs 4 as the size of axis 1 of its mask, but the mask is \(8, 3\)"),
    ("multihead_attention", [(8, 4, 2), (4, 4)], {"num_heads": 1, "attn_mask": True},
     r"needs an input with 3 to 4 axes \(batch, query, key\) or \(batch, head, query, key\) as a mask"),
    # reshape
    ("reshape", [(8, 4)], {"shape": (8, 2, 2)}, None),
    ("reshape", [(8, 4)], {"shape": (4, 8)}, r"must keep the batch of its input \(8, 4\), but its shape is \(4, 8\)"),
    ("reshape", [(8, 4)], {"shape": (-1, 3)}, r"cannot give the 4 elements of a row .* the shape \(batch, 3\)"),
    ("reshape", [(8, 4)], {"shape": (-1, 3, -1)}, r"cannot give the 4 elements of a row .* \(batch, 3, -1\)"),
    ("reshape", [(8, 4)], {"shape": lambda shape: (4, 8)}, r"must keep the batch"),
    ("reshape", [(8, 4)], {"shape": lambda shape: shape[5]}, r"cannot get a shape from its function .* out of range"),
    # codes and tasks
    ("head", [(8, 4)], {}, r"needs a task, which says how many outputs there are"),
    ("embedding", [(8, 4)], {"embedding_dim": 2}, r"needs codes \(integers\), but its input \(8, 4\) holds float32"),
    ("embedding", [codes(8, 4)], {"embedding_dim": 2}, r"needs the number of codes: give 'num_embeddings'"),
    ("tokenizer_categ", [codes(8, 4)], {"d_token": 2}, r"number of codes of each column: give 'cardinalities'"),
    ("tokenizer_categ", [codes(8, 4)], {"d_token": 2, "cardinalities": (3, 4)}, r"has 2 cardinalities, .* 4 columns"),
    ("onehot", [codes(8, 2, cardinalities=(3, 5))], {"cardinalities": (3, 4)}, r"but the columns have \(3, 5\) codes"),
    ("embed_piecewise_linear", [(8, 3)], {"bins": [[0, 1]]}, r"has bins for 1 columns, but its input \(8, 3\) has 3"),
    ("ft_transformer_block", [(8, 5, 4)], HEADS | {"query_idx": 5}, r"no token at one of the positions \(5,\)"),
    ("position_learned", [(8, 5, 4)], {"max_length": 3}, r"knows 3 positions \(max_length\), but .* has 5"),
]  # fmt: skip


@pytest.mark.parametrize("name, inputs, values, message", MISTAKES, ids=lambda v: v if isinstance(v, str) else "")
def test_mistakes_of_shape(name, inputs, values, message):
    if message is None:
        build(name, *inputs, **values)
        return
    with pytest.raises(ShapeError, match=message):
        build(name, *inputs, **values)


UNKNOWN = [
    ("linear", [unknown(None, None)], {"out_features": 2}, r"needs the size of axis 1 of its input \(batch, x_1\)"),
    ("conv2d", [unknown(None, 5, 5, None)], CONV, r"needs the size of axis 3"),
    ("batch_norm1d", [unknown(None, None)], {}, r"needs the size of axis 1"),
    ("layer_norm", [unknown(None, None, 3)], {"n_axes": 2}, r"needs the size of axis 1"),
    ("glu", [unknown(None, None)], {}, r"needs the size of axis 1"),
    ("tokenizer_num", [unknown(None, None)], {"d_token": 2}, r"needs the size of axis 1"),
    ("ft_cls", [unknown(None, 3, None)], {}, r"needs the size of axis 2"),
    ("max_pool2d", [unknown(None, None, 5, 3)], {"kernel_size": 2, "ceil_mode": True}, r"needs the size of axis 1"),
    ("adaptive_avg_pool1d", [unknown(None, None, 3)], {"output_size": 2}, r"needs the size of axis 1"),
    ("upsample", [unknown(None, None, 3)], {"size": 4}, r"needs the size of axis 1"),
    ("upsample", [unknown(None, None, 3)], {"scale_factor": 1.5}, r"needs the size of axis 1"),
    ("position_learned", [unknown(None, None, 3)], {}, r"needs the size of axis 1"),
    ("reshape", [unknown(None, None, 3)], {"shape": (-1, -1, 2)}, r"needs the size of axis 1"),
    ("merge_sum", unknowns((None, None), (None, 3)), {}, r"needs the size of axis 1 of its input \(batch, x_1\)"),
    ("merge_cat", unknowns((None, None, 2), (None, 3, 2)), {}, r"needs the size of axis 1"),
    ("multihead_attention", [unknown(None, 3, None)], {"num_heads": 1}, r"needs the size of axis 2"),
    ("gru", [unknown(None, 3, None)], {"hidden_size": 1}, r"needs the size of axis 2"),
]  # fmt: skip


@pytest.mark.parametrize("name, inputs, values, message", UNKNOWN, ids=lambda v: v if isinstance(v, str) else "")
def test_sizes_that_must_be_known(name, inputs, values, message):
    with pytest.raises(UnknownSizeError, match=message):
        build(name, *inputs, **values)


VALUES = [
    ("conv2d", {"out_channels": 0, "kernel_size": 3}, r"layer 'conv2d': hyperparameter 'out_channels' must be"),
    ("conv2d", {"kernel_size": 3}, r"layer 'conv2d': 'out_channels' is required"),
    ("conv2d", CONV | {"kernel_size": (1, 2, 3)}, r"'kernel_size' must be 1 or 2 numbers, one for each axis of space"),
    ("conv1d", CONV | {"stride": (1, 2)}, r"'stride' must be 1 number, one for each axis of space, got \(1, 2\)"),
    ("conv2d", CONV | {"padding": "valid"}, r"'padding' must be integers of at least 0 or 'same', got 'valid'"),
    ("conv2d", CONV | {"padding": -1}, "'padding' must be integers of at least 0 or 'same', got -1"),
    ("conv2d", CONV | {"padding_mode": "mirror"}, r"must be one of 'zeros', 'reflect', 'replicate', 'circular'"),
    ("linear", {"out_features": 2, "init": "best"}, r"'init' must be one of 'default', 'xavier_uniform'"),
    ("dropout", {"p": 1.5}, r"layer 'dropout': hyperparameter 'p' must be a number in \[0, 1\], got 1.5"),
    ("reshape", {"shape": 3}, r"'shape' must be integers or a function of a shape, got 3"),
    ("reshape", {"shape": (-1, 0)}, r"layer 'reshape': the sizes of 'shape' must be at least 1, or -1"),
    ("reshape", {"shape": (-1, -1, -1)}, r"layer 'reshape': only one size of 'shape' behind the batch may be -1"),
    ("embed_piecewise_linear", {"bins": 3}, r"'bins' must be a sequence of edges per column, got 3"),
]  # fmt: skip


@pytest.mark.parametrize("name, values, message", VALUES, ids=lambda v: v if isinstance(v, str) else "")
def test_values_are_checked_when_a_layer_is_made(name, values, message):
    with pytest.raises(ConfigError, match=message):
        LAYERS.make(name, **values)


CONFLICTS = [
    ("upsample", [(8, 3, 3)], {}, r"layer 'node': give size or scale_factor, one of them"),
    ("upsample", [(8, 3, 3)], {"size": 2, "scale_factor": 2}, r"one of them"),
    ("hardtanh", [(8, 3)], {"min_val": 2}, r"layer 'node': min_val \(2.0\) must be below max_val \(1.0\)"),
    ("rrelu", [(8, 3)], {"lower": 0.5}, r"layer 'node': lower \(0.5\) must not exceed upper"),
    ("ft_transformer_block", [(8, 5, 4)], HEADS | {"ffn_d_hidden": 3, "ffn_d_hidden_multiplier": 2.0}, r"not both"),
    ("transformer_encoder_layer", [(8, 5, 4), (8, 5, 5)], {"nhead": 2, "is_causal": True, "src_mask": True}, r"both"),
    ("embed_periodic", [(8, 5)], {"lite": True, "activation": False}, r"lite=True needs activation=True"),
]  # fmt: skip


@pytest.mark.parametrize("name, inputs, values, message", CONFLICTS, ids=lambda v: v if isinstance(v, str) else "")
def test_values_that_exclude_each_other(name, inputs, values, message):
    with pytest.raises(ConfigError, match=message):
        build(name, *inputs, **values)


def test_unknown_names():
    with pytest.raises(UnknownNameError, match="Did you mean 'conv2d'"):
        LAYERS.make("conv2")
    with pytest.raises(UnknownNameError, match="Did you mean 'kernel_size'"):
        LAYERS.make("conv2d", out_channels=2, kernel=3)
    with pytest.raises(UnknownNameError, match="activation 'rely'"):
        LAYERS.make("transformer_encoder_layer", nhead=2, activation="rely")
