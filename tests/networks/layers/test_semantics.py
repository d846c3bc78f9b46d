"""What layers compute, by hand where there is no reference."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdl.core.random import RandomKey
from jdl.networks import HostRngs
from jdl.networks.array_spec import ArraySpec
from jdl.networks.context import BatchContext, batch_context
from jdl.networks.layer import Site
from jdl.networks.layers import LAYERS


def build(layer, *inputs, id="node", **values) -> Any:
    site = Site(HostRngs(RandomKey((0,))), id=id, number=3)
    return LAYERS.make(layer, **values).build(site, *(ArraySpec(x.shape, x.dtype) for x in inputs))


def apply(layer, *inputs, **values):
    arrays = [np.asarray(x) for x in inputs]
    module = build(layer, *arrays, **values)
    module.eval()
    return np.asarray(module(*map(jnp.asarray, arrays)))


def training(module, *inputs, seed=1, **hyper):
    with batch_context(BatchContext(seed=jnp.uint32(seed), hyper=hyper)):
        return np.asarray(module(*map(jnp.asarray, inputs)))


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_merges():
    a, b, c = np.float32([[1, 2]]), np.float32([[3, 4]]), np.float32([[5]])
    assert apply("merge_sum", a, b, c).tolist() == [[9, 11]]
    assert apply("merge_prod", a, b, c).tolist() == [[15, 40]]
    assert apply("merge_cat", a, b, c).tolist() == [[1, 2, 3, 4, 5]]


def test_shapes():
    x = draw(2, 1, 3, 4)
    np.testing.assert_array_equal(apply("flatten", x), x.reshape(2, 12))
    np.testing.assert_array_equal(apply("reshape", x, shape=(None, 4, -1)), x.reshape(2, 4, 3))
    np.testing.assert_array_equal(apply("reshape", x, shape=lambda s: (s[0], 2, 6)), x.reshape(2, 2, 6))
    np.testing.assert_array_equal(apply("squeeze", x, axes=(1, 2)), x[:, 0])
    np.testing.assert_array_equal(apply("unsqueeze", x, axis=-1), x[..., None])


@pytest.mark.parametrize(
    "layer, values",
    [("hardshrink", {}), ("softshrink", {}), ("threshold", {"threshold": 0.0, "value": 1.0}), ("hardtanh", {})],
)
def test_activations_keep_nan(layer, values):
    assert np.isnan(apply(layer, np.float32([[np.nan]]), **values)).all()


def test_slopes_where_an_activation_bends_are_pytorchs():
    def slopes(layer, *x, **values):
        module = build(layer, np.float32([[0]]), **values)
        return jax.vmap(jax.grad(lambda x: module(x[None, None])[0, 0]))(jnp.float32(x)).tolist()

    assert slopes("leaky_relu", 0, negative_slope=0.25) == [0.25]
    assert slopes("hardtanh", -1, 0, 1) == [0, 1, 0]
    assert slopes("softshrink", -0.5, 0.5) == slopes("hardshrink", -0.5, 0.5) == [0, 0]


def test_tokens_of_numbers():
    module, x = build("tokenizer_num", draw(2, 3), d_token=4), draw(2, 3)
    expected = x[:, :, None] * np.asarray(module.weight[...]) + np.asarray(module.bias[...])
    np.testing.assert_allclose(module(jnp.asarray(x)), expected, rtol=1e-6)
    assert np.abs(module.weight[...]).max() <= 0.5


def test_tokens_of_codes_are_rows_of_one_table():
    codes = np.int32([[1, 4], [2, 0]])
    module = build("tokenizer_categ", codes, d_token=3, cardinalities=(3, 5), bias=False)
    table = np.asarray(module.table[...])
    assert table.shape == (8, 3)
    np.testing.assert_array_equal(module(jnp.asarray(codes)), [[table[1], table[7]], [table[2], table[3]]])


@pytest.mark.parametrize("layer", ["tokenizer_categ", "embed_categ"])
def test_missing_and_unseen_codes_add_nothing_at_first(layer):
    width = {"tokenizer_categ": "d_token", "embed_categ": "d_embedding"}[layer]
    codes = np.int32([[0, 0], [3, -1], [99, 5]])
    tokens = apply(layer, codes, **{width: 2}, cardinalities=(3, 5), bias=False)
    np.testing.assert_array_equal(tokens, 0)


def test_embedding_takes_unknown_codes_for_code_0():
    codes = np.int32([[0, 7, -1, 2]])
    module = build("embedding", codes, embedding_dim=3, num_embeddings=4)
    module.embed.embedding.set_value(jnp.arange(12.0).reshape(4, 3))
    np.testing.assert_array_equal(module(jnp.asarray(codes))[0], [[0, 1, 2]] * 3 + [[6, 7, 8]])


def test_one_hot_has_a_column_for_missing():
    assert apply("onehot", np.int32([[0, 2], [1, 9]]), cardinalities=(2, 3)).tolist() == [
        [1, 0, 0, 0, 1],
        [0, 1, 0, 0, 0],
    ]


def test_cls_token_is_the_last_one():
    x = draw(2, 3, 4)
    y = apply("ft_cls", x)
    np.testing.assert_array_equal(y[:, :3], x)
    np.testing.assert_array_equal(y[0, 3], y[1, 3])


def test_a_block_that_asks_with_the_last_token_equals_the_last_token_of_a_full_one():
    x = draw(2, 5, 8)
    full, last = (build("ft_transformer_block", x, attention_n_heads=2, query_idx=i) for i in (None, -1))
    kernel, bias = full.attention.qkv.kernel[...], full.attention.qkv.bias[...]
    last.attention.query.kernel.set_value(kernel[:, :8])
    last.attention.key_value.kernel.set_value(kernel[:, 8:])
    last.attention.query.bias.set_value(bias[:8])
    last.attention.key_value.bias.set_value(bias[8:])
    for name in ("linear1", "linear2"):
        getattr(last, name).kernel.set_value(getattr(full, name).kernel[...])
        getattr(last, name).bias.set_value(getattr(full, name).bias[...])
    for name in ("kernel", "bias"):
        getattr(last.attention.out, name).set_value(getattr(full.attention.out, name)[...])
    for module in (full, last):
        module.eval()
    np.testing.assert_allclose(last(jnp.asarray(x)), full(jnp.asarray(x))[:, -1:], rtol=1e-5, atol=1e-6)


def test_the_first_block_has_no_norm_before_its_attention():
    x = draw(2, 5, 8)
    assert build("ft_transformer_block", x, is_first_layer=True).attention_norm is None
    assert build("ft_transformer_block", x, is_first_layer=True, prenormalization=False).attention_norm is not None
    assert build("ft_transformer_block", x, attention_n_heads=1).attention.out is None


@pytest.mark.parametrize(
    "layer, shape", [("dropout1d", (6, 5, 4)), ("dropout2d", (6, 3, 2, 4)), ("dropout3d", (6, 2, 2, 2, 4))]
)
def test_channels_are_dropped_whole(layer, shape):
    x = np.ones(shape, np.float32)
    y = training(build(layer, x, p=0.5), x)
    flat = y.reshape(6, -1, 4)
    assert (flat == flat[:, :1]).all()
    assert set(np.unique(y)) == {0.0, 2.0}


def test_stochastic_depth_drops_rows_or_all():
    x = np.ones((40, 3), np.float32)
    rows = training(build("stochastic_depth", x, p=0.25), x)
    assert (rows == rows[:, :1]).all()
    assert set(np.unique(rows)) == {0.0, np.float32(1 / 0.75)}
    for seed in range(4):
        assert len(np.unique(training(build("stochastic_depth", x, p=0.5, mode="batch"), x, seed=seed))) == 1


def test_rates_come_from_the_batch():
    x = np.ones((50, 8), np.float32)
    module = build("dropout", x, p=0.5, id="drop")
    for rate in (0.0, 0.2, 1.0):
        share = (training(module, x, **{"drop.p": jnp.float32(rate)}) == 0).mean()
        assert abs(share - rate) < 0.08
    block = build("ft_transformer_block", draw(4, 3, 8), id="a", residual_dropout=0.1)
    off = {f"a.{name}": jnp.float32(0) for name in ("attention_dropout", "ffn_dropout", "residual_dropout")}
    quiet = training(block, draw(4, 3, 8), **off)
    block.eval()
    np.testing.assert_allclose(quiet, block(jnp.asarray(draw(4, 3, 8))), rtol=1e-5, atol=1e-5)


def test_a_rate_of_0_builds_no_noise():
    x = draw(4, 3, 8)
    block = build("ft_transformer_block", x, attention_dropout=0, ffn_dropout=0)
    training(block, x)
    assert block.attention.dropout is None and block.hidden_dropout is None and block.dropout1 is None


def test_sources_of_noise_in_a_layer_differ():
    block = build("transformer_encoder_layer", draw(4, 3, 8), nhead=2, dim_feedforward=8)
    noises = [block.attention.dropout, block.hidden_dropout, block.dropout1, block.dropout2]
    assert len({noise.layer for noise in noises}) == 4


def test_random_slopes_lie_in_their_range():
    x = -np.ones((60, 20), np.float32)
    y = training(build("rrelu", x, lower=0.1, upper=0.5), x)
    assert -0.5 <= y.min() < -0.49 and -0.11 < y.max() <= -0.1
    np.testing.assert_allclose(apply("rrelu", x, lower=0.1, upper=0.5), -0.3, rtol=1e-6)


def test_blocked_keys_do_not_matter():
    x, mask = draw(2, 4, 6), np.array([[False, False, False, True], [False, True, False, True]])
    module = build("multihead_attention", x, mask, num_heads=2, key_padding_mask=True)
    other = x.copy()
    other[:, 3] = 100.0
    first, second = (np.asarray(module(jnp.asarray(each), jnp.asarray(mask))) for each in (x, other))
    np.testing.assert_allclose(first[:, :3], second[:, :3], rtol=1e-5, atol=1e-6)


def test_a_query_without_keys_gets_the_mean_of_the_values():
    x, mask = draw(1, 4, 6), np.ones((1, 4), bool)
    y = apply("multihead_attention", x, mask, num_heads=2, key_padding_mask=True)
    np.testing.assert_allclose(y, np.broadcast_to(y.mean(1, keepdims=True), y.shape), rtol=1e-4, atol=1e-5)
    assert np.isfinite(y).all()


def test_causal_attention_does_not_look_ahead():
    x = draw(2, 5, 6)
    module = build("multihead_attention", x, num_heads=2, is_causal=True, add_zero_attn=True)
    later = x.copy()
    later[:, 3:] = 9.0
    np.testing.assert_allclose(module(jnp.asarray(x))[:, :3], module(jnp.asarray(later))[:, :3], rtol=1e-5, atol=1e-6)


def test_scores_of_rotated_vectors_depend_on_the_distance():
    vectors = np.broadcast_to(draw(2, 1, 6)[:, :, None].swapaxes(1, 2), (2, 9, 1, 6)).astype(np.float32)
    turned = apply("position_rotary", vectors[:, :, 0])
    scores = turned[0] @ turned[1].T
    for distance in range(-3, 4):
        np.testing.assert_allclose(np.diagonal(scores, distance), scores[4, 4 + distance], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(turned, axis=-1), np.linalg.norm(vectors[:, :, 0], axis=-1), rtol=1e-5)


def test_sinusoids():
    y = apply("position_sinusoidal", np.zeros((1, 7, 4), np.float32))[0]
    position = np.arange(7)
    expected = [np.sin(position), np.cos(position), np.sin(position / 100), np.cos(position / 100)]
    np.testing.assert_allclose(y, np.stack(expected, 1), atol=1e-6)


def test_learned_positions_are_added():
    x = draw(2, 3, 4)
    module = build("position_learned", x, max_length=8)
    np.testing.assert_allclose(module(jnp.asarray(x)), x + np.asarray(module.table[...])[:3], rtol=1e-6)


def test_batch_norm_counts_positions_of_real_rows_only():
    x = draw(3, 5, 2)
    more = np.concatenate([x, np.full((2, 5, 2), np.nan, np.float32)])
    module = build("batch_norm1d", x)
    with batch_context(BatchContext(weights=jnp.float32([1, 1, 1, 0, 0]))):
        y = np.asarray(module(jnp.asarray(more)))
    flat = x.reshape(-1, 2)
    np.testing.assert_allclose(y[:3], (x - flat.mean(0)) / np.sqrt(flat.var(0) + 1e-5), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(module.var[...], 0.9 + 0.1 * flat.var(0, ddof=1), rtol=1e-5)


def test_batch_norm_without_running_statistics_normalises_when_evaluating():
    x = draw(50, 3) * 7 + 2
    y = apply("batch_norm1d", x, track_running_stats=False, affine=False)
    np.testing.assert_allclose(y.std(0), 1, rtol=1e-3)


def test_initialisers_by_name():
    spreads = {
        init: build("linear", draw(2, 300), out_features=100, init=init).kernel[...].std()
        for init in LAYERS["linear"].fields["init"].choices
    }
    expected = {
        "default": (1 / 3 / 300) ** 0.5,
        "xavier_uniform": (2 / 400) ** 0.5,
        "xavier_normal": (2 / 400) ** 0.5,
        "kaiming_uniform": (2 / 300) ** 0.5,
        "kaiming_normal": (2 / 300) ** 0.5,
        "lecun_normal": (1 / 300) ** 0.5,
        "normal": 0.02,
        "zeros": 0.0,
    }
    assert spreads.keys() == expected.keys()
    for init, spread in expected.items():
        assert abs(spreads[init] - spread) < 0.02 * spread + 1e-9
    assert not build("linear", draw(2, 3), out_features=4, init="normal").bias[...].any()


def test_linear_recurrence_by_hand():
    """A GRU of width 1 over two steps."""
    x = np.float32([[[1.0], [2.0]]])
    module = build("gru", x, hidden_size=1)
    (direction,) = module.layers[0]
    for variable, values in (
        (direction.inputs.kernel, [[0.5, -0.5, 1.0]]),
        (direction.inputs.bias, [0.1, 0.2, 0.3]),
        (direction.recurrent.kernel, [[0.2, 0.4, 0.6]]),
        (direction.recurrent.bias, [0.0, 0.1, 0.2]),
    ):
        variable.set_value(jnp.float32(values))

    def sigmoid(value):
        return 1 / (1 + np.exp(-value))

    state, expected = 0.0, []
    for value in (1.0, 2.0):
        reset = sigmoid(0.5 * value + 0.1 + 0.2 * state)
        keep = sigmoid(-0.5 * value + 0.2 + 0.4 * state + 0.1)
        new = np.tanh(value + 0.3 + reset * (0.6 * state + 0.2))
        state = (1 - keep) * new + keep * state
        expected.append(state)
    np.testing.assert_allclose(np.asarray(module(jnp.asarray(x))).ravel(), expected, rtol=1e-5)


def test_piecewise_linear_bins_come_from_training_rows():
    rows = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
    module = build("embed_piecewise_linear", rows, n_bins=4, d_embedding=3, version="A")
    np.testing.assert_array_equal(module.impl.weight[...], 0)
    module.prepare(rows)
    assert (np.asarray(module.impl.weight[...]) > 0).all()


def test_layers_are_deterministic_in_their_key():
    first, second = (build("lstm", draw(2, 3, 4), hidden_size=2) for _ in range(2))
    jax.tree.map(
        np.testing.assert_array_equal, first.layers[0][0].inputs.kernel[...], second.layers[0][0].inputs.kernel[...]
    )
